"""GET and HEAD of objects: all of them, a range, one part, or what is known of them."""

from collections.abc import Sequence
from contextlib import ExitStack
from email.utils import formatdate
from functools import lru_cache
from typing import Final, NamedTuple

from aisle import telemetry
from aisle.api.bodies import INERT, part_body, whole_body
from aisle.api.gate import Action
from aisle.api.router import Meter
from aisle.api.s3.call import Level, S3Call, S3Query
from aisle.api.s3.checksums import checksum_fields
from aisle.api.s3.conditions import read_verdict, seen
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.api.s3.metadata import refuse_unbuilt, told_metadata
from aisle.errors import ConditionFailed, RangeNotSatisfiable
from aisle.httpd.ranges import requested_ranges
from aisle.httpd.response import Answer, Response, header_lines
from aisle.model.names import ObjectName, display
from aisle.model.record import Files, Record
from aisle.rules.preconditions import CONDITIONAL_FIELDS, Verdict, range_applies
from aisle.rules.ranges import Span
from aisle.storage.engine import Stored
from aisle.target.objects import TargetObjects
from aisle.target.verifying import verify

Fields = list[tuple[str, str]]

_PARTICULAR: Final = frozenset(
    {
        "range",
        "x-amz-checksum-mode",
        "x-amz-server-side-encryption-customer-algorithm",
        *CONDITIONAL_FIELDS,
    }
)
"""Header fields that make a read more than "all of it"."""
_TOLD_MAX: Final = 2048
"""Records whose headers are remembered; some 1 KiB each."""
OVERRIDES: Final = {
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
    "response-content-language": "Content-Language",
    "response-content-type": "Content-Type",
    "response-expires": "Expires",
}
"""Query parameters that replace a field of the answer."""
_PART_NUMBER_MAX: Final = 10_000
_NOT_MODIFIED_FIELDS: Final = frozenset({"etag", "last-modified", "cache-control", "expires"})
GET_BYTES: Final = telemetry.GET_BYTES


class Wanted(NamedTuple):
    """The bytes that a read asks for."""

    span: Span | None
    """None for all of them, told as such."""
    parts: int = 0
    """How many parts the object has, if one was asked for."""


class RecordLines:
    """What GETs tell of the records of one engine, remembered: what was read is often read again."""

    def __init__(self) -> None:
        self._told: dict[tuple[bytes, int], str] = {}

    def of(self, record: Record) -> str:
        """All that follows from the record alone, as the `lines` of a response."""
        key = (record.generation, record.sequence)
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            told = self._told[key] = header_lines(record_fields(record))
        return told


class ReadingOperations:
    """Handlers of the reads of one object."""

    def __init__(self, objects: TargetObjects, counters: telemetry.Telemetry) -> None:
        self._objects = objects
        self._open = objects.open_stored
        self._slots = counters.slots
        self._told = RecordLines().of

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        get = Meter(telemetry.GET_COUNT, telemetry.GET_NS, telemetry.GET_ERRORS)
        head = Meter(telemetry.HEAD_COUNT, telemetry.HEAD_NS, telemetry.HEAD_ERRORS)
        return [
            Operation("GET", Level.OBJECT, "", Action.GET, self.get, get),
            Operation("GET", Level.OBJECT, "partNumber", Action.GET, self.get, get),
            Operation("HEAD", Level.OBJECT, "", Action.HEAD_OBJECT, self.head, head),
            Operation("HEAD", Level.OBJECT, "partNumber", Action.HEAD_OBJECT, self.head, head),
        ]

    def get(self, call: S3Call) -> Answer:
        """The object's bytes: all of them, one range, or one part."""
        # The busiest handler: everything that most reads do not need is kept out of its way.
        bucket = call.bucket()
        stored = self._open(ObjectName(bucket.number, call.key))
        if stored is None:
            raise no_such_key(call)
        if stored.inline is None and bucket.properties.checksum.validate_warm_get:
            return self._get_verified(call, stored, display(bucket.bucket, call.key))
        if call.query or not _PARTICULAR.isdisjoint(call.request.headers):
            return self._get_particular(call, stored)
        record = stored.record
        self._slots[GET_BYTES] += record.size
        return Response(200, (), stored.inline or whole_body(stored), lines=self._told(record))

    async def _get_verified(self, call: S3Call, stored: Stored, where: str) -> Response:
        """A read of a payload in files that is compared with its checksum before any byte leaves."""
        await verify(stored, where)
        return self._get_particular(call, stored)

    def _get_particular(self, call: S3Call, stored: Stored) -> Response:
        """A read with conditions, a range, or wishes about the answer's fields."""
        with ExitStack() as unless_sent:
            unless_sent.callback(stored.close)
            record = stored.record
            if _is_unmodified(call, record):
                return not_modified(record)
            wanted = _wanted(call, record)
            status, fields = self._answered(call, record, wanted)
            lines = "" if fields else self._told(record)
            self._slots[GET_BYTES] += record.size if wanted.span is None else wanted.span.length
            unless_sent.pop_all()
            body = whole_body(stored) if wanted.span is None else part_body(stored, wanted.span)
            return Response(status, fields, body, lines=lines)

    async def serve(self, call: S3Call, stored: Stored) -> Response:
        """A read of what has been opened for it. Raises CorruptObject where the bucket verifies reads."""
        bucket = call.bucket()
        if stored.inline is None and bucket.properties.checksum.validate_warm_get:
            return await self._get_verified(call, stored, display(bucket.bucket, call.key))
        return self._get_particular(call, stored)

    def is_plain(self, call: S3Call) -> bool:
        """Whether a read is of all the bytes, whatever they are now."""
        return not call.query and _PARTICULAR.isdisjoint(call.request.headers)

    def is_unmodified(self, call: S3Call, record: Record) -> bool:
        """Whether the client has what the record describes. Raises ConditionFailed, NotImplemented."""
        return _is_unmodified(call, record)

    def plan(self, call: S3Call, record: Record) -> tuple[int, Fields, Span | None]:
        """Status, fields, and which bytes a read of what the record describes is answered with.

        Raises S3Error for what cannot be had.
        """
        wanted = _wanted(call, record)
        status, fields = self._answered(call, record, wanted)
        return status, fields or record_fields(record), wanted.span

    def head(self, call: S3Call) -> Response:
        """What a GET would tell, without the bytes."""
        held = self._objects.look_up(call.bucket(), call.key)
        record = held.record
        if not call.query and _PARTICULAR.isdisjoint(call.request.headers):
            return Response(200, lines=self._told(record), length=record.size)
        if _is_unmodified(call, record):
            return not_modified(record)
        wanted = _wanted(call, record)
        status, fields = self._answered(call, record, wanted)
        length = record.size if wanted.span is None else wanted.span.length
        return Response(status, fields, lines="" if fields else self._told(record), length=length)

    def _answered(self, call: S3Call, record: Record, wanted: Wanted) -> tuple[int, Fields]:
        """Status and fields of an answer; no fields where those of the record alone are all."""
        replaced = _overrides(call.query)
        if replaced and not call.principal.is_known:
            # Else anybody could have a public object shown as a page of this site.
            text = "Request specific response headers cannot be used for anonymous GET requests."
            raise S3Error("InvalidRequest", text)
        told: Fields = []
        if wanted.parts:
            told.append(("x-amz-mp-parts-count", str(wanted.parts)))
        # The checksums are those of the whole: a client would compare them with the bytes of a range.
        if call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and wanted.span is None:
            told += checksum_fields(record.attributes)
        status = 200
        if wanted.span is not None:
            status = 206
            first, length = wanted.span
            told.append(("Content-Range", f"bytes {first}-{first + length - 1}/{record.size}"))
        if not told and not replaced:
            return status, []
        usual = [pair for pair in record_fields(record) if pair[0] not in replaced]
        return status, [*usual, *replaced.items(), *told]


def record_fields(record: Record) -> Fields:
    """What every answer about an object tells of it."""
    return [
        *told_metadata(record.attributes),
        ("ETag", s3_etag(record)),
        ("Last-Modified", http_date(record.written_ns // 1_000_000_000)),
        ("Accept-Ranges", "bytes"),
        *INERT,
    ]


@lru_cache(4096)
def http_date(seconds: int) -> str:
    """A Unix time in the form of HTTP's header fields."""
    return formatdate(seconds, usegmt=True)


def no_such_key(call: S3Call) -> S3Error:
    """There is no such object."""
    return S3Error("NoSuchKey", Key=call.key.decode("utf-8", "replace"))


def check_version(query: S3Query) -> None:
    """Raise S3Error NoSuchVersion for another version than the one that is there, which has no id."""
    version = query.get("versionId", "null")
    if version != "null":
        raise S3Error("NoSuchVersion", VersionId=version[:80])


def not_modified(record: Record) -> Response:
    """The answer to a read of what the client has already."""
    told = [pair for pair in record_fields(record) if pair[0].lower() in _NOT_MODIFIED_FIELDS]
    return Response(304, told)


def part_spans(record: Record) -> Sequence[Span]:
    """Where the parts of an object lie that was uploaded in parts; empty for any other."""
    payload = record.payload
    _, dash, count = record.attributes.etag.rpartition("-")
    # Only as long as the segments are the parts: a source's tag may look alike.
    if not dash or not isinstance(payload, Files) or count != str(len(payload.segments)):
        return ()
    spans, start = [], 0
    for segment in payload.segments:
        spans.append(Span(start, segment.length))
        start += segment.length
    return spans


def _is_unmodified(call: S3Call, record: Record) -> bool:
    """Whether the client has the object already.

    Raises ConditionFailed if it is not as the request wants it, and what else stands against a read.
    """
    check_version(call.query)
    headers = call.headers
    if "x-amz-server-side-encryption-customer-algorithm" in headers:
        refuse_unbuilt(headers)
    verdict = read_verdict(headers, record)
    if verdict is Verdict.FAILED:
        raise ConditionFailed("At least one of the pre-conditions you specified did not hold")
    return verdict is Verdict.NOT_MODIFIED


def _wanted(call: S3Call, record: Record) -> Wanted:
    """What a read asks for. Raises S3Error InvalidRange, InvalidPartNumber, InvalidRequest."""
    asked, number = call.headers.get("range"), call.query.get("partNumber")
    if number is not None:
        if asked is not None:
            raise S3Error("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
        return _wanted_part(number, record)
    if asked is None or not range_applies(call.headers.get("if-range"), seen(record)):
        return Wanted(None)
    try:
        # As Amazon: a list of ranges, or what is no range at all, is answered with the whole.
        ranges = requested_ranges(asked, record.size, count_max=1)
    except RangeNotSatisfiable as error:
        details = {"RangeRequested": asked[:80], "ActualObjectSize": str(record.size)}
        refused = S3Error("InvalidRange", **details)
        refused.headers.append(("Content-Range", f"bytes */{record.size}"))
        raise refused from error
    return Wanted(Span(*ranges[0])) if ranges else Wanted(None)


def _wanted_part(number: str, record: Record) -> Wanted:
    if not (
        number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) <= _PART_NUMBER_MAX
    ):
        text = "Part number must be an integer between 1 and 10000, inclusive"
        raise S3Error("InvalidArgument", text, ArgumentName="partNumber", ArgumentValue=number[:80])
    spans = part_spans(record)
    if int(number) > max(1, len(spans)):
        raise S3Error("InvalidPartNumber", PartNumberRequested=number, ActualPartCount=str(len(spans) or 1))
    span = spans[int(number) - 1] if spans else Span(0, record.size)
    return Wanted(span if span.length else None, len(spans))


def _overrides(query: S3Query) -> dict[str, str]:
    """Fields of the answer that the query replaces. Raises S3Error InvalidArgument."""
    replaced = {}
    for name, field in OVERRIDES.items() if query else ():
        value = query.get(name)
        if value is None:
            continue
        if any(character < " " or character == "\x7f" for character in value):
            raise S3Error("InvalidArgument", ArgumentName=name, ArgumentValue=value[:80])
        replaced[field] = value
    return replaced
