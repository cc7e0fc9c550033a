"""Single large objects of remote buckets, fetched in parallel ranges (ais-native-api.md §6.9).

`blob-download` begins a job whose id is the answer; prefetching does the same for what is large enough.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from aisle.api.gate import Action
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.native.addresses import bucket_of
from aisle.api.native.jobs import TEXT_TYPE
from aisle.api.router import Elements, Route
from aisle.api.urls import parse_query
from aisle.backends.parallel import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, WORKERS_MAX
from aisle.errors import BadRequest, NotRemoteBucket
from aisle.gateway.buckets import Buckets
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.prefetching import PrefetchSettings, encode_settings
from aisle.model.bulk import BLOB_DOWNLOAD, SELECTED_NAMES, BulkRecord, Selection
from aisle.model.names import parse_object_key
from aisle.model.quantities import size_bytes

BLOB_BYTES_MIN: Final = 1024 * 1024
"""Prefetching reads no smaller object in ranges, whatever threshold is asked for (§6.10)."""


class BlobMessage(
    msgspec.Struct,
    frozen=True,
    rename={"chunk_size": "chunk-size", "num_workers": "num-workers", "latest_ver": "latest-ver"},
):
    """The value of `blob-download`."""

    chunk_size: str | int = 0
    num_workers: int = 0
    latest_ver: bool = False


class BlobVerbs:
    """The handler of large objects."""

    def __init__(self, buckets: Buckets, board: BulkBoard) -> None:
        self._buckets = buckets
        self._board = board

    def routes(self) -> list[Route]:
        """Its row of the table."""
        return [Route("POST", "/v1/objects/{bucket}", Action.GET, self.download, "action=blob-download")]

    async def download(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that fetches an object which is not here; its id."""
        bucket = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        if bucket.remote is None:
            raise NotRemoteBucket(bucket.bucket.cname, action=message.action)
        parse_object_key(message.name.encode())
        wanted = parse_value(message.value, BlobMessage, what="blob message")
        settings = blob_settings(
            PrefetchSettings(latest=wanted.latest_ver, blob_bytes=1),
            chunk_size=wanted.chunk_size,
            workers=wanted.num_workers,
        )
        record = BulkRecord(
            id="",
            kind=BLOB_DOWNLOAD,
            started_ns=0,
            owner=request.caller.id,
            bucket=bucket.bucket,
            number=bucket.number,
            selection=Selection(by=SELECTED_NAMES, names=1),
            workers=settings.blob_workers,
            continues_on_error=True,
            details=encode_settings(settings),
        )
        job_id = await self._board.submit(record, [message.name])
        return Response(200, [TEXT_TYPE], job_id.encode())


def blob_settings(settings: PrefetchSettings, *, chunk_size: str | int, workers: int) -> PrefetchSettings:
    """The same settings with these ranges; 0 and nothing stand for the usual. Raises BadRequest."""
    chunk_bytes = read_bytes(chunk_size, what="chunk size")
    if chunk_bytes and not CHUNK_BYTES_MIN <= chunk_bytes <= CHUNK_BYTES_MAX:
        raise BadRequest(f"chunk size {chunk_bytes}: must be between {CHUNK_BYTES_MIN} and {CHUNK_BYTES_MAX}")
    if workers < -1:
        raise BadRequest(f"number of workers {workers}: must be -1 (one), 0 (as the node likes) or more")
    return replace(
        settings,
        chunk_bytes=chunk_bytes or settings.chunk_bytes,
        blob_workers=min(abs(workers), WORKERS_MAX) or settings.blob_workers,
    )


def read_bytes(size: str | int, *, what: str) -> int:
    """The bytes of a size, a number or as in `4MiB`; nothing is 0. Raises BadRequest."""
    found = size if isinstance(size, int) else size_bytes(size or "0")
    if found is None or found < 0:
        raise BadRequest(f'{what} "{str(size)[:80]}" is no size: write bytes, or 4MiB')
    return found
