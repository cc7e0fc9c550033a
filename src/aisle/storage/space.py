"""How full the mountpaths are, and what lies on each that could go: for whoever makes room.

Read-only, so that any process may ask. What walks through files or many records says so: it belongs into a
thread, or is taken in small pieces.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from aisle.model.names import ObjectName
from aisle.model.record import Record, decode_record
from aisle.rules.eviction import Usage
from aisle.storage import keys
from aisle.storage.engine import BucketCounts
from aisle.storage.generation import payload_path
from aisle.storage.headroom import KEPT_BYTES
from aisle.storage.read_disk import ReadDisk, ReadDisks
from aisle.storage.scan import IndexScan
from aisle.storage.tables import PAGE_BYTES, TABLES, removed_generation
from aisle.storage.transaction import decode_bucket, load_order

_BLOCK_BYTES = 512
"""The unit in which `stat` counts blocks."""


class Aged(NamedTuple):
    """An object on a mountpath, and when it was last used."""

    key: bytes
    record: Record
    used_ns: int
    """Coarse, Unix nanoseconds; 0 if nothing is known of it."""


class CacheSpace(Protocol):
    """What is asked about the space of a target's mountpaths, which are named by their folders."""

    def mountpaths(self) -> list[str]:
        """All of them."""

    def usage(self, mountpath: str) -> Usage:
        """How full its file system is; nothing about what is leaving or reusable. Raises OSError."""

    def usage_in_detail(self, mountpath: str) -> Usage:
        """The same with what counts as free. Looks at files that are to be unlinked, for a thread.

        Raises OSError.
        """

    def mountpath_of(self, name: ObjectName) -> str:
        """Where an object of that name is, or would be, put."""

    def counts(self, mountpath: str, bucket: int) -> BucketCounts:
        """What a mountpath holds of a bucket; exact."""

    def last_sequence(self, mountpath: str) -> int:
        """The committer's order: no record of the mountpath has a higher one than this, now."""

    def aged(self, mountpath: str, bucket: int, *, after: bytes, limit: int) -> list[Aged]:
        """At most `limit` objects of a bucket on a mountpath whose names follow `after`, in byte order."""


class LocalSpace:
    """CacheSpace over disks."""

    def __init__(self, disks: ReadDisks) -> None:
        self._disks = disks
        self._by_folder = {disk.folder: disk for disk in disks}

    def mountpaths(self) -> list[str]:
        """All mountpaths."""
        return list(self._by_folder)

    def usage(self, mountpath: str) -> Usage:
        """How full the file system is, as `df` counts. Raises OSError."""
        status = os.statvfs(mountpath)
        used = (status.f_blocks - status.f_bfree) * status.f_frsize
        return Usage(used + status.f_bavail * status.f_frsize, used)

    def usage_in_detail(self, mountpath: str) -> Usage:
        """The same with what counts as free. Raises OSError."""
        disk = self._by_folder[mountpath]
        leaving = sum(map(_allocated, _removed_files(disk)))
        return self.usage(mountpath)._replace(leaving=leaving, reusable=_free_pages_bytes(disk))

    def reusable(self, mountpath: str) -> int:
        """Bytes of the index's own free pages, which small objects can take. Raises OSError."""
        return _free_pages_bytes(self._by_folder[mountpath])

    def mountpath_of(self, name: ObjectName) -> str:
        """Where an object of that name is, or would be, put."""
        return self._disks.owner(keys.pack(name)).folder

    def counts(self, mountpath: str, bucket: int) -> BucketCounts:
        """What a mountpath holds of a bucket."""
        tables = self._by_folder[mountpath].tables
        with tables.environment.begin() as transaction:
            found = transaction.get(keys.pack_bucket(bucket), db=tables.buckets)
        if found is None:
            return BucketCounts(0, 0)
        state = decode_bucket(found)
        return BucketCounts(state.objects, state.bytes)

    def last_sequence(self, mountpath: str) -> int:
        """No record of the mountpath has a higher one than this, now."""
        return load_order(self._by_folder[mountpath].tables).sequence

    def aged(self, mountpath: str, bucket: int, *, after: bytes, limit: int) -> list[Aged]:
        """At most `limit` objects of a bucket on a mountpath whose names follow `after`.

        Of one that lies elsewhere than on its owner, as after a change of the mountpaths, the use is not
        known.
        """
        disk, packed = self._by_folder[mountpath], keys.pack_bucket(bucket)
        entries = IndexScan(disk.tables, packed, prefix=b"", after=after, delimiter=b"").take(limit)
        used = disk.access_times.many_ns([packed + entry.key for entry in entries])
        return [
            Aged(entry.key, decode_record(entry.encoded), used_ns)
            for entry, used_ns in zip(entries, used, strict=True)
            if entry.encoded is not None
        ]


def _removed_files(disk: ReadDisk) -> Iterator[Path]:
    """The files of a mountpath that nothing refers to and that have yet to be unlinked."""
    with disk.tables.environment.begin(db=disk.tables.removed) as transaction:
        removed = list(transaction.cursor().iternext(values=False))
    for key in removed:
        yield disk.mountpath.path / payload_path(removed_generation(key))


def _allocated(file: Path) -> int:
    try:
        return os.stat(file).st_blocks * _BLOCK_BYTES
    except OSError:
        return 0  # unlinked meanwhile


def _free_pages_bytes(disk: ReadDisk) -> int:
    """Pages of the index that no table uses, without those that are kept for deletes."""
    environment = disk.tables.environment
    with environment.begin() as transaction:
        stats = [environment.stat(), *(transaction.stat(getattr(disk.tables, name)) for name in TABLES)]
    taken = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
    allocated = _allocated(disk.mountpath.path / "index" / "data.mdb")
    return max(0, allocated - taken * PAGE_BYTES - KEPT_BYTES)
