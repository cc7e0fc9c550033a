"""One connection: bytes to requests, one exchange after the other.

Requests of a connection are answered strictly in turn: what a client sends ahead waits unparsed, and
beyond `pipelined_requests_max` of them (or 64 KiB) we stop reading. So answers are in order by
construction, and a queued request costs its bytes and no more.

    IDLE ──bytes──▶ HEAD ──▶ BODY ──▶ BUSY ──answer complete──▶ IDLE
                     │         │        └─▶ HELD (written faster than sent, or others' turn)
                     └─refused─┴──────────▶ DEAF (input is dropped until the peer closes)

A handler is called when the head is there; if the body is small and its length is known, when the
body is there too, so that it never waits for it.
"""

import asyncio
import socket
from asyncio import Future
from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from time import perf_counter_ns
from typing import Final

from aisle import telemetry as metric
from aisle.errors import BodyTooLarge, RequestAborted
from aisle.httpd.answering import Pending
from aisle.httpd.body import WholeBody
from aisle.httpd.head import (
    METHODS,
    Fields,
    Refusal,
    addressed,
    check_lengths,
    check_partial,
    match_usual_line,
    parse_fields,
    parse_request_line,
)
from aisle.httpd.receiving import BODY, BUSY, DEAF, HEAD, HELD, IDLE, ReceivingSide
from aisle.httpd.render import CONTINUE, problem
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Later, Response
from aisle.httpd.worker import Worker

_WHOLE_BODY_BYTES_MAX: Final = 64 * 1024
"""A body up to this length is awaited before the handler is called."""
_VERSION_BYTES: Final = len(b" HTTP/1.1")
_TAIL_BYTES_KEPT: Final = 2048
"""Header sections up to this length are remembered for the next request of the connection."""


class Connection(ReceivingSide):
    """The protocol between one transport and the handler."""

    __slots__ = (
        "_checked",
        "_deferred",
        "_eof",
        "_fields",
        "_head_begun",
        "_on_lost",
        "_peer",
        "_tail",
        "_task",
        "was_made",
    )

    def __init__(
        self, worker: Worker, sock: socket.socket, *, peer: str, secure: bool, on_lost: Callable[[], None]
    ) -> None:
        super().__init__(worker, sock, secure=secure)
        self.was_made = False
        """The transport was ready at some time: `on_lost` is called, once, when it is gone."""
        self._on_lost = on_lost
        self._peer = peer
        self._request = _nobody(peer)
        self._checked = 0
        """Bytes of an incomplete head that were looked at."""
        self._head_begun = False
        self._tail = b""
        """How the head before ended, from the space before its version on; empty if it was long."""
        self._fields: Fields | None = None
        """What its header section said."""
        self._deferred = False
        """The handler is called when the body is complete."""
        self._task: Future[None] | Future[object] | None = None
        self._eof = False

    # Life of a connection -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        super().connection_made(transport)
        self.was_made = True
        self._worker.connections.add(self)
        if self._worker.draining:
            self.retire()

    def connection_lost(self, error: Exception | None) -> None:
        """The peer is gone, or we closed: nothing of the exchange in progress can be used."""
        super().connection_lost(error)
        self._on_lost()
        self._worker.connections.discard(self)
        self.read_deadline_s = inf
        self._phase = DEAF
        self._unread.clear()
        if self._task is not None:
            self._worker.count(metric.HTTP_ABORTED)
        if self._started or not self._body_unfinished:
            self._cancel_task()
        # A handler that reads the body learns it there, and cleans up as after any failure.
        self._fail_body(RequestAborted("the connection was lost"))

    def eof_received(self) -> bool:
        """The peer sends no more. True keeps the connection open for the answer."""
        phase = self._phase
        self._eof = True
        self._keep_alive = False
        if phase == BODY and not self._answered:
            self._cut_off()
            return self._task is not None and not self._secure
        if phase == BUSY and self._task is not None and not self._started:
            # Nobody waits any more. Half-closed clients exist, but cannot be told from closed ones.
            self._worker.count(metric.HTTP_ABORTED)
            self._cancel_task()
            return False
        return phase in (BUSY, HELD) and not self._secure

    def retire(self) -> None:
        """Close as soon as the exchange in progress is done."""
        self._keep_alive = False
        # Also when the answer has begun, and its head has promised to keep the connection.
        self._close_after = True
        if self._phase == IDLE and self._started_ns:
            self._close()
        elif self._phase == IDLE:
            # Its first request may be on the way; many clients repeat none that a new connection lost.
            self.read_deadline_s = self._worker.deadline(1.0)

    def on_read_deadline(self) -> None:
        """The tick found that what we wait for did not come in time."""
        self.read_deadline_s = inf
        if self._phase == HEAD:
            self._refuse(Refusal(408, "the head of the request took too long"))
        elif self._phase == BODY and not self._answered:
            self._refuse(Refusal(408, "the body of the request took too long"))
        elif self._phase == DEAF and self._transport is not None:
            self._transport.abort()
        else:
            self._close()

    def _cancel_task(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            # Behind the task's own first step, if that is still to come: it closes what it was handed.
            self._worker.loop.call_soon(task.cancel)

    # Bytes to requests ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self._worker.received_bytes += len(data)
        phase = self._phase
        if phase == IDLE:
            if not (self._tail and data.endswith(self._tail) and self._take_repeated(data)):
                self._consume(data)
        elif phase == BODY:
            self._take_body(data)
        elif phase == HEAD:
            self._unread += data
            self._look_for_head()
        elif phase != DEAF:
            self._unread += data
            self._regulate_reading()

    def _consume(self, data: bytes) -> None:
        """Answer the requests in `data` one by one, as far as none must wait."""
        start = 0
        turns = self._worker.config.pipelined_requests_max
        try:
            while start < len(data):
                if not turns or self._writing_paused:
                    self._hold(data[start:])
                    return
                end = data.find(b"\r\n\r\n", start)
                if data[start] == 0x0D and data.startswith(b"\r\n", start):
                    start += 2  # an empty line before a request is forgiven (RFC 9112 §2.2)
                    continue
                if end < 0 or data[start] == 0x0D:
                    self._await_head(data[start:])
                    return
                turns -= 1
                start = self._take_request(data, start, end)
                if self._phase != IDLE:
                    if self._phase != DEAF and start < len(data):
                        self._unread += data[start:]
                        self._regulate_reading()
                    return
        except Refusal as refusal:
            self._refuse(refusal)

    def _await_head(self, begun: bytes) -> None:
        """Only the beginning of a head is here."""
        self._phase = HEAD
        self._unread += begun
        if not self._head_begun:
            self._head_begun = True
            self.read_deadline_s = self._worker.deadline(self._worker.config.header_timeout_s)
        self._check_head(0)

    def _check_head(self, checked: int) -> None:
        config = self._worker.config
        line_max, section_max = config.request_line_bytes_max, config.header_bytes_max
        check_partial(self._unread, checked, line_max=line_max, section_max=section_max)
        self._checked = len(self._unread)

    def _look_for_head(self) -> None:
        unread = self._unread
        complete = unread.find(b"\r\n\r\n", max(self._checked - 3, 0)) >= 0
        if complete or (unread[0] == 0x0D and len(unread) > 1):
            # Empty lines do not renew the time that a head may take.
            self._head_begun = not complete
            self._phase = IDLE
            self._resume_unread()
            return
        try:
            self._check_head(self._checked)
        except Refusal as refusal:
            self._refuse(refusal)

    def _hold(self, rest: bytes) -> None:
        """Go on later: when the transport takes more, or else after others had their turn."""
        self._phase = HELD
        self._unread += rest
        self._regulate_reading()
        if not self._writing_paused:
            self._worker.loop.call_soon(self._resume_held)

    def _resume_held(self) -> None:
        if self._phase == HELD and not self._writing_paused:
            self._phase = IDLE
            self._resume_unread()

    def resume_writing(self) -> None:
        """The transport takes more."""
        super().resume_writing()
        self._resume_held()

    def _resume_unread(self) -> None:
        """Go on with what came while the connection was busy."""
        if self._unread:
            data = bytes(self._unread)
            self._unread.clear()
            self._consume(data)
        if self._reading_paused:
            self._regulate_reading()
        if self._eof and self._phase in (IDLE, HEAD, BODY):
            if self._phase == BODY and self._task is not None and not self._answered:
                self._cut_off()
            else:
                self._close()

    def _take_request(self, data: bytes, start: int, end: int) -> int:
        """Answer the request whose head lies there; where what follows it begins. Raises Refusal."""
        worker = self._worker
        line_end = data.find(b"\r\n", start)
        if end - start > worker.head_bytes_unchecked:
            config = worker.config
            line_max, section_max = config.request_line_bytes_max, config.header_bytes_max
            check_lengths(line_end - start, end - line_end, line_max=line_max, section_max=section_max)
        line = data[start:line_end]
        method, path, query, minor, authority = parse_request_line(line)
        tail = data[line_end - _VERSION_BYTES : end + 4]
        fields = self._fields
        if fields is None or tail != self._tail:
            section = data[line_end + 2 : end + 2]
            fields = parse_fields(section, minor=minor, count_max=worker.config.header_count_max)
            self._fields = fields
            self._tail = tail if len(tail) <= _TAIL_BYTES_KEPT else b""
            self._minor = minor
        headers = fields.headers if authority is None else addressed(fields.headers, authority, line)
        self._begin(Request(method, path, query, headers), keep_alive=fields.keep_alive)
        if fields.length == 0:
            if fields.expects_continue:
                # Nothing is to be continued, but Amazon's command line client takes a connection on
                # which it did not see this for broken as soon as it expects the next one.
                self.write(CONTINUE)
            self._dispatch(self._request)
            return end + 4
        return self._take_request_with_body(self._request, fields, data, end + 4)

    def _take_repeated(self, data: bytes) -> bool:
        """The usual case, fast: a head that ends like the one before, and no body. False: nothing was done.

        Nothing else can hide in `data`: what stands before the tail has no line end, and the tail is
        the version and the header section that were checked with the request before.
        """
        fields = self._fields
        if fields is None or fields.length != 0 or fields.expects_continue or self._writing_paused:
            return False
        line = match_usual_line(data, 0, len(data) - len(self._tail))
        if line is None or len(data) > self._worker.head_bytes_unchecked:
            return False
        method, path, query = line.groups(b"")
        request = Request(METHODS[method], path, query, fields.headers)
        self._begin(request, keep_alive=fields.keep_alive)
        self._dispatch(request)
        return True

    def _begin(self, request: Request, *, keep_alive: bool) -> None:
        """Enter the exchange of a request."""
        request.peer = self._peer
        request.secure = self._secure
        request.request_id = self._worker.request_id(request.headers.get("x-request-id"))
        self._request = request
        self._keep_alive = keep_alive
        self._started_ns = perf_counter_ns()
        self._phase = BUSY

    def _take_request_with_body(self, request: Request, fields: Fields, data: bytes, start: int) -> int:
        length = fields.length
        if length is not None and length <= min(_WHOLE_BODY_BYTES_MAX, len(data) - start):
            # All of it is here: nothing to wait for, and no reading to regulate.
            self._check_body(length)
            request.body = WholeBody(data[start : start + length])
            self._dispatch(request)
            return start + length
        rest = self._open_body(request, fields, data[start:])
        if rest is None:
            small = length is not None and length <= _WHOLE_BODY_BYTES_MAX
            # Who closes the connection may want the answer first: AIStore's SDK over TLS announces a
            # body, sends none, and waits to be redirected.
            self._deferred = small and not self._expects and self._keep_alive
            self._regulate_reading()
        if not self._deferred:
            self._dispatch(request)
        return len(data) - len(rest or b"")

    def _take_body(self, data: bytes) -> None:
        try:
            rest = self._feed(data)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        if rest is None:
            self._regulate_reading()
            return
        self._unread += rest
        if self._deferred:
            self._deferred = False
            self._dispatch(self._request)
        elif self._answered:
            self._end_exchange()
        if self._phase == IDLE:
            self._resume_unread()
        elif self._phase == BUSY:
            self._regulate_reading()

    # Exchanges ------------------------------------------------------------------------------------

    def _dispatch(self, request: Request) -> None:
        """Call the handler; what it returns is sent at once if it is whole, else by a task."""
        answer: Answer
        worker = self._worker
        try:
            answer = worker.handler(request)
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends one exchange only
            answer = self.failed(error)
        if self._body is None and type(answer) is Response and self.answer_at_once(answer):
            self._phase = IDLE
            self.read_deadline_s = worker.keepalive_deadline_s
            return
        self._started = False
        if isinstance(answer, Response):
            pending = self.begin_answer(answer, must_close=self._body_in_the_way)
            if pending is None:
                self._finish()
                return
        elif isinstance(answer, Later):
            if self._phase == BUSY:
                self.read_deadline_s = inf
            self._task = answer.future
            answer.future.add_done_callback(partial(self._settle, answer.make))
            return
        else:
            pending = self._serve(answer)
        self._begin_task(pending)

    def _begin_task(self, pending: Pending) -> None:
        worker = self._worker
        if self._phase == BUSY:
            self.read_deadline_s = inf
        task = self._task = worker.loop.create_task(self._run(pending))
        worker.tasks.add(task)
        task.add_done_callback(worker.tasks.discard)

    def _settle(self, make: Callable[[Future[object]], Response], future: Future[object]) -> None:
        """What a `Later` waited for is there."""
        if future.cancelled():
            if self._transport is not None:
                self._transport.abort()
            return
        self._task = None
        try:
            response = make(future)
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends one exchange only
            response = self.failed(error)
        usual = self._phase == BUSY and self._verdict is None and type(response) is Response
        if usual and self.answer_at_once(response):
            self._end_exchange()
        else:
            pending = self.begin_answer(response, must_close=self._body_in_the_way)
            if pending is not None:
                self._begin_task(pending)
                return
            self._finish()
        if self._phase == IDLE:
            self._resume_unread()

    async def _serve(self, coroutine: Coroutine[object, object, Response]) -> None:
        try:
            response = await coroutine
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: the handler waited for something that was cancelled, which is a bug.
            response = self.failed(error)
        except (RequestAborted, BodyTooLarge) as error:
            # The peer's fault, not a bug: a handler need not catch what its body raises.
            status = 413 if isinstance(error, BodyTooLarge) else 400
            response = problem(status, str(error), self._request.request_id)
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends one exchange only
            response = self.failed(error)
        pending = self.begin_answer(response, must_close=self._body_in_the_way)
        if pending is not None:
            await pending

    async def _run(self, pending: Pending) -> None:
        try:
            await pending
        except asyncio.CancelledError:
            # Whoever cancelled it: an answer in progress must not look complete.
            if self._transport is not None:
                self._transport.abort()
            raise
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends one exchange only
            self.break_off(error)
        self._task = None
        self._finish()
        if self._phase == IDLE:
            self._resume_unread()

    def _finish(self) -> None:
        """The answer is complete, or broken off."""
        if self._transport is None or self._transport.is_closing():
            self._phase = DEAF
            self._end_body()
            return
        self._worker.answered(self._request, self._status, self._sent_bytes, self._started_ns)
        if self._close_after:
            self._close(linger=self._body_unfinished or bool(self._unread))
        elif self._body_unfinished:
            self._answered = True
            self._fail_body(RequestAborted("the request was answered before its body was read"))
            self._regulate_reading()
        else:
            self._end_exchange()

    def _end_exchange(self) -> None:
        self._phase = IDLE
        if self._body is not None:
            self._end_body()
        self.read_deadline_s = self._worker.keepalive_deadline_s
        if self._worker.draining:
            self._close()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what cannot be understood, or no longer be waited for, and close."""
        self._worker.count(metric.HTTP_TIMEOUTS if refusal.status == 408 else metric.HTTP_BAD_REQUESTS)
        phase, self._phase = self._phase, DEAF
        if self._task is not None and not self._answered:
            # The handler learns it from its body, and its answer is replaced unless it has begun.
            self._verdict = refusal
            self._close_after = True
            limit = self._worker.config.body_bytes_max
            self._fail_body(BodyTooLarge(limit) if refusal.status == 413 else RequestAborted(refusal.message))
            return
        if not self._answered:
            if phase in (IDLE, HEAD):
                self._request = _nobody(self._peer, self._worker.request_id(None))
                self._started_ns = perf_counter_ns()
            self.send_problem(refusal)
            self._worker.answered(self._request, self._status, self._sent_bytes, self._started_ns)
        self._close(linger=True)


def _nobody(peer: str, request_id: str = "") -> Request:
    """Stands for a request that could not be read."""
    return Request("-", b"-", peer=peer, request_id=request_id)
