"""The engine over the disks of one machine, as each process holds it.

Reads go straight to the indexes and the payload files. Changes are prepared here (payload files written
and synced) and made by the committer, the only writer of the indexes.
"""

import asyncio
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lmdb
from xxhash import xxh3_64_digest

from aisle.config import StorageConfig
from aisle.errors import CorruptObject
from aisle.model.names import ObjectName
from aisle.model.record import ANY, INLINE_BYTES_MAX, Attributes, Condition, Record, decode_record
from aisle.rules.courtesy import never
from aisle.storage import keys
from aisle.storage.access_notes import AccessNotes
from aisle.storage.commit_client import CommitClient
from aisle.storage.drafts import DraftPlace, LocalDraft
from aisle.storage.engine import BucketCounts, Draft, Held, Page, Part, ToldOfRecord, Upload
from aisle.storage.generation import Generations
from aisle.storage.layout import open_mountpaths
from aisle.storage.local_uploads import LocalUploads
from aisle.storage.messages import Amend, CloseBucket, OpenBucket, Remove, Touch, expect_number
from aisle.storage.publishing import Publisher, SmallPayload
from aisle.storage.read_disk import ReadDisk, ReadDisks
from aisle.storage.reading import LocalPayload, LocalStored
from aisle.storage.results import as_bool, as_nothing, as_record, to_future
from aisle.storage.scan import IndexScan, merged_page
from aisle.storage.space import LocalSpace
from aisle.storage.sync import FULL, Durability
from aisle.storage.tables import IndexTables
from aisle.storage.transaction import BucketState, decode_bucket
from aisle.storage.volatile import name_digest
from aisle.telemetry import CORRUPT_OBJECTS, Telemetry

How = tuple[Attributes, Condition]

WRITING_THREADS = 8


class LocalEngine:
    """StorageEngine, SmallWriter, UploadStore and EngineLifecycle over disks; made by `open_local_engine`."""

    def __init__(
        self,
        disks: ReadDisks,
        client: CommitClient,
        generations: Generations,
        *,
        executor: ThreadPoolExecutor,
        publisher: Publisher,
        clock: Callable[[], int],
        telemetry: Telemetry,
    ) -> None:
        self._disks = disks
        self._client = client
        self._generations = generations
        self._executor = executor
        self._publisher = publisher
        self._clock = clock
        self._telemetry = telemetry
        self._uploads = LocalUploads(disks, client, generations, publisher=publisher, clock=clock)
        self._notes = AccessNotes(self._send_accesses)
        self._read_lately, self._noted_lately = self._notes.read, self._notes.noted
        self.space = LocalSpace(disks)
        """How full the disks are, and what could go of them."""
        # The hot path spares itself what is not needed on a single mountpath.
        self._open = disks.opener()

    # StorageEngine

    def open(self, name: ObjectName) -> LocalStored | None:
        """The current generation, or None. Raises CorruptObject if its payload is damaged."""
        packed = keys.pack(name)
        try:
            stored = self._open(packed)
        except CorruptObject:
            self._telemetry.slots[CORRUPT_OBJECTS] += 1
            raise
        if stored is not None and packed not in self._read_lately:
            self._notes.add_read(packed)
        return stored

    def draft(
        self, name: ObjectName, *, size: int | None = None, digests: Sequence[str] = (), sync: str = ""
    ) -> LocalDraft:
        """A new payload for `name`."""
        # Known to the committer before it writes, this process is swept after if it dies.
        self._client.ensure_connected()
        return LocalDraft(self._disks.owner(keys.pack(name)).place, size=size, digests=digests, sync=sync)

    def commit(
        self,
        name: ObjectName,
        draft: Draft,
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> Future[Record]:
        """Make a finished draft the current generation."""
        assert isinstance(draft, LocalDraft)
        assert draft.finished
        packed = keys.pack(name)
        disk = self._disks.owner(packed)
        assert draft.place is disk.place, "a draft is committed to the name it was made for"
        if written_ns:
            # It keeps the time of another place, which does not tell that it is used here.
            self._notes.add(packed)
        if draft.file is None:
            small = SmallPayload(draft.generation, draft.size, draft.xxh3(), draft.inline_chunks())
            return self._awaited(disk.number, packed, small, (attributes, condition), written_ns=written_ns)
        publishing = self._publisher.commit_file(
            disk, packed, draft, (attributes, condition), written_ns=written_ns
        )
        return asyncio.get_running_loop().create_task(publishing)

    def put_small(
        self,
        name: ObjectName,
        payload: bytes,
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> Future[Record]:
        """Make a small payload the current generation."""
        assert len(payload) <= INLINE_BYTES_MAX
        packed = keys.pack(name)
        if written_ns:
            self._notes.add(packed)  # as in `commit`
        number, small = self._disks.owner(packed).number, self._small(payload)
        return self._awaited(number, packed, small, (attributes, condition), written_ns=written_ns)

    def store_small(
        self, name: ObjectName, payload: bytes, attributes: Attributes, told: ToldOfRecord
    ) -> None:
        """The same without a condition and without a future."""
        packed = keys.pack(name)
        number, small = self._disks.owner(packed).number, self._small(payload)
        self._publisher.put_small(number, packed, small, (attributes, ANY), told=told)

    def _awaited(
        self, number: int, packed: bytes, small: SmallPayload, how: How, *, written_ns: int
    ) -> Future[Record]:
        future: Future[Record] = self._client.new_future()
        self._publisher.put_small(number, packed, small, how, told=to_future(future), written_ns=written_ns)
        return future

    def _small(self, payload: bytes) -> SmallPayload:
        generation = self._generations.for_inline()
        return SmallPayload(generation, len(payload), xxh3_64_digest(payload), (payload,))

    def amend(self, name: ObjectName, attributes: Attributes, *, condition: Condition) -> Future[Record]:
        """Replace the attributes of the generation that `condition` names."""
        packed = keys.pack(name)
        message = Amend(
            self._generations.for_inline(),
            self._disks.owner(packed).number,
            packed,
            attributes,
            expect_number(condition),
            condition.generation,
            condition.sequence,
        )
        return self._client.submit(message, as_record)

    def remove(self, name: ObjectName, *, condition: Condition = ANY, lasts: bool = False) -> Future[bool]:
        """Remove the object; the result tells whether there was one."""
        packed = keys.pack(name)
        message = Remove(
            self._generations.for_inline(),
            self._disks.owner(packed).number,
            packed,
            expect_number(condition),
            condition.generation,
            lasts,
        )
        return self._client.submit(message, as_bool)

    def scan(
        self, bucket: int, *, prefix: bytes = b"", after: bytes = b"", limit: int, delimiter: bytes = b""
    ) -> Page:
        """At most `limit` entries behind `after`, common prefixes collapsed."""
        packed = keys.pack_bucket(bucket)
        scans = [
            IndexScan(disk.tables, packed, prefix=prefix, after=after, delimiter=delimiter)
            for disk in self._disks
        ]
        return merged_page(scans, limit, _newer)

    def open_bucket(self, bucket: int) -> Future[None]:
        """Make the bucket accept objects."""
        message = OpenBucket(self._generations.for_inline(), keys.pack_bucket(bucket))
        return self._client.submit(message, as_nothing)

    def close_bucket(self, bucket: int, *, only_if_empty: bool) -> Future[None]:
        """Stop the bucket for ever and remove what it holds, in the background."""
        message = CloseBucket(self._generations.for_inline(), keys.pack_bucket(bucket), only_if_empty)
        return self._client.submit(message, as_nothing)

    # UploadStore

    def begin_upload(self, name: ObjectName, attributes: Attributes) -> Future[Upload]:
        """Start an upload."""
        return self._uploads.begin(name, attributes)

    def find_upload(self, upload_id: str) -> Upload:
        """An upload in progress, by its id."""
        return self._uploads.find(upload_id)

    def commit_part(self, upload: Upload, number: int, draft: Draft, attributes: Attributes) -> Future[Part]:
        """Keep a finished draft as part `number`."""
        assert isinstance(draft, LocalDraft)
        assert draft.finished
        return self._uploads.commit_part(upload, draft, (number, attributes))

    def parts(self, upload_id: str) -> list[Part]:
        """The parts in order of their numbers."""
        return self._uploads.parts(upload_id)

    def open_part(self, upload_id: str, number: int) -> LocalPayload | None:
        """The bytes of a committed part, or None if there is none of that number."""
        return self._uploads.open_part(upload_id, number)

    def complete_upload(
        self,
        upload: Upload,
        numbers: Sequence[int],
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        as_seen: Sequence[Part] = (),
        written_ns: int = 0,
    ) -> Future[Record]:
        """Make these parts, in this order, the object's current generation."""
        how = (attributes, condition, written_ns)
        return self._uploads.complete(upload, numbers, how, as_seen=as_seen)

    def abandon_upload(self, upload_id: str) -> Future[None]:
        """Drop the upload and its parts."""
        return self._uploads.abandon(upload_id)

    def uploads(self, bucket: int) -> list[Upload]:
        """Uploads in progress in a bucket, in order of (key, id)."""
        return self._uploads.list(bucket)

    # EngineLifecycle

    def counts(self, bucket: int) -> BucketCounts:
        """Exact totals of a bucket."""
        objects = size = 0
        packed = keys.pack_bucket(bucket)

        def state_in(transaction: lmdb.Transaction, tables: IndexTables) -> BucketState | None:
            found = transaction.get(packed, db=tables.buckets)
            return None if found is None else decode_bucket(found)

        for state in self._disks.at_once(state_in):
            if state is not None:
                objects += state.objects - state.extra_objects
                size += state.bytes - state.extra_bytes
        return BucketCounts(objects, size)

    def look_up(self, name: ObjectName) -> Held | None:
        """The current generation without its payload."""
        return self._disks.look_up(keys.pack(name))

    def place(self) -> int:
        """How far the order of changes has come."""
        return self._disks.place()

    def accessed_ns(self, name: ObjectName) -> int:
        """When the object was last read (coarse, Unix nanoseconds), or 0 if not known."""
        packed = keys.pack(name)
        return self._disks.owner(packed).access_times.get_ns(packed)

    def open_noted(self, name: ObjectName) -> LocalStored | None:
        """As `open`, and notes the use however many objects are read."""
        packed = keys.pack(name)
        try:
            stored = self._open(packed)
        except CorruptObject:
            self._telemetry.slots[CORRUPT_OBJECTS] += 1
            raise
        if stored is not None and packed not in self._noted_lately:
            self._notes.add(packed)
        return stored

    def note_access(self, name: ObjectName) -> None:
        """Note that an object was used just now."""
        self._notes.add(keys.pack(name))

    async def close(self) -> None:
        """Flush what is pending and release the engine."""
        self._notes.flush()
        await self._client.close()
        await asyncio.get_running_loop().run_in_executor(None, self._executor.shutdown)
        for disk in self._disks:
            disk.close()

    def _send_accesses(self, packed_names: Sequence[bytes]) -> None:
        names: dict[int, list[bytes]] = {}
        for packed in packed_names:
            names.setdefault(self._disks.owner(packed).number, []).append(name_digest(packed))
        for number, digests in names.items():
            message = Touch(self._generations.for_inline(), number, self._clock(), digests)
            # Lost without harm; the result is asked for so that a failure is not reported as unseen.
            self._client.submit(message, as_nothing).add_done_callback(Future.exception)


def _newer(one: bytes, other: bytes) -> bytes:
    """Of two encoded records of one name, the later."""
    return max(one, other, key=lambda encoded: decode_record(encoded).sequence)


def open_local_engine(
    mountpaths: Sequence[Path],
    *,
    committer_path: str,
    incarnation: bytes,
    config: StorageConfig,
    clock: Callable[[], int] = time.time_ns,
    telemetry: Telemetry | None = None,
    durability: Durability = FULL,
    patient: bool = False,
    gives_way: Callable[[], bool] = never,
) -> LocalEngine:
    """The engine of this process over prepared mountpaths.

    `incarnation` is 4 bytes that no other process on these mountpaths had or will have; `clock` gives
    Unix nanoseconds. Changes of a `patient` process may take some milliseconds longer when there are many:
    they gather in larger groups, which costs less. Large writes are made in small pieces whenever
    `gives_way` says so. Raises StartError.
    """
    telemetry = telemetry or Telemetry.private()
    generations = Generations(incarnation)
    executor = ThreadPoolExecutor(WRITING_THREADS, thread_name_prefix="payload")
    disks = [
        ReadDisk(
            number,
            mountpath,
            DraftPlace(
                mountpath.path,
                generations,
                executor=executor,
                durability=durability,
                gives_way=gives_way,
            ),
            map_size_bytes=config.map_size_bytes,
        )
        for number, mountpath in enumerate(open_mountpaths(mountpaths))
    ]
    client = CommitClient(
        committer_path,
        incarnation=incarnation,
        mountpaths=[disk.mountpath.id for disk in disks],
        patient=patient,
    )
    client.introduce()
    publisher = Publisher(client, data_sync=config.data_sync, clock=clock, telemetry=telemetry)
    return LocalEngine(
        ReadDisks(disks),
        client,
        generations,
        executor=executor,
        publisher=publisher,
        clock=clock,
        telemetry=telemetry,
    )
