"""Download jobs whose items come as a list: `POST /v1/download` with `application/x-ndjson`.

The first line is the request, of type `list`; each further one is an item, `{"link", "name",
"checksum", "size"}`, of which only the link is needed. The body is streamed into a file, so it may be
far larger than other requests.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from aisle.errors import BadRequest
from aisle.httpd.request import BodyStream, Request
from aisle.jobs.list_files import ListStore
from aisle.jobs.list_intake import ListIntake
from aisle.model.job import DownloadSpec
from aisle.rules.download_request import Submission, read_request
from aisle.rules.huggingface import ENDPOINT
from aisle.rules.provider_links import Reaches, anywhere

REQUEST_LINE_BYTES_MAX: Final = 1024 * 1024
_MEDIA_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


def is_list(request: Request) -> bool:
    """Whether the body is a list."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in _MEDIA_TYPES


async def take_list(
    request: Request,
    lists: ListStore,
    *,
    check: Callable[[DownloadSpec], None],
    hub: str = ENDPOINT,
    reaches: Reaches = anywhere,
) -> Submission:
    """What a list's body asks for; its items are then durable in `lists`.

    `hub` is where `hf://` addresses lead, `reaches` tells which remote buckets can be asked for. `check` is
    called before any item is read, and refuses by raising. Raises BadRequest with the line that is wrong,
    BodyTooLarge, OutOfSpace; nothing is left of the list then.
    """
    line, rest = await _first_line(request.body)
    asked = read_request(line)
    spec = asked.spec
    if spec.kind != "list":
        raise BadRequest(f'line 1: a list begins with a request of type "list", not "{spec.kind}"')
    check(spec)
    intake = ListIntake(lists, subdir=spec.subdir, first_line=2, hub=hub, reaches=reaches)
    try:
        await intake.take(rest)
        while data := await request.body.read():
            await intake.take(data)
        taken = await intake.finish()
    except BadRequest as error:
        if type(error) is not BadRequest:
            raise
        raise BadRequest(f"Error starting download: {error}") from error
    finally:
        intake.abort()
    spec = msgspec.structs.replace(spec, list_file=taken.name, list_items=taken.items)
    return asked._replace(spec=spec, sources=taken.sources)


async def _first_line(body: BodyStream) -> tuple[bytes, bytes]:
    """The first line, and what came behind it."""
    line = b""
    while b"\n" not in line:
        if len(line) > REQUEST_LINE_BYTES_MAX:
            raise BadRequest(f"line 1: longer than {REQUEST_LINE_BYTES_MAX} bytes")
        data = await body.read()
        if not data:
            break
        line += data
    first, _, rest = line.partition(b"\n")
    return first, rest
