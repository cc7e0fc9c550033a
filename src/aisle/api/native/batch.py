"""Get-batch: many objects in one answer (ais-native-api.md §13.4).

The answer is an archive, sent as its members are read; or, where the client does not ask for a stream, a
form of two parts: what is known of each item, and the archive.
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from time import monotonic
from typing import Final

import msgspec

from aisle import telemetry
from aisle.api.gate import Action
from aisle.api.messages import parse_struct
from aisle.api.native.addresses import bucket_of
from aisle.api.native.transfers import Destinations, parse_object_uname
from aisle.api.router import Elements, Route
from aisle.api.urls import parse_query
from aisle.errors import AisleError, BadRequest
from aisle.httpd.delivery import BrokenAnswer
from aisle.httpd.request import Request
from aisle.httpd.response import Response, StreamBody
from aisle.jobs.batch_jobs import BatchJob, BatchJobs
from aisle.model.bucket import BucketInfo
from aisle.model.names import Bucket, parse_bucket, parse_object_key
from aisle.model.principal import Principal
from aisle.rules.archives import ArchiveFormat, parse_format
from aisle.rules.batches import BatchOutcome, BatchReport, BatchRequest
from aisle.target.batches import Batches, Outcome, Wanted
from aisle.target.cold import ColdReads

BODY_BYTES_MAX: Final = 16 * 1024 * 1024
_LOOK_INTERVAL_S: Final = 0.2
"""How often a long batch looks whether it shall go on."""
_COLOCATIONS: Final = frozenset({"", "0", "1", "2"})


class BatchVerbs:
    """Handlers of get-batch."""

    def __init__(
        self,
        batches: Batches,
        destinations: Destinations,
        *,
        jobs: BatchJobs,
        counters: telemetry.Telemetry,
        cold: ColdReads | None = None,
    ) -> None:
        """`cold` fetches what is not here of remote buckets."""
        self._cold = cold
        self._batches = batches
        self._jobs = jobs
        self._destinations = destinations
        self._slots = counters.slots

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        # The gate is asked about every bucket that an item names, whichever the path names.
        return [
            Route("GET", "/v1/ml/moss", Action.OPEN, self.get),
            Route("GET", "/v1/ml/moss/{bucket}", Action.GET, self.get),
        ]

    async def get(self, request: Request, elements: Elements) -> Response:
        """All that the body names, in its order."""
        query = parse_query(request.query)
        body = request.body.buffered()
        if body is None:
            body = await request.body.read_all(BODY_BYTES_MAX)
        asked = parse_struct(body, BatchRequest, what="get-batch message")
        asked.check()
        if query.get("coloc", "") not in _COLOCATIONS or str(asked.coloc) not in _COLOCATIONS:
            raise BadRequest("get-batch: coloc is 0, 1 or 2")
        format_ = parse_format(asked.mime) if asked.mime else ArchiveFormat.TAR
        named = bucket_of(elements[4], query) if len(elements) > 4 and elements[4] else None
        wanted = _Resolver(self._destinations, request.caller, named).wanted(asked)
        elsewhere = [(item.bucket, item.key) for item in wanted if item.bucket.remote is not None]
        if elsewhere and self._cold is not None:
            await self._cold.fill_all(elsewhere)
        if asked.strm:
            if not asked.coer:
                # Once the head has left, all that can be said is that the answer breaks off.
                await self._batches.sizes(wanted, continues=False)
            chunks = self._batches.archive(wanted, format_, continues=asked.coer)
            job = self._jobs.join(wanted[0].bucket.bucket)
            stream = StreamBody(self._counted(chunks, job, len(wanted)))
            return Response(200, [("Content-Type", format_.content_type)], stream)
        outcomes = await self._batches.sizes(wanted, continues=asked.coer)
        chunks = self._batches.archive(wanted, format_, continues=asked.coer, announced=outcomes)
        job = self._jobs.join(wanted[0].bucket.bucket)
        report = BatchReport(job.id, _told(asked, wanted, outcomes))
        boundary = secrets.token_hex(30)
        content_type = ("Content-Type", f"multipart/mixed; boundary={boundary}")
        parts = _two_parts(boundary, report, chunks)
        return Response(200, [content_type], StreamBody(self._counted(parts, job, len(wanted))))

    async def _counted(
        self, chunks: AsyncGenerator[bytes, None], job: BatchJob, objects: int
    ) -> AsyncGenerator[bytes, None]:
        """The same chunks, as the work of a job, which may be stopped."""
        sent, look_s = 0, monotonic() + _LOOK_INTERVAL_S
        self._jobs.begin(job)
        async with aclosing(chunks):
            try:
                async for chunk in chunks:
                    sent += len(chunk)
                    yield chunk
                    if monotonic() >= look_s:
                        look_s = monotonic() + _LOOK_INTERVAL_S
                        self._jobs.show(job)
                        if self._jobs.is_aborted(job.id):
                            raise BrokenAnswer(f"get-batch: job {job.id} was aborted")
            except AisleError as error:
                # Too late for an answer: the client must see that this is not the whole.
                raise BrokenAnswer(f"get-batch: {error}") from error
            finally:
                self._slots[telemetry.GET_BYTES] += sent
                self._jobs.end(job, objects=objects, sent=sent)


class _Resolver:
    """Finds the buckets of a batch, each once, and whether its caller may read them."""

    def __init__(self, destinations: Destinations, caller: Principal, named: Bucket | None) -> None:
        self._destinations = destinations
        self._caller = caller
        self._named = named
        self._found: dict[tuple[str, str, str], BucketInfo] = {}

    def wanted(self, asked: BatchRequest) -> list[Wanted]:
        """The items in their order. Raises BucketNotFound, Denied, InvalidName."""
        wanted = []
        for item in asked.items:
            if item.uname:
                bucket, key = parse_object_uname(item.uname)
                info = self._bucket(bucket.name, bucket.provider, bucket.namespace)
            else:
                info = self._bucket(item.bucket, item.provider, item.namespace)
                key = parse_object_key(item.objname.encode("utf-8", "surrogatepass"))
            name = key.decode()
            if not asked.onob:
                name = f"{info.bucket.name}/{name}"
            if item.archpath:
                name = f"{name}/{item.archpath}"
            wanted.append(Wanted(name, info, key, item.archpath, item.start, item.length))
        return wanted

    def _bucket(self, name: str, provider: str, namespace: str) -> BucketInfo:
        found = self._found.get((name, provider, namespace))
        if found is None:
            if name:
                bucket = parse_bucket(name, provider, namespace)
            elif self._named is not None:
                bucket = self._named
            else:
                raise BadRequest("get-batch: neither the path nor the item names a bucket")
            found = self._destinations.find(bucket, self._caller, Action.GET)
            self._found[name, provider, namespace] = found
        return found


def _told(asked: BatchRequest, wanted: Sequence[Wanted], outcomes: Sequence[Outcome]) -> list[BatchOutcome]:
    """What became of each item, in the words of the request."""
    return [
        BatchOutcome(
            objname=found.key.decode(),
            archpath=item.archpath,
            bucket=found.bucket.bucket.name,
            provider=item.provider or found.bucket.bucket.provider,
            err_msg=str(outcome) if isinstance(outcome, AisleError) else "",
            opaque=item.opaque,
            size=0 if isinstance(outcome, AisleError) else outcome,
        )
        for item, found, outcome in zip(asked.items, wanted, outcomes, strict=True)
    ]


async def _two_parts(
    boundary: str, report: BatchReport, chunks: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    disposition = 'Content-Disposition: form-data; name="metadata"'
    yield f"--{boundary}\r\n{disposition}\r\n\r\n".encode() + msgspec.json.encode(report)
    disposition = f'Content-Disposition: form-data; name="archive"; filename="get-batch[{report.uuid}]"'
    kind = "Content-Type: application/octet-stream"
    yield f"\r\n--{boundary}\r\n{disposition}\r\n{kind}\r\n\r\n".encode()
    async with aclosing(chunks):
        async for chunk in chunks:
            yield chunk
    yield f"\r\n--{boundary}--\r\n".encode()
