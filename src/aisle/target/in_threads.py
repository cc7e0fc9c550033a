"""Work that waits for disks or computes for long, done in threads and left cleanly."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

Result = TypeVar("Result")

CHUNK_BYTES: Final = 256 * 1024


async def in_thread(work: Callable[[], Result], stop: Callable[[], None]) -> Result:
    """The result of `work`, which runs in a thread.

    When the one who waits is cancelled, `stop` is called and the thread's end is waited for: what it
    reads may be closed afterwards.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # nobody is left to hear of it
        raise


class ThreadedChunks:
    """Bytes that an iterator makes in threads, some CHUNK_BYTES at a time; an asynchronous iterator.

    `stop` makes a thread that works on the iterator give up soon; `close` is called once, when none does
    any more.
    """

    def __init__(
        self, pieces: Iterator[bytes], *, stop: Callable[[], None], close: Callable[[], None]
    ) -> None:
        self._pieces = pieces
        self._stop = stop
        self._close = close
        self._running: Future[bytes] | None = None
        self._first: bytes | None = None
        self._is_closed = False

    def __aiter__(self) -> "ThreadedChunks":
        return self

    async def begin(self) -> None:
        """Make the first bytes now. Raises what the iterator raises, and closes then."""
        try:
            self._first = await self._next()
        except BaseException:
            await self.aclose()
            raise

    async def __anext__(self) -> bytes:
        """The next bytes. Raises what the iterator raises."""
        chunk, self._first = self._first, None
        if chunk is None:
            chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Let go of everything, as soon as no thread needs it."""
        running = self._running
        if running is not None and not running.done():
            self._stop()
            await asyncio.wait([running])
            running.exception()  # nobody is left to hear of it
        if not self._is_closed:
            self._is_closed = True
            self._close()

    async def _next(self) -> bytes:
        if self._is_closed:
            return b""
        self._running = asyncio.ensure_future(asyncio.to_thread(self._gather))
        return await asyncio.shield(self._running)

    def _gather(self) -> bytes:
        gathered: list[bytes] = []
        size = 0
        for piece in self._pieces:
            gathered.append(piece)
            size += len(piece)
            if size >= CHUNK_BYTES:
                break
        return gathered[0] if len(gathered) == 1 else b"".join(gathered)
