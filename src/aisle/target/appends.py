"""Objects that grow by appending: pieces are gathered under a handle, and visible when it is flushed.

The pieces are parts of an upload. Each is durable when it is acknowledged, whichever process takes it,
and the handle says all that is needed to go on; so any worker serves the next append, and a killed one
leaves nothing that readers could see. A repeated append with the same handle replaces its piece, so
that it may be sent again. Flushing writes all pieces as one payload, as a put would have: an object
of a thousand lines is one file and not a thousand. Into a remote bucket that is a write to its source;
a provider knows no appending.
"""

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final, NamedTuple

from aisle.errors import (
    BadRequest,
    BucketNotFound,
    InvalidPart,
    NotFound,
    ObjectNotFound,
    SourceFailed,
    Unsupported,
    UploadNotFound,
)
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Attributes, Record
from aisle.rules.ranges import Span
from aisle.rules.remote_metadata import user_metadata
from aisle.storage.engine import Part, Upload
from aisle.target.filling import fill, undisturbed
from aisle.target.objects import ByteSource, Incoming, TargetObjects
from aisle.target.parts_source import PART_DIGEST, PartsSource
from aisle.target.remote_objects import RemoteObjects
from aisle.target.stored_source import StoredSource
from aisle.target.uploads import APPENDED, UploadEngine

PIECES_MAX: Final = 100_000
"""Appends between two flushes."""
FORGOTTEN_NS: Final = 24 * 3600 * 1_000_000_000
"""After this long without an append, a handle that was never flushed is dropped."""
_FLUSHED: Final = "append-handle"
"""Among an object's fields: what was flushed to make it."""
_CLEANING_INTERVAL_NS: Final = 3600 * 1_000_000_000


class Handle(NamedTuple):
    """What has been appended so far."""

    upload: str
    pieces: int


def _mark(handle: Handle) -> str:
    return f"{handle.upload}/{handle.pieces}"


class TargetAppends:
    """Appending to the objects of this target. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        engine: UploadEngine,
        objects: TargetObjects,
        *,
        remote: RemoteObjects | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """`remote` has the objects of remote buckets, which nothing can be appended to without it."""
        self._engine = engine
        self._objects = objects
        self._remote = remote
        self._clock = clock
        self._cleaned_ns: dict[int, int] = {}

    async def append(
        self, bucket: BucketInfo, key: bytes, source: ByteSource, handle: Handle | None
    ) -> Handle:
        """Append all of `source`, or nothing; without a handle, to what the object holds now.

        That of a remote bucket is fetched first; what a provider raises comes through then.

        Raises UploadNotFound for a handle that was flushed or never given out, BadRequest for one too
        many appends, BucketNotFound, OutOfSpace, Unavailable, and what the source raises.
        """
        try:
            if handle is None:
                await self._forget_abandoned(bucket)
                await self._fetch(bucket, key)
                upload, pieces = await self._begin(bucket, key)
            else:
                upload, pieces = self._find(bucket, key, handle), handle.pieces
            return Handle(upload.id, await self._add(upload, pieces, source))
        except NotFound as error:
            if isinstance(error, UploadNotFound):
                raise
            raise BucketNotFound(bucket.bucket.cname) from error

    async def flush(self, bucket: BucketInfo, key: bytes, handle: Handle) -> Record:
        """Make what was appended the object; that it was done already is as good, until it is another one.

        Raises UploadNotFound, InvalidPart if a piece is gone, and what a put raises.
        """
        try:
            upload = self._find(bucket, key, handle)
        except UploadNotFound:
            held = self._engine.look_up(ObjectName(bucket.number, key))
            if held is None or held.record.attributes.fields.get(_FLUSHED) != _mark(handle):
                raise
            return held.record  # whoever asks again did not get the answer
        pieces = [part for part in self._engine.parts(upload.id) if part.number <= handle.pieces]
        if len(pieces) != handle.pieces:
            raise InvalidPart(f"of {handle.pieces} pieces appended to {upload.id}, {len(pieces)} are left")
        custom = {name: value for name, value in upload.attributes.custom.items() if name != APPENDED}
        incoming = Incoming(upload.attributes.content_type, custom, fields={_FLUSHED: _mark(handle)})
        with closing(PartsSource(self._engine, upload, pieces)) as source:
            if bucket.remote is None:
                record = await self._objects.put(bucket, key, source, incoming)
            else:
                record = await self._elsewhere(bucket).put(bucket, key, source, incoming)
        await self._drop(upload)
        return record

    def _elsewhere(self, bucket: BucketInfo) -> RemoteObjects:
        if self._remote is None:
            raise Unsupported(f"{bucket.bucket.cname}: appending to objects of remote buckets is not built")
        return self._remote

    async def _fetch(self, bucket: BucketInfo, key: bytes) -> None:
        """Have here what an object of a remote bucket holds now, if there is one."""
        if bucket.remote is None:
            return
        remote, name = self._elsewhere(bucket), ObjectName(bucket.number, key)
        remote.writable(bucket)
        try:
            held = self._engine.look_up(name)
            if held is not None and not await remote.is_current(bucket, key, held.record):
                await remote.evict(bucket, key)
            await remote.cold.fill(bucket, key)
        except ObjectNotFound:
            await remote.evict(bucket, key)
            return
        if self._engine.look_up(name) is None:
            raise SourceFailed(f"{display(bucket.bucket, key)}: it was read and could not be kept: try again")

    async def _begin(self, bucket: BucketInfo, key: bytes) -> tuple[Upload, int]:
        """A new upload; what the object holds already is its first piece."""
        name = ObjectName(bucket.number, key)
        stored = self._engine.open(name)
        if stored is None:
            upload = await self._engine.begin_upload(name, Attributes(custom={APPENDED: ""}))
            return upload, 0
        with closing(stored):
            present = stored.record
            told = present.attributes
            # What a source tells about an object is told anew about the next one.
            custom = told.custom if bucket.remote is None else user_metadata(told)
            begun = Attributes(content_type=told.content_type, custom={**custom, APPENDED: ""})
            upload = await self._engine.begin_upload(name, begun)
            return upload, await self._add(upload, 0, StoredSource(stored, Span(0, present.size)))

    async def _add(self, upload: Upload, pieces: int, source: ByteSource) -> int:
        """Keep `source` as the next piece; how many there are then. Nothing is kept of an empty one."""
        if pieces >= PIECES_MAX:
            raise BadRequest(f"more than {PIECES_MAX} appends without a flush")
        name = ObjectName(upload.bucket, upload.key)
        draft = self._engine.draft(name, size=source.length, digests=[PART_DIGEST])
        handed_over = False
        try:
            await fill(draft, source)
            if not draft.size:
                return pieces
            attributes = Attributes(digests={PART_DIGEST: draft.digest(PART_DIGEST)})
            # From here on the draft is the engine's, whatever becomes of the commit.
            handed_over = True
            committing = self._engine.commit_part(upload, pieces + 1, draft, attributes)
            part: Part = await undisturbed(committing)
            return part.number
        finally:
            if not handed_over:
                draft.abort()

    def _find(self, bucket: BucketInfo, key: bytes, handle: Handle) -> Upload:
        upload = self._engine.find_upload(handle.upload)
        is_ours = (upload.bucket, upload.key) == (bucket.number, key) and APPENDED in upload.attributes.custom
        if not is_ours:
            raise UploadNotFound(handle.upload)
        return upload

    async def _forget_abandoned(self, bucket: BucketInfo) -> None:
        """Drop what was begun in this bucket and never flushed, once in a while."""
        now_ns = self._clock()
        if now_ns - self._cleaned_ns.get(bucket.number, 0) < _CLEANING_INTERVAL_NS:
            return
        self._cleaned_ns[bucket.number] = now_ns
        for upload in self._engine.uploads(bucket.number):
            if APPENDED in upload.attributes.custom and now_ns - self._last_ns(upload) > FORGOTTEN_NS:
                await self._drop(upload)

    def _last_ns(self, upload: Upload) -> int:
        """When something was last appended."""
        try:
            parts = self._engine.parts(upload.id)
        except UploadNotFound:
            return upload.started_ns  # flushed meanwhile
        return max((part.written_ns for part in parts), default=upload.started_ns)

    async def _drop(self, upload: Upload) -> None:
        try:
            await self._engine.abandon_upload(upload.id)
        except UploadNotFound:
            pass  # somebody was faster
