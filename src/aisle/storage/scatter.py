"""Objects that are not where placement wants them, because the set of mountpaths changed.

Each mountpath has transactions of its own, so what concerns two of them happens in two steps. The order
of the steps keeps one rule: an older copy is never the only one, and never on the owner, when a reader
could take it for the object. Of several copies the highest sequence counts.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from aisle.errors import ConditionFailed
from aisle.model.record import Generation, Record, decode_record
from aisle.rules import placement
from aisle.storage import keys, uploads
from aisle.storage.conditions import require
from aisle.storage.disk import Disk
from aisle.storage.messages import (
    Amend,
    Answer,
    CompleteUpload,
    Failure,
    OnMountpath,
    Put,
    Remove,
    condition_of,
    failure_of,
)
from aisle.storage.operations import Request, apply
from aisle.storage.transaction import Group, decode_bucket

SETTLED_KEY = b"settled"
"""In the `state` table: the ids of the mountpaths between which nothing is misplaced."""
_MOVING = b"moving"
_ADDED_BYTES = 16 * 1024

_encode_names = msgspec.msgpack.Encoder().encode
_decode_names = msgspec.msgpack.Decoder(list[bytes]).decode


class Holder(NamedTuple):
    """A mountpath that has a copy of an object."""

    disk: Disk
    record: Record


class Scatter:
    """What the committer knows about objects that lie elsewhere than on their owners."""

    def __init__(self, disks: Sequence[Disk]) -> None:
        self._disks = disks
        self._digests = [placement.digest(disk.mountpath.id.encode()) for disk in disks]
        self._fingerprint = " ".join(disk.mountpath.id for disk in disks).encode()
        self.moving: dict[bytes, Disk] = {}
        """Names that were copied to this owner and have their old copies still."""
        self._undropped: dict[bytes, Disk] = {}
        """Names that were written on this mountpath and whose older copies could not be dropped."""
        self._finish_moves()
        self.is_settled = all(map(self._is_settled, disks))
        """Whether every object lies on its owner, for sure."""
        if not self.is_settled and (len(disks) == 1 or not any(map(_has_objects, disks))):
            self.settle()

    def owner(self, packed: bytes) -> Disk:
        """The mountpath that a name belongs on."""
        return self._disks[placement.owner(placement.digest(packed), self._digests)]

    def settle(self) -> None:
        """Record that every object lies on its owner. Raises OutOfSpace and Unavailable."""
        for disk in self._disks:
            with disk.group() as group:
                group.transaction.put(SETTLED_KEY, self._fingerprint, db=group.tables.state)
        self.is_settled = True

    def holder(self, packed: bytes) -> Holder | None:
        """Who has the object; copies that are older than the newest are dropped first.

        Raises OutOfSpace and Unavailable.
        """
        owner = self.owner(packed)
        found = [
            Holder(disk, record)
            for disk in self._disks
            if (record := current_record(disk, packed)) is not None
        ]
        # Of equal copies (one being moved) the owner's stays.
        found.sort(key=lambda holder: (holder.record.sequence, holder.disk is owner), reverse=True)
        for stale in found[1:]:
            with stale.disk.group() as group:
                drop_copy(group, packed, stale.record)
        if len(found) > 1:
            self.moving.pop(packed, None)
        self._undropped.pop(packed, None)
        return found[0] if found else None

    def keep_moving(self, group: Group, disk: Disk, packed_names: Sequence[bytes]) -> None:
        """Record in a group on `disk` which names may have copies elsewhere once it is committed.

        After a crash in between, the next committer drops those before it serves anybody.
        """
        doubled = (*self.moving.items(), *self._undropped.items())
        names = [packed for packed, owner in doubled if owner is disk]
        group.transaction.put(_MOVING, _encode_names([*names, *packed_names]), db=group.tables.state)

    def execute(
        self,
        request: Request,
        packed: bytes,
        holder: Holder | None,
        *,
        undelivered: Sequence[tuple[Generation, Answer]] = (),
    ) -> Answer:
        """Execute an operation on a name that lies, or will lie, elsewhere than on its owner.

        `holder` has its only copy; `undelivered` answers are kept with its own. Raises OutOfSpace and
        Unavailable.
        """
        operation = request.operation
        assert isinstance(operation, OnMountpath)
        where = self._disks[operation.mountpath]
        if holder is not None and isinstance(operation, Amend | Remove):
            # What is there is changed where it is; what is new goes where it was sent.
            where = holder.disk
        elsewhere = holder if holder and holder.disk is not where else None
        if elsewhere is not None:
            assert isinstance(operation, Put | CompleteUpload)
            try:
                require(condition_of(operation.expect, operation.generation), elsewhere.record.generation)
            except ConditionFailed as error:
                return failure_of(error)
            last = elsewhere.record.attributes.version
            operation = msgspec.structs.replace(operation, expect=0, generation=None, replaced_version=last)
        if not isinstance(operation, Remove):
            where.headroom.require(len(request.payload) + _ADDED_BYTES)
        answers: list[tuple[Generation, Answer]] = [*undelivered]
        with where.group(answers) as group:
            answer = apply(group, msgspec.structs.replace(request, operation=operation))
            answers.append((operation.id, answer))
            if elsewhere is not None and not isinstance(answer, Failure):
                bucket = group.open_bucket(packed[: keys.SPACE_BYTES])
                bucket.extra_objects += 1
                bucket.extra_bytes += elsewhere.record.size
                self.keep_moving(group, where, [packed])
        if elsewhere is not None and not isinstance(answer, Failure):
            self._undropped[packed] = where
            self.holder(packed)
        return answer

    def packed_name(self, operation: OnMountpath) -> bytes | None:
        """The name that an operation changes, None if it changes no object."""
        return _packed(operation, self._disks[operation.mountpath])

    def _is_settled(self, disk: Disk) -> bool:
        with disk.tables.environment.begin() as transaction:
            return transaction.get(SETTLED_KEY, db=disk.tables.state) == self._fingerprint

    def _finish_moves(self) -> None:
        """Drop old copies that a crash left behind, so that nothing counts twice."""
        for disk in self._disks:
            with disk.tables.environment.begin(db=disk.tables.state) as transaction:
                found = transaction.get(_MOVING)
            if found is not None:
                for packed in _decode_names(found):
                    self.holder(packed)
                with disk.group() as group:
                    group.transaction.delete(_MOVING, db=group.tables.state)
        _forget_extra(self._disks)


def _forget_extra(disks: Sequence[Disk]) -> None:
    """Forget what was counted twice, now that nothing has two copies any more.

    Buckets that it sums to zero for are left alone, which is all of them unless a disk was lost: the
    mountpaths forget one after the other, and in between whoever counts would miss objects.
    """
    sums: dict[bytes, list[int]] = {}
    for disk in disks:
        with disk.tables.environment.begin(db=disk.tables.buckets) as transaction:
            for bucket, encoded in transaction.cursor():
                state = decode_bucket(encoded)
                found = sums.setdefault(bucket, [0, 0])
                found[0] += state.extra_objects
                found[1] += state.extra_bytes
    wrong = [bucket for bucket, found in sums.items() if any(found)]
    if not wrong:
        return
    for disk in disks:
        with disk.group() as group:
            for bucket in wrong:
                known = group.bucket(bucket)
                if known is not None:
                    known.extra_objects = known.extra_bytes = 0


def current_record(disk: Disk, packed: bytes) -> Record | None:
    """The committed record of a name on one mountpath. Raises CorruptObject."""
    with disk.tables.environment.begin() as transaction:
        key = keys.find(transaction, disk.tables.objects, packed)
        found = transaction.get(key, db=disk.tables.objects) if key else None
    try:
        return decode_record(found) if found else None
    except msgspec.MsgspecError as error:
        raise disk.reason(error) from error


def drop_copy(group: Group, packed: bytes, record: Record) -> None:
    """Drop a copy, `record`, of an object that another mountpath has; whatever its bucket's state."""
    bucket = group.bucket(packed[: keys.SPACE_BYTES])
    if bucket is not None and group.delete(packed, bucket):
        bucket.extra_objects -= 1
        bucket.extra_bytes -= record.size


def _has_objects(disk: Disk) -> bool:
    with disk.tables.environment.begin() as transaction:
        tables = disk.tables
        return any(transaction.stat(table)["entries"] for table in (tables.objects, tables.uploads))


def _packed(operation: OnMountpath, disk: Disk) -> bytes | None:
    if isinstance(operation, Put | Remove | Amend):
        return operation.key
    if isinstance(operation, CompleteUpload):
        with disk.tables.environment.begin() as transaction:
            found = transaction.get(operation.upload.encode(), db=disk.tables.uploads)
        if found is not None:
            upload = uploads.decode_upload(found)
            return keys.pack_bucket(upload.bucket) + upload.key
    return None
