"""Work on many objects of a bucket: deleted, copied (ais-native-api.md §6.10).

What is selected (names, a template, a prefix, everything) and what shall happen goes into a job, whose
id is the answer. Evicting and prefetching are for buckets that have a backend.
"""

import msgspec
from msgspec.structs import replace

from aisle.api.gate import Action, Principal
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.native.addresses import bucket_of
from aisle.api.native.blobs import BLOB_BYTES_MIN, blob_settings, read_bytes
from aisle.api.native.jobs import TEXT_TYPE, bucket_of_shape
from aisle.api.native.transfers import PRESENT, CopyMessage, Destinations, Workers, goes_on, written
from aisle.api.router import Elements, Route
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest, NotRemoteBucket
from aisle.gateway.buckets import Buckets
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.bulk_work import WORKERS_MAX, is_chosen
from aisle.jobs.prefetching import PrefetchSettings, encode_settings
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import (
    COPY_OBJECTS,
    DELETE_OBJECTS,
    EVICT_OBJECTS,
    PREFETCH,
    SELECTED_ALL,
    SELECTED_NAMES,
    SELECTED_PREFIX,
    SELECTED_TEMPLATE,
    BulkRecord,
    CopySettings,
    Selection,
)
from aisle.model.names import parse_object_key
from aisle.rules.selection import WILDCARD, parse_selection
from aisle.rules.templates import Template


class SelectionMessage(msgspec.Struct, frozen=True, rename={"num_workers": "num-workers"}):
    """What selects objects, and how the work on them goes."""

    objnames: list[str] = []
    template: str = ""
    num_workers: Workers = 0
    coer: bool = False

    def selection(self) -> Selection:
        """The selection. Raises BadRequest for two at once, a template or a name that cannot be."""
        if self.objnames and self.template:
            raise BadRequest("objnames and template exclude each other")
        for name in self.objnames:
            parse_object_key(name.encode())
        if self.objnames:
            return Selection(by=SELECTED_NAMES, names=len(self.objnames))
        if self.template in ("", WILDCARD):
            return Selection(by=SELECTED_ALL)
        parsed = parse_selection(self.template)
        if isinstance(parsed, Template):
            return Selection(by=SELECTED_TEMPLATE, text=self.template)
        return Selection(by=SELECTED_PREFIX, text=parsed)


class CopyObjectsMessage(CopyMessage, frozen=True):
    """The value of `copy-listrange`, beside its selection."""

    tobck: dict[str, object] = msgspec.field(default_factory=dict)


class PrefetchMessage(
    msgspec.Struct,
    frozen=True,
    rename={
        "latest_ver": "latest-ver",
        "non_recurs": "non-recurs",
        "blob_threshold": "blob-threshold",
        "blob_chunk_size": "blob-chunk-size",
        "blob_num_workers": "blob-num-workers",
    },
):
    """The value of `prefetch-listrange`, beside its selection."""

    latest_ver: bool = False
    non_recurs: bool = False
    blob_threshold: str | int = 0
    blob_chunk_size: str | int = 0
    blob_num_workers: int = 0

    def settings(self) -> PrefetchSettings:
        """How objects are fetched. Raises BadRequest for sizes that cannot be."""
        threshold = read_bytes(self.blob_threshold, what="blob-threshold")
        return blob_settings(
            PrefetchSettings(
                latest=self.latest_ver,
                is_flat=self.non_recurs,
                blob_bytes=max(threshold, BLOB_BYTES_MIN) if threshold else 0,
            ),
            chunk_size=self.blob_chunk_size,
            workers=self.blob_num_workers,
        )


class MultiObjectVerbs:
    """Handlers of work on many objects."""

    def __init__(self, buckets: Buckets, board: BulkBoard, destinations: Destinations) -> None:
        self._buckets = buckets
        self._board = board
        self._destinations = destinations

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        path = "/v1/buckets/{bucket}"
        delete = Action.DELETE_OBJECT
        return [
            Route("DELETE", path, delete, self.delete, "action=delete-listrange"),
            Route("DELETE", path, delete, self.evict, "action=evict-listrange"),
            Route("DELETE", path, Action.DESTROY_BUCKET, self.evict_bucket, "action=evict-remote-bck"),
            Route("POST", path, Action.GET, self.prefetch, "action=prefetch-listrange"),
            Route("POST", path, Action.GET, self.copy, "action=copy-listrange"),
        ]

    async def delete(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that deletes the selected objects; its id."""
        bucket = self._bucket(request, elements)
        wanted = parse_value(message.value, SelectionMessage, what="multi-object message")
        record = _selected(DELETE_OBJECTS, bucket, wanted, request.caller)
        if bucket.remote is not None:
            record = replace(record, continues_on_error=True)
        return await self._submitted(record, wanted.objnames)

    async def copy(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that copies the selected objects into a bucket, which is made if need be; its id."""
        source = self._bucket(request, elements)
        value = message.value
        wanted = parse_value(value, SelectionMessage, what="multi-object message")
        how = parse_value(value, CopyObjectsMessage, what="copy message")
        settings = how.settings(only_present=parse_query(request.query).get("presence") in PRESENT)
        to = bucket_of_shape(how.tobck) if how.tobck.get("name") else source.bucket
        record = _selected(COPY_OBJECTS, source, wanted, request.caller)
        made = None
        if not settings.dry_run:
            made = await self._destinations.ensure(to, source, request.caller, actions=written(settings))
            _refuse_circle(source, made, settings, is_chosen=is_chosen(record))
        record = replace(
            record,
            to_bucket=made.bucket if made else to,
            to_number=made.number if made else 0,
            copying=settings,
            continues_on_error=wanted.coer or goes_on(source, made),
        )
        return await self._submitted(record, wanted.objnames)

    async def prefetch(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that fetches the selected objects of a remote bucket which are not here; its id."""
        bucket = self._remote_bucket(request, elements, message)
        wanted = parse_value(message.value, SelectionMessage, what="multi-object message")
        how = parse_value(message.value, PrefetchMessage, what="prefetch message")
        record = replace(
            _selected(PREFETCH, bucket, wanted, request.caller),
            # As in AIStore, one object that cannot be had never keeps the others away.
            continues_on_error=True,
            details=encode_settings(how.settings()),
        )
        return await self._submitted(record, wanted.objnames)

    async def evict(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that drops what is kept here of the selected objects; its id."""
        bucket = self._remote_bucket(request, elements, message)
        wanted = parse_value(message.value, SelectionMessage, what="multi-object message")
        record = _selected(EVICT_OBJECTS, bucket, wanted, request.caller)
        return await self._submitted(record, wanted.objnames)

    async def evict_bucket(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Drop all that is kept of a remote bucket here, and unless told otherwise its properties."""
        bucket = self._remote_bucket(request, elements, message)
        keeps = is_true(parse_query(request.query).get("keep_bck_md", ""))
        if keeps or not bucket.bucket.is_remote:
            await self._buckets.empty(bucket.bucket)
        else:
            await self._buckets.destroy(bucket.bucket)
        return Response(200)

    def _bucket(self, request: Request, elements: Elements) -> BucketInfo:
        return self._buckets.find(bucket_of(elements[3], parse_query(request.query)))

    def _remote_bucket(self, request: Request, elements: Elements, message: ActionMessage) -> BucketInfo:
        bucket = self._bucket(request, elements)
        if bucket.remote is None:
            raise NotRemoteBucket(bucket.bucket.cname, action=message.action)
        return bucket

    async def _submitted(self, record: BulkRecord, names: list[str]) -> Response:
        return Response(200, [TEXT_TYPE], (await self._board.submit(record, names)).encode())


def _refuse_circle(source: BucketInfo, to: BucketInfo, settings: CopySettings, *, is_chosen: bool) -> None:
    """Raise BadRequest for copies of objects onto themselves, and for copies of copies without end."""
    if to.number != source.number:
        return
    if not (settings.prepend or settings.extensions):
        raise BadRequest(f"cannot copy objects of {source.bucket.cname} onto themselves")
    if source.remote is not None and not is_chosen:
        raise BadRequest(
            f"cannot copy all objects of {source.bucket.cname} into itself: its source lists the copies, "
            "too; name objects, by a list or a template"
        )


def _selected(kind: str, bucket: BucketInfo, wanted: SelectionMessage, caller: Principal) -> BulkRecord:
    """A job of that kind on the selected objects of a bucket."""
    return BulkRecord(
        id="",
        kind=kind,
        started_ns=0,
        owner=caller.id,
        bucket=bucket.bucket,
        number=bucket.number,
        selection=wanted.selection(),
        workers=min(wanted.num_workers, WORKERS_MAX),
        continues_on_error=wanted.coer,
    )
