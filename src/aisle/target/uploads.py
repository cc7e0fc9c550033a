"""Objects that arrive in parts: uploads begun, filled, completed and abandoned, in every dialect.

An upload belongs to one name in one bucket. Its parts are durable when they are acknowledged, whoever
receives them, and invisible until it is completed; completing writes a list of parts and copies nothing.
What a dialect demands beyond that (numbers without gaps, an order) it checks itself or asks for here.
Nothing here knows HTTP.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple, Protocol

import msgspec

from aisle.errors import (
    BadRequest,
    BucketNotFound,
    ChecksumMismatch,
    InvalidPart,
    InvalidPartOrder,
    NotFound,
    Unsupported,
    UploadNotFound,
)
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName
from aisle.model.record import ANY, COUNTED, Attributes, Condition, Record
from aisle.rules.download_metadata import DOWNLOAD_JOB
from aisle.storage.engine import EngineLifecycle, Part, StorageEngine, Upload, UploadStore
from aisle.target.filling import fill, undisturbed
from aisle.target.objects import ByteSource
from aisle.target.part_digests import Span, combined

_NATIVE_KIND: Final = "crc32c"
APPENDED: Final = "aisle-append"
"""Custom metadata that marks what target/appends.py gathers."""
PART_NUMBER_MAX: Final = 10_000
"""As in S3: parts are numbered from 1."""


class UploadEngine(StorageEngine, UploadStore, EngineLifecycle, Protocol):
    """What uploads need of an engine."""


class IncomingPart(NamedTuple):
    """What a writer says about a part beside its bytes."""

    kinds: Sequence[str] = ()
    """Digests to compute and to keep with the part."""
    announced: Callable[[], Mapping[str, str]] = dict
    """Digests, of those kinds, that the bytes must have; asked when all bytes are here (trailers)."""
    sync: str = ""
    """When the part's file must be on disk; see BucketInfo.payload_sync."""


class ListedPart(NamedTuple):
    """A part as the one who completes an upload names it; what is empty is not compared."""

    number: int
    md5: str = ""
    digests: Mapping[str, str] = {}


class Completing(NamedTuple):
    """What becomes of an upload's parts."""

    attributes: Attributes
    """Those of the object; its checksum if it has none, its version and the upload's id are added."""
    condition: Callable[[Record | None], Condition] | None = None
    """What must hold of the object that is there, decided from its record; may raise."""


class Whole(NamedTuple):
    """What an upload is about to become."""

    bucket: BucketInfo
    upload: Upload
    parts: Sequence[Part]
    """Those that make the object, in its order."""
    attributes: Attributes
    condition: Callable[[Record | None], Condition] | None

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(part.size for part in self.parts)


CompleteHere = Callable[[Attributes, Condition], Awaitable[Record]]
"""Makes the parts the object here, with these attributes and on this condition. Raises ConditionFailed."""


class CompletesElsewhere(Protocol):
    """Writes the parts of an upload to the source of their bucket before they become the object here."""

    async def complete(self, wanted: Whole, *, here: CompleteHere) -> Record:
        """Write the object to its source and let `here` keep it; however often it is asked, once at a time.

        Raises what a provider raises, Unsupported where it cannot write, or not on conditions, and what
        the parts, the condition and `here` raise.
        """


class TargetUploads:
    """The uploads in progress on this target."""

    def __init__(self, engine: UploadEngine, *, elsewhere: CompletesElsewhere | None = None) -> None:
        """`elsewhere` completes uploads into remote buckets, which are refused without it."""
        self._engine = engine
        self._elsewhere = elsewhere

    async def begin(self, bucket: BucketInfo, key: bytes, attributes: Attributes) -> Upload:
        """Start an upload; `attributes` are kept with it. Raises BucketNotFound, OutOfSpace, Unavailable."""
        try:
            return await self._engine.begin_upload(ObjectName(bucket.number, key), attributes)
        except NotFound as error:
            raise BucketNotFound(bucket.bucket.cname) from error

    def find(self, bucket: BucketInfo, key: bytes, upload_id: str) -> Upload:
        """An upload of that name. Raises UploadNotFound, for those of other names and of jobs too."""
        upload = self._engine.find_upload(upload_id)
        if (upload.bucket, upload.key) != (bucket.number, key) or _is_of_a_job(upload):
            raise UploadNotFound(upload_id)
        return upload

    def in_bucket(self, bucket: BucketInfo) -> list[Upload]:
        """The uploads of clients in a bucket, by name, and by time within a name."""
        return [upload for upload in self._engine.uploads(bucket.number) if not _is_of_a_job(upload)]

    async def put_part(
        self, upload: Upload, number: int, source: ByteSource, *, incoming: IncomingPart | None = None
    ) -> Part:
        """Keep all of `source` as part `number`, in place of an earlier one; or nothing.

        Raises BadRequest for a number that no part can have, ChecksumMismatch, UploadNotFound if the
        upload ended meanwhile, OutOfSpace, Unavailable, and what the source raises.
        """
        if not 1 <= number <= PART_NUMBER_MAX:
            raise BadRequest(f"part number {number}: must be between 1 and {PART_NUMBER_MAX}")
        kinds, announced, sync = incoming or IncomingPart()
        name = ObjectName(upload.bucket, upload.key)
        draft = self._engine.draft(name, size=source.length, digests=kinds, sync=sync)
        handed_over = False
        try:
            await fill(draft, source)
            digests = {kind: draft.digest(kind) for kind in kinds}
            for kind, wanted in announced().items():
                if digests[kind] != wanted:
                    where = f"part {number} of upload {upload.id}"
                    raise ChecksumMismatch(kind, announced=wanted, received=digests[kind], name=where)
            # From here on the draft is the engine's; see TargetObjects.put.
            handed_over = True
            return await undisturbed(
                self._engine.commit_part(upload, number, draft, Attributes(digests=digests))
            )
        finally:
            if not handed_over:
                draft.abort()

    def parts(self, upload: Upload) -> list[Part]:
        """The parts that are there, in order of their numbers. Raises UploadNotFound."""
        return self._engine.parts(upload.id)

    async def complete(
        self, bucket: BucketInfo, upload: Upload, parts: Sequence[Part], *, completing: Completing
    ) -> Record:
        """Make these parts, in this order, the object; the other parts are dropped.

        Raises UploadNotFound, ConditionFailed, BucketNotFound if the bucket is gone by now, Unavailable,
        and InvalidPart if one of the parts was written again since it was listed: what was decided about
        the parts would not be true of the object. Into a remote bucket, raises as `CompletesElsewhere`.
        """
        kind, checksum = completing.attributes.checksum_type, completing.attributes.checksum_value
        if not kind and native_kind(bucket) and (checksum := _native_checksum(parts)):
            kind = _NATIVE_KIND
        attributes = msgspec.structs.replace(
            completing.attributes,
            checksum_type=kind,
            checksum_value=checksum,
            version=COUNTED if bucket.properties.versioning.enabled else "",
            upload=upload.id,
        )
        whole = Whole(bucket, upload, parts, attributes, completing.condition)
        if bucket.remote is None:
            return await self._complete(whole, attributes, self._judged(whole))
        if self._elsewhere is None:
            raise Unsupported(f"{bucket.bucket.cname}: uploads in parts into remote buckets are not built")
        return await self._elsewhere.complete(
            whole, here=lambda attributes, condition: self._complete(whole, attributes, condition)
        )

    def _judged(self, whole: Whole) -> Condition:
        """What must hold of the object that is replaced. Raises what the upload's condition raises."""
        if whole.condition is None:
            return ANY
        held = self._engine.look_up(ObjectName(whole.upload.bucket, whole.upload.key))
        return whole.condition(held.record if held else None)

    async def _complete(self, whole: Whole, attributes: Attributes, condition: Condition) -> Record:
        numbers = [part.number for part in whole.parts]
        try:
            return await undisturbed(
                self._engine.complete_upload(
                    whole.upload, numbers, attributes, condition=condition, as_seen=whole.parts
                )
            )
        except UploadNotFound:
            raise
        except NotFound as error:
            raise BucketNotFound(whole.bucket.bucket.cname) from error

    def completed(self, bucket: BucketInfo, key: bytes, upload_id: str) -> Record | None:
        """What an upload became, as long as nothing else is stored under its name.

        Who asks to complete an upload and never gets the answer asks again.
        """
        held = self._engine.look_up(ObjectName(bucket.number, key))
        return held.record if held and upload_id and held.record.attributes.upload == upload_id else None

    async def abandon(self, upload: Upload) -> None:
        """Drop an upload and its parts. Raises UploadNotFound, Unavailable."""
        await self._engine.abandon_upload(upload.id)


def chosen_parts(listed: Sequence[ListedPart], stored: Sequence[Part]) -> list[Part]:
    """The stored parts that a list names, by S3's rules: some of them, in ascending order, as they are.

    Parts may be as small as they like: Amazon wants 5 MiB of all but the last, AIStore does not. Raises
    BadRequest for an empty list, and InvalidPartOrder, InvalidPart.
    """
    if not listed:
        raise BadRequest("an upload cannot be completed without parts")
    numbers = [part.number for part in listed]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise InvalidPartOrder("the list of parts is not in ascending order: each part is named once")
    by_number = {part.number: part for part in stored}
    chosen = []
    for wanted in listed:
        part = by_number.get(wanted.number)
        if part is None:
            raise InvalidPart(f"part {wanted.number} was not uploaded")
        kept = part.attributes.digests
        told = dict(wanted.digests)
        if wanted.md5:
            told["md5"] = wanted.md5
        for kind, digest in told.items():
            if kept.get(kind) != digest:
                raise InvalidPart(f"part {wanted.number} has another {kind} digest than the list says")
        chosen.append(part)
    return chosen


def native_kind(bucket: BucketInfo) -> str:
    """The digest that parts need for the object's native checksum; empty where the bucket wants none.

    Of the kinds that AIStore's clients know, only this one follows from the parts without reading them.
    """
    return _NATIVE_KIND if bucket.properties.checksum.type != "none" else ""


def _native_checksum(parts: Sequence[Part]) -> str:
    """The checksum of all bytes; empty if a part was kept without one."""
    spans = [Span(part.attributes.digests.get(_NATIVE_KIND, ""), part.size) for part in parts]
    return combined(_NATIVE_KIND, spans) if all(span.digest for span in spans) else ""


def _is_of_a_job(upload: Upload) -> bool:
    """Whether a download is stored this way, or what is appended: no client's affair."""
    custom = upload.attributes.custom
    return DOWNLOAD_JOB in custom or APPENDED in custom
