"""Payload files that were acknowledged before they were durable.

A bucket's `write_policy.data`, or else the node's `storage.data_sync`, asks for it: delayed or never.
Their records carry the machine's boot id, and the `unsynced` table names them. While the machine stays up
nothing can be lost. After another boot such a payload is served only when its checksum has been verified:
by the committer in the background, or by who opens it first if it is not large.
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from aisle.errors import OutOfSpace, Unavailable
from aisle.model.record import Files, Record, Segment, decode_record
from aisle.storage.disk import Disk
from aisle.storage.filesystem import boot_id
from aisle.storage.generation import payload_folder, payload_path
from aisle.storage.reading import DAMAGED, are_whole
from aisle.storage.sync import Durability
from aisle.storage.transaction import NEVER_SYNCED

SYNC_INTERVAL_S = 5.0
"""How soon a delayed write survives a power cut."""
BATCH_MAX = 200
SCANNED_MAX = 2_000
"""Entries looked at in one step, which the committer's other work waits for."""

_POLL_S = 0.02
_RETRY_S = 5.0
_IDLE_S = 3600.0
_log = logging.getLogger(__name__)


class Unsynced(NamedTuple):
    """An object whose payload files were not synced, under its index key."""

    key: bytes
    record: Record

    @property
    def segments(self) -> Sequence[Segment]:
        """Where its bytes are."""
        return self.record.payload.segments if isinstance(self.record.payload, Files) else ()


Verdict = tuple[Unsynced, str]
"""An object, and the boot id that it is to have: none when it is safe."""


class SyncDelayed:
    """Syncs what was to be synced soon. One per mountpath.

    What an earlier boot of the machine has written is verified before, be it a whole payload or a part of an
    upload that was completed since.
    """

    def __init__(self, disk: Disk, executor: ThreadPoolExecutor, durability: Durability) -> None:
        self._disk = disk
        self._executor = executor
        self._durability = durability
        self._syncing: Future[list[Verdict]] | None = None
        self._after = b""

    def step(self) -> float:
        """Have files synced, or mark the records of those that were."""
        if self._syncing is None:
            found, self._after = _find(self._disk, self._after, delayed=True)
            if found:
                self._syncing = self._executor.submit(self._sync, found)
            elif not self._after:
                return SYNC_INTERVAL_S
            return _POLL_S
        if not self._syncing.done():
            return _POLL_S
        verdicts, self._syncing = self._syncing.result(), None
        if not verdicts or not _mark(self._disk, verdicts):
            self._after = b""
            return _RETRY_S
        return 0.0 if self._after else SYNC_INTERVAL_S

    def _sync(self, objects: list[Unsynced]) -> list[Verdict]:
        verdicts = []
        for found in objects:
            if found.record.boot_id != boot_id() and (verdict := _verified(self._disk, found)):
                verdicts.append((found, verdict))
                continue
            try:
                for segment in found.segments:
                    path = self._disk.mountpath.path / payload_path(segment.generation)
                    with path.open("rb") as file:
                        self._durability.sync_payload(file.fileno())
                    folder = self._disk.mountpath.path / payload_folder(segment.generation)
                    for parent in (folder, folder.parent, folder.parent.parent):
                        self._durability.sync_folder(str(parent))
            except FileNotFoundError:
                continue  # replaced meanwhile
            except OSError as error:
                _log.warning("delayed sync of %s: %s", self._disk.mountpath.path, error)
                break
            verdicts.append((found, ""))
        return verdicts


class VerifyUnsynced:
    """Verifies what earlier boots of the machine have written and nobody was to sync. One per mountpath."""

    def __init__(self, disk: Disk, executor: ThreadPoolExecutor) -> None:
        self._disk = disk
        self._executor = executor
        self._after = b""
        self._is_done = False
        self._verifying: Future[list[Verdict]] | None = None

    def step(self) -> float:
        """Have files verified, or mark the records of those that were."""
        if self._verifying is None:
            if self._is_done:
                return _IDLE_S
            found, self._after = _find(self._disk, self._after, delayed=False)
            self._is_done = not self._after
            suspects = [suspect for suspect in found if suspect.record.boot_id != boot_id()]
            self._verifying = self._executor.submit(self._verify, suspects)
            return _POLL_S
        if not self._verifying.done():
            return _POLL_S
        verdicts = self._verifying.result()
        if verdicts and not _mark(self._disk, verdicts):
            return _RETRY_S
        self._verifying = None
        return 0.0

    def _verify(self, objects: list[Unsynced]) -> list[Verdict]:
        return [(found, _verified(self._disk, found)) for found in objects]


def _verified(disk: Disk, found: Unsynced) -> str:
    """The boot id that an object is to have, by its bytes."""
    if are_whole(disk.mountpath.path, found.segments):
        return ""
    _log.error("a power cut damaged generation %s", found.record.generation.hex())
    return DAMAGED


def _find(disk: Disk, start: bytes, *, delayed: bool) -> tuple[list[Unsynced], bytes]:
    """The next objects from an index key on that are to be synced soon, or never, and are not yet damaged.

    And the key to go on from; empty at the end.
    """
    found: list[Unsynced] = []
    with disk.tables.environment.begin() as transaction, transaction.cursor(disk.tables.unsynced) as cursor:
        if not cursor.set_range(start):
            return found, b""
        for scanned, (key, value) in enumerate(cursor.iternext()):
            if len(found) == BATCH_MAX or scanned == SCANNED_MAX:
                return found, key
            if delayed == (value == NEVER_SYNCED):
                continue
            encoded = transaction.get(key, db=disk.tables.objects)
            if encoded is not None and (record := decode_record(encoded)).boot_id != DAMAGED:
                found.append(Unsynced(key, record))
    return found, b""


def _mark(disk: Disk, verdicts: Sequence[Verdict]) -> bool:
    """Write new boot ids into records that are still what they were; whether that succeeded."""
    try:
        with disk.group() as group:
            for found, boot in verdicts:
                group.set_boot_id(found.key, found.record, boot)
    except (OutOfSpace, Unavailable):
        return False
    return True
