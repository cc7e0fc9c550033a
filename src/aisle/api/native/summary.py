"""Summaries of buckets on the wire: asked for once, then polled for (ais-native-api.md §4.10, §4.11).

The first request is always answered with 202 and an id: the polling loops of AIStore's clients depend
on it. With the id the answer is 206 while the work goes on and 200 when it is done.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import field

from aisle.api.gate import Action, permits
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.native.addresses import bucket_of
from aisle.api.router import Elements, Route
from aisle.api.urls import Query, decode_path, is_true, parse_query
from aisle.gateway.buckets import Buckets
from aisle.gateway.summary import Summaries, Summary
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.bucket import BucketInfo, BucketShape
from aisle.model.names import parse_object_key, parse_provider

_TEXT_TYPE: Final = ("Content-Type", "text/plain; charset=utf-8")


class SummaryRequest(msgspec.Struct, frozen=True):
    """The value of `summary-bck`."""

    uuid: str = ""
    prefix: str = ""
    cached: bool = False
    """Leaves out what only the source of a remote bucket has."""


class ObjectCount(msgspec.Struct, frozen=True):
    """How many objects; decimal strings on the wire."""

    present: str = field(name="obj_count_present")
    remote: str = field(name="obj_count_remote")


class ObjectSizes(msgspec.Struct, frozen=True):
    """Sizes of single objects, bytes."""

    smallest: int = field(name="obj_min_size")
    average: int = field(name="obj_avg_size")
    largest: int = field(name="obj_max_size")


class TotalSizes(msgspec.Struct, frozen=True):
    """Sizes together, bytes as decimal strings."""

    on_disk: str = field(name="size_on_disk")
    present: str = field(name="size_all_present_objs")
    remote: str = field(name="size_all_remote_objs")
    disks: str = field(name="total_disks_size")


class SummaryShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """One bucket's summary, its keys in AIStore's order."""

    name: str
    provider: str
    namespace: object
    count: ObjectCount = field(name="ObjCount")
    sizes: ObjectSizes = field(name="ObjSize")
    total: TotalSizes = field(name="TotalSize")
    percent_used: int = field(name="used_pct")
    is_present: bool
    refusal: str = ""
    """Of ours: why its source could not be asked; then what is told of it is not all."""


class SummaryVerbs:
    """Handlers of summaries."""

    def __init__(self, summaries: Summaries, buckets: Buckets) -> None:
        self._summaries = summaries
        self._buckets = buckets

    def routes(self) -> list[Route]:
        """Their rows of the table. HEAD of a bucket asks by `head`."""
        every, one = "/v1/buckets", "/v1/buckets/{bucket}"
        return [
            Route("GET", every, Action.LIST_BUCKETS, self.summarize, "action=summary-bck"),
            Route("GET", one, Action.HEAD_BUCKET, self.summarize, "action=summary-bck"),
        ]

    async def summarize(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """The summaries of one bucket, or of all of a provider."""
        asked = parse_value(message.value, SummaryRequest, what="summary message")
        found = [
            info
            for info in self._found(elements, parse_query(request.query))
            if permits(request.caller, Action.HEAD_BUCKET, info)
        ]
        if not asked.uuid:
            return Response(202, [_TEXT_TYPE], self._summaries.begin().encode())
        summaries, is_complete = await self._summaries.ask(
            asked.uuid, found, asked.prefix, asks_sources=not asked.cached
        )
        shapes = [_shape(summary, is_present=False) for summary in summaries]
        # AIStore sends this JSON as text; no client looks at it.
        return Response(200 if is_complete else 206, [_TEXT_TYPE], msgspec.json.encode(shapes) + b"\n")

    async def head(self, info: BucketInfo, query: Query, raw_prefix: bytes, told: str) -> Response:
        """Properties and summary of a bucket's objects whose names begin with a prefix, in headers."""
        properties = ("Ais-Bucket-Props", told)
        job = query.get("uuid", "")
        prefix = parse_object_key(decode_path(raw_prefix)).decode() if raw_prefix else ""
        if not job:
            return Response(202, [properties, ("Ais-Xaction-Id", self._summaries.begin(prefix))])
        asks_sources = is_true(query.get("bsumm_remote", ""))
        summaries, is_complete = await self._summaries.ask(job, [info], prefix, asks_sources=asks_sources)
        summary = msgspec.json.encode(_shape(summaries[0], is_present=True)).decode()
        headers = [properties, ("Ais-Bucket-Summ", summary), ("Ais-Xaction-Id", job)]
        return Response(200 if is_complete else 206, headers)

    def _found(self, elements: Elements, query: Query) -> Sequence[BucketInfo]:
        if len(elements) > 3 and elements[3]:
            return [self._buckets.find(bucket_of(elements[3], query))]
        provider = parse_provider(query["provider"]) if query.get("provider") else ""
        return self._buckets.select(provider=provider)


def _shape(summary: Summary, *, is_present: bool) -> SummaryShape:
    shape, totals = BucketShape.of(summary.bucket.bucket), summary.totals
    return SummaryShape(
        name=shape.name,
        provider=shape.provider,
        namespace=shape.namespace,
        count=ObjectCount(str(totals.objects), str(totals.remote_objects)),
        sizes=ObjectSizes(totals.smallest, totals.average, totals.largest),
        total=TotalSizes(
            str(totals.on_disk), str(totals.size), str(totals.remote_size), str(summary.disks_bytes)
        ),
        percent_used=summary.percent_used,
        is_present=is_present,
        refusal=totals.refusal,
    )
