"""The verbs on buckets: `/v1/buckets[/BUCKET]` (ais-native-api.md §4, §5)."""

from collections.abc import Callable, Coroutine
from typing import Final

import msgspec

from aisle import telemetry
from aisle.api.cold import unverified
from aisle.api.gate import Action, authorize, permits
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.named import authorize_creation
from aisle.api.native.addresses import bucket_of
from aisle.api.native.archive_listing import ArchiveListing
from aisle.api.native.lso import Marks, json_listing, packed_listing
from aisle.api.native.records import Location
from aisle.api.native.told_properties import told_properties
from aisle.api.router import Elements, Meter, Route
from aisle.api.urls import Query, is_true, parse_query
from aisle.errors import BadRequest, CloudBucketKept, NotFound, RemoteBucketNotFound
from aisle.gateway.buckets import Buckets
from aisle.gateway.listing import (
    ARCHIVES,
    KNOWN_BUCKET,
    UNASKED_BUCKET,
    UNKEPT_BUCKET,
    Listing,
    ListRequest,
    shown_properties,
)
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import BucketInfo, BucketProperties, BucketShape, encode_properties, reaches_out
from aisle.model.names import Bucket, own_namespace, parse_provider
from aisle.model.trees import Tree
from aisle.target.objects import TargetObjects

JSON_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
# Clients compare the whole value: a charset would make the SDK read MessagePack as JSON (§5.2).
MSGPACK_TYPE: Final = ("Content-Type", "application/msgpack")

_PRESENT: Final = ("2", "3", "4")
"""Values of `presence` that ask for what is here, and nothing else."""
_OUTSIDE: Final = "5"
_ELSEWHERE: Final = ("0", "1", _OUTSIDE)
"""Values of `presence` that ask for what a remote account has, too."""

_POST_LATER: Final = (
    ("etl-bck", Action.ADMIN),
    ("etl-listrange", Action.ADMIN),
    ("make-n-copies", Action.PATCH),
    ("ec-encode", Action.PATCH),
    ("rechunk", Action.PATCH),
    ("index-shard", Action.PUT),
    ("create-inventory", Action.ADMIN),
)
_DELETE_LATER: Final = (("destroy-inventory", Action.ADMIN),)
_GET_LATER: Final = (
    ("summary-shard", Action.HEAD_BUCKET),
    ("show-inventory", Action.HEAD_BUCKET),
)


HeadSummary = Callable[[BucketInfo, Query, bytes, str], Coroutine[object, object, Response]]
"""Answers HEAD of a bucket with a summary: its query, the prefix of names that its path ends with, and what
is told of its properties."""


class BucketVerbs:
    """Handlers of the verbs on buckets."""

    def __init__(
        self,
        buckets: Buckets,
        listing: Listing,
        objects: TargetObjects,
        *,
        location: Location,
        summary: HeadSummary,
        archived: ArchiveListing,
        remote: RemoteBuckets,
    ) -> None:
        self._buckets = buckets
        self._remote = remote
        self._summary = summary
        self._archived = archived
        self._objects = objects
        self._listing = listing
        self._location = location

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        every, one = "/v1/buckets", "/v1/buckets/{bucket}"
        pages = Meter(telemetry.LIST_COUNT, telemetry.LIST_NS, telemetry.LIST_ERRORS)
        return [
            Route("GET", every, Action.LIST_BUCKETS, self.select, "action=list"),
            # AIStore takes a request without a body for a listing.
            Route("GET", every, Action.LIST_BUCKETS, self.select, "action="),
            Route("GET", one, Action.LIST_OBJECTS, self.list_objects, "action=list", pages),
            Route("GET", one, Action.LIST_OBJECTS, self.list_objects, "action=", pages),
            *(Route("GET", one, action, None, f"action={name}") for name, action in _GET_LATER),
            *(Route("GET", every, action, None, f"action={name}") for name, action in _GET_LATER),
            Route("HEAD", one, Action.HEAD_BUCKET, self.head),
            Route("HEAD", f"{one}/{{prefix}}", Action.HEAD_BUCKET, self.head),
            Route("POST", one, Action.CREATE_BUCKET, self.create, "action=create-bck"),
            *(Route("POST", one, action, None, f"action={name}") for name, action in _POST_LATER),
            Route("DELETE", one, Action.DESTROY_BUCKET, self.destroy, "action=destroy-bck"),
            *(Route("DELETE", one, action, None, f"action={name}") for name, action in _DELETE_LATER),
            Route("PATCH", one, Action.PATCH, self.set_properties, "action=set-bprops"),
            Route("PATCH", one, Action.PATCH, self.reset_properties, "action=reset-bprops"),
        ]

    async def select(self, request: Request, _elements: Elements, message: ActionMessage) -> Response:
        """The buckets of one provider, or of all."""
        return await self._selected(request, parse_query(request.query), message.name)

    async def _selected(self, request: Request, query: Query, name: str) -> Response:
        """Those that are known here, and for a remote account, unless told otherwise, those that it has."""
        provider = parse_provider(query["provider"]) if query.get("provider") else ""
        namespace = own_namespace(query.get("namespace", "")).removesuffix("#")
        presence = query.get("presence", "")
        known = self._buckets.select(provider=provider, name=name)
        permitted = [info.bucket for info in known if permits(request.caller, Action.HEAD_BUCKET, info)]
        if namespace:
            kept_under = self._buckets.canonical(Bucket("-", provider or "ais", namespace)).namespace
            permitted = [
                bucket._replace(namespace=namespace) for bucket in permitted if bucket.namespace == kept_under
            ]
        is_remote = Bucket("-", provider or "ais", namespace).is_remote
        if is_remote and presence in _ELSEWHERE and permits(request.caller, Action.ADMIN):
            elsewhere = await self._remote.elsewhere(provider or "ais", namespace)
            here = set(permitted) if presence == _OUTSIDE else set()
            wanted = {bucket for bucket in elsewhere if name in ("", bucket.name)} - here
            permitted = sorted(wanted if presence == _OUTSIDE else wanted | set(permitted))
        shapes = [BucketShape.of(bucket) for bucket in permitted]
        return Response(200, [JSON_TYPE], msgspec.json.encode(shapes) + b"\n")

    def list_objects(self, request: Request, elements: Elements, message: ActionMessage) -> Answer:
        """A page of a bucket's objects; with no value, AIStore takes the same action for buckets."""
        query = parse_query(request.query)
        if message.action and message.value is None:
            name = bucket_of(elements[3], query).name
            if message.name != name:
                raise BadRequest(f'bad list-buckets request: "{message.name}" is not "{name}"')
            return self._selected(request, query, name)
        return self._listed(request, elements, message)

    async def _listed(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        asked = parse_value(message.value, ListRequest, what="list message")
        info = await self._of_listing(request, bucket_of(elements[3], parse_query(request.query)), asked)
        if asked.target not in ("", self._location.target):
            raise NotFound(f"node {asked.target[:80]} does not exist")
        marks: Marks = {}
        is_unverified = False
        if asked.flags & ARCHIVES:
            page, marks = await self._archived.page(info, asked)
        else:
            page, is_unverified = await self._listing.page_or_kept(info, asked)
        shown = shown_properties(asked)

        def where(key: bytes) -> str:
            return self._location.of(self._objects.mountpath(info, key) or self._location.mountpath)

        if "application/msgpack" in request.headers.get("accept", ""):
            answer = Response(200, [MSGPACK_TYPE], packed_listing(page, shown, where, marks))
        else:
            answer = Response(200, [JSON_TYPE], json_listing(page, shown, where, marks))
        return unverified(answer) if is_unverified else answer

    async def _of_listing(self, request: Request, bucket: Bucket, asked: ListRequest) -> BucketInfo:
        """The bucket of a listing; an unknown remote one is looked for as the flags say."""
        try:
            return self._buckets.find(bucket)
        except RemoteBucketNotFound as error:
            error.is_final = True
            if asked.flags & KNOWN_BUCKET or not permits(request.caller, Action.HEAD_BUCKET):
                raise
        asks, adds = not asked.flags & UNASKED_BUCKET, not asked.flags & UNKEPT_BUCKET
        return await self._remote.discover(bucket, asks=asks, adds=adds)

    def head(self, request: Request, elements: Elements) -> Answer:
        """The bucket's properties, in a header; an unknown remote one is looked for as the query says."""
        query = parse_query(request.query)
        bucket = bucket_of(elements[3], query)
        try:
            return self._headed(request, self._buckets.find(bucket), query, elements)
        except RemoteBucketNotFound as error:
            error.is_final = True
            if query.get("presence") in _PRESENT or not permits(request.caller, Action.HEAD_BUCKET):
                raise
        return self._head_elsewhere(request, bucket, elements)

    async def _head_elsewhere(self, request: Request, bucket: Bucket, elements: Elements) -> Response:
        query = parse_query(request.query)
        info = await self._remote.discover(
            bucket,
            asks=not is_true(query.get("dont_head_remote_bck", "")),
            adds=not is_true(query.get("dont_add_remote_bck_md", "")),
        )
        answer = self._headed(request, info, query, elements)
        return answer if isinstance(answer, Response) else await answer

    def _headed(self, request: Request, info: BucketInfo, query: Query, elements: Elements) -> Answer:
        prefix = elements[4] if len(elements) > 4 else b""
        told = encode_properties(told_properties(request.caller, info.properties)).decode()
        if "bsumm_remote" in query:
            return self._summary(info, query, prefix, told)
        if prefix:
            raise BadRequest(f"{info.bucket.cname}: a prefix is for summaries only")
        return Response(200, [("Ais-Bucket-Props", told)])

    async def create(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Create the bucket; the value, if any, is what differs from the default properties."""
        if not isinstance(message.value, dict | None):
            raise BadRequest("create-bck: the value must be an object of properties or null")
        bucket = bucket_of(elements[3], parse_query(request.query))
        changes = message.value or {}
        _check_outward(request, BucketProperties(), changes)
        if bucket.is_remote:
            authorize(request.caller, Action.ADMIN)
            await self._remote.create(bucket, changes, owner=request.caller.id)
            return Response(200)
        authorize_creation(request.caller, bucket, self._buckets.select(name=bucket.name))
        await self._remote.check_backend(BucketProperties(), changes)
        await self._buckets.create(bucket, changes, owner=request.caller.id)
        return Response(200)

    async def set_properties(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Change some of the bucket's properties; the value has the shape of all of them."""
        if not isinstance(message.value, dict | None):
            raise BadRequest("set-bprops: the value must be an object of properties")
        bucket = bucket_of(elements[3], parse_query(request.query))
        before, changes = self._buckets.find(bucket), message.value or {}
        _check_outward(request, before.properties, changes)
        await self._remote.check_backend(before.properties, changes)
        await self._buckets.set_properties(before.bucket, changes)
        return Response(200)

    async def reset_properties(
        self, request: Request, elements: Elements, _message: ActionMessage
    ) -> Response:
        """Give the bucket the properties that a new one would have."""
        info = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        await self._buckets.reset_properties(info.bucket)
        return Response(200)

    async def destroy(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """Destroy the bucket and all that it holds; of a cloud's buckets, none."""
        bucket = bucket_of(elements[3], parse_query(request.query))
        if bucket.provider != "ais":
            raise CloudBucketKept(bucket.cname)
        info = self._buckets.find(bucket)
        if info.bucket.is_remote:
            await self._remote.destroy(info)
        else:
            await self._buckets.destroy(info.bucket)
        return Response(200)


def _check_outward(request: Request, before: BucketProperties, changes: Tree) -> None:
    """Raise Denied where an owner would have the node use credentials of its own: administrators may."""
    if reaches_out(before, changes):
        authorize(request.caller, Action.ADMIN)
