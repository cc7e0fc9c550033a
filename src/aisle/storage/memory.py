"""The engine that keeps objects in memory: for tests, and as the model that others are held against.

It keeps every promise of the seam except surviving its process. Plain dictionaries and sorted lists:
what is read here should be obviously right.
"""

import asyncio
from asyncio import Future
from bisect import bisect_right, insort
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import count
from typing import NamedTuple, TypeVar

from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotEmpty,
    ConditionFailed,
    InvalidPart,
    NotFound,
    UploadNotFound,
)
from aisle.model.names import ObjectName
from aisle.model.record import (
    ANY,
    INLINE_BYTES_MAX,
    Attributes,
    Condition,
    Generation,
    Inline,
    Record,
    encode_record,
)
from aisle.storage.conditions import counted, require
from aisle.storage.engine import (
    BucketCounts,
    Draft,
    Entry,
    Held,
    OpenSegment,
    Page,
    Part,
    ToldOfRecord,
    Upload,
)
from aisle.storage.hashing import Digests
from aisle.storage.results import when_done

Result = TypeVar("Result")


class MemoryStored:
    """An opened object of the memory engine; it holds nothing that would need closing."""

    __slots__ = ("inline", "record", "segments")

    def __init__(self, record: Record, payload: bytes) -> None:
        self.record = record
        self.inline: bytes | None = payload
        self.segments: Sequence[OpenSegment] = ()

    def close(self) -> None:
        """Nothing to release."""


class MemoryPart:
    """An opened part of an upload; it holds nothing that would need closing."""

    __slots__ = ("inline", "segments")

    def __init__(self, payload: bytes) -> None:
        self.inline: bytes | None = payload
        self.segments: Sequence[OpenSegment] = ()

    def close(self) -> None:
        """Nothing to release."""


class MemoryDraft:
    """A payload being collected in memory."""

    def __init__(self, generation: Generation, digests: Digests) -> None:
        self.generation = generation
        self.size = 0
        self.filed = 0
        self.path = ""
        self._chunks: list[bytes] = []
        self._digests = digests
        self.finished = False

    def write(self, chunk: bytes | memoryview) -> None:
        """Append a chunk; the next may always follow at once."""
        self._chunks.append(bytes(chunk))
        self.size += len(chunk)

    def finish(self) -> None:
        """Complete the digests."""
        self._digests.update(self._chunks)
        self.finished = True

    def digest(self, kind: str) -> str:
        """The digest of that kind, lower-case hex."""
        return self._digests.hex(kind)

    async def content(self) -> AsyncIterator[bytes]:
        """All bytes."""
        for chunk in self._chunks:
            yield chunk

    def abort(self) -> None:
        """Forget what was written."""
        self._chunks.clear()

    def payload(self) -> tuple[bytes, bytes]:
        """The bytes, and their XXH3-64."""
        assert self.finished, "commit a draft that was not finished"
        return b"".join(self._chunks), self._digests.xxh3()


class _Object(NamedTuple):
    record: Record
    payload: bytes


class _Bucket:
    def __init__(self) -> None:
        self.objects: dict[bytes, _Object] = {}
        self.keys: list[bytes] = []


class _Upload(NamedTuple):
    upload: Upload
    parts: dict[int, tuple[Part, bytes, bytes]]


class MemoryEngine:
    """Every seam of an engine, in memory. `clock` gives Unix nanoseconds."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._buckets: dict[int, _Bucket] = {}
        self._uploads: dict[str, _Upload] = {}
        self._accessed: dict[ObjectName, int] = {}
        self._numbers = count(1)
        self._removed: dict[ObjectName, int] = {}

    # StorageEngine

    def open(self, name: ObjectName) -> MemoryStored | None:
        """The current generation, or None."""
        bucket = self._buckets.get(name.bucket)
        found = bucket.objects.get(name.key) if bucket else None
        if found is None:
            return None
        self._accessed[name] = self._clock()
        return MemoryStored(found.record, found.payload)

    def draft(
        self, name: ObjectName, *, size: int | None = None, digests: Sequence[str] = (), sync: str = ""
    ) -> MemoryDraft:
        """A new payload for `name`."""
        del name, size, sync  # nothing to place, to reserve, to sync
        return MemoryDraft(next(self._numbers).to_bytes(16, "big"), Digests(digests))

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
        assert isinstance(draft, MemoryDraft)
        payload, xxh3 = draft.payload()
        how = (xxh3, attributes, condition, written_ns)
        return _done(lambda: self._put(name, draft.generation, payload, how))

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
        draft = self.draft(name)
        draft.write(payload)
        draft.finish()
        return self.commit(name, draft, attributes, condition=condition, written_ns=written_ns)

    def store_small(
        self, name: ObjectName, payload: bytes, attributes: Attributes, told: ToldOfRecord
    ) -> None:
        """The same without a condition and without a future."""
        when_done(self.put_small(name, payload, attributes), told)

    def amend(self, name: ObjectName, attributes: Attributes, *, condition: Condition) -> Future[Record]:
        """Replace the attributes of the generation that `condition` names."""
        return _done(lambda: self._amend(name, attributes, condition))

    def remove(self, name: ObjectName, *, condition: Condition = ANY, lasts: bool = False) -> Future[bool]:
        """Remove the object; the result tells whether there was one."""
        return _done(lambda: self._remove(name, condition, lasts))

    def scan(
        self, bucket: int, *, prefix: bytes = b"", after: bytes = b"", limit: int, delimiter: bytes = b""
    ) -> Page:
        """At most `limit` entries behind `after`, common prefixes collapsed."""
        held = self._buckets.get(bucket)
        entries: list[Entry] = []
        for key in held.keys[bisect_right(held.keys, after) :] if held else ():
            if not key.startswith(prefix):
                continue
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            shown = key if end < 0 else key[: end + len(delimiter)]
            if end >= 0 and (shown == after or (entries and entries[-1].key == shown)):
                continue
            if len(entries) == limit:
                return Page(entries, more=True)
            assert held is not None
            entries.append(Entry(shown, None if end >= 0 else encode_record(held.objects[key].record)))
        return Page(entries, more=False)

    def open_bucket(self, bucket: int) -> Future[None]:
        """Make the bucket accept objects."""
        return _done(lambda: (self._buckets.setdefault(bucket, _Bucket()), None)[1])

    def close_bucket(self, bucket: int, *, only_if_empty: bool) -> Future[None]:
        """Stop the bucket for ever and remove what it holds."""
        return _done(lambda: self._close_bucket(bucket, only_if_empty))

    # UploadStore

    def begin_upload(self, name: ObjectName, attributes: Attributes) -> Future[Upload]:
        """Start an upload."""
        return _done(lambda: self._begin_upload(name, attributes))

    def find_upload(self, upload_id: str) -> Upload:
        """An upload in progress, by its id."""
        return self._upload(upload_id).upload

    def commit_part(self, upload: Upload, number: int, draft: Draft, attributes: Attributes) -> Future[Part]:
        """Keep a finished draft as part `number`."""
        assert isinstance(draft, MemoryDraft)
        payload, xxh3 = draft.payload()
        part = Part(number=number, size=draft.size, written_ns=self._clock(), attributes=attributes)
        return _done(lambda: self._commit_part(upload.id, part, payload, xxh3))

    def parts(self, upload_id: str) -> list[Part]:
        """The parts in order of their numbers."""
        return [part for _, (part, _, _) in sorted(self._upload(upload_id).parts.items())]

    def open_part(self, upload_id: str, number: int) -> MemoryPart | None:
        """The bytes of a committed part, or None if there is none of that number."""
        found = self._upload(upload_id).parts.get(number)
        return MemoryPart(found[1]) if found else None

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
        return _done(lambda: self._complete(upload, numbers, as_seen, (attributes, condition, written_ns)))

    def abandon_upload(self, upload_id: str) -> Future[None]:
        """Drop the upload and its parts."""
        return _done(lambda: (self._upload(upload_id), self._uploads.pop(upload_id), None)[2])

    def uploads(self, bucket: int) -> list[Upload]:
        """Uploads in progress in a bucket, in order of (key, id)."""
        found = [held.upload for held in self._uploads.values() if held.upload.bucket == bucket]
        return sorted(found, key=lambda upload: (upload.key, upload.id))

    # EngineLifecycle

    def counts(self, bucket: int) -> BucketCounts:
        """Exact totals of a bucket."""
        held = self._buckets.get(bucket)
        objects = held.objects.values() if held else ()
        return BucketCounts(len(objects), sum(found.record.size for found in objects))

    def look_up(self, name: ObjectName) -> Held | None:
        """The current generation without its payload."""
        bucket = self._buckets.get(name.bucket)
        found = bucket.objects.get(name.key) if bucket else None
        return Held(found.record, "") if found else None

    def place(self) -> int:
        """How far the order of changes has come."""
        return next(self._numbers)

    def accessed_ns(self, name: ObjectName) -> int:
        """When the object was last read, or 0."""
        return self._accessed.get(name, 0)

    def open_noted(self, name: ObjectName) -> MemoryStored | None:
        """As `open`."""
        return self.open(name)

    def note_access(self, name: ObjectName) -> None:
        """Note that an object was used just now."""
        self._accessed[name] = self._clock()

    async def close(self) -> None:
        """Nothing to flush."""

    # What the futures do

    def _bucket(self, bucket: int) -> _Bucket:
        held = self._buckets.get(bucket)
        if held is None:
            raise NotFound(f"bucket number {bucket} is not open")
        return held

    def _upload(self, upload_id: str) -> _Upload:
        held = self._uploads.get(upload_id)
        if held is None:
            raise UploadNotFound(upload_id)
        return held

    def _put(
        self,
        name: ObjectName,
        generation: Generation,
        payload: bytes,
        how: tuple[bytes, Attributes, Condition, int],
    ) -> Record:
        xxh3, attributes, condition, written_ns = how
        bucket = self._bucket(name.bucket)
        current = bucket.objects.get(name.key)
        require(condition, current.record.generation if current else None)
        if condition.since is not None and condition.since < self._removed.get(name, 0):
            raise ConditionFailed("the object was removed meanwhile")
        record = Record(
            size=len(payload),
            written_ns=written_ns or self._clock(),
            attributes=counted(attributes, current.record.attributes.version if current else ""),
            generation=generation,
            sequence=next(self._numbers),
            payload=Inline(1, xxh3),
        )
        if current is None:
            insort(bucket.keys, name.key)
        bucket.objects[name.key] = _Object(record, payload)
        return record

    def _amend(self, name: ObjectName, attributes: Attributes, condition: Condition) -> Record:
        bucket = self._bucket(name.bucket)
        current = bucket.objects.get(name.key)
        require(condition, current.record.generation if current else None)
        if current is None:
            raise ConditionFailed("the object does not exist")
        old = current.record
        if condition.sequence not in (None, old.sequence):
            raise ConditionFailed("the object was amended meanwhile")
        record = Record(
            size=old.size,
            written_ns=old.written_ns,
            attributes=attributes,
            generation=old.generation,
            sequence=next(self._numbers),
            payload=old.payload,
        )
        bucket.objects[name.key] = _Object(record, current.payload)
        return record

    def _remove(self, name: ObjectName, condition: Condition, lasts: bool) -> bool:
        bucket = self._bucket(name.bucket)
        current = bucket.objects.get(name.key)
        require(condition, current.record.generation if current else None)
        if lasts:
            self._removed[name] = next(self._numbers)
        if current is None:
            return False
        del bucket.objects[name.key]
        bucket.keys.remove(name.key)
        self._accessed.pop(name, None)
        return True

    def _close_bucket(self, bucket: int, only_if_empty: bool) -> None:
        held = self._buckets.get(bucket)
        if only_if_empty and held and held.objects:
            raise BucketNotEmpty(str(bucket))
        self._buckets.pop(bucket, None)
        for held_upload in self.uploads(bucket):
            del self._uploads[held_upload.id]

    def _begin_upload(self, name: ObjectName, attributes: Attributes) -> Upload:
        self._bucket(name.bucket)
        upload = Upload(
            id=f"memory-{next(self._numbers):09}",
            bucket=name.bucket,
            key=name.key,
            started_ns=self._clock(),
            attributes=attributes,
        )
        self._uploads[upload.id] = _Upload(upload, {})
        return upload

    def _commit_part(self, upload_id: str, part: Part, payload: bytes, xxh3: bytes) -> Part:
        self._upload(upload_id).parts[part.number] = (part, payload, xxh3)
        return part

    def _complete(
        self,
        upload: Upload,
        numbers: Sequence[int],
        as_seen: Sequence[Part],
        how: tuple[Attributes, Condition, int],
    ) -> Record:
        attributes, condition, written_ns = how
        held = self._upload(upload.id)
        if missing := [number for number in numbers if number not in held.parts]:
            raise InvalidPart(f"upload {upload.id} has no part {missing[0]}")
        if not numbers:
            raise BadRequest(f"upload {upload.id}: no parts")
        for part in as_seen:
            # Not only equal: the clock of a test may stand still.
            if held.parts[part.number][0] is not part:
                raise InvalidPart(f"part {part.number} of upload {upload.id} was written again meanwhile")
        digests = Digests()
        payload = b"".join(held.parts[number][1] for number in numbers)
        digests.update([payload])
        record = self._put(
            ObjectName(held.upload.bucket, held.upload.key),
            next(self._numbers).to_bytes(16, "big"),
            payload,
            (digests.xxh3(), attributes, condition, written_ns),
        )
        del self._uploads[upload.id]
        return record


def _done(action: Callable[[], Result]) -> Future[Result]:
    """A future that is done already: with the action's result, or the error it raised."""
    future: Future[Result] = asyncio.get_running_loop().create_future()
    try:
        future.set_result(action())
    except AisleError as error:
        future.set_exception(error)
    return future
