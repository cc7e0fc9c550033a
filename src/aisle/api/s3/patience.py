"""Answers that take longer than clients wait: white space in front of the document keeps them waiting.

Amazon does the same where an upload is completed. The status is then 200 before the outcome is known, so
an error is told by the document alone; clients look there.
"""

import asyncio
from asyncio import Task
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from typing import Final

from aisle.api.s3.errors import error_document
from aisle.api.s3.xml import CONTENT_TYPE, HEADER
from aisle.errors import AisleError
from aisle.httpd.request import Request
from aisle.httpd.response import Response, StreamBody

PATIENCE_S: Final = 15.0
"""How long an answer is waited for as usual; clients wait for a minute."""
INTERVAL_S: Final = 5.0
"""Between two bytes of white space."""


async def patiently(request: Request, answering: Coroutine[object, object, Response]) -> Response:
    """An answer with a document, or one that begins with white space and ends with it.

    Raises what making it raises, if that is known in time.
    """
    task = asyncio.create_task(answering)
    try:
        await asyncio.wait([task], timeout=PATIENCE_S)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done():
        return task.result()
    return Response(200, [CONTENT_TYPE], StreamBody(_kept_waiting(request, task)))


async def _kept_waiting(request: Request, task: Task[Response]) -> AsyncGenerator[bytes, None]:
    header = HEADER.encode()
    try:
        yield header
        while not task.done():
            await asyncio.wait([task], timeout=INTERVAL_S)
            if not task.done():
                yield b" "
        try:
            document = task.result().body
        except AisleError as error:
            document = error_document(error, request)
        assert isinstance(document, bytes)
        yield document.removeprefix(header)
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, AisleError):
                await task
