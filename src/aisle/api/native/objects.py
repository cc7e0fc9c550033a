"""The verbs on objects: `/v1/objects/BUCKET/OBJECT` (ais-native-api.md §6)."""

from asyncio import Future
from contextlib import ExitStack
from functools import partial
from time import time_ns
from typing import Final

import msgspec

from aisle import telemetry
from aisle.api.bodies import part_body, whole_body
from aisle.api.gate import Action
from aisle.api.messages import ActionMessage
from aisle.api.native.addresses import (
    REMOTE,
    VALIDATE,
    Address,
    Addresses,
    Variants,
    object_key,
    refuse,
    vary,
)
from aisle.api.native.incoming import incoming_of
from aisle.api.native.records import (
    SDK_AGENT,
    Headers,
    Location,
    RecordHeaders,
    base36,
    checksum_headers,
    custom_headers,
    etag,
    head_headers,
    header_name,
    http_date,
    read_headers,
    seen,
    written_headers,
)
from aisle.api.native.remote import PARTICULAR, RemoteVerbs
from aisle.api.router import Elements, Meter, Route
from aisle.api.urls import is_true
from aisle.errors import BadRequest, ConditionFailed, CorruptObject, NotRemoteBucket, ObjectNotFound
from aisle.httpd.request import BodyStream, Request
from aisle.httpd.response import Answer, FileBody, Later, Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import INLINE_BYTES_MAX, Files, Record
from aisle.rules.preconditions import Verdict, judge_read, range_applies
from aisle.rules.ranges import parse_range
from aisle.storage.engine import Held, Stored
from aisle.storage.hashing import DIGEST_KINDS
from aisle.target.objects import Incoming, TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.verifying import digest_of, verify

_PARTICULAR: Final = PARTICULAR
_OF_PRESENT: Final = frozenset(
    {"Ais-Present", "Ais-Atime", "Ais-Location", "Ais-Mirror-Copies", "Ais-Mirror-Paths"}
)
GET_BYTES: Final = telemetry.GET_BYTES
_HEAD_PROPERTIES: Final = frozenset(
    {"name", "size", "version", "checksum", "atime", "copies", "ec", "custom", "location", "chunked"}
    | {"last-modified", "etag"}
)
"""What HEAD V2 can be asked for; anything else is an error (§6.4)."""


class ObjectVerbs:
    """Handlers of the verbs on one object."""

    def __init__(
        self,
        objects: TargetObjects,
        addresses: Addresses,
        *,
        counters: telemetry.Telemetry,
        location: Location,
        variants: Variants,
        remote: RemoteObjects,
    ) -> None:
        self._objects = objects
        self._remote = remote
        self._of_remote = RemoteVerbs(self, remote, counters=counters)
        self._variants = {**variants, **self._of_remote.variants(variants)}
        self._find = addresses.find
        self._open = objects.open_stored
        self._open_noted = remote.engine.open_noted
        self._slots = counters.slots
        self._location = location
        self._told = RecordHeaders().of

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        path = "/v1/objects/{bucket}/{object}"
        get = Meter(telemetry.GET_COUNT, telemetry.GET_NS, telemetry.GET_ERRORS)
        put = Meter(telemetry.PUT_COUNT, telemetry.PUT_NS, telemetry.PUT_ERRORS)
        head = Meter(telemetry.HEAD_COUNT, telemetry.HEAD_NS, telemetry.HEAD_ERRORS)
        delete = Meter(telemetry.DELETE_COUNT, None, telemetry.DELETE_ERRORS)
        return [
            Route("GET", path, Action.GET, self.get, meter=get),
            Route("HEAD", path, Action.HEAD_OBJECT, self.head, meter=head),
            Route("PUT", path, Action.PUT, self.put, meter=put),
            Route("DELETE", path, Action.DELETE_OBJECT, self.delete, "action=", delete),
            Route("DELETE", path, Action.DELETE_OBJECT, self.evict, "action=evict-listrange"),
            Route("PATCH", path, Action.UPDATE_OBJECT, self.amend, "action="),
            Route("POST", path, Action.HEAD_OBJECT, self.check_lock, "action=check-lock"),
        ]

    def get(self, request: Request, elements: Elements) -> Answer:
        """The object's bytes: all of them, or one range."""
        # The busiest handler: everything that most reads do not need is kept out of its way.
        bucket, _, variant, is_careful, wants_latest = address = self._find(elements, request.query)
        key = object_key(elements)
        if not variant:
            stored = self._open(ObjectName(bucket.number, key))
            if stored is None:
                raise ObjectNotFound(display(bucket.bucket, key))
        else:
            if variant is not REMOTE or wants_latest or is_careful:
                return vary(self._variants, request, key, address)
            try:
                stored = self._open_noted(ObjectName(bucket.number, key))
            except CorruptObject:
                return self._of_remote.get_instead(request, key, address)
            if stored is None:
                return self._of_remote.get_cold(request, key, address)
        if is_careful or not _PARTICULAR.isdisjoint(request.headers):
            return self.serve(request, key, address, stored)
        record = stored.record
        self._slots[GET_BYTES] += record.size
        # This read is the last access.
        lines = f"{self._told(record)}Ais-Atime: {time_ns()}\r\n"
        return Response(200, (), stored.inline or whole_body(stored), lines=lines)

    def serve(self, request: Request, key: bytes, address: Address, stored: Stored) -> Answer:
        """What a request wants of an object that has been opened for it."""
        if address.is_careful:
            return self._get_careful(request, stored, key, address)
        if not _PARTICULAR.isdisjoint(request.headers):
            return self._get_particular(request, stored)
        record = stored.record
        self._slots[GET_BYTES] += record.size
        lines = f"{self._told(record)}Ais-Atime: {time_ns()}\r\n"
        return Response(200, (), stored.inline or whole_body(stored), lines=lines)

    async def _get_careful(self, request: Request, stored: Stored, key: bytes, address: Address) -> Response:
        """A read that is compared with its checksum before any byte leaves, or tells that of its range."""
        wanted, kind = address.bucket.properties.checksum, stored.record.attributes.checksum_type
        if wanted.validate_warm_get or is_true(address.query.get(VALIDATE, "")):
            await verify(stored, display(address.bucket.bucket, key))
        response = self._get_particular(request, stored)
        if response.status == 206 and wanted.enable_read_range and kind in DIGEST_KINDS:
            body = response.body
            assert isinstance(body, FileBody | bytes)
            spans = body.spans if isinstance(body, FileBody) else (body,)
            value = await digest_of(kind, spans, stored)
            told = [pair for pair in response.headers if pair[0] != "Ais-Checksum-Value"]
            response.headers = [*told, ("Ais-Checksum-Value", value)]
        return response

    def _get_particular(self, request: Request, stored: Stored) -> Response:
        """A read with conditions or a range."""
        with ExitStack() as unless_sent:
            unless_sent.callback(stored.close)
            record, headers = stored.record, request.headers
            facts = seen(record)
            verdict = judge_read(headers, facts)
            if verdict is Verdict.FAILED:
                raise ConditionFailed("the object is not in the required state")
            if verdict is Verdict.NOT_MODIFIED:
                return _not_modified(record)
            told = read_headers(record, time_ns())
            asked = headers.get("range")
            if asked is None or not range_applies(headers.get("if-range"), facts):
                self._slots[telemetry.GET_BYTES] += record.size
                unless_sent.pop_all()
                return Response(200, told, whole_body(stored))
            span = parse_range(asked, record.size)
            last = span.start + span.length - 1
            told.append(("Content-Range", f"bytes {span.start}-{last}/{record.size}"))
            told.append(("Accept-Ranges", "bytes"))
            self._slots[telemetry.GET_BYTES] += span.length
            unless_sent.pop_all()
            return Response(206, told, part_body(stored, span))

    def head(self, request: Request, elements: Elements) -> Answer:
        """What is known of the object: all (V1), or what `props` asks for (V2)."""
        address = self._find(elements, request.query)
        key = object_key(elements)
        if address.variant:
            return vary(self._variants, request, key, address)
        return self.tell(request, key, address, self._objects.look_up(address.bucket, key))

    def tell(
        self, request: Request, key: bytes, address: Address, held: Held, *, is_present: bool = True
    ) -> Response:
        """What a HEAD tells of an object, be it here or only at its source."""
        record = held.record
        verdict = judge_read(request.headers, seen(record))
        if verdict is Verdict.FAILED:
            raise ConditionFailed("the object is not in the required state")
        if verdict is Verdict.NOT_MODIFIED:
            return _not_modified(record)
        presence = address.query.get("presence", "")
        if presence in ("1", "3"):
            return Response(200)
        if presence == "5" and is_present:
            raise BadRequest(f"{display(address.bucket.bucket, key)} is present in the cluster")
        asked = address.query.get("props", "")
        accessed_ns = self._objects.accessed_ns(address.bucket, key, record) if is_present else 0
        if not asked:
            headers = self._head_v1(address, key, held, accessed_ns)
        else:
            headers = self._head_v2(asked, held, accessed_ns)
        if not is_present:
            headers = [pair for pair in headers if pair[0] not in _OF_PRESENT]
            headers.append(("Ais-Present", "false"))
        return Response(200, headers, length=record.size)

    def _head_v1(self, address: Address, key: bytes, held: Held, accessed_ns: int) -> Headers:
        bucket = address.bucket.bucket
        mountpath = held.mountpath or self._location.mountpath
        return [
            *head_headers(held.record, accessed_ns),
            ("Ais-Name", header_name(key)),
            ("Ais-Bucket-Name", bucket.name),
            ("Ais-Bucket-Provider", bucket.provider),
            ("Ais-Present", "true"),
            ("Ais-Location", self._location.of(mountpath)),
            ("Ais-Mirror-Copies", "1"),
            ("Ais-Mirror-Paths", f"[{mountpath}]"),
        ]

    def _head_v2(self, asked: str, held: Held, accessed_ns: int) -> Headers:
        """Exactly what was asked for: the SDK takes every field that is there as asked (§6.4)."""
        wanted = {name.strip() for name in asked.split(",")}
        if unknown := wanted - _HEAD_PROPERTIES:
            raise BadRequest(f'invalid property "{min(unknown)}" in props list')
        record, mountpath = held.record, held.mountpath or self._location.mountpath
        headers: Headers = [("Ais-Present", "true")]
        if "checksum" in wanted:
            headers += checksum_headers(record)
        if "atime" in wanted:
            headers.append(("Ais-Atime", str(accessed_ns)))
        if "version" in wanted and record.attributes.version:
            headers.append(("Ais-Version", record.attributes.version))
        if "custom" in wanted:
            headers += custom_headers(record.attributes.custom)
        if "location" in wanted:
            headers.append(("Ais-Location", self._location.of(mountpath)))
        if "copies" in wanted:
            headers.append(("Ais-Mirror-Copies", "1"))
            headers.append(("Ais-Mirror-Paths", mountpath))
        if "chunked" in wanted and record.attributes.upload:
            headers += _chunks(record)
        if "last-modified" in wanted:
            headers.append(("Last-Modified", http_date(record.written_ns // 1_000_000_000)))
        if "etag" in wanted:
            headers.append(("ETag", etag(record)))
        return headers

    def put(self, request: Request, elements: Elements) -> Answer:
        """Write the object: visible, whole and durable when this is answered."""
        if request.secure and _announces_only(request):
            return self._redirect(request)
        bucket, _, variant, _, _ = address = self._find(elements, request.query)
        key, body = object_key(elements), request.body
        if variant:
            return vary(self._variants, request, key, address)
        incoming = incoming_of(request)
        if body.length is not None and body.length <= INLINE_BYTES_MAX:
            payload = body.buffered()
            if payload is not None:
                written = self._objects.put_small(bucket, key, payload, incoming)
                return Later(written, partial(self._written, bucket))
        return self._put_stream(bucket, key, body, incoming)

    def _written(self, bucket: BucketInfo, written: Future[Record]) -> Response:
        record = self._objects.outcome(bucket, written)
        self._slots[telemetry.PUT_BYTES] += record.size
        return Response(200, written_headers(record))

    async def _put_stream(
        self, bucket: BucketInfo, key: bytes, body: BodyStream, incoming: Incoming
    ) -> Response:
        record = await self._objects.put(bucket, key, body, incoming)
        self._slots[telemetry.PUT_BYTES] += record.size
        return Response(200, written_headers(record))

    def _redirect(self, request: Request) -> Response:
        """To the same object at the same address, marked as redirected (§1.4)."""
        query = request.query.decode("latin-1")
        marks = f"pid={self._location.target}&utm={base36(time_ns())}"
        target = f"{request.path.decode('latin-1')}?{query}{'&' if query else ''}{marks}"
        host = request.headers.get("host", "")
        return Response(307, [("Location", f"https://{host}{target}")], close=True)

    async def delete(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """Remove the object."""
        address, key = self._find(elements, request.query), object_key(elements)
        if address.variant:
            answer = vary(self._variants, request, key, address)
            return answer if isinstance(answer, Response) else await answer
        await self._objects.remove(address.bucket, key)
        return Response(200)

    def check_lock(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """Whether a writer keeps readers waiting: never, as they have the whole old object until then."""
        self._find(elements, request.query)
        object_key(elements)
        return Response(200)

    async def evict(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Drop what is kept here of an object of a remote bucket; with `force` also what its source has not.

        Raises NotRemoteBucket, ObjectNotFound, NotYetWritten.
        """
        address, key = self._find(elements, request.query), object_key(elements)
        bucket = address.bucket
        if bucket.remote is None:
            raise NotRemoteBucket(bucket.bucket.cname, action=message.action)
        force = is_true(address.query.get("force", ""))
        if not await self._remote.evict(bucket, key, force=force):
            raise ObjectNotFound(display(bucket.bucket, key))
        return Response(200)

    async def amend(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Add to the object's custom metadata, or replace it."""
        address = self._find(elements, request.query)
        if address.variant and address.variant != REMOTE:
            refuse(address)
        custom = _custom(message.value)
        replace = is_true(address.query.get("set-new-custom", ""))
        await self._objects.amend(address.bucket, object_key(elements), custom, replace=replace)
        return Response(200)


def _chunks(record: Record) -> Headers:
    """What is told of an object that was made of parts."""
    payload = record.payload
    sizes = [part.length for part in payload.segments] if isinstance(payload, Files) else [record.size]
    return [("Ais-Chunks-Count", str(len(sizes))), ("Ais-Chunks-Max-Chunk-Size", str(max(sizes)))]


def _announces_only(request: Request) -> bool:
    """Whether this is the first half of an upload by AIStore's SDK over TLS.

    It sends the length of the body and no body, asks for the connection to be closed, and uploads to
    where it is redirected; waiting for the body would hold it up until it gives up (§11.1).
    """
    headers = request.headers
    return (
        headers.get("connection", "").lower() == "close"
        and headers.get("user-agent", "").startswith(SDK_AGENT)
        and b"utm=" not in request.query
    )


def _not_modified(record: Record) -> Response:
    last_modified = http_date(record.written_ns // 1_000_000_000)
    return Response(304, [("ETag", etag(record)), ("Last-Modified", last_modified)])


def _custom(value: object) -> dict[str, str]:
    try:
        return msgspec.convert(value, dict[str, str])
    except msgspec.ValidationError as error:
        raise BadRequest(f"custom metadata: expected an object of strings: {error}") from error
