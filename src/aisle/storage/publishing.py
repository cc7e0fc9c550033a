"""Making finished drafts durable and handing them to the committer."""

import asyncio
import time
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from aisle.errors import AisleError, Unavailable
from aisle.model.record import (
    ANY,
    COUNTED,
    INLINE_BYTES_MAX,
    Attributes,
    Condition,
    Files,
    Generation,
    Inline,
    Record,
    Segment,
)
from aisle.rules.versions import FIRST
from aisle.storage.commit_client import CommitClient
from aisle.storage.conditions import counted
from aisle.storage.drafts import DraftPlace, LocalDraft, PayloadFile
from aisle.storage.engine import Part, ToldOfRecord, Upload
from aisle.storage.filesystem import boot_id
from aisle.storage.messages import Answer, Put, PutPart, conditional
from aisle.storage.read_disk import ReadDisk
from aisle.storage.results import as_record
from aisle.storage.tables import PIECE_BYTES
from aisle.storage.trailer import Trailer, encode_trailer
from aisle.storage.transaction import FIRST_VERSION, RECORD_HEAD, SEQUENCE_HEAD
from aisle.storage.uploads import StoredPart, encode_part
from aisle.telemetry import DATA_SYNC_SECONDS, Telemetry

Result = TypeVar("Result")

_COPIED_BYTES = 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode
_NO_SEQUENCE = SEQUENCE_HEAD + bytes(8)
_GENERATION_BYTES = len(_encode(bytes(16)))
_BEHIND_FIRST_BYTES = _GENERATION_BYTES + len(FIRST_VERSION)
_INLINE = [_encode(Inline(pieces, bytes(8)))[:-8] for pieces in range(INLINE_BYTES_MAX // PIECE_BYTES + 2)]
_FIELDS = Attributes.__struct_fields__
_BEHIND_VERSION = _FIELDS[_FIELDS.index("version") + 1 :]
assert _BEHIND_VERSION == ("fields", "etag", "upload"), "see _version_place"


class SmallPayload(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A payload that will live in the index, whole and hashed."""

    generation: Generation
    size: int
    xxh3: bytes
    chunks: Sequence[bytes | memoryview]


class Publisher:
    """Commits drafts of one process. `clock` gives Unix nanoseconds."""

    def __init__(
        self, client: CommitClient, *, data_sync: str, clock: Callable[[], int], telemetry: Telemetry
    ) -> None:
        self._client = client
        self._clock = clock
        self._telemetry = telemetry
        self._data_sync = data_sync
        self._boot_id = boot_id()

    def put_small(
        self,
        number: int,
        packed: bytes,
        small: SmallPayload,
        how: tuple[Attributes, Condition],
        *,
        told: ToldOfRecord,
        written_ns: int = 0,
    ) -> None:
        """Commit a payload in memory to mountpath `number`; `told` is called once, later."""
        attributes, condition = how
        counts = attributes.version == COUNTED
        if counts:
            attributes = msgspec.structs.replace(attributes, version=FIRST)
        generation, size = small.generation, small.size
        written_ns = written_ns or self._clock()
        client, chunks = self._client, small.chunks
        pieces = (size + PIECE_BYTES - 1) // PIECE_BYTES
        head = _encode((size, written_ns, attributes, generation))[1:]
        shared_at = client.share(chunks, size)
        message = Put(
            generation,
            number,
            packed,
            head,
            b"%b%b\xa0" % (_INLINE[pieces], small.xxh3),
            size,
            _version_place(head, attributes) if counts else 0,
            shared_at,
        )
        if condition is not ANY:
            message = conditional(message, condition)

        def answered(answer: Answer | AisleError) -> None:
            if type(answer) is int:
                payload = Inline(pieces, small.xxh3)
                told(Record(size, written_ns, attributes, generation, answer, payload))
            elif isinstance(answer, AisleError):
                told(answer)
            else:
                told(as_record(answer))  # the committer gave it another version

        client.send(message, answered, () if shared_at else chunks, shared_at)

    async def commit_file(
        self,
        disk: ReadDisk,
        packed: bytes,
        draft: LocalDraft,
        how: tuple[Attributes, Condition],
        *,
        written_ns: int = 0,
    ) -> Record:
        """Commit a draft in a file: the file first, then the index."""
        attributes, condition = how
        counts = attributes.version == COUNTED
        if counts:
            attributes = msgspec.structs.replace(attributes, version=FIRST)
        file = await draft.to_file()
        written_ns = written_ns or self._clock()
        size, generation = draft.size, draft.generation
        payload = Files((Segment(generation, 0, size, draft.xxh3()),))
        head = _encode((size, written_ns, attributes, generation))[1:]
        unsynced = self._unsynced(draft)
        boot = self._boot_id if unsynced else ""
        tail = _encode((payload, boot))[1:]
        described = head
        if counts and (present := disk.look_up(packed)) is not None:
            # What the file says of its version is for whoever rebuilds a lost index. If other writes
            # overlap it may be one that another has too; the index has the exact one.
            likely = counted(how[0], present.attributes.version)
            described = _encode((size, written_ns, likely, generation))[1:]
        await self._publish(
            draft,
            Trailer(
                key=packed,
                size=size,
                xxh3=draft.xxh3(),
                record=msgspec.Raw(RECORD_HEAD + described + _NO_SEQUENCE + tail),
            ),
        )
        message = Put(
            generation,
            disk.number,
            packed,
            head,
            tail,
            size,
            _version_place(head, attributes) if counts else 0,
            unsynced=unsynced,
        )

        def record(answer: Answer) -> Record:
            if type(answer) is not int:
                return as_record(answer)
            return Record(size, written_ns, attributes, generation, answer, payload, boot)

        return await _settled(draft, file, self._client.submit(conditional(message, condition), record))

    async def commit_part(
        self, disk: ReadDisk, upload: Upload, draft: LocalDraft, how: tuple[int, Attributes]
    ) -> Part:
        """Commit a draft as a part of an upload that lies on `disk`."""
        number, attributes = how
        file = await draft.to_file()
        if draft.place is not disk.place:
            # The set of mountpaths changed since the upload began: parts go where it lies.
            file = await _copied(draft, disk.place)
        part = Part(number=number, size=draft.size, written_ns=self._clock(), attributes=attributes)
        segment = Segment(file.generation, 0, draft.size, draft.xxh3())
        boot = self._boot_id if self._unsynced(draft) else ""
        encoded = encode_part(StoredPart(part=part, segment=segment, boot_id=boot))
        name = upload.bucket.to_bytes(8, "big") + upload.key
        trailer = Trailer(
            key=name,
            size=draft.size,
            xxh3=draft.xxh3(),
            record=msgspec.Raw(encoded),
            upload=upload.id,
            number=number,
        )
        await self._publish(draft, trailer, file)
        message = PutPart(file.generation, disk.number, upload.id, number, encoded)
        return await _settled(draft, file, self._client.submit(message, lambda _: part))

    def _unsynced(self, draft: LocalDraft) -> str:
        """`delayed` or `never` if the draft's file is not synced before it is committed, else empty."""
        policy = draft.sync or self._data_sync
        return "" if policy == "immediate" else policy

    async def _publish(self, draft: LocalDraft, trailer: Trailer, file: PayloadFile | None = None) -> None:
        started = time.perf_counter_ns()
        encoded = encode_trailer(trailer)
        synced = not self._unsynced(draft)
        try:
            await draft.in_thread(lambda own: (file or own).publish(encoded, sync=synced))
        except AisleError:
            await draft.in_thread(lambda own: (file or own).discard())
            raise
        if synced:
            self._telemetry.observe(DATA_SYNC_SECONDS, time.perf_counter_ns() - started)


def _version_place(head: bytes, attributes: Attributes) -> int:
    """Where the first version stands in the head of a record with these attributes."""
    place = len(head) - _BEHIND_FIRST_BYTES
    # The usual case first, by the names that _BEHIND_VERSION has.
    if not (attributes.fields or attributes.etag or attributes.upload):
        return place - len(_BEHIND_VERSION)
    for name in _BEHIND_VERSION:
        value = getattr(attributes, name)
        place -= len(_encode(value)) if value else 1  # whatever is empty takes one byte
    return place


async def _settled(draft: LocalDraft, file: PayloadFile, answered: Future[Result]) -> Result:
    """Wait for the committer; then one of the file's names goes, or all."""
    try:
        result = await answered
    except Unavailable:
        raise  # not known whether the index refers to the file: what is left is sorted out at the next start
    except AisleError:
        await draft.in_thread(lambda _: file.discard())
        raise
    draft.committed()
    draft.place.executor.submit(file.keep)
    return result


async def _copied(draft: LocalDraft, place: DraftPlace) -> PayloadFile:
    """The draft's bytes in a file on another mountpath. Raises OutOfSpace and Unavailable."""
    try:
        return await asyncio.get_running_loop().run_in_executor(place.executor, _copy, draft, place)
    except OSError as error:
        raise place.reason(error) from error


def _copy(draft: LocalDraft, place: DraftPlace) -> PayloadFile:
    """The draft's bytes in a file on another mountpath; the draft's own file goes in any case."""
    assert draft.file is not None
    copy = PayloadFile(place)
    try:
        with open(draft.file.path, "rb") as source:
            while chunk := source.read(_COPIED_BYTES):
                copy.append([chunk])
    except OSError:
        copy.discard()
        raise
    finally:
        draft.file.discard()
    return copy
