"""The verbs on objects of buckets that have a remote one behind them (ais-native-api.md §6.3).

What is here is served as in any other bucket. What is not is fetched, sent while it comes in, and kept;
a range of it is passed through while all of it is fetched.
"""

from time import time_ns
from typing import Final, Protocol

from aisle import telemetry
from aisle.api.cold import anew_if_changed, open_as_told, part_of, told_of, unverified, whole_of
from aisle.api.native.addresses import LATEST, REMOTE, Address, Variant, Variants
from aisle.api.native.incoming import incoming_of
from aisle.api.native.records import etag, http_date, read_headers, seen, written_headers
from aisle.api.urls import is_true
from aisle.errors import ConditionFailed, CorruptObject, NotYetWritten, ObjectNotFound
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Record
from aisle.rules.preconditions import CONDITIONAL_FIELDS, Verdict, judge_read, range_applies
from aisle.rules.ranges import parse_range
from aisle.storage.engine import Held, Stored
from aisle.target.cold import Fetch
from aisle.target.freshness import Freshness, FreshnessChecks
from aisle.target.passage import Passage
from aisle.target.remote_objects import RemoteObjects

PARTICULAR: Final = frozenset({"range", *CONDITIONAL_FIELDS})
"""Fields that make a read more than "all of it"."""
_PRESENT: Final = ("2", "3", "4")


class Serving(Protocol):
    """How objects that are here are served."""

    def serve(self, request: Request, key: bytes, address: Address, stored: Stored) -> Answer:
        """What a request wants of an object that has been opened for it."""

    def tell(
        self, request: Request, key: bytes, address: Address, held: Held, *, is_present: bool = True
    ) -> Response:
        """What a HEAD tells of an object."""


class RemoteVerbs:
    """What the verbs mean where objects may be elsewhere."""

    def __init__(self, local: Serving, remote: RemoteObjects, *, counters: telemetry.Telemetry) -> None:
        self._local = local
        self._remote = remote
        self._cold = remote.cold
        self._checks = FreshnessChecks(remote)
        self._engine = remote.engine
        self._open = remote.engine.open_noted
        self._slots = counters.slots

    def variants(self, others: Variants) -> Variants:
        """The plain verbs; and other reads, before which the object is fetched."""
        plain: dict[tuple[str, str], Variant] = {
            ("GET", REMOTE): self.get,
            ("HEAD", REMOTE): self.head,
            ("PUT", REMOTE): self.put,
            ("DELETE", REMOTE): self.delete,
        }
        return plain | {row: self._filled(variant) for row, variant in others.items() if row[0] == "GET"}

    def _filled(self, variant: Variant) -> Variant:
        """A read of another kind that finds objects of remote buckets here."""

        async def fill_first(request: Request, key: bytes, address: Address) -> Response:
            await self._cold.fill(address.bucket, key)
            answer = variant(request, key, address)
            return answer if isinstance(answer, Response) else await answer

        def read(request: Request, key: bytes, address: Address) -> Answer:
            if address.bucket.remote is None:
                return variant(request, key, address)
            return fill_first(request, key, address)

        return read

    def get(self, request: Request, key: bytes, address: Address) -> Answer:
        """The object's bytes where the source is asked first, or what is here is verified first."""
        if address.wants_latest:
            return self._get_latest(request, key, address)
        return self._get_careful(request, key, address)

    async def _get_careful(self, request: Request, key: bytes, address: Address) -> Response:
        """A read that is verified first: what is damaged here is fetched again."""
        try:
            stored = self._open(ObjectName(address.bucket.number, key))
            if stored is None:
                return await self.get_cold(request, key, address)
            return await _awaited(self._local.serve(request, key, address, stored))
        except CorruptObject:
            return await self.get_instead(request, key, address)

    async def get_instead(self, request: Request, key: bytes, address: Address) -> Response:
        """A read of what is damaged here."""
        try:
            await self._remote.evict(address.bucket, key)
        except NotYetWritten as error:
            raise CorruptObject(
                f"{display(address.bucket.bucket, key)} is damaged, and nobody else has it"
            ) from error
        return await self.get_cold(request, key, address)

    async def _get_latest(self, request: Request, key: bytes, address: Address) -> Response:
        """What the source has now."""
        bucket = address.bucket
        held = self._engine.look_up(ObjectName(bucket.number, key))
        if held is not None:
            strictly = is_true(address.query.get(LATEST, ""))
            freshness = await self._checks.judge(bucket, key, held.record, strictly=strictly)
            if freshness is not Freshness.OUTDATED:
                answer = await self._get_careful(request, key, address)
                return answer if freshness is Freshness.CURRENT else unverified(answer)
        return await self.get_cold(request, key, address, replaces=held.record if held else None)

    async def get_cold(
        self, request: Request, key: bytes, address: Address, *, replaces: Record | None = None
    ) -> Response:
        """A read of what is not here, or not as its source has it."""
        bucket = address.bucket

        async def answer() -> Response:
            if not PARTICULAR.isdisjoint(request.headers):
                return await self._get_cold_particular(request, key, bucket, replaces)
            return await self._whole(bucket, await self._cold.open(bucket, key, replaces=replaces))

        return await anew_if_changed(self._remote, bucket, key, answer)

    async def _whole(self, bucket: BucketInfo, fetch: Fetch | Passage) -> Response:
        told = read_headers(self._remote.record_of(bucket, fetch.about), time_ns())
        self._slots[telemetry.GET_BYTES] += fetch.about.size
        return Response(200, told, await whole_of(fetch))

    async def _get_cold_particular(
        self, request: Request, key: bytes, bucket: BucketInfo, replaces: Record | None
    ) -> Response:
        """A read with conditions or a range of what is not here."""
        headers = request.headers
        about = await told_of(self._remote, bucket, key)
        record = self._remote.record_of(bucket, about)
        facts = seen(record)
        verdict = judge_read(headers, facts)
        if verdict is Verdict.FAILED:
            raise ConditionFailed("the object is not in the required state")
        if verdict is Verdict.NOT_MODIFIED:
            modified = http_date(record.written_ns // 1_000_000_000)
            return Response(304, [("ETag", etag(record)), ("Last-Modified", modified)])
        asked = headers.get("range")
        if asked is None or not range_applies(headers.get("if-range"), facts):
            return await self._whole(
                bucket, await open_as_told(self._remote, bucket, about, replaces=replaces)
            )
        span = parse_range(asked, about.size)
        told = read_headers(record, time_ns())
        told.append(("Content-Range", f"bytes {span.start}-{span.start + span.length - 1}/{about.size}"))
        told.append(("Accept-Ranges", "bytes"))
        self._slots[telemetry.GET_BYTES] += span.length
        return Response(206, told, await part_of(self._remote, bucket, about, span, replaces=replaces))

    def head(self, request: Request, key: bytes, address: Address) -> Answer:
        """What is known of the object, here or at its source."""
        bucket, query = address.bucket, address.query
        held = self._engine.look_up(ObjectName(bucket.number, key))
        if held is not None and not is_true(query.get(LATEST, "")):
            return self._local.tell(request, key, address, held)
        if held is None and query.get("presence") in _PRESENT:
            raise ObjectNotFound(display(bucket.bucket, key))
        return self._head_elsewhere(request, key, address, held)

    async def _head_elsewhere(
        self, request: Request, key: bytes, address: Address, held: Held | None
    ) -> Response:
        bucket = address.bucket
        if held is not None and await self._remote.is_current(bucket, key, held.record):
            return self._local.tell(request, key, address, held)
        about = await self._remote.head(bucket, key)
        if address.query.get("presence") == "1":
            return Response(200, [("Ais-Present", "false")])
        told = Held(self._remote.record_of(bucket, about), "")
        return self._local.tell(request, key, address, told, is_present=False)

    async def put(self, request: Request, key: bytes, address: Address) -> Response:
        """Write the object to its source, and keep it."""
        record = await self._remote.put(address.bucket, key, request.body, incoming_of(request))
        self._slots[telemetry.PUT_BYTES] += record.size
        return Response(200, written_headers(record))

    async def delete(self, _request: Request, key: bytes, address: Address) -> Response:
        """Remove the object at its source and here."""
        await self._remote.remove(address.bucket, key)
        return Response(200)


async def _awaited(answer: Answer) -> Response:
    return answer if isinstance(answer, Response) else await answer
