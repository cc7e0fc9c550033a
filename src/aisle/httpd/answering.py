"""The answering half of a connection: a handler's response to bytes on the wire.

Whole bodies leave in one write. Files and streams may take time: for them a coroutine is returned,
which the connection runs as a task. An answer whose head has left is completed exactly or broken off.
"""

import logging
import socket
from collections.abc import Awaitable, Coroutine
from typing import Final

from aisle import telemetry as metric
from aisle.httpd.delivery import (
    JOIN_BYTES_MAX,
    BrokenAnswer,
    FileSending,
    check_length,
    close_stream,
    send_at_once,
    send_stream,
    write_joined,
)
from aisle.httpd.head import Refusal
from aisle.httpd.outgoing import OutgoingSide
from aisle.httpd.render import BODILESS, problem, render_head
from aisle.httpd.request import Request
from aisle.httpd.response import Body, FileBody, FileSpan, Response, StreamBody
from aisle.httpd.sendfile import NEAR_SEND_BUFFER_BYTES, Transmitter, is_near
from aisle.httpd.worker import Worker

_TUNE_FROM_BYTES: Final = 256 * 1024
"""From this size on, an answer is worth a system call that fits the send buffer to the peer."""

Pending = Coroutine[object, object, None]

_log = logging.getLogger("aisle.http")


class AnsweringSide(OutgoingSide):
    """Sends the answer of one exchange after the other."""

    __slots__ = (
        "_close_after",
        "_keep_alive",
        "_minor",
        "_request",
        "_secure",
        "_sent_bytes",
        "_started",
        "_started_ns",
        "_status",
        "_tuned",
        "_verdict",
        "_via",
    )

    _request: Request
    """The one that is being answered, or was last."""

    def __init__(self, worker: Worker, sock: socket.socket, *, secure: bool) -> None:
        super().__init__(worker, sock)
        self._secure = secure
        self._tuned = False
        self._minor = 1
        self._keep_alive = True
        self._close_after = False
        """The connection ends with the answer in progress."""
        self._started = False
        """The answer's head has left."""
        self._started_ns = 0
        self._status = 0
        self._sent_bytes = 0
        self._via: Transmitter | None = None
        self._verdict: Refusal | None = None
        """The input broke off while the handler ran: the answer that is given instead of its own."""

    def answer_at_once(self, response: Response) -> bool:
        """The usual case, fast: a whole body, and the connection goes on. False: nothing was done."""
        body, request, worker = response.body, self._request, self._worker
        if type(body) is not bytes or not self._keep_alive or not self._minor or worker.draining:
            return False
        if response.close or request.method == "HEAD" or response.status in BODILESS:
            return False
        start, framing = worker.status_lines[response.status], f"Content-Length: {len(body)}\r\n"
        try:
            head = render_head(start, response, framing, request.request_id)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the slow way deals with that
            return False
        if len(body) <= JOIN_BYTES_MAX:
            self.write(head + body)
        else:
            self.writelines((head, body))
        worker.answered(request, response.status, len(head) + len(body), self._started_ns)
        return True

    def begin_answer(self, response: object, *, must_close: bool) -> Pending | None:
        """Send an answer: None when all of it was handed over, else what completes it.

        Never raises: a response that cannot be sent is replaced by an error, or the connection
        breaks off.
        """
        if not isinstance(response, Response):
            response = self.failed(TypeError(f"a handler answered with {response!r}"))
        if self._transport is None:
            return self._discard(response.body)
        dropped: Pending | None = None
        if self._verdict is not None:
            dropped = self._discard(response.body)
            response = problem(self._verdict.status, self._verdict.message, self._request.request_id)
        self._close_after = must_close or response.close or not self._keep_alive or self._worker.draining
        try:
            return self._send(response) or dropped
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends one exchange only
            return self._replace(error, response)

    def _send(self, response: Response) -> Pending | None:
        body = response.body
        if self._request.method == "HEAD" or response.status in BODILESS:
            self._send_bodiless(response)
            return self._discard(body)
        if isinstance(body, bytes):
            self._send_whole(response, body)
            return None
        if isinstance(body, FileBody):
            return self._send_file(response, body)
        return self._send_stream(response, body)

    def _replace(self, error: BaseException, response: Response) -> Pending | None:
        """What becomes of a response that could not be sent as it is."""
        if self._started:
            self.break_off(error)
        else:
            self._send_error(self.failed(error))
        if self._via is not None:
            self._via.close()
        return self._discard(response.body)

    def send_problem(self, refusal: Refusal) -> None:
        """Send an answer of the server itself; the connection must be closed behind it."""
        self._close_after = True
        self._send_error(problem(refusal.status, refusal.message, self._request.request_id))

    def failed(self, error: BaseException) -> Response:
        """The answer to a request whose handler failed unexpectedly; the log gets the traceback."""
        request = self._request
        self._worker.count(metric.HTTP_HANDLER_FAILURES)
        _log.error(
            "request %s failed: %s %r", request.request_id, request.method, request.path, exc_info=error
        )
        return problem(500, "internal error: the log of the node has the details", request.request_id)

    def break_off(self, error: BaseException) -> None:
        """End the connection in the middle of an answer, so that nobody takes it for complete."""
        if not isinstance(error, ConnectionError):
            self._worker.count(metric.HTTP_HANDLER_FAILURES)
            _log.error(
                "answer to %s broken off: %s",
                self._request.request_id,
                error,
                exc_info=None if isinstance(error, BrokenAnswer) else error,
            )
        if self._transport is not None:
            self._transport.abort()

    # Heads ----------------------------------------------------------------------------------------

    def _head(self, response: Response, framing: str) -> bytes:
        if self._close_after:
            framing += "Connection: close\r\n"
        elif not self._minor:
            framing += "Connection: keep-alive\r\n"
        start = self._worker.status_lines[response.status]
        head = render_head(start, response, framing, self._request.request_id)
        self._status = response.status
        self._started = True
        return head

    def _send_error(self, response: Response) -> None:
        assert isinstance(response.body, bytes)
        self._close_after = True
        if self._request.method == "HEAD":
            self._send_bodiless(response)
        else:
            self._send_whole(response, response.body)

    def _send_whole(self, response: Response, body: bytes) -> None:
        head = self._head(response, f"Content-Length: {len(body)}\r\n")
        self._sent_bytes = len(head) + len(body)
        write_joined(self, head, body)

    def _send_bodiless(self, response: Response) -> None:
        length = response.length
        if length is None and response.status not in BODILESS:
            length = len(response.body) if isinstance(response.body, bytes) else response.body.length
        framing = "" if length is None or response.status == 204 else f"Content-Length: {length}\r\n"
        head = self._head(response, framing)
        self._sent_bytes = len(head)
        self.write(head)

    # Bodies that take time ------------------------------------------------------------------------

    def _send_file(self, response: Response, body: FileBody) -> Pending | None:
        files, spans = self._worker.files, body.spans
        if self._via is None:
            self._via = files.transmitter(self, secure=self._secure)
        via = self._via
        self._tune(body.length)
        if len(spans) == 1 and body.length and not self._secure and files.sends_files:
            span = spans[0]
            if not isinstance(span, bytes):
                return self._send_one_file(response, body, span)
        sending = FileSending(body, via, files)
        head = self._file_head(response, body)
        return self._go_on(sending, via.write(head) or sending.advance())

    def _file_head(self, response: Response, body: FileBody) -> bytes:
        head = self._head(response, f"Content-Length: {body.length}\r\n")
        self._sent_bytes = len(head) + body.length
        return head

    def _send_one_file(self, response: Response, body: FileBody, span: FileSpan) -> Pending | None:
        """One span: try to hand over head and file at once, before anything that can wait is made."""
        files, via = self._worker.files, self._via
        assert via is not None
        device = check_length(span)
        head, sent, moved = self._file_head(response, body), 0, 0
        if not self.transport.get_write_buffer_size() and files.cache.holds(span.fd, span.offset, device):
            sent, moved = send_at_once(self._sock, head, span)
        if moved == span.length:
            body.close()
            return None
        sending = FileSending(body, via, files, sent=moved)
        waiting = via.write(head[sent:]) if sent < len(head) else None
        return self._go_on(sending, waiting or sending.advance())

    def _go_on(self, sending: FileSending, waiting: Awaitable[None] | None) -> Pending | None:
        if waiting is None:
            sending.close()
            return None
        return self._complete_file(sending, waiting)

    async def _complete_file(self, sending: FileSending, waiting: Awaitable[None] | None) -> None:
        self.begin_delivery()
        try:
            await sending.complete(waiting)
        finally:
            self.end_delivery()

    def _tune(self, length: int) -> None:
        if not self._tuned and length >= _TUNE_FROM_BYTES:
            self._tuned = True
            if is_near(self._sock):
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, NEAR_SEND_BUFFER_BYTES)

    async def _send_stream(self, response: Response, body: StreamBody) -> None:
        chunked = body.length is None and self._minor == 1
        if body.length is not None:
            framing = f"Content-Length: {body.length}\r\n"
        elif chunked:
            framing = "Transfer-Encoding: chunked\r\n"
        else:
            framing = ""
            self._close_after = True  # the end of the connection is the end of the body
        try:
            self._sent_bytes = await send_stream(
                self, body, lambda: self._head(response, framing), chunked=chunked
            )
        except Exception as error:  # noqa: BLE001 - the outermost loop: a bug ends one exchange only
            if self._started:
                self.break_off(error)
            else:
                self._send_error(self.failed(error))

    async def send_span(self, span: FileSpan) -> None:
        """See `Sink.send_span`."""
        if self._via is None:
            self._via = self._worker.files.transmitter(self, secure=self._secure)
            self._tune(span.length)
        waiting = self.flushed()
        if waiting is not None:
            await waiting
        sending = FileSending(FileBody((span,), _nothing), self._via, self._worker.files)
        await self._complete_file(sending, sending.advance())

    def _discard(self, body: Body) -> Pending | None:
        """Let go of a body that is not sent."""
        if isinstance(body, FileBody):
            body.close()
        elif isinstance(body, StreamBody):
            return close_stream(body)
        return None


def _nothing() -> None:
    """Who sends a span does not close its file."""
