"""Multipart uploads: begun, filled part by part, completed or aborted.

What is done lies in `target/uploads.py`; here are S3's words for it. Whoever completes an upload, does not
get the answer and asks again gets the same answer, as long as the object is the one that it became.
"""

from collections.abc import Sequence
from contextlib import closing
from typing import Final
from urllib.parse import quote

from aisle import telemetry
from aisle.api.gate import Action, Principal
from aisle.api.payload import trailers_of
from aisle.api.router import Meter
from aisle.api.s3.acls import ROOT_ID
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.checksums import (
    MD5,
    Announced,
    checksum_elements,
    digest_elements,
    parse_announced,
    told,
)
from aisle.api.s3.conditions import check_source, write_condition
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.api.s3.metadata import kept_metadata, refuse_unbuilt
from aisle.api.s3.multipart_checksums import (
    INITIATOR,
    PARTS_XML_BYTES_MAX,
    check_whole,
    checksum_of,
    declare,
    declared_checksum,
    listed_parts,
    object_fields,
)
from aisle.api.s3.multipart_listing import list_parts, list_uploads, shown_key
from aisle.api.s3.patience import patiently
from aisle.api.s3.sources import COPY_SOURCE, CopySources
from aisle.api.s3.times import timestamp
from aisle.api.s3.writing import sized_body
from aisle.api.s3.xml import element, parse_xml, xml_answer
from aisle.errors import ObjectNotFound, UploadNotFound
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo
from aisle.model.record import Attributes, Record
from aisle.rules.ranges import Span
from aisle.storage.engine import Upload
from aisle.target.objects import TargetObjects
from aisle.target.part_digests import multipart_etag
from aisle.target.remote_objects import RemoteObjects
from aisle.target.stored_source import StoredSource
from aisle.target.uploads import (
    PART_NUMBER_MAX,
    Completing,
    IncomingPart,
    ListedPart,
    TargetUploads,
    chosen_parts,
    native_kind,
)

PART_BYTES_MAX: Final = 5 * 1024**3
"""As in S3."""
_DIGITS_MAX: Final = 18
"""Longer numbers are no place in any object."""


class MultipartOperations:
    """Handlers of the verbs on multipart uploads."""

    def __init__(
        self,
        uploads: TargetUploads,
        objects: TargetObjects,
        sources: CopySources,
        *,
        remote: RemoteObjects,
        counters: telemetry.Telemetry,
    ) -> None:
        """`remote` fetches what parts are copied from."""
        self._remote = remote
        self._uploads = uploads
        self._objects = objects
        self._sources = sources
        self._slots = counters.slots

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        put = Meter(telemetry.PUT_COUNT, telemetry.PUT_NS, telemetry.PUT_ERRORS)
        return [
            Operation("POST", Level.OBJECT, "uploads", Action.PUT, self.begin),
            Operation("PUT", Level.OBJECT, "uploadId", Action.PUT, self.put_part, put),
            Operation("POST", Level.OBJECT, "uploadId", Action.PUT, self.complete),
            Operation("DELETE", Level.OBJECT, "uploadId", Action.PUT, self.abort),
            Operation("GET", Level.OBJECT, "uploadId", Action.PUT, self.list_parts),
            Operation("GET", Level.BUCKET, "uploads", Action.LIST_OBJECTS, self.list_uploads),
        ]

    async def begin(self, call: S3Call) -> Response:
        """CreateMultipartUpload."""
        refuse_unbuilt(call.headers)
        kept = kept_metadata(call.headers)
        attributes = Attributes(
            content_type=kept.content_type,
            user=kept.user,
            fields={**kept.fields, **declare(call.headers), INITIATOR: _initiator(call.principal)},
        )
        upload = await self._uploads.begin(call.bucket(), call.key, attributes)
        kind, type_ = declared_checksum(upload)
        headers = [("x-amz-checksum-algorithm", kind.upper()), ("x-amz-checksum-type", type_)] if kind else []
        shown = [
            element("Bucket", call.name),
            element("Key", shown_key(call.key)),
            element("UploadId", upload.id),
        ]
        return xml_answer("InitiateMultipartUploadResult", shown, headers=headers)

    async def put_part(self, call: S3Call) -> Response:
        """UploadPart, and UploadPartCopy where a source is named."""
        number = _part_number(call)
        upload = self._uploads.find(call.bucket(), call.key, call.query["uploadId"])
        if COPY_SOURCE in call.headers:
            return await self._copy_part(call, upload, number)
        refuse_unbuilt(call.headers)
        announced = parse_announced(call.headers)
        body = sized_body(call, bytes_max=PART_BYTES_MAX)
        incoming = IncomingPart(
            _kinds(call.bucket(), upload, announced),
            lambda: announced.expected(trailers_of(body)),
            sync=call.bucket().payload_sync,
        )
        part = await self._uploads.put_part(upload, number, body, incoming=incoming)
        self._slots[telemetry.PUT_BYTES] += part.size
        shown = dict.fromkeys((declared_checksum(upload)[0], *announced.kept[1:]))
        digests = part.attributes.digests
        headers = [(f"x-amz-checksum-{kind}", told(digests[kind])) for kind in shown if kind]
        return Response(200, [("ETag", f'"{digests[MD5]}"'), *headers])

    async def _copy_part(self, call: S3Call, upload: Upload, number: int) -> Response:
        source = self._sources.find(call)
        if source.bucket.remote is not None:
            await self._remote.cold.fill(source.bucket, source.key)
        opened = self._objects.open_stored(source.name)
        if opened is None:
            raise ObjectNotFound(str(source))
        with closing(opened) as stored:
            check_source(call.headers, stored.record)
            span = _copied_span(call.headers.get("x-amz-copy-source-range", ""), stored.record.size)
            if span.length > PART_BYTES_MAX:
                raise _too_large(span.length)
            bucket = call.bucket()
            incoming = IncomingPart(_kinds(bucket, upload, Announced({})), sync=bucket.payload_sync)
            part = await self._uploads.put_part(upload, number, StoredSource(stored, span), incoming=incoming)
        digests = part.attributes.digests
        shown = [
            element("LastModified", timestamp(part.written_ns)),
            element("ETag", f'"{digests[MD5]}"'),
            *digest_elements(digests, declared_checksum(upload)[:1]),
        ]
        return xml_answer("CopyPartResult", shown)

    async def complete(self, call: S3Call) -> Response:
        """CompleteMultipartUpload."""
        # What its headers tell of digests is of the object, not of this document.
        body = await call.read_undescribed(limit=PARTS_XML_BYTES_MAX)
        listed = listed_parts(parse_xml(body, "CompleteMultipartUpload", bytes_max=PARTS_XML_BYTES_MAX))
        if call.bucket().remote is None:
            return await self._answer_completed(call, listed)
        # All of a large object may have to reach a slow source.
        return await patiently(call.request, self._answer_completed(call, listed))

    async def _answer_completed(self, call: S3Call, listed: Sequence[ListedPart]) -> Response:
        bucket, upload_id = call.bucket(), call.query["uploadId"]
        try:
            upload = self._uploads.find(bucket, call.key, upload_id)
            record = await self._complete(call, upload, listed)
        except UploadNotFound:
            record = self._completed_before(call, upload_id, listed)
        return _completed(call, record)

    async def _complete(self, call: S3Call, upload: Upload, listed: Sequence[ListedPart]) -> Record:
        parts = chosen_parts(listed, self._uploads.parts(upload))
        checksum = checksum_of(upload, parts)
        size = sum(part.size for part in parts)
        check_whole(call.headers, checksum, size, type_=declared_checksum(upload)[1])
        begun = upload.attributes
        attributes = Attributes(
            content_type=begun.content_type,
            custom=begun.custom,
            user=begun.user,
            fields=object_fields(begun.fields),
            digests=checksum,
            etag=multipart_etag([part.attributes.digests[MD5] for part in parts]),
        )
        completing = Completing(attributes, write_condition(call.headers))
        return await self._uploads.complete(call.bucket(), upload, parts, completing=completing)

    def _completed_before(self, call: S3Call, upload_id: str, listed: Sequence[ListedPart]) -> Record:
        """What the upload became when it was completed with the same parts before. Raises UploadNotFound."""
        record = self._uploads.completed(call.bucket(), call.key, upload_id)
        # An object of a remote bucket has the entity tag of its source, which tells nothing about parts.
        is_another = call.bucket().remote is None and record and _etag_of(listed) != record.attributes.etag
        if record is None or is_another:
            raise UploadNotFound(upload_id)
        return record

    async def abort(self, call: S3Call) -> Response:
        """AbortMultipartUpload."""
        upload = self._uploads.find(call.bucket(), call.key, call.query["uploadId"])
        await self._uploads.abandon(upload)
        return Response(204)

    def list_parts(self, call: S3Call) -> Response:
        """ListParts."""
        return list_parts(call, self._uploads)

    def list_uploads(self, call: S3Call) -> Response:
        """ListMultipartUploads."""
        return list_uploads(call, self._uploads)


def _initiator(caller: Principal) -> str:
    """How who begins an upload is shown in listings."""
    return caller.id or (ROOT_ID if caller.is_known else caller.name)


def _kinds(bucket: BucketInfo, upload: Upload, announced: Announced) -> list[str]:
    """The digests that a part is kept with; each once."""
    kinds = [*announced.kept, declared_checksum(upload)[0], native_kind(bucket)]
    return list(dict.fromkeys(kind for kind in kinds if kind))


def _part_number(call: S3Call) -> int:
    text = call.query.get("partNumber", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not 1 <= int(text) <= PART_NUMBER_MAX:
        raise S3Error(
            "InvalidArgument",
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=text[:80],
        )
    return int(text)


def _copied_span(asked: str, size: int) -> Span:
    """The span that a copy's range means: unlike in reads, both ends are named and exist."""
    if not asked:
        return Span(0, size)
    first, separator, last = asked.removeprefix("bytes=").partition("-")
    is_span = asked.startswith("bytes=") and separator and first.isdecimal() and last.isdecimal()
    if not is_span or max(len(first), len(last)) > _DIGITS_MAX:
        text = "The x-amz-copy-source-range value must be of the form bytes=first-last"
        raise S3Error(
            "InvalidArgument", text, ArgumentName="x-amz-copy-source-range", ArgumentValue=asked[:80]
        )
    start, end = int(first), int(last) + 1
    if not start < end <= size:
        text = f"Range specified is not valid for source object of size: {size}"
        raise S3Error(
            "InvalidArgument", text, ArgumentName="x-amz-copy-source-range", ArgumentValue=asked[:80]
        )
    return Span(start, end - start)


def _too_large(size: int) -> S3Error:
    return S3Error("EntityTooLarge", ProposedSize=str(size), MaxSizeAllowed=str(PART_BYTES_MAX))


def _etag_of(listed: Sequence[ListedPart]) -> str:
    """The entity tag that the parts of a list would make; empty if they cannot be."""
    try:
        return multipart_etag([part.md5 for part in listed])
    except ValueError:
        return ""


def _completed(call: S3Call, record: Record) -> Response:
    shown = [
        element("Location", _location(call)),
        element("Bucket", call.name),
        element("Key", shown_key(call.key)),
        element("ETag", s3_etag(record)),
        *checksum_elements(record.attributes),
    ]
    return xml_answer("CompleteMultipartUploadResult", shown)


def _location(call: S3Call) -> str:
    """The object's address as the client reaches it."""
    request = call.request
    scheme = "https" if request.secure else "http"
    return f"{scheme}://{request.headers.get('host', '')}{quote(request.path, safe='/%')}"
