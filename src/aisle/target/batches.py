"""Many objects in one archive, read in their order and sent as they are read.

Small objects come straight from the index and share chunks, so that a thousand of them cost hardly more
than their bytes. Files are read in threads, a piece at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import Final, NamedTuple

from aisle.errors import AisleError, Conflict, ObjectNotFound, RangeNotSatisfiable
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.rules.archives import ArchiveFormat
from aisle.rules.archives_writing import ArchiveWriting, TarWriting, new_archive
from aisle.rules.batches import MISSING_FOLDER, part_of
from aisle.rules.ranges import Span
from aisle.storage.engine import Stored
from aisle.target.archive_reading import PayloadBytes
from aisle.target.archives import Archives, OpenArchive
from aisle.target.in_threads import ThreadedChunks, in_thread
from aisle.target.objects import TargetEngine

CHUNK_BYTES: Final = 128 * 1024
"""Gathered before it is sent; between two chunks others get their turn."""
_LOOK_UPS: Final = 64
"""Looked up before others get their turn."""
_NS_PER_S: Final = 1_000_000_000

Outcome = int | AisleError
"""The size of what was wanted, or why it cannot be had."""


class Wanted(NamedTuple):
    """One object, member or part of either, and what it is to be called."""

    name: str
    bucket: BucketInfo
    key: bytes
    member: str = ""
    start: int = 0
    length: int = 0

    @property
    def where(self) -> ObjectName:
        """The object that it is, or is in."""
        return ObjectName(self.bucket.number, self.key)

    def __str__(self) -> str:
        shown = display(self.bucket.bucket, self.key)
        return f"{self.member} in {shown}" if self.member else shown

    def span(self, size: int) -> Span:
        """The part of `size` bytes that is wanted. Raises RangeNotSatisfiable."""
        found = part_of(size, self.start, self.length)
        if found is None:
            raise RangeNotSatisfiable(size, f"{self.start}, {self.length}")
        return found


class Batches:
    """Makes archives of what is on this target."""

    def __init__(self, engine: TargetEngine, archives: Archives) -> None:
        self._engine = engine
        self._archives = archives

    async def sizes(self, wanted: Sequence[Wanted], *, continues: bool) -> list[Outcome]:
        """What each item will come to. Raises the first reason unless the batch continues."""
        found: list[Outcome] = []
        shelf = _Shelf(self._archives)
        try:
            for number, item in enumerate(wanted):
                try:
                    found.append(item.span(await self._size(item, shelf)).length)
                except AisleError as error:
                    if not continues:
                        raise
                    found.append(error)
                if number % _LOOK_UPS == _LOOK_UPS - 1:
                    await asyncio.sleep(0)
        finally:
            shelf.close()
        return found

    async def _size(self, item: Wanted, shelf: "_Shelf") -> int:
        if item.member:
            return (await shelf.archive(item)).member(item.member).size
        held = self._engine.look_up(item.where)
        if held is None:
            raise ObjectNotFound(str(item))
        return held.record.size

    def archive(
        self,
        wanted: Sequence[Wanted],
        format_: ArchiveFormat,
        *,
        continues: bool,
        announced: Sequence[Outcome] = (),
    ) -> AsyncGenerator[bytes, None]:
        """The archive's bytes. What is missing stands there empty, under another name, if that continues.

        Raises what reading raises, and Conflict for what has come to be otherwise than `announced`.
        """
        packing = new_archive(format_)
        is_packed = format_ in (ArchiveFormat.TGZ, ArchiveFormat.TAR_LZ4)
        writing = TarWriting() if is_packed else packing
        run = _Run(self._engine, _Shelf(self._archives), writing, continues=continues, announced=announced)
        if is_packed:
            return _packed(run.members(wanted), packing)
        return _closed(run.members(wanted), packing)


async def _closed(
    members: AsyncGenerator[bytes, None], writing: ArchiveWriting
) -> AsyncGenerator[bytes, None]:
    async with aclosing(members):
        async for chunk in members:
            yield chunk
    yield writing.close()


async def _packed(
    members: AsyncGenerator[bytes, None], packing: ArchiveWriting
) -> AsyncGenerator[bytes, None]:
    """The same, compressed in threads."""
    async with aclosing(members):
        async for chunk in members:
            yield await asyncio.to_thread(packing.data, chunk)
    yield packing.close()


class _Shelf:
    """The archive that was opened last stays open: the next item is often from the same one."""

    def __init__(self, archives: Archives) -> None:
        self._archives = archives
        self._name: ObjectName | None = None
        self._archive: OpenArchive | None = None

    async def archive(self, item: Wanted) -> OpenArchive:
        """The archive that an item is in. Raises ObjectNotFound, ArchiveInvalid, CorruptObject."""
        if self._archive is None or self._name != item.where:
            self.close()
            self._archive = await self._archives.open(item.bucket, item.key)
            self._name = item.where
        return self._archive

    def close(self) -> None:
        """Let go of the archive."""
        archive, self._archive, self._name = self._archive, None, None
        if archive is not None:
            archive.close()


class _Content(NamedTuple):
    """What one item consists of, opened."""

    size: int
    modified_s: int
    pieces: Iterator[bytes]
    stop: Callable[[], None]
    close: Callable[[], None]


class _Run:
    """One pass over what is wanted."""

    def __init__(
        self,
        engine: TargetEngine,
        shelf: _Shelf,
        writing: ArchiveWriting,
        *,
        continues: bool,
        announced: Sequence[Outcome],
    ) -> None:
        self._open = engine.open
        self._shelf = shelf
        self._writing = writing
        self._continues = continues
        self._announced = announced
        self._gathered: list[bytes] = []
        self._size = 0

    async def members(self, wanted: Sequence[Wanted]) -> AsyncGenerator[bytes, None]:
        """All items as members, in chunks of about CHUNK_BYTES."""
        try:
            for number, item in enumerate(wanted):
                try:
                    stored = None if item.member else self._open(item.where)
                except AisleError as error:
                    self._miss(number, item, error)
                    continue
                if stored is not None and stored.inline is not None and not (item.start or item.length):
                    # What most batches consist of: no thread, no task, nothing to close.
                    inline, written_ns = stored.inline, stored.record.written_ns
                    self._check(number, item, len(inline))
                    self._add(item.name, inline, written_ns // _NS_PER_S)
                else:
                    async with aclosing(self._other(number, item, stored)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                if self._size >= CHUNK_BYTES:
                    yield self._take()
                    await asyncio.sleep(0)
            yield self._take()
        finally:
            self._shelf.close()

    async def _other(self, number: int, item: Wanted, stored: Stored | None) -> AsyncGenerator[bytes, None]:
        """An item that is a file, a part, or a member of an archive; or that is not there."""
        try:
            content = await self._content(item, stored)
        except AisleError as error:
            self._miss(number, item, error)
            return
        try:
            self._check(number, item, content.size)
            if content.size <= CHUNK_BYTES:
                data = await in_thread(lambda: b"".join(content.pieces), content.stop)
                self._add(item.name, data, content.modified_s)
                return
            self._gather(self._writing.begin(item.name, content.size, content.modified_s))
            yield self._take()
            chunks = ThreadedChunks(content.pieces, stop=content.stop, close=_nothing)
            try:
                async for chunk in chunks:
                    yield self._writing.data(chunk)
            finally:
                await chunks.aclose()
            self._gather(self._writing.end())
        finally:
            content.close()

    async def _content(self, item: Wanted, stored: Stored | None) -> _Content:
        """Open an item. Raises ObjectNotFound, RangeNotSatisfiable, ArchiveInvalid, CorruptObject."""
        if item.member:
            archive = await self._shelf.archive(item)
            member = archive.member(item.member)
            span = item.span(member.size)
            pieces = archive.contents.pieces(member, span)
            return _Content(span.length, archive.modified_s, pieces, archive.stop, _nothing)
        if stored is None:
            raise ObjectNotFound(str(item))
        try:
            span = item.span(stored.record.size)
        except AisleError:
            stored.close()
            raise
        payload = PayloadBytes(stored, stored.record.size)
        modified_s = stored.record.written_ns // _NS_PER_S
        return _Content(span.length, modified_s, payload.pieces(span), payload.stop, stored.close)

    def _miss(self, number: int, item: Wanted, error: AisleError) -> None:
        """Note that an item is missing. Raises the reason unless the batch continues."""
        if not self._continues:
            raise error
        if self._announced and not isinstance(self._announced[number], AisleError):
            raise Conflict(f"{item} was removed or changed meanwhile") from error
        self._add(f"{MISSING_FOLDER}/{item.name}", b"", 0)

    def _check(self, number: int, item: Wanted, size: int) -> None:
        if self._announced and self._announced[number] != size:
            raise Conflict(f"{item} was changed meanwhile")

    def _add(self, name: str, content: bytes, modified_s: int) -> None:
        writing = self._writing
        self._gathered += (
            writing.begin(name, len(content), modified_s),
            writing.data(content),
            writing.end(),
        )
        self._size += len(content) + 512

    def _gather(self, data: bytes) -> None:
        self._gathered.append(data)
        self._size += len(data)

    def _take(self) -> bytes:
        taken = b"".join(self._gathered)
        self._gathered.clear()
        self._size = 0
        return taken


def _nothing() -> None:
    """Nothing needs to be closed."""
