"""Filling drafts: from a stream of bytes to a finished draft, and on to a commit that nobody cuts short."""

import asyncio
from asyncio import Future
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from aisle.storage.engine import Draft

Result = TypeVar("Result")


class Readable(Protocol):
    """Bytes that arrive one piece after the other."""

    async def read(self) -> bytes:
        """The next bytes, or `b""` at the end; raises when the rest will not come."""

    def buffered(self) -> bytes | None:
        """All bytes if they are here already, else None."""


async def fill(draft: Draft, source: Readable) -> None:
    """Write all of `source` to a draft and finish it.

    Raises what the source and the draft raise; the draft is then the caller's to abort.
    """
    # Mostly nothing has to be waited for: a coroutine for each chunk would cost more than the chunk.
    whole = source.buffered()
    if whole is None:
        while chunk := await source.read():
            pending = draft.write(chunk)
            if pending is not None:
                await pending
    elif whole:
        pending = draft.write(whole)
        if pending is not None:
            await pending
    pending = draft.finish()
    if pending is not None:
        await pending


def undisturbed(pending: Future[Result]) -> Awaitable[Result]:
    """A commit that goes on when its writer is cancelled: half a commit would leave its file behind."""
    # A plain future stands for a message that is on its way: nothing of it can be disturbed.
    return asyncio.shield(pending) if isinstance(pending, asyncio.Task) else pending
