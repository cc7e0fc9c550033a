"""Copies and renames inside the node (ais-native-api.md §4.6, §4.7, §6.9).

One object is copied while its client waits; a bucket is copied, or renamed, by a job whose id is the
answer. The caller needs rights on both ends: on the one that the path names the gate has looked
already, on the other one it is asked here.
"""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec

from aisle.api.gate import Action, Principal
from aisle.api.messages import ActionMessage, parse_value
from aisle.api.named import authorize_creation
from aisle.api.native.addresses import Address, bucket_of, object_key
from aisle.api.native.jobs import TEXT_TYPE
from aisle.api.router import Elements, Route
from aisle.api.urls import Query, is_true, parse_query
from aisle.errors import BadRequest, BucketExists, BucketNotFound, InvalidName, RemoteBucketNotFound
from aisle.gateway.buckets import Buckets, check_creatable, check_own
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.bulk_work import WORKERS_MAX
from aisle.model.bucket import OUTWARD, READ_ONLY, BucketInfo
from aisle.model.bulk import (
    COPY_BUCKET,
    MOVE_BUCKET,
    SELECTED_ALL,
    SELECTED_PREFIX,
    BulkRecord,
    CopySettings,
    Selection,
)
from aisle.model.names import Bucket, parse_bucket, parse_object_key
from aisle.target.copying import Copier, Place
from aisle.target.relaying import Relay

Authorize = Callable[[Principal, Action, BucketInfo | None], None]
"""The gate's: raises Denied unless the principal may do that to the bucket."""

Workers = Annotated[int, msgspec.Meta(ge=-1)]
"""Objects worked on at a time: 0 for as many as the node likes, -1 for one after the other."""

PRESENT: Final = ("2", "3", "4")
"""Values of the parameter `presence` that mean what is here only (§2)."""
_UNAME_PARTS: Final = 4
# What an own bucket takes over from a remote one: nothing that treats its objects as copies.
_FROM_REMOTE: Final = frozenset({"checksum", "access"})


class CopyMessage(
    msgspec.Struct, frozen=True, rename={"num_workers": "num-workers", "latest_ver": "latest-ver"}
):
    """The value of `copy-bck`."""

    prefix: str = ""
    prepend: str = ""
    ext: dict[str, str] = {}
    dry_run: bool = False
    synchronize: bool = False
    latest_ver: bool = False
    coer: bool = False
    num_workers: Workers = 0

    def settings(self, *, only_present: bool = False) -> CopySettings:
        """How objects shall be copied. Raises BadRequest for what contradicts itself."""
        if self.synchronize and (self.prepend or self.ext):
            what = "prepend" if self.prepend else "ext"
            raise BadRequest(f"synchronize and {what} exclude each other: names would never match")
        extensions = {old.lstrip("."): new.lstrip(".") for old, new in self.ext.items()}
        return CopySettings(
            prepend=self.prepend,
            extensions=extensions,
            dry_run=self.dry_run,
            synchronize=self.synchronize,
            latest=self.latest_ver,
            only_present=only_present,
        )


class Destinations:
    """Finds, and makes, the buckets that objects are copied into, as far as their caller may."""

    def __init__(self, buckets: Buckets, authorize: Authorize) -> None:
        self._buckets = buckets
        self._authorize = authorize

    def find(self, bucket: Bucket, caller: Principal, action: Action = Action.PUT) -> BucketInfo:
        """A bucket that exists. Raises BucketNotFound, Denied."""
        try:
            info = self._buckets.find(bucket)
        except BucketNotFound:
            if not caller.is_known:
                # Strangers learn nothing of which buckets there are.
                self._authorize(caller, action, None)
            raise
        self._authorize(caller, action, info)
        return info

    async def ensure(
        self, bucket: Bucket, like: BucketInfo, caller: Principal, *, actions: Action = Action.PUT
    ) -> BucketInfo:
        """A bucket for copies of another one's objects: made with its properties if it is missing.

        `actions` is what will be done to it. Raises Denied, InvalidName, OutOfSpace, and
        RemoteBucketNotFound for a remote one that is not known: whoever may look for it does.
        """
        try:
            return self.find(bucket, caller, actions)
        except RemoteBucketNotFound:
            raise
        except BucketNotFound:
            authorize_creation(caller, bucket, self._buckets.select(name=bucket.name))
        try:
            return await self._buckets.create(bucket, _inherited(like), owner=caller.id)
        except BucketExists:
            return self.find(bucket, caller, actions)

    def check_new(self, bucket: Bucket, caller: Principal, *, moved: Bucket) -> None:
        """Raise unless the caller may make a bucket of that name of `moved`; it must not be there."""
        namesakes = self._buckets.select(name=bucket.name)
        authorize_creation(caller, bucket, [info for info in namesakes if info.bucket != moved])
        check_creatable(bucket)
        if self._buckets.snapshot().get(bucket.uname) is not None:
            # A conflict everywhere else: AIStore answers 400 here.
            raise BadRequest(str(BucketExists(bucket.cname)))


class TransferVerbs:
    """Handlers of copies and renames."""

    def __init__(
        self, buckets: Buckets, copier: Copier, board: BulkBoard, destinations: Destinations, *, relay: Relay
    ) -> None:
        self._buckets = buckets
        self._copier = copier
        self._relay = relay
        self._board = board
        self._destinations = destinations

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        bucket, name = "/v1/buckets/{bucket}", "/v1/objects/{bucket}/{object}"
        return [
            Route("POST", bucket, Action.GET, self.copy_bucket, "action=copy-bck"),
            Route("POST", bucket, Action.MOVE_BUCKET, self.move_bucket, "action=move-bck"),
            Route("POST", name, Action.MOVE_OBJECT, self.rename_object, "action=rename-obj"),
        ]

    async def copy_object(self, request: Request, key: bytes, address: Address) -> Response:
        """`PUT …?object_to=UNAME`: the object also under another name."""
        bucket, name = parse_object_uname(address.query["object_to"])
        # The row is that of a write; what the path names is only read.
        self._destinations.find(address.bucket.bucket, request.caller, Action.GET)
        to = Place(self._destinations.find(bucket, request.caller), name)
        source = Place(address.bucket, key)
        if source.name != to.name:
            await self._relay.copy(source, to, latest=is_true(address.query.get("latest-ver", "")))
        return Response(200)

    async def rename_object(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Another name for the object, in its bucket; an object of that name is replaced."""
        bucket = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        check_own(bucket, "renaming objects of", instead="copy them and remove the old ones (ais cp, ais rm)")
        source = Place(bucket, object_key(elements))
        to = Place(bucket, parse_object_key(message.name.encode()))
        if source.name == to.name:
            raise BadRequest(f"cannot rename {source} to itself")
        await self._copier.move(source, to)
        return Response(200)

    async def copy_bucket(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """A job that copies the bucket's objects into another one; its id."""
        query = parse_query(request.query)
        source = self._buckets.find(bucket_of(elements[3], query))
        to = _destination(query)
        wanted = parse_value(message.value, CopyMessage, what="copy message")
        settings = wanted.settings(only_present=query.get("presence") in PRESENT)
        made = None
        if not settings.dry_run:
            made = await self._destinations.ensure(to, source, request.caller, actions=written(settings))
            if made.number == source.number:
                raise BadRequest(f"cannot copy {source.bucket.cname} onto itself")
        prefix = wanted.prefix.rstrip("*")
        record = BulkRecord(
            id="",
            kind=COPY_BUCKET,
            started_ns=0,
            bucket=source.bucket,
            number=source.number,
            to_bucket=made.bucket if made else to,
            owner=request.caller.id,
            to_number=made.number if made else 0,
            selection=Selection(by=SELECTED_PREFIX if prefix else SELECTED_ALL, text=prefix),
            copying=settings,
            workers=min(wanted.num_workers, WORKERS_MAX),
            continues_on_error=wanted.coer or goes_on(source, made),
        )
        return await self._submitted(record)

    async def move_bucket(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """A job that gives the bucket another name; its id."""
        query = parse_query(request.query)
        source = self._buckets.find(bucket_of(elements[3], query))
        check_own(source, "renaming", instead="copy its objects (ais cp)")
        to = _destination(query)
        if to == source.bucket:
            raise BadRequest(f"cannot rename {source.bucket.cname} to itself")
        self._destinations.check_new(to, request.caller, moved=source.bucket)
        record = BulkRecord(
            id="",
            kind=MOVE_BUCKET,
            started_ns=0,
            bucket=source.bucket,
            number=source.number,
            to_bucket=to,
            owner=request.caller.id,
        )
        return await self._submitted(record)

    async def _submitted(self, record: BulkRecord) -> Response:
        return Response(200, [TEXT_TYPE], (await self._board.submit(record)).encode())


def written(settings: CopySettings) -> Action:
    """What copies like these do to their destination."""
    return Action.PUT | Action.DELETE_OBJECT if settings.synchronize else Action.PUT


def goes_on(source: BucketInfo, to: BucketInfo | None) -> bool:
    """Whether one object that cannot be copied must not keep the others away: where others may fail."""
    return source.remote is not None or (to is not None and to.remote is not None)


def _inherited(like: BucketInfo) -> dict[str, object]:
    """The properties of a bucket for another one's objects.

    How the node reaches a remote bucket is for administrators to set, and stays with the source.
    """
    tree = msgspec.to_builtins(like.properties)
    left_out = READ_ONLY | OUTWARD
    return {
        name: value
        for name, value in tree.items()
        if name not in left_out and (like.remote is None or name in _FROM_REMOTE)
    }


def parse_bucket_uname(text: str) -> Bucket:
    """A bucket as `bck_to` names it: `ais/@#/data/`. Raises BadRequest, InvalidName, InvalidProvider."""
    bucket, rest = _parse_uname(text)
    if rest:
        raise BadRequest(f'"{text[:200]}" names an object, not a bucket')
    return bucket


def parse_object_uname(text: str) -> tuple[Bucket, bytes]:
    """An object as `object_to` names it: `ais/@#/data/a/b`. Raises InvalidName, InvalidProvider."""
    bucket, rest = _parse_uname(text)
    return bucket, parse_object_key(rest.encode())


def _parse_uname(text: str) -> tuple[Bucket, str]:
    parts = text.split("/", _UNAME_PARTS - 1)
    if len(parts) < _UNAME_PARTS - 1 or not parts[0]:
        raise InvalidName(f'"{text[:200]}" is no unique name: expected PROVIDER/NAMESPACE/BUCKET/')
    provider, namespace, name, *rest = parts
    return parse_bucket(name, provider, namespace), "".join(rest)


def _destination(query: Query) -> Bucket:
    text = query.get("bck_to", "")
    if not text:
        raise BadRequest('missing the destination bucket: parameter "bck_to"')
    return parse_bucket_uname(text)
