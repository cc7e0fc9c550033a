"""The verbs on buckets: `/v1/buckets[/BUCKET]` (ais-native-api.md §4, §5)."""

from collections.abc import Callable, Coroutine
from typing import Final

import msgspec

from aisle import telemetry
from aisle.api.gate import Action, authorize, permits
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.native.addresses import bucket_of
from aisle.api.native.archive_listing import ArchiveListing
from aisle.api.native.lso import Marks, json_listing, packed_listing
from aisle.api.native.records import Location
from aisle.api.router import Elements, Meter, Route
from aisle.api.urls import Query, parse_query
from aisle.errors import BadRequest
from aisle.gateway.buckets import Buckets
from aisle.gateway.listing import ARCHIVES, Listing, ListRequest, shown_properties
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import BucketInfo, BucketProperties, BucketShape, encode_properties, reaches_out
from aisle.model.names import parse_provider
from aisle.model.trees import Tree
from aisle.target.objects import TargetObjects

JSON_TYPE: Final = ("Content-Type", "application/json; charset=utf-8")
# Clients compare the whole value: a charset would make the SDK read MessagePack as JSON (§5.2).
MSGPACK_TYPE: Final = ("Content-Type", "application/msgpack")

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


HeadSummary = Callable[[BucketInfo, Query, bytes], Coroutine[object, object, Response]]
"""Answers HEAD of a bucket with a summary: its query, and the prefix of names that its path ends with."""


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
    ) -> None:
        self._buckets = buckets
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

    def select(self, request: Request, _elements: Elements, message: ActionMessage) -> Response:
        """The buckets of one provider, or of all."""
        return self._selected(request, parse_query(request.query), message.name)

    def _selected(self, request: Request, query: Query, name: str) -> Response:
        provider = parse_provider(query["provider"]) if query.get("provider") else ""
        found = self._buckets.select(provider=provider, name=name)
        caller = request.caller
        shapes = [BucketShape.of(info.bucket) for info in found if permits(caller, Action.HEAD_BUCKET, info)]
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
        info = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        asked = parse_value(message.value, ListRequest, what="list message")
        marks: Marks = {}
        if asked.flags & ARCHIVES:
            page, marks = await self._archived.page(info, asked)
        else:
            page = await self._listing.page(info, asked)
        shown = shown_properties(asked)

        def where(key: bytes) -> str:
            return self._location.of(self._objects.mountpath(info, key) or self._location.mountpath)

        if "application/msgpack" in request.headers.get("accept", ""):
            return Response(200, [MSGPACK_TYPE], packed_listing(page, shown, where, marks))
        return Response(200, [JSON_TYPE], json_listing(page, shown, where, marks))

    def head(self, request: Request, elements: Elements) -> Answer:
        """The bucket's properties, in a header."""
        query = parse_query(request.query)
        info = self._buckets.find(bucket_of(elements[3], query))
        prefix = elements[4] if len(elements) > 4 else b""
        if "bsumm_remote" in query:
            return self._summary(info, query, prefix)
        if prefix:
            raise BadRequest(f"{info.bucket.cname}: a prefix is for summaries only")
        return Response(200, [("Ais-Bucket-Props", encode_properties(info.properties).decode())])

    async def create(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Create the bucket; the value, if any, is what differs from the default properties."""
        if not isinstance(message.value, dict | None):
            raise BadRequest("create-bck: the value must be an object of properties or null")
        bucket = bucket_of(elements[3], parse_query(request.query))
        _check_outward(request, BucketProperties(), message.value or {})
        await self._buckets.create(bucket, message.value, owner=request.caller.id)
        return Response(200)

    async def set_properties(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Change some of the bucket's properties; the value has the shape of all of them."""
        if not isinstance(message.value, dict | None):
            raise BadRequest("set-bprops: the value must be an object of properties")
        bucket = bucket_of(elements[3], parse_query(request.query))
        _check_outward(request, self._buckets.find(bucket).properties, message.value or {})
        await self._buckets.set_properties(bucket, message.value or {})
        return Response(200)

    async def reset_properties(
        self, request: Request, elements: Elements, _message: ActionMessage
    ) -> Response:
        """Give the bucket the properties that a new one would have."""
        await self._buckets.reset_properties(bucket_of(elements[3], parse_query(request.query)))
        return Response(200)

    async def destroy(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """Destroy the bucket and all that it holds."""
        await self._buckets.destroy(bucket_of(elements[3], parse_query(request.query)))
        return Response(200)


def _check_outward(request: Request, before: BucketProperties, changes: Tree) -> None:
    """Raise Denied where an owner would have the node use credentials of its own: administrators may."""
    if reaches_out(before, changes):
        authorize(request.caller, Action.ADMIN)
