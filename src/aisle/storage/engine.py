"""The storage seam: what every engine promises, and nothing about how.

Engines are `local` (disks) and `memory` (tests and models); one contract suite runs over both.
Nothing here knows HTTP. Rules (versioning, quota, policy) live in the services that commit.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from aisle.errors import AisleError
from aisle.model.names import ObjectName
from aisle.model.record import ANY, Attributes, Condition, Generation, Record

if TYPE_CHECKING:
    # The supervisor and the committer have no event loop, and start faster without loading one.
    from asyncio import Future


class OpenSegment(NamedTuple):
    """A span of an open payload file; the file's length was checked to cover it."""

    fd: int
    offset: int
    length: int


class OpenPayload(Protocol):
    """Bytes, opened for reading.

    Exactly one of `inline` and `segments` carries them. The files stay open, and readable even when
    what they belong to is overwritten or removed, until `close`, which may be called twice.
    """

    inline: bytes | None
    segments: Sequence[OpenSegment]

    def close(self) -> None:
        """Release the files; harmless when done before."""


class Stored(OpenPayload, Protocol):
    """One generation of an object, opened: record and payload come from one snapshot."""

    record: Record


class Draft(Protocol):
    """A payload being written: invisible until committed, gone without a trace when aborted.

    Chunks are hashed as they arrive: `digest(kind)` is the lower-case hex of each kind that
    `StorageEngine.draft` was asked for, once `finish` has completed.
    """

    size: int

    @property
    def filed(self) -> int:
        """How many bytes, from the first on, lie in a file by now; 0 while all are in memory."""

    @property
    def path(self) -> str:
        """The file, for reading while the draft is neither committed nor aborted; empty if `filed` is 0."""

    @property
    def generation(self) -> Generation:
        """What the payload will be known by, once committed."""

    def write(self, chunk: bytes | memoryview) -> Awaitable[None] | None:
        """Append a chunk; the caller may not change it afterwards.

        Returns None when the next chunk may follow at once, else what to await first. Raises (or
        the awaitable raises) OutOfSpace.
        """

    def finish(self) -> Awaitable[None] | None:
        """No more chunks: complete the digests and make the payload durable as the policy says."""

    def digest(self, kind: str) -> str:
        """The digest of that kind, lower-case hex."""

    def content(self) -> AsyncIterator[bytes]:
        """All bytes of a finished draft, from where they are. Raises Unavailable."""

    def abort(self) -> None:
        """Forget the draft; harmless when it was committed or aborted before."""


class Entry(NamedTuple):
    """A listed name. `encoded` is the record as stored, or None for a common prefix."""

    key: bytes
    encoded: bytes | None


class Page(NamedTuple):
    """Entries in byte order of their keys. `more` tells whether any entry follows."""

    entries: list[Entry]
    more: bool


class BucketCounts(NamedTuple):
    """Exact totals of a bucket's current objects, and the payload bytes they hold."""

    objects: int
    bytes: int


class StorageEngine(Protocol):
    """The objects on one target.

    A reader sees the whole old object or the whole new one. When the future of a change is done,
    the change survives a power cut. A draft that is never committed leaves no trace. Futures raise
    ConditionFailed, OutOfSpace, NotFound (the bucket is not open), or Unavailable (the outcome is
    not known: it is safe to try again).
    """

    def open(self, name: ObjectName) -> Stored | None:
        """The current generation, or None. Raises CorruptObject if its payload is damaged."""

    def draft(
        self, name: ObjectName, *, size: int | None = None, digests: Sequence[str] = (), sync: str = ""
    ) -> Draft:
        """A new payload for `name`. `size` is a hint in bytes where the length is known.

        `sync` says when a payload file must be on disk: `immediate` (before the commit's future is done),
        `delayed` (soon) or `never` (when the system likes); empty: as the engine is set. Small payloads
        are always immediate, and what a power cut damaged is never served.
        """

    def commit(
        self,
        name: ObjectName,
        draft: Draft,
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> "Future[Record]":
        """Make a finished draft the current generation.

        `written_ns` is what the record tells as the time of the write, 0 for now: a copy of what was
        written elsewhere keeps its time.

        The version COUNTED becomes one more than that of the object which it replaces, exactly, whatever
        other writes overlap.
        """

    def amend(self, name: ObjectName, attributes: Attributes, *, condition: Condition) -> "Future[Record]":
        """Replace the attributes of the generation that `condition` names; the payload stays.

        With its `sequence` only if nobody else has replaced them since that was seen.
        """

    def remove(self, name: ObjectName, *, condition: Condition = ANY, lasts: bool = False) -> "Future[bool]":
        """Remove the object; the result tells whether there was one.

        A removal that `lasts` is respected by commits with `since`: what was begun before it is refused
        as ConditionFailed, and so is, rarely, what was begun later.
        """

    def scan(
        self, bucket: int, *, prefix: bytes = b"", after: bytes = b"", limit: int, delimiter: bytes = b""
    ) -> Page:
        """At most `limit` entries whose key starts with `prefix` and is greater than `after`.

        With a delimiter, keys that hold it behind the prefix collapse to one entry that ends with
        it (the common prefix), and `after` being such an entry skips all that it stands for.
        """

    def open_bucket(self, bucket: int) -> "Future[None]":
        """Make the bucket accept objects; harmless when it does."""

    def close_bucket(self, bucket: int, *, only_if_empty: bool) -> "Future[None]":
        """Stop the bucket for ever and remove what it holds, in the background.

        Raises BucketNotEmpty (and leaves it open) if `only_if_empty` and any object exists. Numbers
        of buckets are never used again.
        """


ToldOfRecord = Callable[[Record | AisleError], None]
"""Who is told what came of a write."""


class SmallWriter(Protocol):
    """Small objects written in one call: what `draft` and `commit` do, without their steps."""

    def store_small(
        self, name: ObjectName, payload: bytes, attributes: Attributes, told: ToldOfRecord
    ) -> None:
        """As `put_small` without a condition; `told` is called once, later, and must not raise."""

    def put_small(
        self,
        name: ObjectName,
        payload: bytes,
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        written_ns: int = 0,
    ) -> "Future[Record]":
        """Make a payload of at most INLINE_BYTES_MAX bytes the current generation, as `commit` does."""


class Part(msgspec.Struct, frozen=True, array_like=True):
    """A committed part of an upload."""

    number: int
    size: int
    written_ns: int
    attributes: Attributes


class Upload(msgspec.Struct, frozen=True, array_like=True):
    """An upload in progress. Its parts survive restarts until it is completed or abandoned."""

    id: str
    bucket: int
    key: bytes
    started_ns: int
    attributes: Attributes


class UploadStore(Protocol):
    """Objects written in parts: multipart uploads and resumable downloads.

    The second seam of an engine; the same object implements both. Parts are durable when their
    future is done. Unknown, completed and abandoned uploads raise UploadNotFound.
    """

    def begin_upload(self, name: ObjectName, attributes: Attributes) -> "Future[Upload]":
        """Start an upload; `attributes` become the object's unless completion gives others."""

    def find_upload(self, upload_id: str) -> Upload:
        """An upload in progress, by its id."""

    def commit_part(
        self, upload: Upload, number: int, draft: Draft, attributes: Attributes
    ) -> "Future[Part]":
        """Keep a finished draft as part `number` (1 or more); an earlier one of that number goes."""

    def parts(self, upload_id: str) -> list[Part]:
        """The parts in order of their numbers."""

    def open_part(self, upload_id: str, number: int) -> OpenPayload | None:
        """The bytes of a committed part, or None if there is none of that number."""

    def complete_upload(
        self,
        upload: Upload,
        numbers: Sequence[int],
        attributes: Attributes,
        *,
        condition: Condition = ANY,
        as_seen: Sequence[Part] = (),
        written_ns: int = 0,
    ) -> "Future[Record]":
        """Make these parts, in this order, the object's current generation; others are dropped.

        `written_ns` is when it was written, now if it is 0.
        Raises InvalidPart for one that is not there, or that was written again since it was `as_seen`.
        """

    def abandon_upload(self, upload_id: str) -> "Future[None]":
        """Drop the upload and its parts."""

    def uploads(self, bucket: int) -> list[Upload]:
        """Uploads in progress in a bucket, in order of (key, id)."""


class Held(NamedTuple):
    """What is held under a name: its record, and the mountpath (empty where there is none)."""

    record: Record
    mountpath: str


class EngineLifecycle(Protocol):
    """What the process that holds an engine does with it."""

    def look_up(self, name: ObjectName) -> Held | None:
        """The current generation without its payload: nothing is opened, no access is noted."""

    def counts(self, bucket: int) -> BucketCounts:
        """Exact totals of a bucket."""

    def place(self) -> int:
        """How far the order of changes has come: what is acknowledged by now is not behind this place."""

    def accessed_ns(self, name: ObjectName) -> int:
        """When the object was last used (coarse, Unix nanoseconds), or 0 if not known."""

    def open_noted(self, name: ObjectName) -> Stored | None:
        """As `StorageEngine.open`, but of many uses none is left out when they are noted."""

    def note_access(self, name: ObjectName) -> None:
        """Note that an object was used just now."""

    async def close(self) -> None:
        """Flush what is pending and release the engine."""
