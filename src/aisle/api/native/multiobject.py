"""Work on many objects of a bucket: deleted, copied (ais-native-api.md §6.10).

What is selected (names, a template, a prefix, everything) and what shall happen goes into a job, whose
id is the answer. Evicting and prefetching are for buckets that have a backend.
"""

import msgspec
from msgspec.structs import replace

from aisle.api.gate import Action, Principal
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.native.addresses import bucket_of
from aisle.api.native.jobs import TEXT_TYPE, bucket_of_shape
from aisle.api.native.transfers import CopyMessage, Destinations, Workers
from aisle.api.router import Elements, Route
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest, NotRemoteBucket, Unsupported
from aisle.gateway.buckets import Buckets, check_own
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.bulk_work import WORKERS_MAX
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
    msgspec.Struct, frozen=True, rename={"latest_ver": "latest-ver", "non_recurs": "non-recurs"}
):
    """The value of `prefetch-listrange`, beside its selection."""

    latest_ver: bool = False
    non_recurs: bool = False


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
        bucket = check_own(self._bucket(request, elements), "deleting many objects of")
        wanted = parse_value(message.value, SelectionMessage, what="multi-object message")
        record = _selected(DELETE_OBJECTS, bucket, wanted, request.caller)
        return await self._submitted(record, wanted.objnames)

    async def copy(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that copies the selected objects into a bucket, which is made if need be; its id."""
        source = check_own(self._bucket(request, elements), "copying from")
        value = message.value
        wanted = parse_value(value, SelectionMessage, what="multi-object message")
        how = parse_value(value, CopyObjectsMessage, what="copy message")
        settings = how.settings()
        to = bucket_of_shape(how.tobck) if how.tobck.get("name") else source.bucket
        if to == source.bucket and not (settings.prepend or settings.extensions or settings.dry_run):
            raise BadRequest(f"cannot copy objects of {source.bucket.cname} onto themselves")
        made = None if settings.dry_run else await self._destinations.ensure(to, source, request.caller)
        record = replace(
            _selected(COPY_OBJECTS, source, wanted, request.caller),
            to_bucket=to,
            to_number=made.number if made else 0,
            copying=settings,
        )
        return await self._submitted(record, wanted.objnames)

    async def prefetch(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that fetches the selected objects of a remote bucket which are not here; its id."""
        bucket = self._remote_bucket(request, elements, message)
        wanted = parse_value(message.value, SelectionMessage, what="multi-object message")
        how = parse_value(message.value, PrefetchMessage, what="prefetch message")
        settings = PrefetchSettings(latest=how.latest_ver, is_flat=how.non_recurs)
        record = replace(
            _selected(PREFETCH, bucket, wanted, request.caller),
            # As in AIStore, one object that cannot be had never keeps the others away.
            continues_on_error=True,
            details=encode_settings(settings),
        )
        return await self._submitted(record, wanted.objnames)

    async def refuse_local(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """What only buckets with a backend can do."""
        bucket = self._bucket(request, elements)
        if bucket.remote is not None:
            raise Unsupported(f'action "{message.action}" is not built')
        raise NotRemoteBucket(bucket.bucket.cname, action=message.action)

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
