"""The mountpaths as a process that only reads their indexes holds them."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TypeVar

import lmdb

from aisle.errors import AisleError, CorruptObject, Unavailable
from aisle.model.record import Files, Generation, Inline, Record, decode_record
from aisle.rules import placement
from aisle.storage import keys
from aisle.storage.drafts import DraftPlace
from aisle.storage.engine import Held, OpenSegment
from aisle.storage.filesystem import boot_id
from aisle.storage.layout import Mountpath
from aisle.storage.reading import (
    DAMAGED,
    LocalStored,
    PayloadFileMissing,
    are_whole,
    open_segments,
    read_small,
)
from aisle.storage.tables import IndexTables, open_index
from aisle.storage.transaction import load_order
from aisle.storage.volatile import open_volatile

_ATTEMPTS_MAX = 100

Value = TypeVar("Value")

VERIFIED_BYTES_MAX = 16 * 1024 * 1024
"""A payload that a power cut may have damaged is checked at once, while others wait, up to this size."""


class ReadDisk:
    """One mountpath: its index for reading, and where this process writes payloads."""

    def __init__(self, number: int, mountpath: Mountpath, place: DraftPlace, *, map_size_bytes: int) -> None:
        self.number = number
        """Its place in the order of ids, which is how the committer knows it."""
        self.mountpath = mountpath
        self.folder = str(mountpath.path)
        self.place = place
        self.tables = open_index(mountpath.path, writable=False, map_size_bytes=map_size_bytes)
        self.access_times = open_volatile(mountpath.path, writable=False)
        self._begin = self.tables.environment.begin
        self._boot_id = boot_id()
        self._verified: set[Generation] = set()

    def open(self, packed: bytes) -> LocalStored | None:
        """The current generation here, or None. Raises CorruptObject."""
        seen: Generation | None = None
        while True:
            transaction, tables = self._begin(), self.tables
            try:
                key: bytes | None = packed
                if len(packed) > keys.DIRECT_BYTES_MAX:
                    key = keys.find(transaction, tables.objects, packed)
                encoded = transaction.get(key, None, tables.objects) if key else None
                if encoded is None:
                    return None
                record = decode_record(encoded)
                payload = record.payload
                if type(payload) is Inline:
                    small = read_small(transaction, tables.small, record.generation, payload)
                    return LocalStored(small, (), record)
                assert isinstance(payload, Files)
            finally:
                transaction.abort()
            try:
                opened = open_segments(self.mountpath.path, payload.segments)
                if record.boot_id and record.boot_id != self._boot_id:
                    self._require_whole(record, payload, opened)
                return LocalStored(None, opened, record)
            except PayloadFileMissing as error:
                # Replaced between look-up and opening? Only the same record again means damage.
                if seen == record.generation:
                    raise CorruptObject(f"the payload of generation {seen.hex()} is missing") from error
                seen = record.generation

    def look_up(self, packed: bytes) -> Record | None:
        """The current generation's record here, or None."""
        with self.tables.environment.begin() as transaction:
            key = packed
            if len(key) > keys.DIRECT_BYTES_MAX:
                found = keys.find(transaction, self.tables.objects, packed)
                if found is None:
                    return None
                key = found
            encoded = transaction.get(key, None, self.tables.objects)
            return None if encoded is None else decode_record(encoded)

    def _require_whole(self, record: Record, payload: Files, opened: Sequence[OpenSegment]) -> None:
        """Check a payload that was not synced before the machine went down, once per process.

        Raises CorruptObject, or Unavailable for a large one that the committer has yet to check.
        """
        if record.generation in self._verified:
            return
        try:
            if record.boot_id != DAMAGED and record.size > VERIFIED_BYTES_MAX:
                raise Unavailable(
                    "the object was not synced before the machine went down, and is being checked"
                )
            if record.boot_id == DAMAGED or not are_whole(self.mountpath.path, payload.segments):
                raise CorruptObject(f"a power cut damaged generation {record.generation.hex()}")
        except AisleError:
            for segment in opened:
                os.close(segment.fd)
            raise
        self._verified.add(record.generation)

    def close(self) -> None:
        """Release the mountpath."""
        self.tables.close()
        self.access_times.close()


class ReadDisks:
    """All mountpaths, and who of them owns a name."""

    def __init__(self, disks: Sequence[ReadDisk]) -> None:
        self._disks = disks
        self._only = disks[0] if len(disks) == 1 else None
        self._digests = [placement.digest(disk.mountpath.id.encode()) for disk in disks]
        self._by_id = {disk.mountpath.id: disk for disk in disks}

    def __iter__(self) -> Iterator[ReadDisk]:
        return iter(self._disks)

    def owner(self, packed: bytes) -> ReadDisk:
        """The mountpath that owns a packed name."""
        if self._only is not None:
            return self._only
        return self._disks[placement.owner(placement.digest(packed), self._digests)]

    def at_once(self, read: Callable[[lmdb.Transaction, IndexTables], Value]) -> list[Value]:
        """What all indexes say at one moment, in which none of them changed.

        What moves from one to another would else be seen at both, or at none. If they change without a
        pause, what they said one after the other must do.
        """
        environments = [disk.tables.environment for disk in self._disks]
        values: list[Value] = []
        for _ in range(_ATTEMPTS_MAX):
            with ExitStack() as stack:
                begun = [stack.enter_context(environment.begin()) for environment in environments]
                # What nobody has changed since its snapshot was taken is what it was when the last one was.
                is_one_moment = all(
                    environment.info()["last_txnid"] == transaction.id()
                    for environment, transaction in zip(environments, begun, strict=True)
                )
                values = [
                    read(transaction, disk.tables)
                    for transaction, disk in zip(begun, self._disks, strict=True)
                ]
            if is_one_moment:
                break
        return values

    def by_id(self, ident: str) -> ReadDisk | None:
        """The mountpath of that id."""
        return self._by_id.get(ident)

    def opener(self) -> Callable[[bytes], LocalStored | None]:
        """What `open` comes down to."""
        return self._only.open if self._only is not None else self.open

    def open(self, packed: bytes) -> LocalStored | None:
        """The current generation wherever it lies, or None. Raises CorruptObject."""
        if self._only is not None:
            return self._only.open(packed)
        for disk in self._places(packed):
            stored = disk.open(packed)
            if stored is not None:
                return stored
        return None

    def place(self) -> int:
        """How far the committer's order has come; what is acknowledged by now is not behind it."""
        return max(load_order(disk.tables).sequence for disk in self._disks)

    def look_up(self, packed: bytes) -> Held | None:
        """What is held under a packed name, wherever it lies."""
        if self._only is not None:
            record = self._only.look_up(packed)
            return Held(record, self._only.folder) if record else None
        for disk in self._places(packed):
            record = disk.look_up(packed)
            if record is not None:
                return Held(record, disk.folder)
        return None

    def _places(self, packed: bytes) -> Iterator[ReadDisk]:
        """Where to look for a name: at its owner, which nearly always has it, then at the others."""
        digest = placement.digest(packed)
        owner = placement.owner(digest, self._digests)
        yield self._disks[owner]
        for number in placement.ranking(digest, self._digests)[1:]:
            yield self._disks[number]
        # The owner once more: what is moved there meanwhile leaves its old place later.
        yield self._disks[owner]
