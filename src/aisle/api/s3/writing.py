"""PUT and DELETE of objects.

The MD5 of whatever is written here is computed and kept, for it is what S3 shows as entity tag,
whatever checksum the bucket has. What a writer announces is compared before anything is visible.
"""

from asyncio import Future
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from aisle import telemetry
from aisle.api.gate import Action
from aisle.api.payload import trailers_of
from aisle.api.router import Meter
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.checksums import Announced, checksum_type, known, parse_announced, told
from aisle.api.s3.conditions import removal_condition, write_condition
from aisle.api.s3.dispatch import Operation, S3Handler
from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.api.s3.metadata import kept_metadata, refuse_unbuilt
from aisle.api.s3.reading import check_version, no_such_key
from aisle.api.s3.sources import COPY_SOURCE
from aisle.errors import ObjectNotFound
from aisle.httpd.request import NO_BODY, BodyStream
from aisle.httpd.response import Answer, Later, Response
from aisle.model.bucket import BucketInfo
from aisle.model.record import INLINE_BYTES_MAX, Record
from aisle.target.objects import Incoming, TargetObjects

OBJECT_BYTES_MAX: Final = 5 * 1024**3
"""The largest body of one PUT; larger objects are uploaded in parts."""


class WritingOperations:
    """Handlers of the writes and removals of one object; `copy` answers a PUT that names a source."""

    def __init__(self, objects: TargetObjects, counters: telemetry.Telemetry, *, copy: S3Handler) -> None:
        self._objects = objects
        self._slots = counters.slots
        self._copy = copy

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        put = Meter(telemetry.PUT_COUNT, telemetry.PUT_NS, telemetry.PUT_ERRORS)
        delete = Meter(telemetry.DELETE_COUNT, None, telemetry.DELETE_ERRORS)
        return [
            Operation("PUT", Level.OBJECT, "", Action.PUT, self.put, put),
            Operation("DELETE", Level.OBJECT, "", Action.DELETE_OBJECT, self.delete, delete),
        ]

    def put(self, call: S3Call) -> Answer:
        """Write the object, or copy another one there: visible, whole and durable when this is answered."""
        if COPY_SOURCE in call.headers:
            return self._copy(call)
        bucket, body = call.bucket(), sized_body(call, bytes_max=OBJECT_BYTES_MAX)
        announced = parse_announced(call.headers)
        incoming = incoming_of(call, announced)
        if body.length is not None and body.length <= INLINE_BYTES_MAX:
            payload = body.buffered()
            if payload is not None:
                written = self._objects.put_small(bucket, call.key, payload, incoming)
                return Later(written, partial(self._written, bucket, announced))
        return self._put_stream(call, incoming, announced)

    def _written(self, bucket: BucketInfo, announced: Announced, written: Future[Record]) -> Response:
        return self._stored(self._objects.outcome(bucket, written), announced)

    async def _put_stream(self, call: S3Call, incoming: Incoming, announced: Announced) -> Response:
        record = await self._objects.put(call.bucket(), call.key, call.request.body, incoming)
        return self._stored(record, announced)

    def _stored(self, record: Record, announced: Announced) -> Response:
        self._slots[telemetry.PUT_BYTES] += record.size
        headers = [("ETag", s3_etag(record))]
        if len(announced.kept) > 1:
            attributes = record.attributes
            headers += [(f"x-amz-checksum-{kind}", told(value)) for kind, value in known(attributes)]
            headers.append(("x-amz-checksum-type", checksum_type(attributes)))
        return Response(200, headers)

    async def delete(self, call: S3Call) -> Response:
        """Remove the object; that there is none is as good, unless `If-Match` says that there must be one."""
        check_version(call.query)
        condition = removal_condition(call.headers)
        try:
            if condition is None:
                await self._objects.remove(call.bucket(), call.key)
            else:
                await self._objects.remove_if(call.bucket(), call.key, condition)
        except ObjectNotFound:
            if "if-match" in call.headers:
                raise no_such_key(call) from None
        return Response(204)


def sized_body(call: S3Call, *, bytes_max: int) -> BodyStream:
    """The body of a write, whose length is known. Raises S3Error MissingContentLength, EntityTooLarge."""
    body = call.request.body
    if body.length is None or (body is NO_BODY and "content-length" not in call.headers):
        raise S3Error("MissingContentLength")
    if body.length > bytes_max:
        raise S3Error("EntityTooLarge", ProposedSize=str(body.length), MaxSizeAllowed=str(bytes_max))
    return body


def expected_digests(body: BodyStream, announced: Announced) -> Callable[[], Mapping[str, str]] | None:
    """What digests a body must have, to be asked when it has ended; None if nothing was announced."""
    if not announced.digests and not announced.trailing:
        return None
    return lambda: announced.expected(trailers_of(body))


def incoming_of(call: S3Call, announced: Announced) -> Incoming:
    """What a write says about its payload. Raises S3Error for what is not built."""
    headers = call.headers
    refuse_unbuilt(headers)
    kept = kept_metadata(headers)
    return Incoming(
        kept.content_type,
        condition=write_condition(headers),
        user=kept.user,
        fields=kept.fields,
        digests=announced.kept,
        expected=expected_digests(call.request.body, announced),
    )
