"""What the committer does between groups: old files, closed buckets, dead readers.

A chore does a little at a time, because operations wait meanwhile. What may block on the disk is done by
a thread; the index is changed by the committer's own thread only.
"""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import lmdb

from aisle.errors import CorruptObject, OutOfSpace, Unavailable
from aisle.storage import keys, uploads
from aisle.storage.copies import COPIES, copy_index
from aisle.storage.disk import Disk
from aisle.storage.generation import payload_path
from aisle.storage.scan import IndexScan
from aisle.storage.sync import Durability
from aisle.storage.tables import removed_generation, time_to_unlink
from aisle.storage.transaction import BUCKET_CLOSED, Group, decode_bucket

REMOVED_MAX = 1_000
"""Files unlinked, and entries deleted, at a time."""
PURGED_MAX = 500
"""Objects of a closed bucket deleted in one transaction."""

_log = logging.getLogger(__name__)

_POLL_S = 0.02
_IDLE_S = 1.0
_RETRY_S = 60.0
"""After a disk has let go of nothing."""


class Chore(Protocol):
    """Something to do between groups."""

    def step(self) -> float:
        """Do a little; after how many seconds to call again."""


class UnlinkRemoved:
    """Unlinks payload files that nothing has referred to for long enough. One per mountpath."""

    def __init__(
        self, disk: Disk, executor: ThreadPoolExecutor, clock: Callable[[], int], *, durability: Durability
    ) -> None:
        self._disk = disk
        self._executor = executor
        self._clock = clock
        self._durability = durability
        self._unlinking: Future[set[Path]] | None = None
        self._due: list[bytes] = []

    def step(self) -> float:
        """Have files unlinked, or forget those that were."""
        if self._unlinking is None:
            self._due = self._find_due()
            if not self._due:
                return _IDLE_S
            files = [self._file(key) for key in self._due]
            self._unlinking = self._executor.submit(_unlink, files, self._durability)
            return _POLL_S
        if not self._unlinking.done():
            return _POLL_S
        left = self._unlinking.result()
        self._unlinking = None
        try:
            with self._disk.group() as group:
                for key in self._due:
                    if self._file(key) not in left:
                        group.transaction.delete(key, db=group.tables.removed)
        except (OutOfSpace, Unavailable):
            return _IDLE_S  # the files are unlinked; once more does no harm
        if len(left) == len(self._due):
            return _RETRY_S
        return 0.0 if len(self._due) == REMOVED_MAX else _IDLE_S

    def _file(self, key: bytes) -> Path:
        return self._disk.mountpath.path / payload_path(removed_generation(key))

    def _find_due(self) -> list[bytes]:
        behind = time_to_unlink(self._clock() + 1)
        due: list[bytes] = []
        with self._disk.tables.environment.begin(db=self._disk.tables.removed) as transaction:
            for key in transaction.cursor().iternext(values=False):
                if key >= behind or len(due) == REMOVED_MAX:
                    break
                due.append(key)
        return due


def _unlink(files: Sequence[Path], durability: Durability) -> set[Path]:
    """Unlink files; those that a disk does not let go of for good."""
    left: set[Path] = set()
    for file in files:
        try:
            os.unlink(file)
        except FileNotFoundError:
            pass  # unlinked before a crash
        except OSError as error:
            _log.warning("%s cannot be unlinked: %s", file, error.strerror)
            left.add(file)
    # Else a power cut brings files back that the index has forgotten, and a repair takes them up again.
    for folder in {file.parent for file in files}:
        try:
            durability.sync_folder(str(folder))
        except FileNotFoundError:
            pass
        except OSError as error:
            _log.warning("what was unlinked in %s may come back: %s", folder, error.strerror)
            left.update(file for file in files if file.parent == folder)
    return left


class PurgeBuckets:
    """Deletes what closed buckets hold. One per mountpath."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def step(self) -> float:
        """Delete some objects of a closed bucket, or forget one that is empty."""
        bucket = self._closed_bucket()
        if bucket is None:
            return _IDLE_S
        scan = IndexScan(self._disk.tables, bucket, prefix=b"", after=b"", delimiter=b"")
        names = [entry.key for entry in scan.take(PURGED_MAX)]
        try:
            with self._disk.group() as group:
                state = group.bucket(bucket)
                assert state is not None
                for name in names:
                    group.delete(bucket + name, state)
                if not names:
                    _forget_uploads(group, bucket)
                    group.set_bucket(bucket, None)
        except (OutOfSpace, Unavailable, CorruptObject):
            return _IDLE_S
        return 0.0

    def _closed_bucket(self) -> bytes | None:
        with self._disk.tables.environment.begin(db=self._disk.tables.buckets) as transaction:
            for bucket, encoded in transaction.cursor():
                if decode_bucket(encoded).state == BUCKET_CLOSED:
                    return bucket
        return None


def _forget_uploads(group: Group, bucket: bytes) -> None:
    number = int.from_bytes(bucket[: keys.SPACE_BYTES], "big")
    found = [uploads.decode_upload(encoded) for _, encoded in group.transaction.cursor(group.tables.uploads)]
    for upload in found:
        if upload.bucket == number:
            uploads.forget(group, upload.id)


class CheckReaders:
    """Frees what readers that died in the middle of a read hold on to."""

    def __init__(self, disks: Sequence[Disk], interval_s: float) -> None:
        self._disks = disks
        self._interval_s = interval_s

    def step(self) -> float:
        """Check all mountpaths."""
        for disk in self._disks:
            try:
                disk.check_readers()
            except lmdb.Error:
                pass  # next time
        return self._interval_s


class CopyIndexes:
    """Keeps a copy of each mountpath's index on another mountpath, renewed every so often."""

    def __init__(self, disks: Sequence[Disk], executor: ThreadPoolExecutor, interval_s: float) -> None:
        self._disks = disks
        self._executor = executor
        self._interval_s = interval_s
        self._copying: Future[None] | None = None
        self._started = False

    def step(self) -> float:
        """Have all indexes copied, then wait for the next time."""
        if not self._started:
            # The first copy does not compete with the start.
            self._started = True
            return self._interval_s
        if self._copying is None:
            self._copying = self._executor.submit(self._copy)
        elif self._copying.done():
            self._copying.result()
            self._copying = None
            return self._interval_s
        return _IDLE_S

    def _copy(self) -> None:
        for disk, keeper in zip(self._disks, [*self._disks[1:], self._disks[0]], strict=True):
            folder = keeper.mountpath.path / COPIES
            try:
                copy_index(disk.mountpath, folder, environment=disk.tables.environment)
            except (lmdb.Error, OSError) as error:
                _log.warning("no copy of the index of %s: %s", disk.mountpath.path, error)
