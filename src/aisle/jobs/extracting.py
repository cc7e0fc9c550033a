"""Unpacking archives that a download has brought into a bucket: each file in them becomes an object.

An archive is unpacked when it is whole and its checksum was compared, from where it is stored, and it is
looked through before its first file is: one that has links or devices in it, or names that lead out of its
folder, is refused with nothing of it shown. Files become visible one by one, each whole; the archive goes
when all of them are there. Who is killed in between does it again, to the same names.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from aisle.errors import AisleError, BadRequest, BucketNotFound, Conflict, NotFound
from aisle.jobs.destination import Destination
from aisle.model.names import ObjectName, parse_object_key
from aisle.model.record import ANY, CUSTOM_BYTES_MAX, Condition, Record
from aisle.rules.archives import ArchiveInvalid, format_of_name
from aisle.rules.download_metadata import ORIGIN, without_bytes
from aisle.storage.engine import Stored
from aisle.target.archive_reading import (
    ArchiveIndex,
    Contents,
    Interrupted,
    Member,
    PayloadBytes,
    index_archive,
)
from aisle.target.in_threads import ThreadedChunks, in_thread
from aisle.target.objects import Incoming, TargetObjects

MEMBER: Final = "archpath"
"""What the custom metadata of an object calls the file of the archive that it was."""

_SMALL_BYTES: Final = 256 * 1024
_BATCH_FILES: Final = 64
_BATCH_BYTES: Final = 4 * 1024 * 1024
_PUTS_MAX: Final = 512
_PUT_BYTES_MAX: Final = 16 * 1024 * 1024


class Unpacked(NamedTuple):
    """What became of an archive."""

    files: int
    bytes: int


class StopExtracting(Exception):
    """The job has ended meanwhile."""


def is_unpacked(key: bytes) -> bool:
    """Whether an object of this name is an archive that can be unpacked."""
    return format_of_name(key) is not None


def member_key(folder: bytes, name: str) -> bytes:
    """The key of the object that a file of an archive becomes. Raises BadRequest for one that cannot be."""
    shown = f'"{name[:200]}"'
    if "\ufffd" in name:
        raise BadRequest(f"the name {shown} is not valid UTF-8")
    while name.startswith("./"):
        name = name[2:]
    if name.startswith("/") or {"..", ".", ""} & set(name.split("/")) or "\0" in name:
        raise BadRequest(f"{shown} would lead out of the folder of the archive, or names no file")
    return parse_object_key(folder + name.encode("utf-8", "surrogateescape"))


def _ignore(_key: bytes, _name: str, _record: Record) -> None:
    """Nobody wants to know of each object."""


class Extraction:
    """One archive being unpacked. `is_stopped` tells when to give up."""

    def __init__(
        self,
        destination: Destination,
        record: Record,
        *,
        since_ns: int,
        on_stored: Callable[[bytes, str, Record], None] = _ignore,
    ) -> None:
        """`record` is the archive's; `since_ns` is when the job began, in Unix nanoseconds.

        `on_stored` is told of each object: its key, its name in the archive, its record.
        """
        self._on_stored = on_stored
        self._bucket = destination.bucket
        self._engine = destination.engine
        self._objects = TargetObjects(destination.engine)
        self._record = record
        self._since_ns = since_ns

    async def run(self, key: bytes, *, is_stopped: Callable[[], bool]) -> Unpacked:
        """Unpack the archive and remove it.

        Raises ArchiveInvalid for one that is damaged or may not be unpacked, Conflict when it is not there
        any more or a file in it was in another one, StopExtracting, and what a put raises. An archive that
        cannot be unpacked is removed too; when it was stopped, the archive stays.
        """
        if is_stopped():
            raise StopExtracting
        name = ObjectName(self._bucket.number, key)
        stored = self._engine.open(name)
        if stored is None or stored.record.generation != self._record.generation:
            if stored is not None:
                stored.close()
            raise Conflict("the archive was removed or replaced before it was unpacked")
        try:
            unpacked = await self._unpack(stored, key, is_stopped)
        except Interrupted as error:
            raise StopExtracting from error
        except BucketNotFound:
            raise
        except AisleError:
            await self.drop(key)
            raise
        finally:
            stored.close()
        await self.drop(key)
        return unpacked

    async def drop(self, key: bytes) -> None:
        """Remove the archive, unless something else has its name by now."""
        condition = Condition(generation=self._record.generation)
        with suppress(NotFound, Conflict):
            await self._engine.remove(ObjectName(self._bucket.number, key), condition=condition)

    async def _unpack(self, stored: Stored, key: bytes, is_stopped: Callable[[], bool]) -> Unpacked:
        format_ = format_of_name(key)
        assert format_ is not None
        payload = PayloadBytes(stored, stored.record.size)
        index = await in_thread(lambda: index_archive(format_, payload, files_only=True), payload.stop)
        folder = key[: key.rfind(b"/") + 1]
        try:
            await in_thread(lambda: _check(index, folder), payload.stop)
        except BadRequest as error:
            raise ArchiveInvalid(str(error)) from error
        contents = Contents(index, payload)
        size = 0
        puts = _Puts()
        try:
            for batch in _batches(index.members):
                if is_stopped():
                    raise StopExtracting
                await self._put_batch(batch, folder, contents, puts)
                size += sum(member.size for member in batch)
            await puts.finish()
        finally:
            await puts.settle()
        return Unpacked(len(index.members), size)

    async def _put_batch(
        self, batch: Sequence[Member], folder: bytes, contents: Contents, puts: "_Puts"
    ) -> None:
        """Begin to store some small files, or store a large one."""
        if batch[0].size > _SMALL_BYTES:
            pieces = contents.pieces(batch[0])
            chunks = ThreadedChunks(pieces, stop=_nothing, close=_nothing)
            try:
                await self._put(batch[0], folder, _ChunkSource(chunks, batch[0].size))
            finally:
                await chunks.aclose()
            return
        bodies = await in_thread(lambda: [b"".join(contents.pieces(member)) for member in batch], _nothing)
        for member, body in zip(batch, bodies, strict=True):
            await puts.add(self._put(member, folder, _WholeSource(body)), len(body))

    async def _put(self, member: Member, folder: bytes, source: "_ChunkSource | _WholeSource") -> None:
        custom = without_bytes(self._record.attributes.custom)
        custom[MEMBER] = _one_line(member.name)
        if sum(len(key.encode()) + len(value.encode()) for key, value in custom.items()) > CUSTOM_BYTES_MAX:
            del custom[MEMBER]
        own = member_key(folder, member.name)
        incoming = Incoming(custom=custom, condition=lambda present: self._may_replace(present, own))
        self._on_stored(own, member.name, await self._objects.put(self._bucket, own, source, incoming))

    def _may_replace(self, present: Record | None, key: bytes) -> Condition:
        """Raise Conflict for an object that the same job has unpacked from another archive."""
        if present is None or present.written_ns < self._since_ns:
            return ANY
        origin = present.attributes.custom.get(ORIGIN)
        if MEMBER in present.attributes.custom and origin != self._record.attributes.custom.get(ORIGIN):
            shown = key.decode("utf-8", "backslashreplace")
            raise Conflict(f'"{shown}" is in another archive of the job too, {origin}')
        return ANY


class _Puts:
    """Files that are being stored: many at a time, because their commits share flushes."""

    def __init__(self) -> None:
        self._running: dict[asyncio.Task[None], int] = {}
        self._bytes = 0
        self._failed: BaseException | None = None

    async def add(self, put: Coroutine[object, object, None], size: int) -> None:
        """Begin another one as soon as there is room. Raises what an earlier one raised."""
        self._running[asyncio.create_task(put)] = size
        self._bytes += size
        while len(self._running) >= _PUTS_MAX or self._bytes >= _PUT_BYTES_MAX:
            await self._next()
        self._check()

    async def finish(self) -> None:
        """Wait for all. Raises what one of them raised."""
        await self.settle()
        self._check()

    async def settle(self) -> None:
        """Wait until none runs, whatever becomes of them."""
        while self._running:
            await self._next()

    async def _next(self) -> None:
        done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            self._bytes -= self._running.pop(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self._failed = self._failed or error

    def _check(self) -> None:
        if self._failed is not None:
            raise self._failed


class _WholeSource:
    """Bytes that are here, as a ByteSource."""

    def __init__(self, body: bytes) -> None:
        self.length: int | None = len(body)
        self._body = body

    def buffered(self) -> bytes | None:
        """All of them."""
        return self._body

    async def read(self) -> bytes:
        """All of them, once."""
        body, self._body = self._body, b""
        return body


class _ChunkSource:
    """Bytes that are unpacked as they are asked for, as a ByteSource."""

    def __init__(self, chunks: ThreadedChunks, length: int) -> None:
        self.length: int | None = length
        self._chunks = chunks

    def buffered(self) -> bytes | None:
        """Never all of them."""
        return None

    async def read(self) -> bytes:
        """The next bytes, empty at the end."""
        return await anext(self._chunks, b"")


def _one_line(name: str) -> str:
    """A name as custom metadata can hold it: with escapes for control characters."""
    return "".join(sign if sign >= " " and sign != "\x7f" else f"\\x{ord(sign):02x}" for sign in name)


def _check(index: ArchiveIndex, folder: bytes) -> None:
    """Raise BadRequest if a file cannot become an object, or two would become one."""
    keys = {member_key(folder, member.name) for member in index.members}
    if len(keys) != len(index.members):
        raise BadRequest("two of its files would become one object")


def _batches(members: Sequence[Member]) -> Iterator[Sequence[Member]]:
    """Files in the archive's order: large ones alone, small ones together."""
    batch: list[Member] = []
    size = 0
    for member in members:
        if batch and (
            member.size > _SMALL_BYTES or size + member.size > _BATCH_BYTES or len(batch) >= _BATCH_FILES
        ):
            yield batch
            batch, size = [], 0
        if member.size > _SMALL_BYTES:
            yield [member]
        else:
            batch.append(member)
            size += member.size
    if batch:
        yield batch


def _nothing() -> None:
    """Threads that read some files of an archive are short, and it stays open for more of them."""
