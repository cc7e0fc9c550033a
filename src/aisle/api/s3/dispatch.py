"""From a request to its S3 operation.

How to add operations: write a class with `operations()` that returns rows (`Operation`), and name it
in `parts.s3_parts`. A row says method, level, sub-resource, the action that the gate checks, and the
handler. The handler takes the `S3Call` and returns an Answer: a plain function that returns a
Response where nothing waits, else a coroutine or a Later. It raises errors of `aisle.errors`, or
`S3Error` with a code of its own; both become XML here.

Before a handler runs, the bucket has been found (`call.bucket()`) and the gate has checked the row's
action on it. A handler that does something to a second bucket, such as the source of a copy, finds it
with `Buckets…` and asks `call.check(Action.GET, source)`.

The sub-resource is looked for before the plain verb. What is asked of one and has no row here is
answered 501 NotImplemented, whatever the method; a plain verb that nobody has 405 MethodNotAllowed.
"""

from asyncio import Future
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from time import perf_counter_ns
from typing import NamedTuple, Protocol

from aisle.api.credentials import shows_s3_credentials
from aisle.api.gate import ANONYMOUS, Action, Principal, permits
from aisle.api.router import ANY_METHOD, Elements, Meter, Route
from aisle.api.s3.acls import EXPECTED_OWNER, check_owner
from aisle.api.s3.call import Level, S3Call, parse_s3_key, parse_s3_query, split_path
from aisle.api.s3.errors import S3Error, s3_refusal
from aisle.api.s3.names import AmbiguousName, S3Names
from aisle.api.s3.subresources import NAMES, subresource_of
from aisle.errors import AisleError
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Later, Response
from aisle.model.bucket import BucketInfo
from aisle.model.principal import PASS_THROUGH
from aisle.telemetry import Telemetry

S3Handler = Callable[[S3Call], Answer]
Permits = Callable[[Principal, Action, BucketInfo | None], None]
"""Raises Denied unless the principal may do that to the bucket; the gate's decision."""


class Operation(NamedTuple):
    """A row of the table."""

    method: str
    level: Level
    subresource: str
    """A name of Amazon's closed list, or empty for the plain verb."""
    action: Action
    handler: S3Handler
    meter: Meter | None = None
    on_missing: bool = False
    """The handler is called even if there is no such bucket: creating one."""


class RemoteAnswers(Protocol):
    """What operations mean on buckets that have a remote one behind them."""

    def answer(self, operation: Operation, call: S3Call) -> Answer:
        """The answer to an operation on such a bucket or an object in it."""


class Passing(Protocol):
    """What signed requests mean that are for the source of their bucket to judge."""

    def answer(self, operation: Operation, call: S3Call) -> Awaitable[Response]:
        """The answer to one of them."""


class S3Part(Protocol):
    """A part of the dialect that brings its own rows."""

    def operations(self) -> list[Operation]:
        """Its rows of the table."""


class Dispatch:
    """Answers S3 requests; one per process."""

    def __init__(
        self,
        parts: Iterable[S3Part],
        *,
        names: S3Names,
        permits: Permits,
        telemetry: Telemetry,
        remote: RemoteAnswers,
        buckets: RemoteBuckets,
        passing: Callable[[], Passing] | None = None,
    ) -> None:
        """`passing` makes what passes signed requests on; it is called when the first one comes."""
        self.operations: Sequence[Operation] = [row for part in parts for row in part.operations()]
        self._table = {(row.method, row.level, row.subresource): row for row in self.operations}
        assert len(self._table) == len(self.operations), "two rows for one operation"
        unknown = {row.subresource for row in self.operations} - NAMES - {""}
        assert not unknown, f"not on Amazon's list: {unknown}"
        self._names = names
        self._remote = remote
        self._make_passing = passing
        self._passing: Passing | None = None
        self._buckets = buckets
        self._permits = permits
        self._slots = telemetry.slots

    def routes(self) -> list[Route]:
        """Their rows of the application's table. The gate's check of them is made here, per operation."""
        paths = ["/s3", "/s3/{bucket}", "/s3/{bucket}/{key}", "/s3/{bucket}/{key}/{rest}"]
        paths += ["/{bucket}", "/{bucket}/{key}", "/{bucket}/{key}/{rest}", "/{bucket}/{key}/{rest}/{more}"]
        return [Route(ANY_METHOD, path, Action.OPEN, self.answer) for path in paths]

    def answer(
        self, request: Request, _elements: Elements | None = None, *, is_searched: bool = False
    ) -> Answer:
        """The answer to a request; errors are in it. `is_searched`: nobody has its bucket elsewhere."""
        started_ns = perf_counter_ns()
        meter: Meter | None = None
        try:
            call, operation = self._select(request)
            meter = operation.meter
            if call.info is None and call.name and not operation.on_missing:
                if not request.caller.is_known:
                    # Strangers learn nothing of which buckets there are.
                    self._permits(request.caller, operation.action, None)
                if not is_searched and self._may_search(request, call.name):
                    return self._after_search(request, call.name)
                call.bucket()
            self._permits(request.caller, operation.action, call.info)
            is_remote = call.info is not None and call.info.remote is not None
            passing = self._passing_of(call) if is_remote else None
            if passing is not None:
                return self._awaited(request, passing.answer(operation, call), meter, started_ns)
            if EXPECTED_OWNER in request.headers and call.info is not None:
                check_owner(call.info, request.headers)
            if is_remote:
                answer = self._remote.answer(operation, call)
            else:
                answer = operation.handler(call)
        except AisleError as error:
            return self._refused(error, request, meter)
        if isinstance(answer, Response):
            if meter is not None:
                self._count(meter, started_ns)
            return _identified(answer, request)
        if type(answer) is Later:
            answer.make = partial(self._made, request, answer.make, meter=meter, started_ns=started_ns)
            return answer
        return self._awaited(request, answer, meter, started_ns)

    def read(self, call: S3Call) -> Answer:
        """The answer to a GET or HEAD of an object of a remote bucket, whose caller may do that.

        Raises what the operation raises.
        """
        return self._remote.answer(self._table[call.request.method, Level.OBJECT, ""], call)

    def passes(self, request: Request) -> bool:
        """Whether a request's path names a bucket that passes on what is signed for its source."""
        try:
            _, info = self._names.find(split_path(request.path)[0])
        except AisleError:
            return False
        return self._make_passing is not None and info is not None and info.passes_signed

    def _passing_of(self, call: S3Call) -> Passing | None:
        """What passes a request on that is not for this node to judge; None for all others."""
        if self._make_passing is None or not call.bucket().passes_signed:
            return None
        caller = call.principal
        if caller is not PASS_THROUGH and not (caller is ANONYMOUS and shows_s3_credentials(call.request)):
            return None
        if self._passing is None:
            self._passing = self._make_passing()
        return self._passing

    def _may_search(self, request: Request, name: str) -> bool:
        """Whether a bucket that is not known here is worth a look at the accounts of the node (W40)."""
        caller = request.caller
        is_trusted = caller is not ANONYMOUS or request.peer.startswith(("127.", "[::1]", "::1"))
        return is_trusted and permits(caller, Action.HEAD_BUCKET) and self._buckets.is_worth_a_search(name)

    async def _after_search(self, request: Request, name: str) -> Response:
        """The answer to a request, once its bucket has been looked for; errors are in it."""
        try:
            await self._buckets.search(name)
        except AisleError as error:
            return self._refused(error, request, None)
        answer = self.answer(request, is_searched=True)
        return answer if isinstance(answer, Response) else await answer

    def _select(self, request: Request) -> tuple[S3Call, Operation]:
        raw_bucket, raw_key = split_path(request.path)
        query = parse_s3_query(request.query)
        level = Level.OBJECT if raw_key else Level.BUCKET if raw_bucket else Level.SERVICE
        subresource = subresource_of(query, level) if query else ""
        operation = self._table.get((request.method, level, subresource))
        if operation is None:
            raise self._unknown(request, level, subresource)
        call = S3Call(request, "", b"", query, self._permits)
        if level is not Level.SERVICE:
            call.name, call.info = self._found(raw_bucket, request.caller, operation.action)
            if level is Level.OBJECT:
                call.key = parse_s3_key(raw_key)
        return call, operation

    def _found(self, raw: bytes, caller: Principal, action: Action) -> tuple[str, BucketInfo | None]:
        try:
            return self._names.find(raw)
        except AmbiguousName:
            if not caller.is_known:
                # Strangers learn nothing of which buckets there are.
                self._permits(caller, action, None)
            raise

    def _unknown(self, request: Request, level: Level, subresource: str) -> S3Error:
        method = request.method
        if subresource:
            return S3Error("NotImplemented", f"{method} ?{subresource} is not implemented.")
        if method == "POST" and level is not Level.SERVICE:
            return S3Error("NotImplemented", "Uploads by forms are not implemented.")
        known = sorted(row[0] for row in self._table if row[1:] == (level, ""))
        error = S3Error("MethodNotAllowed", Method=method, ResourceType=level.name)
        error.headers.append(("Allow", ", ".join(known)))
        return error

    def _refused(self, error: AisleError, request: Request, meter: Meter | None) -> Response:
        if meter is not None:
            self._slots[meter.requests] += 1
            if meter.failures is not None:
                self._slots[meter.failures] += 1
        return s3_refusal(error, request)

    async def _awaited(
        self, request: Request, answer: Awaitable[Response], meter: Meter | None, started_ns: int
    ) -> Response:
        try:
            response = await answer
        except AisleError as error:
            return self._refused(error, request, meter)
        if meter is not None:
            self._count(meter, started_ns)
        return _identified(response, request)

    def _made(
        self,
        request: Request,
        make: Callable[[Future[object]], Response],
        future: Future[object],
        *,
        meter: Meter | None,
        started_ns: int,
    ) -> Response:
        try:
            response = make(future)
        except AisleError as error:
            return self._refused(error, request, meter)
        if meter is not None:
            self._count(meter, started_ns)
        return _identified(response, request)

    def _count(self, meter: Meter, started_ns: int) -> None:
        slots = self._slots
        slots[meter.requests] += 1
        if meter.elapsed_ns is not None:
            slots[meter.elapsed_ns] += perf_counter_ns() - started_ns


def _identified(response: Response, request: Request) -> Response:
    """The answer with the request's id where Amazon's clients look for it, as refusals have it too."""
    response.lines = f"x-amz-request-id: {request.request_id}\r\n{response.lines}"
    return response
