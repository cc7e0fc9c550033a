"""The receiving half of a connection: request bodies, reading no faster than they are taken, closing."""

import socket
from math import inf
from typing import Final

from aisle.errors import AisleError, RequestAborted
from aisle.httpd.answering import AnsweringSide
from aisle.httpd.body import IncomingBody
from aisle.httpd.chunked import ChunkedDecoder
from aisle.httpd.head import Fields, Refusal
from aisle.httpd.render import CONTINUE
from aisle.httpd.request import Request
from aisle.httpd.worker import Worker

IDLE, HEAD, BODY, BUSY, HELD, DEAF = range(6)
"""Phases of a connection; see `connection.py`."""

_LINGER_S: Final = 5.0
"""How long a refused peer may go on sending: closing at once would destroy the answer (RST)."""
_BODY_SHARE_BYTES: Final = 256 * 1024
"""Reading stops while a body holds this much that its handler has not taken."""
_UNREAD_BYTES_MAX: Final = 64 * 1024
"""Reading stops while this much lies behind the request that is being answered."""
_DRAIN_BYTES_MAX: Final = 64 * 1024
"""The rest of an unread body is read and dropped up to here; beyond, the connection closes."""
_PIECES_MAX: Final = 4
"""More chunks than this in one read are joined: many small ones would cost more as they are."""


class ReceivingSide(AnsweringSide):
    """Implements `BodyOwner`; decides when the peer is read from."""

    __slots__ = (
        "_answered",
        "_body",
        "_body_left",
        "_decoder",
        "_expects",
        "_phase",
        "_reading_paused",
        "_unread",
        "read_deadline_s",
    )

    def __init__(self, worker: Worker, sock: socket.socket, *, secure: bool) -> None:
        super().__init__(worker, sock, secure=secure)
        self._phase = IDLE
        self._unread = bytearray()
        """What came behind the request that is being answered, or the beginning of a head."""
        self._reading_paused = False
        self._body: IncomingBody | None = None
        self._body_left = 0
        self._decoder: ChunkedDecoder | None = None
        self._expects = False
        """The peer waits for `100 Continue` before it sends the body."""
        self._answered = False
        """The answer is complete; only the rest of the request is awaited."""
        self.read_deadline_s = worker.deadline(worker.config.header_timeout_s)
        """When the peer must have sent what we wait for."""

    def _open_body(self, request: Request, fields: Fields, data: bytes) -> bytes | None:
        """Receive a body that begins in `data`; what follows it if it ends there. Raises Refusal."""
        worker, length = self._worker, fields.length
        self._check_body(length)
        request.body = self._body = IncomingBody(self, worker.loop, length)
        self._phase = BODY
        self._body_left = worker.config.body_bytes_max if length is None else length
        self._decoder = ChunkedDecoder() if length is None else None
        self._expects = fields.expects_continue
        return self._feed(data) if data else None

    def _check_body(self, length: int | None) -> None:
        """Raises Refusal for a body that is larger than it may be, or one too many."""
        worker = self._worker
        if length is not None and length > worker.config.body_bytes_max:
            raise self._too_large()
        if worker.buffered_bytes >= worker.config.buffered_body_bytes_max:
            raise Refusal(503, "too many request bodies are held in memory: slow down")

    def _feed(self, data: bytes) -> bytes | None:
        """Body bytes in; what follows the body if it ends in them. Raises Refusal."""
        body = self._body
        assert body is not None
        self._expects = False
        rest: bytes | None = None
        if self._decoder is not None:
            pieces, rest = self._decoder.feed(data)
            if len(pieces) > _PIECES_MAX:
                pieces = [b"".join(pieces)]
        else:
            pieces = [data[: self._body_left]]
            if len(data) >= self._body_left:
                rest = data[self._body_left :]
        for piece in pieces:
            self._body_left -= len(piece)
            if self._body_left < 0:
                raise self._too_large()
            if not self._answered:
                body.feed(piece)
        if rest is not None:
            body.finish()
            self._phase = BUSY
            self.read_deadline_s = inf
        return rest

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the request body is larger than {self._worker.config.body_bytes_max} bytes")

    def _fail_body(self, error: AisleError) -> None:
        """The body is of no use any more; its bytes no longer count against the budget."""
        if self._body is not None:
            self._body.fail(error)

    def _cut_off(self) -> None:
        """No more will come of the body: its handler learns it there, and answers that."""
        self._phase = DEAF
        self._verdict = Refusal(400, "the request ends in the middle of its body")
        self._fail_body(RequestAborted("the client closed the connection in the middle of its request"))

    def _end_body(self) -> None:
        """The exchange is over."""
        if self._body is not None:
            self._fail_body(RequestAborted("the request was answered before its body was read"))
            self._body = None
            self._decoder = None
            self._expects = self._answered = False

    @property
    def _body_unfinished(self) -> bool:
        return self._body is not None and not self._body.complete

    @property
    def _body_in_the_way(self) -> bool:
        """Whether so much of the body is still to come that closing is better than reading it."""
        too_long = self._expects or self._decoder is not None or self._body_left > _DRAIN_BYTES_MAX
        return self._body_unfinished and too_long

    # Back-pressure --------------------------------------------------------------------------------

    def body_wanted(self) -> None:
        """See `BodyOwner.body_wanted`."""
        if self._expects and self._transport is not None:
            self._expects = False
            self.write(CONTINUE)
        self._regulate_reading()

    def body_changed(self, delta: int) -> None:
        """See `BodyOwner.body_changed`."""
        self._worker.count_body_bytes(delta)
        if delta < 0 and self._reading_paused:
            self._regulate_reading()

    def _regulate_reading(self) -> None:
        """Read from the peer, or not, as the phase and what is held demand."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        pause = self._holds_enough()
        if self._phase == BODY:
            idle_s = self._worker.config.body_idle_timeout_s
            self.read_deadline_s = inf if pause or self._expects else self._worker.deadline(idle_s)
        if pause != self._reading_paused:
            self._reading_paused = pause
            if pause:
                transport.pause_reading()
            else:
                transport.resume_reading()

    def _holds_enough(self) -> bool:
        config = self._worker.config
        if self._phase == BODY:
            assert self._body is not None
            budget_left = self._worker.buffered_bytes < config.buffered_body_bytes_max
            share = _BODY_SHARE_BYTES if budget_left else 1
            return self._body.held >= share and not self._body.wants_more
        if self._phase == BUSY:
            waiting = self._unread.count(b"\r\n\r\n")
            return waiting >= config.pipelined_requests_max or len(self._unread) > _UNREAD_BYTES_MAX
        return self._phase == HELD

    # The end --------------------------------------------------------------------------------------

    def abort(self) -> None:
        """Close at once, whatever is lost."""
        if self._transport is not None:
            self._transport.abort()

    def _close(self, *, linger: bool = False) -> None:
        """Close once all is sent. With `linger`, when the peer does or after a few seconds."""
        self._phase = DEAF
        self._unread.clear()
        self._end_body()
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        self.begin_delivery()
        if not linger:
            transport.close()
            return
        self.read_deadline_s = self._worker.deadline(_LINGER_S)
        self._regulate_reading()
        try:
            if transport.can_write_eof():
                transport.write_eof()
        except OSError:
            # aiofastnet asks the kernel at once, which knows already that the peer is gone.
            transport.abort()
