"""Moving objects to the mountpaths that own them, after the set of mountpaths changed.

A pass walks every index. What lies elsewhere than on its owner is copied there: payload files first, by a
thread, verified and synced; then the record, in the owner's own transaction; a little later the old copy
is dropped. Until a pass has found nothing to move, readers that miss an object on its owner look on the
other mountpaths, and changes look there too.

The pause before the drop is for listings, which read one mountpath after the other: a name must not leave
the one before it could be seen on the other.
"""

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import NamedTuple

import msgspec
import xxhash

from aisle.errors import CorruptObject, OutOfSpace, Unavailable
from aisle.model.record import Inline, Record, Segment, decode_record
from aisle.storage import keys, uploads
from aisle.storage.disk import Disk
from aisle.storage.filesystem import free_bytes
from aisle.storage.generation import COMMITTER_INCARNATION, draft_folder, payload_folder, payload_path
from aisle.storage.scan import IndexScan
from aisle.storage.scatter import Scatter, current_record, drop_copy
from aisle.storage.sweep import References, sweep_draft
from aisle.storage.sync import Durability
from aisle.storage.transaction import BUCKET_CLOSED, PIECE_SUFFIXES, decode_bucket

BATCH_OBJECTS = 256
BATCH_BYTES = 64 * 1024 * 1024
LINGER_S = 2.0
"""Far longer than any listing takes from its first mountpath to its last."""
LINGERING_MAX = 16
"""Batches that wait for that."""
COPIED_BYTES_PER_S = 200 * 1024 * 1024
RETRY_S = 60.0
"""After a pass that could not move everything."""

_WALKED = 256  # names ranked at a time: operations wait meanwhile
_COPIED_BYTES = 1024 * 1024
_POLL_S = 0.02

_log = logging.getLogger(__name__)


class Misplaced(NamedTuple):
    """An object that its mountpath does not own."""

    packed: bytes
    record: Record
    owner: Disk
    pieces: list[bytes]


class Lingering(NamedTuple):
    """Objects with two copies, the old ones on `disk` to be dropped at `due_s`."""

    due_s: float
    disk: Disk
    objects: list[Misplaced]


class Resilver:
    """Moves what is misplaced on all mountpaths; settles the node when nothing is. One per committer."""

    def __init__(
        self,
        disks: Sequence[Disk],
        scatter: Scatter,
        *,
        executor: ThreadPoolExecutor,
        durability: Durability,
        swept: Sequence["Future[int]"] = (),
    ) -> None:
        """`swept` are done when nothing is left of what an earlier committer was copying.

        Before that, what is copied again would be swept with it.
        """
        self._swept = swept
        self._disks = disks
        self._scatter = scatter
        self._executor = executor
        self._durability = durability
        self._lingering: deque[Lingering] = deque()
        self._failed = 0
        """What this pass could not move."""
        self._stopping = threading.Event()
        self._steps = self._run()

    def step(self) -> float:
        """Do a little; after how many seconds to go on."""
        if self._scatter.is_settled:
            return 3600.0
        if not all(sweeping.done() for sweeping in self._swept):
            return _POLL_S
        try:
            return next(self._steps)
        except (OutOfSpace, Unavailable, CorruptObject) as error:
            _log.warning("resilver: %s: trying again in %d s", error, RETRY_S)
            self._steps = self._run()
            return RETRY_S

    def stop(self) -> None:
        """Let a thread that copies end soon. What it did not finish is swept by the next committer."""
        self._stopping.set()

    def _run(self) -> Generator[float, None, None]:
        """Passes until nothing is misplaced; yields how long to wait."""
        _log.info("resilver: the set of mountpaths changed: moving objects to their owners")
        while True:
            yield from self._drop(0)  # what a pass that broke off has left
            # One that is completed behind the walk leaves its object where its parts are.
            awaits_uploads = self._has_misplaced_uploads()
            seen = moved = self._failed = 0
            for disk in self._disks:
                for batch in self._batches(disk):
                    if batch is None:
                        yield 0.0
                        continue
                    copied = yield from self._copied(disk, batch)
                    adopted = self._adopt(disk, copied)
                    yield from self._drop(LINGERING_MAX)
                    seen += len(batch)
                    moved += len(adopted)
                    self._failed += len(batch) - len(copied)
            yield from self._drop(0)
            _log.info("resilver: moved %d objects, %d could not be moved", moved, self._failed)
            if self._failed or awaits_uploads:
                yield RETRY_S
            elif not seen and not any(_buckets(disk, closed=True) for disk in self._disks):
                # What was changed while it was copied may still be misplaced, and what is being purged is.
                self._scatter.settle()
                yield 0.0
            elif not moved:
                yield LINGER_S

    def _copied(self, disk: Disk, batch: list[Misplaced]) -> Generator[float, None, list[Misplaced]]:
        """Have a thread copy payloads; what could be copied."""
        copying = self._executor.submit(self._copy_payloads, disk, batch)
        while not copying.done():
            yield _POLL_S
        return copying.result()

    def _drop(self, left: int) -> Generator[float, None, None]:
        """Drop old copies that lingered long enough, until at most `left` batches linger."""
        while self._lingering:
            lingering = self._lingering[0]
            wait_s = lingering.due_s - time.monotonic()
            if wait_s > 0 and len(self._lingering) <= left:
                return
            if wait_s > 0:
                yield wait_s
                continue
            moving = self._scatter.moving
            # Whoever changed an object meanwhile has dropped its old copy, too.
            doubled = [found for found in lingering.objects if found.packed in moving]
            with lingering.disk.group() as group:
                for found in doubled:
                    drop_copy(group, found.packed, found.record)
            for found in doubled:
                del moving[found.packed]
            self._lingering.popleft()

    def _adopt(self, disk: Disk, copied: list[Misplaced]) -> list[Misplaced]:
        """Give owners the records whose payloads they have; what now has two copies."""
        by_owner: dict[Disk, list[Misplaced]] = {}
        for found in copied:
            by_owner.setdefault(found.owner, []).append(found)
        adopted: list[Misplaced] = []
        for owner, objects in by_owner.items():
            try:
                adopted += self._adopt_at(owner, disk, objects)
            except (OutOfSpace, Unavailable, CorruptObject) as error:
                # There may be room at the next owner.
                _log.warning("resilver: %d objects stay where they are: %s", len(objects), error)
                self._failed += len(objects)
        names = {found.packed for found in adopted}
        for found in copied:
            self._forget_drafts(found, is_adopted=found.packed in names)
        return adopted

    def _adopt_at(self, owner: Disk, disk: Disk, objects: list[Misplaced]) -> list[Misplaced]:
        """Give one owner its records; those that it has taken. Raises OutOfSpace and Unavailable."""
        owner.headroom.require(sum(len(piece) for found in objects for piece in found.pieces) + 2**20)
        # Changed or removed while it was copied: the next pass sees to it.
        unchanged = [found for found in objects if current_record(disk, found.packed) == found.record]
        with owner.group() as group:
            taken = [found for found in unchanged if group.adopt(found.packed, found.record, found.pieces)]
            self._scatter.keep_moving(group, owner, [found.packed for found in taken])
        self._scatter.moving.update({found.packed: owner for found in taken})
        if taken:
            self._lingering.append(Lingering(time.monotonic() + LINGER_S, disk, taken))
        for found in unchanged:
            if found.packed not in self._scatter.moving:
                self._scatter.holder(found.packed)  # its owner had it already: drops what is older
        return taken

    def _batches(self, disk: Disk) -> Iterator[list[Misplaced] | None]:
        """What is misplaced on a mountpath, in batches; None where others may have their turn."""
        batch: list[Misplaced] = []
        size = 0
        for bucket in _buckets(disk, closed=False):
            scan = IndexScan(disk.tables, bucket, prefix=b"", after=b"", delimiter=b"")
            while entries := scan.take(_WALKED):
                for entry in entries:
                    packed = bucket + entry.key
                    owner = self._scatter.owner(packed)
                    if owner is disk or entry.encoded is None:
                        continue
                    try:
                        record = decode_record(entry.encoded)
                    except msgspec.MsgspecError as error:
                        _log.warning("resilver: %r stays where it is: its record: %s", entry.key, error)
                        self._failed += 1
                        continue
                    batch.append(Misplaced(packed, record, owner, _pieces(disk, record)))
                    size += record.size
                    if len(batch) == BATCH_OBJECTS or size >= BATCH_BYTES:
                        yield batch
                        batch, size = [], 0
                yield None
        if batch:
            yield batch

    def _has_misplaced_uploads(self) -> bool:
        for disk in self._disks:
            with disk.tables.environment.begin(db=disk.tables.uploads) as transaction:
                for _, encoded in transaction.cursor():
                    upload = uploads.decode_upload(encoded)
                    packed = keys.pack_bucket(upload.bucket) + upload.key
                    if self._scatter.owner(packed) is not disk:
                        return True
        return False

    # In a thread

    def _copy_payloads(self, disk: Disk, batch: list[Misplaced]) -> list[Misplaced]:
        """Copy payload files to their owners; what could be copied, or needs no file."""
        copied: list[Misplaced] = []
        for found in batch:
            try:
                payload = found.record.payload
                if isinstance(payload, Inline):
                    if xxhash.xxh3_64_digest(b"".join(found.pieces)) != payload.xxh3:
                        raise CorruptObject("its bytes in the index are damaged")
                else:
                    if free_bytes(found.owner.mountpath.path) < found.record.size:
                        # To find out by writing would leave nobody else any room meanwhile.
                        raise OSError(errno.ENOSPC, "no space left on the mountpath that owns it")
                    for segment in payload.segments:
                        self._copy_file(disk, found.owner, segment)
            except (CorruptObject, OSError) as error:
                _log.warning("resilver: %r stays where it is: %s", keys.unpack(found.packed).key, error)
                with suppress(OSError):
                    self._forget_drafts(found, is_adopted=False)
                continue
            copied.append(found)
        return copied

    def _copy_file(self, disk: Disk, owner: Disk, segment: Segment) -> None:
        source = disk.mountpath.path / payload_path(segment.generation)
        draft = owner.mountpath.path / draft_folder(COMMITTER_INCARNATION) / segment.generation.hex()
        final = owner.mountpath.path / payload_path(segment.generation)
        folder = owner.mountpath.path / payload_folder(segment.generation)
        draft.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)  # one that was left may be the very file that is in its place
        digest = xxhash.xxh3_64()
        with source.open("rb") as reader, draft.open("wb") as writer:
            started, done = time.monotonic(), 0
            while chunk := reader.read(_COPIED_BYTES):
                # The trailer behind the payload is copied, too, but is no part of the checksum.
                digest.update(chunk[: max(0, segment.offset + segment.length - done)])
                writer.write(chunk)
                done += len(chunk)
                early_s = done / COPIED_BYTES_PER_S - (time.monotonic() - started)
                if self._stopping.wait(max(0.0, early_s)):
                    raise OSError(errno.EINTR, "the node is stopping")
            if segment.offset == 0 and digest.digest() != segment.xxh3:
                raise CorruptObject(f"payload file {segment.generation.hex()} is damaged")
            writer.flush()
            final.unlink(missing_ok=True)
            os.link(draft, final)
            self._durability.sync_payload(writer.fileno())
        for path in (folder, folder.parent, folder.parent.parent):
            self._durability.sync_folder(str(path))

    def _forget_drafts(self, found: Misplaced, *, is_adopted: bool) -> None:
        """Let the owner keep the files of what it adopted; of the rest only what its index refers to."""
        if isinstance(found.record.payload, Inline):
            return
        path, tables = found.owner.mountpath.path, found.owner.tables
        for segment in found.record.payload.segments:
            draft = path / draft_folder(COMMITTER_INCARNATION) / segment.generation.hex()
            if is_adopted:
                draft.unlink(missing_ok=True)
            elif draft.exists():
                with tables.environment.begin() as transaction:
                    sweep_draft(path, draft, References(tables, transaction))


def _buckets(disk: Disk, *, closed: bool) -> list[bytes]:
    """The buckets of a mountpath that are closed, or those that are not."""
    with disk.tables.environment.begin(db=disk.tables.buckets) as transaction:
        return [
            bucket
            for bucket, encoded in transaction.cursor()
            if (decode_bucket(encoded).state == BUCKET_CLOSED) == closed
        ]


def _pieces(disk: Disk, record: Record) -> list[bytes]:
    if not isinstance(record.payload, Inline):
        return []
    with disk.tables.environment.begin(db=disk.tables.small) as transaction:
        suffixes = PIECE_SUFFIXES[: record.payload.pieces]
        return [transaction.get(record.generation + suffix, b"") for suffix in suffixes]
