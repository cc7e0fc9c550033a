"""The metadata store of one machine: LMDB on every mountpath, shared by all processes of the node.

The first mountpath's copy leads: its writer lock orders all changes and all reads come from it. A
change is committed by every follower before the leader shows it, so what has been read or
acknowledged is on all mountpaths. A follower that has more than the leader, because a change failed
half-way, is brought back before the next change; after a crash `reconcile` takes the most advanced
copy instead. Both keep everything acknowledged, and nothing comes back that was removed.
"""

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from weakref import WeakSet

import lmdb

from aisle.cluster.documents import Damaged, Head, check_document, decode_document
from aisle.cluster.replica import FOLDER, Replica, Snapshot
from aisle.cluster.store import Change, Document
from aisle.cluster.watch import Dated, PollingWatch
from aisle.errors import AisleError, CorruptObject, OutOfSpace, StaleVersion, Unavailable
from aisle.telemetry import METADATA_CHANGES, Telemetry

# A failed commit with less free space than this is taken for a full disk, whatever LMDB calls it.
_RESERVE_BYTES = 4 * 1024 * 1024


class EmbeddedStore:
    """A MetadataStore over the mountpaths of one node, for one process.

    Any process of the node may change documents; threads of one process may share the store.
    """

    def __init__(self, mountpaths: Sequence[Path], *, telemetry: Telemetry | None = None) -> None:
        """Open the copies that `reconcile` has prepared, in the same order in every process."""
        assert mountpaths
        self._replicas: list[Replica] = []
        self._slots = telemetry.slots if telemetry else None
        self._watches: WeakSet[PollingWatch] = WeakSet()
        try:
            for mountpath in mountpaths:
                self._replicas.append(Replica(mountpath / FOLDER))
        except lmdb.Error as error:
            self.close()
            raise Unavailable(f"metadata store in {mountpath} cannot be opened: {error}") from error
        self._leader, *self._followers = self._replicas
        self._leaders_transaction_id = self._leader.transaction_id

    def revision(self, area: str = "") -> int:
        """See MetadataStore.revision."""
        if not area:
            return self._leaders_transaction_id()
        with self._leader.reading() as snapshot:
            return snapshot.area_sequence(area)

    def load(self, key: str) -> Document | None:
        """See MetadataStore.load; raises CorruptObject if every copy is damaged."""
        with self._leader.reading() as snapshot:
            try:
                found = snapshot.load(key)
            except Damaged:
                found = self._intact(key, snapshot.head())
        return found.document if found else None

    def list(self, prefix: str) -> list[Document]:
        """See MetadataStore.list; raises CorruptObject if every copy of one is damaged."""
        return [dated.document for dated in self._snapshot(prefix).values()]

    def swap(self, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        """See MetadataStore.swap."""
        check_document(key, value)
        try:
            with self._leader.writing() as leader:
                found = leader.load(key)
                present = found.document.version if found else 0
                if present != expected_version:
                    raise StaleVersion(key, expected=expected_version, found=present)
                if value is None and found is None:
                    return None
                document = None if value is None else Document(key, value, present + 1)
                self._change(leader, key, document)
        except Damaged as error:
            raise CorruptObject(f"metadata {key} in {self._leader.folder} is damaged: restart") from error
        except lmdb.Error as error:
            raise self._failure(error) from error
        if self._slots is not None:
            self._slots[METADATA_CHANGES] += 1
        return document

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """See MetadataStore.watch."""
        watch = PollingWatch(self.revision, lambda: self._snapshot(prefix))
        self._watches.add(watch)
        return watch

    def wake(self) -> None:
        """Let all watches look at once instead of at their interval; from the loop's thread."""
        for watch in self._watches:
            watch.wake()

    def close(self) -> None:
        """See MetadataStore.close."""
        for replica in self._replicas:
            replica.close()

    def _change(self, leader: Snapshot, key: str, document: Document | None) -> None:
        before = leader.head()
        version = document.version if document else 0
        after = before.after(key, document.value if document else None, version)
        for replica in self._followers:
            with replica.writing() as follower:
                if follower.head() != before:
                    follower.become(leader)
                follower.change(key, document, after)
        # Last, and so visible last: whoever reads the change may rely on it being everywhere.
        leader.change(key, document, after)

    def _snapshot(self, prefix: str) -> dict[str, Dated]:
        with self._leader.reading() as snapshot:
            found = {}
            for key, stored in snapshot.stored(prefix):
                try:
                    found[key] = decode_document(key, stored)
                except Damaged:
                    found[key] = self._intact(key, snapshot.head())
            return found

    def _intact(self, key: str, head: Head) -> Dated:
        """The document from a follower that stands where the leader does."""
        for replica in self._followers:
            try:
                with replica.reading() as snapshot:
                    if snapshot.head() == head and (found := snapshot.load(key)):
                        return found
            except Damaged:
                continue
        raise CorruptObject(
            f"metadata {key} in {self._leader.folder} is damaged: restart, or restore a backup"
        )

    def _failure(self, error: lmdb.Error) -> AisleError:
        for replica in self._replicas:
            free_bytes = shutil.disk_usage(replica.folder).free
            if isinstance(error, lmdb.MapFullError) or free_bytes < _RESERVE_BYTES:
                return OutOfSpace(f"no space for metadata in {replica.folder}")
        return Unavailable(f"metadata could not be written: {error}")
