"""Writing archives as objects: new ones, and ones that grow by a file.

An archive is an object like any other: it is written anew as a whole, beside the old one, and replaces
it when it is complete and durable. Whoever reads meanwhile reads the old one.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from aisle.errors import BadRequest
from aisle.rules.archives import ArchiveFormat
from aisle.rules.archives_writing import ArchiveWriting, ZippedWriting, new_archive
from aisle.rules.archives_zip import ZipWriting
from aisle.target.archives import OpenArchive
from aisle.target.in_threads import ThreadedChunks, in_thread

_THREAD_BYTES: Final = 16 * 1024
"""From this size on compressing is left to a thread."""


class Readable(Protocol):
    """Bytes that arrive one piece after the other."""

    async def read(self) -> bytes:
        """The next bytes, or `b""` at the end; raises when the rest will not come."""


class Growing:
    """An archive being written, new or on top of an old one.

    Its methods give the bytes that come next; `begin` comes first, `close` last.
    """

    def __init__(self, format_: ArchiveFormat, old: OpenArchive | None = None) -> None:
        """`old` must stay open meanwhile, and be of that format."""
        self._old = old
        self._packs = format_ in (ArchiveFormat.TGZ, ArchiveFormat.TAR_LZ4)
        self._is_zip = format_ is ArchiveFormat.ZIP
        self._writing: ArchiveWriting = new_archive(format_)

    async def begin(self) -> AsyncIterator[bytes]:
        """What the old archive holds. Raises ArchiveInvalid, CorruptObject."""
        old = self._old
        if old is None:
            return
        if self._is_zip:
            directory = old.index.directory
            assert directory is not None
            entries = await in_thread(old.contents.directory_bytes, old.stop)
            self._writing = ZippedWriting(
                ZipWriting(offset=directory.offset, directory=entries, count=directory.entries)
            )
        chunks = ThreadedChunks(old.contents.before_end(), stop=old.stop, close=_nothing)
        try:
            async for chunk in chunks:
                yield await self._packed(self._writing.data, chunk) if self._packs else chunk
        finally:
            await chunks.aclose()

    async def add(self, name: str, size: int, content: Readable, *, modified_s: int) -> AsyncIterator[bytes]:
        """A file of `size` bytes. Raises BadRequest if `content` has more or fewer, and what it raises."""
        yield self._writing.begin(name, size, modified_s)
        left = size
        while piece := await content.read():
            left -= len(piece)
            if left < 0:
                break
            yield await self._packed(self._writing.data, piece)
        if left:
            raise BadRequest(f"{name}: {size} bytes were announced, {size - left} came")
        yield self._writing.end()

    def close(self) -> bytes:
        """The archive's end."""
        return self._writing.close()

    async def _packed(self, pack: Callable[[bytes], bytes], chunk: bytes) -> bytes:
        if self._packs and len(chunk) >= _THREAD_BYTES:
            return await in_thread(lambda: pack(chunk), _nothing)
        return pack(chunk)


class GeneratedSource:
    """Chunks that are made one after the other, as the source of something that is written."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.length: int | None = None
        self._chunks = chunks

    async def aclose(self) -> None:
        """Nothing more is wanted."""
        closing = getattr(self._chunks, "aclose", None)
        if closing is not None:
            await closing()

    def buffered(self) -> bytes | None:
        """None: they are not here."""
        return None

    async def read(self) -> bytes:
        """The next chunk that is not empty, or `b""` at the end."""
        async for chunk in self._chunks:
            if chunk:
                return chunk
            await asyncio.sleep(0)
        return b""


def _nothing() -> None:
    """Nothing needs to be stopped or closed."""
