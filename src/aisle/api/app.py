"""The application: from a request to its answer, for every dialect.

A request passes the gate, finds its row in the table, passes the gate again with the row's action,
and reaches the row's handler. Errors become answers here and nowhere else, whether a handler raises
them at once or while its coroutine runs. What is no `AisleError` is a bug and goes up to the server.
"""

from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import Final, Protocol

from aisle import __version__
from aisle.api.arrivals import Arrivals, OwnNames
from aisle.api.credentials import shows_s3_credentials
from aisle.api.datasets import dataset_named
from aisle.api.errors import NodeNames, Shown, native_error, refusal
from aisle.api.forward_proxy import ForwardProxy
from aisle.api.gate import ALL, ANONYMOUS, Action, Gate, permits
from aisle.api.messages import parse_message
from aisle.api.named import NamedBuckets, bucket_place
from aisle.api.native.addresses import Addresses, Variants, variant_of
from aisle.api.native.archive_listing import ArchiveListing
from aisle.api.native.buckets import BucketVerbs
from aisle.api.native.cluster import ClusterQuestions
from aisle.api.native.easy import EASY_BUCKET_PLACE, EasyUrls, easy_query
from aisle.api.native.later import later_routes
from aisle.api.native.objects import ObjectVerbs
from aisle.api.native.records import Location
from aisle.api.native.statistics import Statistics
from aisle.api.native.summary import SummaryVerbs
from aisle.api.payload import CONTENT_HASH_FIELD, verified_body
from aisle.api.router import ANY_METHOD, ELEMENTS_MAX, Choice, Elements, Meter, Route, Router
from aisle.api.s3.dispatch import Dispatch
from aisle.api.s3.errors import s3_refusal
from aisle.api.s3.names import S3Names
from aisle.api.s3.origins import OriginOf
from aisle.api.s3.parts import S3Services, build_dispatch
from aisle.api.urls import is_true, parse_query, shown_path
from aisle.backends.visited import CLUSTERS_MAX, VIA_FIELD, parse_way, visited
from aisle.errors import AisleError, BadRequest, Denied, RemoteBucketNotFound, SourceFailed, Unsupported
from aisle.gateway.buckets import RESERVED_NAMES, Buckets
from aisle.gateway.information import NodeInformation
from aisle.gateway.listing import Listing
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.gateway.summary import Summaries
from aisle.httpd.request import NO_BODY, Request
from aisle.httpd.response import Answer, Handler, Later, Response
from aisle.model.names import Bucket
from aisle.model.principal import CLUSTER, PASS_THROUGH, READ, SETTLE
from aisle.target.archives import Archives
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects
from aisle.target.uploads import TargetUploads
from aisle.telemetry import Telemetry

JSON_BYTES_MAX: Final = 8 * 1024 * 1024
_LONG_BYTES: Final = 64 * 1024  # from here on, a stranger's message is read only if it may ask for something
_HEALTH: Final = "/v1/health"
_NEVER_CLOSED: Final = int(READ | SETTLE | CLUSTER)
"""Actions that no bucket's properties close to whoever reaches a node without credentials."""
# A copy only reads what its path names: its handler asks about where it goes.
_OTHER_WRITES: Final = {"object_to": Action.GET, "append_type": Action.APPEND}


class RouteSource(Protocol):
    """A part of the API that brings its own rows of the table."""

    def routes(self) -> list[Route]:
        """Its rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the handlers call; made by the wiring."""

    buckets: Buckets
    objects: TargetObjects
    uploads: TargetUploads
    listing: Listing
    archives: Archives
    summaries: Summaries
    node: NodeInformation
    telemetry: Telemetry
    remote: RemoteBuckets
    remote_objects: RemoteObjects
    origin_of: OriginOf | None = None
    """Where signed requests about a bucket are passed on to; None where they never are."""
    own_names: OwnNames = field(default_factory=OwnNames)
    forwards: bool = False
    """Whether the node is a forward proxy for datasets on web servers."""
    parts: Sequence[RouteSource] = ()
    """Further parts of the API: downloads."""
    variants: Variants = field(default_factory=dict)
    """What parts do with verbs on objects that have a parameter which makes them something else."""
    is_ready: Callable[[], bool] = lambda: True
    metrics: Callable[[], str] | None = None
    """The text of `/metrics`; by default that of the telemetry."""
    gate: Gate = field(default_factory=Gate)
    json_bytes_max: int = JSON_BYTES_MAX


def routes(services: Services) -> list[Route]:
    """The whole table; S3's rows ask the gate themselves, once it is known which operation is meant."""
    return _routes(services, _s3(services))


def _routes(services: Services, s3: Dispatch) -> list[Route]:
    identity = services.node.identity
    location = Location(identity.target_id, "".join(identity.mountpaths[:1]))
    objects = ObjectVerbs(
        services.objects,
        Addresses(services.buckets),
        counters=services.telemetry,
        location=location,
        variants=services.variants,
        remote=services.remote_objects,
    )
    summary = SummaryVerbs(services.summaries, services.buckets)
    buckets = BucketVerbs(
        services.buckets,
        services.listing,
        services.objects,
        location=location,
        summary=summary.head,
        archived=ArchiveListing(services.listing, services.archives),
        remote=services.remote,
    )
    questions = ClusterQuestions(
        services.node,
        services.buckets,
        is_ready=services.is_ready,
        metrics=services.metrics or services.telemetry.render,
        statistics=Statistics(services.telemetry),
        is_guarded=services.gate.asks_for_credentials,
        backends=services.remote.providers,
    )
    return [
        *objects.routes(),
        *buckets.routes(),
        *summary.routes(),
        *EasyUrls(objects, buckets).routes(),
        *questions.routes(),
        *(route for part in services.parts for route in part.routes()),
        *later_routes(),
        *(Route(method, "/", Action.OPEN, partial(_root, s3, services.gate)) for method in ("GET", "HEAD")),
        # Any other first element is a bucket of the S3 dialect.
        *s3.routes(),
    ]


def _s3(services: Services) -> Dispatch:
    dispatch = build_dispatch(
        S3Services(
            buckets=services.buckets,
            objects=services.objects,
            uploads=services.uploads,
            listing=services.listing,
            telemetry=services.telemetry,
            permits=services.gate.authorize,
            names=S3Names(services.buckets, order=services.own_names.order),
            remote=services.remote,
            remote_objects=services.remote_objects,
            origin_of=services.origin_of,
            cluster_id=services.node.identity.cluster_id,
        )
    )
    services.gate.passes = dispatch.passes
    return dispatch


def build_app(services: Services) -> Handler:
    """The handler that the HTTP server calls for each request."""
    identity = services.node.identity
    names = NodeNames(f"p[{identity.gateway_id}]", f"t[{identity.target_id}]")
    reserved = [name.encode() for name in RESERVED_NAMES]
    s3 = _s3(services)
    services.remote_objects.cold.on_change = services.listing.forget_ahead
    router = Router(_routes(services, s3), reserved=reserved)
    return App(router, names, services, s3).answer


class App:
    """Answers requests; one per process."""

    def __init__(self, router: Router, names: NodeNames, services: Services, s3: Dispatch) -> None:
        self._s3 = s3.answer
        self._router = router
        self._gate = services.gate
        self._named = NamedBuckets(services.buckets)
        self._names = names
        self._native = frozenset(row.path.encode().split(b"/")[1] for row in router.routes) - {b"s3", b""}
        """First elements of paths whose errors are told in the native dialect."""
        self._known_only = frozenset(row.path for row in router.routes if row.path.startswith("/v1/"))
        self._known_only -= {_HEALTH}
        """Paths that no stranger reaches, though their handlers ask about the rest themselves."""
        self._not_s3 = self._native | {name.encode() for name in RESERVED_NAMES}
        self._slots = services.telemetry.slots
        forward = None
        if services.forwards:
            forward = ForwardProxy(services.buckets, services.gate, s3.read)
        self._own_authorities = services.own_names.authorities
        self._arrivals = Arrivals(
            services.buckets,
            services.gate,
            self._s3,
            names=services.own_names,
            origin_of=services.origin_of,
            forward=forward,
        )
        self._remote = services.remote
        self._cluster_id = services.node.identity.cluster_id
        self._json_bytes_max = services.json_bytes_max
        self._usual = {
            key: (row.handler, row.meter, row if row.action & ~_NEVER_CLOSED else None)
            for key, row in router.literal_pairs().items()
            if row.handler is not None and row.action is not None and row.action in ANONYMOUS.allowed
        }
        """The verbs on objects, for whoever is allowed everything: found with one look-up. The row stands
        there for those that a bucket's properties may close."""

    def answer(self, request: Request) -> Answer:
        """The answer to a request: at once, or a coroutine where something must be waited for."""
        if VIA_FIELD in request.headers and not visited.get():
            return self._from_cluster(request)
        if request.headers.get("host") not in self._own_authorities:
            arrived = self._arrivals.answer(request)
            if arrived is not None:
                return arrived
        meter: Meter | None = None
        started_ns = perf_counter_ns()
        try:
            principal = self._gate.admit(request)
            if principal is PASS_THROUGH:
                return self._s3(request)  # who they are is for the source of a bucket to say
            if request.seal or (request.body is not NO_BODY and CONTENT_HASH_FIELD in request.headers):
                request.body = verified_body(request)
            elements = request.path.split(b"/", ELEMENTS_MAX)
            usual = None
            if len(elements) > ELEMENTS_MAX and principal is ANONYMOUS:
                usual = self._usual.get((elements[1], elements[2], request.method))
            if usual is not None:
                handler, meter, closable = usual
                if closable is not None:
                    self._authorize(request, elements, closable)
                answer = handler(request, elements)
            elif len(elements) > 2 and self._is_s3(elements[1]):
                # The dialect asks the gate itself, once it knows which operation is meant.
                return self._s3(request, elements)
            else:
                methods = self._router.find(elements)
                row = methods.get(request.method) or methods.get(ANY_METHOD)
                if row is None:
                    return self._unrouted(request, methods)
                if isinstance(row, Choice):
                    return self._chosen(request, elements, row)
                meter = row.meter
                answer = self._called(request, elements, row)
            if isinstance(answer, Response):
                if meter is not None:
                    self._count(meter, started_ns)
                return answer
            if type(answer) is Later:
                answer.make = partial(self._made, request, answer.make, meter=meter, started_ns=started_ns)
                return answer
        except AisleError as error:
            if isinstance(error, RemoteBucketNotFound) and not error.is_final:
                return self._guarded(request, self._after_discovery(request, error))
            if meter is not None:
                self._count(meter, started_ns, failed=True)
            return self._refused(error, request)
        return self._guarded(request, answer, meter, started_ns)

    async def _from_cluster(self, request: Request) -> Response:
        """The answer to a request of another cluster, unless it has come through this one before."""
        way = parse_way(request.headers[VIA_FIELD])
        if self._cluster_id in way or len(way) > CLUSTERS_MAX:
            error = SourceFailed(f"clusters are attached in a circle: {' -> '.join(way)}, and back here")
            return self._refused(error, request)
        # Whatever is asked of other clusters on behalf of this request tells the way on.
        told = visited.set(way)
        try:
            answer = self.answer(request)
            return answer if isinstance(answer, Response) else await answer
        finally:
            visited.reset(told)

    async def _after_discovery(self, request: Request, error: RemoteBucketNotFound) -> Response:
        """The answer to a request about a remote bucket that is not known here, once it has been looked for.

        Nothing of the request has been consumed: its path alone led here.
        """
        await self._discover(request, error)
        answer = self.answer(request)
        return answer if isinstance(answer, Response) else await answer

    async def _discover(self, request: Request, error: RemoteBucketNotFound) -> None:
        """Find the bucket where it is, for whoever may ask for any bucket; others are told `error`."""
        query = parse_query(request.query)
        error.is_final = True
        if not permits(request.caller, Action.HEAD_BUCKET):
            raise error
        if query.get("presence") in ("2", "3", "4") or is_true(query.get("dont_add_remote_bck_md", "")):
            raise error
        asks = not is_true(query.get("dont_head_remote_bck", ""))
        bucket = Bucket(*error.identity)
        changes = dataset_named(request, bucket, query)
        await self._remote.discover(bucket, changes=changes, asks=asks)

    def _is_s3(self, first: bytes) -> bool:
        """Whether paths that begin with this element, and go on, are S3's."""
        return first == b"s3" or (len(first) > 2 and first not in self._not_s3)

    def _authorize(self, request: Request, elements: Elements, route: Route) -> None:
        """Ask the gate about the bucket that the path names.

        Raises Denied, BucketNotFound where only the bucket could have given the right, InvalidName.
        """
        action, caller, query = route.action, request.caller, request.query
        if action == Action.OPEN and not caller.is_known and route.path in self._known_only:
            action = Action.SHOW_CLUSTER
        if action == Action.PUT:
            action = _write_action(request)
        place = bucket_place(route.path)
        if place == EASY_BUCKET_PLACE:
            query = easy_query(elements[1], query)
        if not action or not place or place >= len(elements):
            self._gate.authorize(caller, action)
        elif caller.allowed == ALL or not caller.is_known:
            self._gate.authorize(caller, action, self._named.look_up(elements[place], query))
        elif action in caller.allowed:
            self._gate.authorize(caller, action)
        else:
            self._gate.authorize(caller, action, self._named.find(elements[place], query))

    def _refused(self, error: AisleError, request: Request) -> Response:
        """The answer to an error, in the dialect of its path."""
        first = request.path[1:].partition(b"/")[0]
        is_s3 = first == b"s3" or (len(first) > 2 and first not in self._native)
        if is_s3 or (not first and _is_s3_client(request)):
            return s3_refusal(error, request)
        return refusal(error, request, self._names)

    def _called(self, request: Request, elements: Elements, route: Route) -> Answer:
        self._authorize(request, elements, route)
        if route.handler is None:
            raise Unsupported(f"{route.method} {shown_path(request.path)} is not built")
        return route.handler(request, elements)

    def _chosen(self, request: Request, elements: Elements, choice: Choice) -> Answer:
        """The row that the query or the body chooses, called."""
        if choice.by == "action":
            length = request.body.length
            if not request.caller.is_known and (length is None or length >= _LONG_BYTES):
                self._check_any(request, elements, choice)
            return self._guarded(request, self._by_action(request, elements, choice))
        what = parse_query(request.query).get("what", "")
        route = choice.routes.get(what)
        if route is None:
            raise BadRequest(_unknown_question(request, what))
        answer = self._called(request, elements, route)
        return answer if isinstance(answer, Response) else self._guarded(request, answer)

    def _check_any(self, request: Request, elements: Elements, choice: Choice) -> None:
        """Raise Denied if the caller may do nothing of what the body chooses between."""
        refusals: list[Denied] = []
        for route in choice.routes.values():
            try:
                return self._authorize(request, elements, route)
            except Denied as error:
                refusals.append(error)
        raise refusals[0]

    async def _by_action(self, request: Request, elements: Elements, choice: Choice) -> Response:
        body = request.body.buffered()
        if body is None:
            body = await request.body.read_all(self._json_bytes_max)
        message = parse_message(body, request.method, may_be_absent="" in choice.routes)
        route = choice.routes.get(message.action)
        if route is None:
            raise BadRequest(f'invalid action "{message.action}"')
        self._authorize(request, elements, route)
        if route.handler is None:
            raise Unsupported(f'action "{message.action}" is not built')
        started_ns = perf_counter_ns()
        try:
            try:
                answer = route.handler(request, elements, message)
                response = answer if isinstance(answer, Response) else await answer
            except RemoteBucketNotFound as error:
                if error.is_final:
                    raise
                await self._discover(request, error)
                self._authorize(request, elements, route)
                answer = route.handler(request, elements, message)
                response = answer if isinstance(answer, Response) else await answer
        except AisleError:
            if route.meter is not None:
                self._count(route.meter, started_ns, failed=True)
            raise
        if route.meter is not None:
            self._count(route.meter, started_ns)
        return response

    async def _guarded(
        self,
        request: Request,
        answer: Awaitable[Response],
        meter: Meter | None = None,
        started_ns: int = 0,
    ) -> Response:
        """A coroutine's answer, or that to its error."""
        try:
            try:
                response = await answer
            except RemoteBucketNotFound as error:
                if error.is_final or request.body.length != 0:
                    raise
                return await self._after_discovery(request, error)
        except AisleError as error:
            if meter is not None:
                self._count(meter, started_ns, failed=True)
            return self._refused(error, request)
        if meter is not None:
            self._count(meter, started_ns)
        return response

    def _made(
        self,
        request: Request,
        make: Callable[[Future[object]], Response],
        future: Future[object],
        *,
        meter: Meter | None,
        started_ns: int,
    ) -> Response:
        """The answer that was waiting for a future, or that to its error."""
        try:
            response = make(future)
        except AisleError as error:
            if meter is not None:
                self._count(meter, started_ns, failed=True)
            return self._refused(error, request)
        if meter is not None:
            self._count(meter, started_ns)
        return response

    def _count(self, meter: Meter, started_ns: int, *, failed: bool = False) -> None:
        slots = self._slots
        slots[meter.requests] += 1
        if meter.elapsed_ns is not None:
            slots[meter.elapsed_ns] += perf_counter_ns() - started_ns
        if failed and meter.failures is not None:
            slots[meter.failures] += 1

    def _unrouted(self, request: Request, methods: Mapping[str, Route | Choice]) -> Response:
        """The answer to a path that nobody knows, or a method that its path does not have."""
        if not request.caller.is_known:
            self._gate.authorize(request.caller, Action.SHOW_CLUSTER)
        if methods:
            allow = ("Allow", ", ".join(sorted(methods)))
            if request.method == "OPTIONS":
                return Response(200, [allow])
            text = f"method {request.method} is not allowed here\n"
            return Response(405, [allow, ("Content-Type", "text/plain; charset=utf-8")], text.encode())
        message = f"invalid request URI: '{request.method} {shown_path(request.path)}' from {request.peer}"
        return native_error(request, Shown(400), message, node=self._names.gateway)


def _write_action(request: Request) -> Action:
    """What a write does to what its path names, which its parameters may change."""
    query = request.query
    if request.method != "PUT" or (b"object_to" not in query and b"append_type" not in query):
        return Action.PUT
    return _OTHER_WRITES.get(variant_of(parse_query(query)), Action.PUT)


def _unknown_question(request: Request, what: str) -> str:
    """AIStore's words for a `what` that it does not know, which differ by path."""
    if request.path.startswith(b"/v1/cluster"):
        return f"unexpected query [what={what}]"
    return f"invalid '{shown_path(request.path)}' request: unrecognized 'what={what}' query"


def _is_s3_client(request: Request) -> bool:
    """Whether a request for the root itself comes from an S3 client; Amazon's SDKs may leave it unsigned."""
    return shows_s3_credentials(request) or "amz-sdk-invocation-id" in request.headers


def _root(s3: Dispatch, gate: Gate, request: Request, _elements: Elements) -> Answer:
    """The service of the S3 dialect for whoever signs as its clients do; for others, what this is."""
    if _is_s3_client(request):
        return s3.answer(request)
    gate.authorize(request.caller, Action.SHOW_CLUSTER)
    text = (
        f"Aisle {__version__}: object storage for AI data. The native API is at /v1, metrics at /metrics.\n"
    )
    return Response(200, [("Content-Type", "text/plain; charset=utf-8")], text.encode())
