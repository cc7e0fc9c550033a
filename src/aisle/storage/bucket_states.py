"""Opening and closing buckets on all mountpaths, so that a crash anywhere leaves one answer.

Each mountpath has its own transactions. A bucket that must be empty is first marked as closing on each
mountpath in a transaction that finds it empty, then closed on each. After a crash one closed mountpath
means that all were found empty; none means that the bucket goes on.
"""

from collections.abc import Sequence

from aisle.errors import BucketNotEmpty, NotFound
from aisle.storage.disk import Disk
from aisle.storage.keys import SPACE_BYTES
from aisle.storage.transaction import (
    BUCKET_CLOSED,
    BUCKET_CLOSING,
    BUCKET_OPEN,
    BucketState,
    Group,
    decode_bucket,
)

_STATE_BYTES = 4096


def open_everywhere(disks: Sequence[Disk], bucket: bytes) -> None:
    """Make a bucket accept objects; harmless when it does.

    Raises NotFound for one that was closed, OutOfSpace and Unavailable.
    """
    for disk in disks:
        state = _state(disk, bucket)
        if state is not None and state.state == BUCKET_OPEN:
            continue
        if state is not None and state.state == BUCKET_CLOSED:
            raise NotFound(f"bucket number {int.from_bytes(bucket, 'big')} was closed")
        disk.headroom.require(_STATE_BYTES)
        _set(disk, bucket, BUCKET_OPEN)


def close_everywhere(disks: Sequence[Disk], bucket: bytes, *, only_if_empty: bool) -> None:
    """Close a bucket; harmless when it is.

    Raises BucketNotEmpty (and leaves it open) if any object exists and none may.
    """
    if only_if_empty:
        for number, disk in enumerate(disks):
            with disk.group() as group:
                empty = not _holds_objects(group, bucket)
                if empty:
                    _mark(group, bucket, BUCKET_CLOSING)
            if not empty:
                for earlier in disks[:number]:
                    _set(earlier, bucket, BUCKET_OPEN)
                raise BucketNotEmpty(str(int.from_bytes(bucket, "big")))
    for disk in disks:
        _set(disk, bucket, BUCKET_CLOSED)


def reconcile(disks: Sequence[Disk]) -> None:
    """Finish or undo what a crash left, and open buckets on mountpaths that were added."""
    states: dict[bytes, dict[int, int]] = {}
    for number, disk in enumerate(disks):
        with disk.tables.environment.begin(db=disk.tables.buckets) as transaction:
            for bucket, encoded in transaction.cursor():
                states.setdefault(bucket, {})[number] = decode_bucket(encoded).state
    for bucket, found in states.items():
        if BUCKET_CLOSED in found.values():
            wanted = BUCKET_CLOSED
        else:
            wanted = BUCKET_OPEN
        for number, disk in enumerate(disks):
            # A closed bucket that is unknown here was emptied and forgotten already.
            missing = BUCKET_CLOSED if wanted == BUCKET_CLOSED else None
            if found.get(number, missing) != wanted:
                _set(disk, bucket, wanted)


def _state(disk: Disk, bucket: bytes) -> BucketState | None:
    with disk.tables.environment.begin() as transaction:
        found = transaction.get(bucket, db=disk.tables.buckets)
    return decode_bucket(found) if found else None


def _set(disk: Disk, bucket: bytes, state: int) -> None:
    with disk.group() as group:
        _mark(group, bucket, state)


def _mark(group: Group, bucket: bytes, state: int) -> None:
    found = group.bucket(bucket)
    if found is None:
        # One never opened here has nothing to close.
        group.set_bucket(bucket, BucketState(state))
    else:
        found.state = state


def _holds_objects(group: Group, bucket: bytes) -> bool:
    with group.transaction.cursor(group.tables.objects) as cursor:
        return bool(cursor.set_range(bucket)) and cursor.key()[:SPACE_BYTES] == bucket
