"""The operations of the S3 dialect on buckets that have a remote one behind them.

Reads find what is here, and else fetch it; writes and removals reach the source. Operations that would
do something here only are answered 501. Uploads in parts lie here until they are completed.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Final

from aisle import telemetry
from aisle.api.cold import anew_if_changed, open_as_told, part_of, told_of, unverified, whole_of
from aisle.api.s3.call import Level, S3Call
from aisle.api.s3.checksums import parse_announced
from aisle.api.s3.conditions import removal_condition
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.api.s3.metadata import refuse_tags
from aisle.api.s3.reading import ReadingOperations, check_version, not_modified
from aisle.api.s3.sources import COPY_SOURCE
from aisle.api.s3.writing import OBJECT_BYTES_MAX, incoming_of, sized_body
from aisle.errors import CorruptObject, NotYetWritten
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName
from aisle.model.record import Record
from aisle.target.freshness import Freshness, FreshnessChecks
from aisle.target.remote_objects import RemoteObjects

_LOCAL_ONLY: Final = frozenset({("PUT", "tagging"), ("DELETE", "tagging")})
"""What would change the copy here and not its source."""
_OF_UPLOADS: Final = frozenset({"uploads", "uploadId"})
"""What concerns no object that is there already."""

Handler = Callable[[S3Call], Coroutine[object, object, Response]]


class RemoteOperations:
    """What the operations on objects mean where objects may be elsewhere."""

    def __init__(
        self, reading: ReadingOperations, remote: RemoteObjects, *, counters: telemetry.Telemetry
    ) -> None:
        self._reading = reading
        self._remote = remote
        self._checks = FreshnessChecks(remote)
        self._slots = counters.slots
        self._plain: Mapping[str, Handler] = {
            "GET": self._get,
            "HEAD": self._head,
            "PUT": self._put,
            "DELETE": self._delete,
        }

    def answer(self, operation: Operation, call: S3Call) -> Answer:
        """The answer to an operation on such a bucket or an object in it."""
        if operation.level is not Level.OBJECT:
            if operation.method == "DELETE" and not operation.subresource:
                raise S3Error("MethodNotAllowed", "A remote bucket is not deleted from here: evict it.")
            return operation.handler(call)
        if operation.method == "PUT" and COPY_SOURCE in call.headers and not operation.subresource:
            return operation.handler(call)
        if operation.subresource == "":
            return self._plain[operation.method](call)
        if operation.subresource in _OF_UPLOADS:
            refuse_tags(call.headers)
            return operation.handler(call)
        if (operation.method, operation.subresource) in _LOCAL_ONLY:
            raise S3Error(
                "NotImplemented",
                f"{operation.method} ?{operation.subresource} is not implemented for remote buckets.",
            )
        return self._filled(operation, call)

    async def _filled(self, operation: Operation, call: S3Call) -> Response:
        """An operation on what is here, fetched first if need be."""
        await self._remote.cold.fill(call.bucket(), call.key)
        answer = operation.handler(call)
        return answer if isinstance(answer, Response) else await answer

    async def _get(self, call: S3Call) -> Response:
        bucket = call.bucket()
        freshness, held = await self._freshness(bucket, call.key)
        if freshness is not Freshness.OUTDATED:
            try:
                name = ObjectName(bucket.number, call.key)
                if self._remote.engine.look_up(name) is not None:
                    self._remote.engine.note_access(name)
                    return await _told(self._reading.get(call), freshness)
            except CorruptObject as damaged:
                try:
                    await self._remote.evict(bucket, call.key)
                except NotYetWritten:
                    raise damaged from None  # nobody else has it
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                # It was evicted between the two looks.
        replaces = held if freshness is Freshness.OUTDATED else None
        return await anew_if_changed(
            self._remote, bucket, call.key, lambda: self._get_cold(call, bucket, replaces)
        )

    async def _freshness(self, bucket: BucketInfo, key: bytes) -> tuple[Freshness, Record | None]:
        """What is here, and whether it is current, where the bucket asks for that to be found out."""
        held = self._remote.engine.look_up(ObjectName(bucket.number, key))
        if held is None or not bucket.properties.versioning.validate_warm_get:
            return Freshness.CURRENT, held.record if held else None
        return await self._checks.judge(bucket, key, held.record), held.record

    async def _get_cold(self, call: S3Call, bucket: BucketInfo, replaces: Record | None) -> Response:
        cold = self._remote.cold
        if self._reading.is_plain(call):
            fetch = await cold.open(bucket, call.key, replaces=replaces)
            record = self._remote.record_of(bucket, fetch.about)
            _, fields, _ = self._reading.plan(call, record)
            self._slots[telemetry.GET_BYTES] += record.size
            return Response(200, fields, await whole_of(fetch))
        about = await told_of(self._remote, bucket, call.key)
        record = self._remote.record_of(bucket, about)
        if self._reading.is_unmodified(call, record):
            return not_modified(record)
        status, fields, span = self._reading.plan(call, record)
        self._slots[telemetry.GET_BYTES] += record.size if span is None else span.length
        if span is None:
            opened = await open_as_told(self._remote, bucket, about, replaces=replaces)
            return Response(status, fields, await whole_of(opened))
        return Response(status, fields, await part_of(self._remote, bucket, about, span, replaces=replaces))

    async def _head(self, call: S3Call) -> Response:
        bucket = call.bucket()
        freshness, held = await self._freshness(bucket, call.key)
        if held is not None and freshness is not Freshness.OUTDATED:
            return await _told(self._reading.head(call), freshness)
        about = await told_of(self._remote, bucket, call.key)
        record = self._remote.record_of(bucket, about)
        if self._reading.is_unmodified(call, record):
            return not_modified(record)
        status, fields, span = self._reading.plan(call, record)
        return Response(status, fields, length=record.size if span is None else span.length)

    async def _put(self, call: S3Call) -> Response:
        refuse_tags(call.headers)
        body = sized_body(call, bytes_max=OBJECT_BYTES_MAX)
        incoming = incoming_of(call, parse_announced(call.headers))
        record = await self._remote.put(call.bucket(), call.key, body, incoming)
        self._slots[telemetry.PUT_BYTES] += record.size
        return Response(200, [("ETag", s3_etag(record))])

    async def _delete(self, call: S3Call) -> Response:
        check_version(call.query)
        if removal_condition(call.headers) is not None:
            raise S3Error("NotImplemented", "Conditional deletes are not implemented for remote buckets.")
        await self._remote.remove(call.bucket(), call.key)
        return Response(204)


async def _told(answer: Answer, freshness: Freshness) -> Response:
    """An answer from what is here; it says so if its source could not be asked."""
    response = answer if isinstance(answer, Response) else await answer
    return response if freshness is Freshness.CURRENT else unverified(response)
