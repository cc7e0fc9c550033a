"""Archives in buckets: opened, with what is in them known, and closed.

What was found in an archive is remembered by its generation, so that reading many members one by one
walks its headers once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from aisle.errors import ObjectNotFound
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Generation
from aisle.rules.archives import (
    MAGIC_BYTES,
    ArchiveFormat,
    ArchiveInvalid,
    Match,
    format_of_bytes,
    format_of_name,
    parse_format,
)
from aisle.rules.archives_tar import BLOCK_BYTES, END, padding, tar_header, tar_header_size
from aisle.storage.engine import StorageEngine, Stored
from aisle.target.archive_reading import ArchiveIndex, Contents, Member, PayloadBytes, index_archive
from aisle.target.in_threads import in_thread

REMEMBERED_MEMBERS_MAX: Final = 200_000
"""Members of all archives that a process remembers, some 250 bytes each."""
SCANS_MAX: Final = 2
"""Archives that a process looks through at the same time; others wait."""
AT_ONCE_MAX: Final = 5_000
"""Members that are looked through at once, which takes some milliseconds; more are left to a thread."""
_NS_PER_S: Final = 1_000_000_000


class Selected(NamedTuple):
    """Some files of an archive."""

    members: Sequence[Member]
    tar_size: int
    """How many bytes a tar of them has."""


class OpenArchive:
    """An archive, opened: its bytes stay readable until `close`, whatever becomes of the object."""

    def __init__(self, stored: Stored, index: ArchiveIndex, payload: PayloadBytes, name: str) -> None:
        self.stored = stored
        self.index = index
        self.contents = Contents(index, payload)
        self.modified_s = stored.record.written_ns // _NS_PER_S
        self._payload = payload
        self._name = name

    def member(self, name: str) -> Member:
        """The file of a name. Raises ObjectNotFound."""
        found = self.index.find(name)
        if found is None:
            raise ObjectNotFound(f"{name} in {self._name}")
        return found

    async def select(self, match: Match) -> "Selected":
        """The files whose names match, in the archive's order."""
        if len(self.index.members) <= AT_ONCE_MAX:
            return self._select(match)
        return await in_thread(lambda: self._select(match), self.stop)

    def _select(self, match: Match) -> "Selected":
        members = [member for member in self.index.members if match(member.name)]
        sizes = (tar_header_size(member.name, member.size) + _padded(member.size) for member in members)
        return Selected(members, len(END) + sum(sizes))

    async def in_order(self) -> Sequence[Member]:
        """All files in byte order of their names."""
        index = self.index
        if len(index.members) <= AT_ONCE_MAX:
            return index.in_order
        return await in_thread(lambda: index.in_order, self.stop)

    def as_tar(self, members: Sequence[Member]) -> Iterator[bytes]:
        """A tar of these files; to be iterated in a thread. Raises what `Contents.pieces` raises."""
        for member in members:
            yield tar_header(member.name, member.size, self.modified_s)
            yield from self.contents.pieces(member)
            yield padding(member.size)
        yield END

    def stop(self) -> None:
        """Make threads that read this archive give up soon."""
        self._payload.stop()

    def close(self) -> None:
        """Release the payload; no thread may be reading it."""
        self.stored.close()


class Archives:
    """The archives on this target."""

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine
        self._scanning = asyncio.Semaphore(SCANS_MAX)
        self._known: OrderedDict[tuple[Generation, ArchiveFormat], ArchiveIndex] = OrderedDict()
        self._members = 0

    async def open(self, bucket: BucketInfo, key: bytes, *, spoken: str = "") -> OpenArchive:
        """Open an archive; `spoken` is its format if a client names it.

        Raises ObjectNotFound, CorruptObject, BadRequest for an unknown format, and ArchiveInvalid for an
        object that is no archive or a damaged one.
        """
        name = display(bucket.bucket, key)
        stored = self._engine.open(ObjectName(bucket.number, key))
        if stored is None:
            raise ObjectNotFound(name)
        try:
            payload = PayloadBytes(stored, stored.record.size)
            format_ = parse_format(spoken) if spoken else format_of_name(key)
            if format_ is None:
                format_ = format_of_bytes(payload.read(0, MAGIC_BYTES))
            if format_ is None:
                raise ArchiveInvalid("it is not an archive")
            index = await self._index(stored, format_, payload)
        except ArchiveInvalid as error:
            stored.close()
            raise ArchiveInvalid(f"{name}: {error}") from error
        except BaseException:
            stored.close()
            raise
        return OpenArchive(stored, index, payload, name)

    async def _index(self, stored: Stored, format_: ArchiveFormat, payload: PayloadBytes) -> ArchiveIndex:
        key = (stored.record.generation, format_)
        known = self._known.get(key)
        if known is not None:
            self._known.move_to_end(key)
            return known
        # What lies in the index is at hand; reading a file, or unpacking, is not for the event loop.
        if stored.inline is not None and format_ in (ArchiveFormat.TAR, ArchiveFormat.ZIP):
            index = index_archive(format_, payload)
        else:
            async with self._scanning:
                known = self._known.get(key)
                if known is not None:
                    return known
                index = await in_thread(lambda: index_archive(format_, payload), payload.stop)
        self._remember(key, index)
        return index

    def _remember(self, key: tuple[Generation, ArchiveFormat], index: ArchiveIndex) -> None:
        if len(index.members) > REMEMBERED_MEMBERS_MAX or key in self._known:
            return
        self._known[key] = index
        self._members += len(index.members) + 1
        while self._members > REMEMBERED_MEMBERS_MAX:
            _, dropped = self._known.popitem(last=False)
            self._members -= len(dropped.members) + 1


def _padded(size: int) -> int:
    return size + -size % BLOCK_BYTES
