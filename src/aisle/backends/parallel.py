"""Large remote objects read over several connections at once, in ranges that are handed on in order.

Whoever reads sees one stream of bytes. Ranges are pinned to one entity tag: a source that changes its object
meanwhile is noticed, and one that tells none is read over one connection.
"""

import asyncio
from asyncio import Task
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from aisle.backends.forwarding import Forwarding
from aisle.backends.provider import BackendProvider, RemoteObject, RemoteRead, close_chunks
from aisle.errors import SourceUnreachable

CHUNK_BYTES: Final = 4 * 1024 * 1024
WORKERS: Final = 8
CHUNK_BYTES_MIN: Final = 128 * 1024
CHUNK_BYTES_MAX: Final = 256 * 1024 * 1024
WORKERS_MAX: Final = 32
AHEAD_BYTES_MAX: Final = 256 * 1024 * 1024
"""What all reads of one provider together hold in memory, but for one range of each."""


class Ranges(NamedTuple):
    """How large objects are read."""

    least_bytes: int = 0
    """Objects from this size on are read in ranges."""
    chunk_bytes: int = CHUNK_BYTES
    """Bytes of a range."""
    workers: int = WORKERS
    """Ranges of one object that are read at a time."""


def _unknown(_key: str) -> int | None:
    return None


class ParallelReads(Forwarding):
    """A BackendProvider around another, which reads its large objects in parallel ranges."""

    def __init__(
        self,
        provider: BackendProvider,
        ranges: Ranges,
        *,
        size_of: Callable[[str], int | None] = _unknown,
        ahead_bytes_max: int = AHEAD_BYTES_MAX,
    ) -> None:
        """`size_of` is what is known of an object's size: what is known as small is not asked about."""
        super().__init__(provider)
        self._ranges = ranges
        self._size_of = size_of
        self._room = asyncio.Semaphore(max(1, ahead_bytes_max // ranges.chunk_bytes))

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get; whole large objects come over several connections."""
        size, ranges = self._size_of(key), self._ranges
        least = max(ranges.least_bytes, ranges.chunk_bytes + 1)
        is_plain = offset or length is not None or not self.capabilities.ranges
        if is_plain or ranges.workers < 2 or (size is not None and size < least):
            return await self._provider.get(bucket, key, offset=offset, length=length, etag=etag)
        about = await self._provider.head(bucket, key)
        if about.size < least or not about.etag:
            return await self._provider.get(bucket, key, etag=etag)
        return RemoteRead(about, self._in_order(bucket, about._replace(etag=etag or about.etag)))

    async def _in_order(self, bucket: str, about: RemoteObject) -> AsyncIterator[bytes]:
        """The bytes of an object: at most so many ranges are here, or on their way, at a time."""
        starts = iter(range(0, about.size, self._ranges.chunk_bytes))
        running: deque[Task[list[bytes] | None]] = deque()
        position = 0

        async def begin() -> bool:
            start = next(starts, None)
            if start is None:
                return False
            await self._room.acquire()
            running.append(asyncio.create_task(self._range(bucket, about, start)))
            return True

        try:
            # Who has nothing under way waits for room; ranges beyond that take what is free, so that
            # nobody waits in a circle.
            while running or await begin():
                while len(running) < self._ranges.workers and not self._room.locked() and await begin():
                    pass
                chunks = await running[0]
                if chunks is None:
                    break
                running.popleft()
                self._room.release()
                for chunk in chunks:
                    position += len(chunk)
                    yield chunk
        finally:
            for task in running:
                task.cancel()
                self._room.release()
            await asyncio.gather(*running, return_exceptions=True)
        if position < about.size:
            left = about.size - position
            rest = await self._provider.get(bucket, about.key, offset=position, length=left, etag=about.etag)
            try:
                async for chunk in rest.chunks:
                    yield chunk
            finally:
                await close_chunks(rest.chunks)

    async def _range(self, bucket: str, about: RemoteObject, start: int) -> list[bytes] | None:
        """The bytes of a range; None from a source that would send all that comes before them, too."""
        length = min(self._ranges.chunk_bytes, about.size - start)
        opened = await self._provider.get(bucket, about.key, offset=start, length=length, etag=about.etag)
        try:
            if not opened.keeps_ranges:
                return None
            chunks = [chunk async for chunk in opened.chunks]
        finally:
            await close_chunks(opened.chunks)
        received = sum(map(len, chunks))
        if received != length:
            raise SourceUnreachable(f"{bucket}/{about.key}: {received} bytes of a range of {length} came")
        return chunks
