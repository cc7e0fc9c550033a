"""What a connection does with requests, answers, silence and loss."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import pytest

from aisle import telemetry as metric
from aisle.config import HttpConfig
from aisle.errors import BodyTooLarge, RequestAborted
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Later, Response, StreamBody
from unit.httpd.wire import Echo, Wire, statuses

GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


def post(body: bytes, *lines: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return b"\r\n".join((b"POST /p HTTP/1.1", b"Host: a", b"Content-Length: %d" % size, *lines, b"", body))


def chunked(*chunks: bytes) -> bytes:
    head = b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


class Gate:
    """A handler that answers when it is told to."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.calls: list[bytes] = []
        self.cancelled = False

    def __call__(self, request: Request) -> Answer:
        return self._answer(request)

    async def _answer(self, request: Request) -> Response:
        self.calls.append(request.path)
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Response(200, (), b"done")


class Uploads:
    """A handler that reads its body as slowly as it is told to, and keeps what became of it."""

    def __init__(self, *, limit: int | None = None) -> None:
        self.may_read = asyncio.Event()
        self.bodies: list[bytes] = []
        self.failures: list[Exception] = []
        self.read_bytes = 0
        self.limit = limit

    def __call__(self, request: Request) -> Answer:
        return self._read(request)

    async def _read(self, request: Request) -> Response:
        await self.may_read.wait()
        try:
            if self.limit is not None:
                self.bodies.append(await request.body.read_all(self.limit))
                return Response(200, (), b"kept")
            whole = bytearray()
            while chunk := await request.body.read():
                whole += chunk
                self.read_bytes += len(chunk)
        except (RequestAborted, BodyTooLarge) as error:
            self.failures.append(error)
            return Response(422, (), b"mine")
        self.bodies.append(bytes(whole))
        return Response(200, (), b"kept")


class Chunks:
    """An iterator of chunks that can be watched."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = list(chunks)
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        if not self.chunks:
            raise StopAsyncIteration
        chunk = self.chunks.pop(0)
        if isinstance(chunk, Exception):
            raise chunk
        return chunk

    async def aclose(self) -> None:
        self.closed += 1


def always(response: Callable[[], Response]) -> Callable[[Request], Answer]:
    return lambda _: response()


def body_of(sent: bytes) -> bytes:
    return sent.partition(b"\r\n\r\n")[2]


# Requests in, answers out ------------------------------------------------------------------------


def test_an_answer_carries_length_date_and_request_id() -> None:
    wire = Wire(Echo())
    head, _, body = wire.feed(GET % 1).partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[:3] == [
        b"HTTP/1.1 200 OK",
        b"Date: Tue, 14 Nov 2023 22:13:20 GMT",
        b"Content-Length: 2",
    ]
    assert head.split(b"\r\n")[3].startswith(b"X-Request-Id: ")
    assert body == b"/1"
    assert wire.transport.writes == 1
    wire.close()


def test_every_request_gets_an_id_of_its_own_unless_the_client_gives_one() -> None:
    wire = Wire(Echo())
    ids = {wire.feed(GET % 1).partition(b"X-Request-Id: ")[2].split(b"\r\n")[0] for _ in range(3)}
    assert len(ids) == 3
    sent = wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine-1\r\n\r\n")
    assert b"X-Request-Id: mine-1\r\n" in sent
    sent = wire.feed(b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: not fit\r\n\r\n")
    assert b"not fit" not in sent
    wire.close()


def test_headers_are_lower_case_joined_and_latin_1() -> None:
    echo = Echo()
    wire = Wire(echo)
    wire.feed(b"GET /a%20b?c=d?e HTTP/1.1\r\nHOST: a\r\nX-A: 1\r\nx-a:2 \r\nX-B: \t \xe9\xa0\r\nX-C:\r\n\r\n")
    seen = echo.seen[0]
    assert seen.headers == {"host": "a", "x-a": "1, 2", "x-b": "\xe9\xa0", "x-c": ""}
    assert (seen.path, seen.query) == (b"/a%20b", b"c=d?e")
    wire.close()


def test_the_same_header_section_is_understood_again() -> None:
    echo = Echo()
    wire = Wire(echo)
    section = b"Host: a\r\nX-One: 1\r\n\r\n"
    wire.feed(b"GET /1 HTTP/1.1\r\n" + section)
    wire.feed(b"GET /2 HTTP/1.1\r\n" + section)
    wire.feed(b"GET /3 HTTP/1.1\r\nHost: b\r\nX-Two: 2\r\n\r\n")
    wire.feed(b"GET /4 HTTP/1.1\r\n" + section)
    assert [seen.headers.get("x-one") for seen in echo.seen] == ["1", "1", None, "1"]
    wire.close()


def test_a_section_that_was_fine_for_http_1_0_is_checked_again_for_http_1_1() -> None:
    wire = Wire(Echo())
    section = b"Connection: keep-alive\r\n\r\n"
    assert statuses(wire.feed(b"GET /1 HTTP/1.0\r\n" + section)) == [200]
    assert statuses(wire.feed(b"GET /2 HTTP/1.1\r\n" + section)) == [400]
    wire.close()


def test_an_absolute_target_replaces_the_host() -> None:
    echo = Echo()
    wire = Wire(echo)
    wire.feed(b"GET http://real:81/x?y HTTP/1.1\r\nHost: other\r\n\r\n")
    wire.feed(b"GET HTTPS://real HTTP/1.1\r\nHost: other\r\n\r\n")
    wire.feed(b"GET http://real?q HTTP/1.1\r\nHost: other\r\n\r\n")
    wire.feed(b"GET /plain HTTP/1.1\r\nHost: other\r\n\r\n")
    assert [(seen.path, seen.query, seen.headers["host"]) for seen in echo.seen] == [
        (b"/x", b"y", "real:81"),
        (b"/", b"", "real"),
        (b"/", b"q", "real"),
        (b"/plain", b"", "other"),
    ]
    wire.close()


def test_options_may_ask_about_the_whole_server() -> None:
    echo = Echo()
    wire = Wire(echo)
    assert statuses(wire.feed(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")) == [200]
    assert echo.seen[0].path == b"*"
    wire.close()


def test_empty_lines_before_a_request_are_forgiven() -> None:
    wire = Wire(Echo())
    assert statuses(wire.feed(b"\r\n\r\n" + GET % 1 + b"\r\n" + GET % 2)) == [200, 200]
    assert statuses(wire.feed(b"\r\n" + GET % 3, one_by_one=True)) == [200]
    wire.close()


def test_many_empty_lines_do_not_overflow_the_stack() -> None:
    wire = Wire(Echo())
    sent = b""
    for _ in range(3):
        sent += wire.feed((b"\r\n" * 50 + GET % 1) * 400)
        sent += wire.settle()
    while more := wire.settle():
        sent += more
    assert statuses(sent) == [200] * 1200
    wire.close()


# Pipelining ---------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order() -> None:
    wire = Wire(Echo())
    sent = wire.feed(b"".join(GET % n for n in range(100)))
    assert [part.partition(b"\r\n\r\n")[2] for part in sent.split(b"HTTP/1.1 ")[1:]] == [
        b"/%d" % n for n in range(100)
    ]
    assert wire.transport.reading
    wire.close()


def test_others_get_their_turn_between_sixteen_pipelined_requests() -> None:
    echo = Echo()
    wire = Wire(echo, HttpConfig(pipelined_requests_max=16))
    wire.connection.data_received(b"".join(GET % n for n in range(40)))
    assert len(echo.seen) == 16
    assert not wire.transport.reading
    wire.settle()
    assert len(echo.seen) == 40
    assert wire.transport.reading
    wire.close()


def test_while_a_request_is_answered_only_sixteen_more_are_read() -> None:
    gate = Gate()
    wire = Wire(gate, HttpConfig(pipelined_requests_max=16))
    wire.feed(GET % 0)
    for n in range(1, 16):
        wire.feed(GET % n)
    assert wire.transport.reading
    wire.feed(GET % 16)
    assert not wire.transport.reading
    assert gate.calls == [b"/0"]
    gate.open.set()
    assert statuses(wire.settle()) == [200] * 17
    assert gate.calls == [b"/%d" % n for n in range(17)]
    assert wire.transport.reading
    wire.close()


def test_garbage_behind_a_request_is_refused_after_its_answer() -> None:
    gate = Gate()
    wire = Wire(gate)
    assert wire.feed(GET % 1 + b"\0\0\0\0") == b""
    gate.open.set()
    assert statuses(wire.settle()) == [200, 400]
    wire.close()


def test_what_follows_a_request_that_closes_is_ignored() -> None:
    echo = Echo()
    wire = Wire(echo)
    sent = wire.feed(b"GET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" + GET % 2)
    assert statuses(sent) == [200]
    assert len(echo.seen) == 1
    wire.close()


def test_requests_wait_while_the_peer_does_not_take_the_answers() -> None:
    wire = Wire(always(lambda: Response(200, (), bytes(50_000))))
    wire.transport.full = True
    wire.connection.data_received(b"".join(GET % n for n in range(8)))
    assert len(wire.transport.held) < 110_000
    assert not wire.transport.reading
    wire.transport.take()
    assert statuses(wire.settle()) == [200] * 8
    wire.close()


# The end of a connection ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "option", "closes"),
    [
        (b"1.1", b"", False),
        (b"1.1", b"Connection: keep-alive\r\n", False),
        (b"1.1", b"Connection: Close\r\n", True),
        (b"1.1", b"Connection: x, close\r\n", True),
        (b"1.1", b"Connection: closed\r\n", False),
        (b"1.0", b"", True),
        (b"1.0", b"Connection: keep-alive\r\n", False),
        (b"1.0", b"Connection: keep-alive, close\r\n", True),
    ],
)
def test_the_connection_persists_as_version_and_options_say(
    version: bytes, option: bytes, closes: bool
) -> None:
    wire = Wire(Echo())
    sent = wire.feed(b"GET / HTTP/" + version + b"\r\nHost: a\r\n" + option + b"\r\n")
    assert wire.transport.closed == closes
    assert (b"Connection: close" in sent) == closes
    assert (b"Connection: keep-alive" in sent) == (version == b"1.0" and not closes)
    wire.close()


def test_an_idle_connection_is_closed_without_a_word() -> None:
    wire = Wire(Echo(), HttpConfig(keepalive_timeout_s=75, header_timeout_s=20))
    wire.feed(GET % 1)
    assert wire.pass_time(70) == b""
    assert not wire.transport.closed
    assert wire.pass_time(10) == b""
    assert wire.transport.closed
    wire.close()


def test_a_connection_that_never_says_anything_is_closed_without_a_word() -> None:
    wire = Wire(Echo(), HttpConfig(header_timeout_s=20))
    assert wire.pass_time(19) == b""
    assert not wire.transport.closed
    assert wire.pass_time(3) == b""
    assert wire.transport.closed
    wire.close()


def test_a_slow_head_is_answered_with_408_however_it_trickles() -> None:
    wire = Wire(Echo(), HttpConfig(header_timeout_s=20))
    wire.feed(GET % 1)
    sent = b""
    for byte in b"GET / HTTP/1.1\r\nHost: abcdefghijklmnop":
        sent += wire.feed(bytes([byte])) + wire.pass_time(1)
        if sent:
            break
    assert statuses(sent) == [408]
    assert wire.telemetry.slots[metric.HTTP_TIMEOUTS] == 1
    wire.close()


def test_empty_lines_do_not_renew_the_time_for_a_head() -> None:
    wire = Wire(Echo(), HttpConfig(header_timeout_s=20, keepalive_timeout_s=40))
    wire.feed(GET % 1)
    for _ in range(60):
        wire.feed(b"\r") if not wire.transport.closed else None
        wire.pass_time(0.5)
        wire.feed(b"\n") if not wire.transport.closed else None
        wire.pass_time(0.5)
    assert wire.transport.closed or wire.transport.eof_sent
    wire.close()


def test_a_draining_worker_lets_the_exchange_end() -> None:
    gate = Gate()
    wire = Wire(gate)
    wire.feed(GET % 1)
    wire.worker.draining = True
    wire.connection.retire()
    assert not wire.transport.closed
    gate.open.set()
    sent = wire.settle()
    assert statuses(sent) == [200]
    assert b"Connection: close" in sent
    assert wire.transport.closed
    wire.close()


def test_a_draining_worker_closes_when_the_rest_of_an_unread_body_was_dropped() -> None:
    wire = Wire(always(lambda: Response(409, (), b"no")))
    wire.feed(post(b"", length=100_000) + bytes(90_000))
    wire.worker.draining = True
    wire.connection.retire()
    assert not wire.transport.closed
    wire.feed(bytes(10_000))
    assert wire.transport.closed
    wire.close()


def test_a_draining_worker_closes_idle_connections() -> None:
    wire = Wire(Echo())
    wire.feed(GET % 1)
    wire.connection.retire()
    assert wire.transport.closed
    wire.close()


def test_a_draining_worker_answers_the_first_request_of_a_new_connection() -> None:
    wire = Wire(Echo())
    wire.worker.draining = True
    wire.connection.retire()
    assert not wire.transport.closed
    sent = wire.feed(GET % 1) + wire.settle()
    assert statuses(sent) == [200]
    assert b"Connection: close" in sent
    assert wire.transport.closed
    wire.close()


def test_a_draining_worker_does_not_wait_long_for_a_first_request() -> None:
    wire = Wire(Echo())
    wire.worker.draining = True
    wire.connection.retire()
    assert wire.connection.read_deadline_s < wire.worker.now_s + 3
    wire.connection.on_read_deadline()
    assert wire.transport.closed
    wire.close()


@pytest.mark.parametrize("length", [300_000, 10], ids=["read as it comes", "awaited whole"])
def test_a_body_that_was_cut_off_behind_another_request_is_not_waited_for(length: int) -> None:
    """The end of the input is told once, and came while the request before was answered."""
    first, uploads = asyncio.Event(), Uploads()
    uploads.may_read.set()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"begun"
        await first.wait()

    def handler(request: Request) -> Answer:
        return Response(200, (), StreamBody(slowly())) if request.method == "GET" else uploads(request)

    wire = Wire(handler)
    assert b"begun" in wire.feed(GET % 1 + post(b"part", length=length))
    assert wire.end_of_input()
    first.set()
    sent = wire.settle()
    assert statuses(sent) == ([400] if length > 10 else [])
    assert wire.transport.closed or wire.transport.eof_sent
    assert [type(error) for error in uploads.failures] == ([RequestAborted] if length > 10 else [])
    wire.close()


def test_a_client_that_half_closes_gets_the_answers_to_what_it_asked() -> None:
    wire = Wire(always(lambda: Response(200, (), bytes(50_000))))
    wire.transport.full = True
    wire.connection.data_received(b"".join(GET % n for n in range(8)))
    assert wire.end_of_input()
    wire.transport.take()
    assert statuses(wire.settle()) == [200] * 8
    assert wire.transport.closed
    wire.close()


def test_a_handler_is_cancelled_when_its_client_goes_away() -> None:
    gate = Gate()
    wire = Wire(gate)
    wire.feed(GET % 1)
    assert not wire.end_of_input()
    wire.settle()
    assert gate.cancelled
    wire.lose()
    assert wire.lost == 1
    wire.close()


def test_a_handler_that_was_never_started_is_cancelled_cleanly() -> None:
    gate = Gate()
    wire = Wire(gate)
    wire.connection.data_received(GET % 1)
    wire.connection.connection_lost(None)
    wire.settle()
    assert gate.cancelled
    assert not wire.worker.tasks
    wire.close()


# Bodies in ------------------------------------------------------------------------------------------


def test_a_small_body_is_there_when_the_handler_is_called() -> None:
    echo = Echo()
    wire = Wire(echo)
    message = post(b"x" * 5000)
    assert wire.feed(message[:100]) == b""
    assert wire.feed(message[100:2000]) == b""
    assert echo.seen == []
    assert statuses(wire.feed(message[2000:] + GET % 1)) == [200, 200]
    assert echo.seen[0].body == b"x" * 5000
    assert wire.worker.buffered_bytes == 0
    wire.close()


def test_a_large_body_is_streamed() -> None:
    uploads = Uploads()
    uploads.may_read.set()
    wire = Wire(uploads)
    message = post(b"0123456789abcdef" * 8192)
    wire.feed(message[:70_000])
    assert 60_000 < uploads.read_bytes < 70_000
    assert statuses(wire.feed(message[70_000:] + GET % 1)) == [200, 200]
    assert uploads.bodies[0] == b"0123456789abcdef" * 8192
    wire.close()


def test_a_chunked_body_is_decoded_and_its_trailers_dropped() -> None:
    uploads = Uploads()
    uploads.may_read.set()
    wire = Wire(uploads)
    message = (
        b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
        b'3\r\nabc\r\nA;x="y"\r\n0123456789\r\n000\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n'
    )
    assert statuses(wire.feed(message + GET % 1)) == [200, 200]
    assert uploads.bodies[0] == b"abc0123456789"
    wire.close()


def test_the_peer_is_read_only_as_fast_as_the_body_is_taken() -> None:
    uploads = Uploads()
    wire = Wire(uploads)
    wire.feed(post(b"", length=4 * 1024 * 1024))
    sent = 0
    while wire.transport.reading and sent < 4 * 1024 * 1024:
        wire.feed(bytes(65_536))
        sent += 65_536
    assert sent == 256 * 1024
    assert wire.worker.buffered_bytes == sent
    assert wire.telemetry.slots[metric.HTTP_BUFFERED_BYTES] == sent
    # Nobody blames the peer for what we do not read.
    assert wire.pass_time(300) == b""
    assert not wire.transport.closed
    uploads.may_read.set()
    wire.settle()
    assert wire.transport.reading
    assert wire.worker.buffered_bytes == 0
    for _ in range(60):
        wire.feed(bytes(65_536))
    assert len(uploads.bodies[0]) == 4 * 1024 * 1024
    wire.close()


def test_bodies_are_refused_while_too_many_bytes_are_held() -> None:
    uploads = Uploads()
    wire = Wire(uploads, HttpConfig(buffered_body_bytes_max=100_000))
    other = Wire(uploads, worker=wire.worker)
    wire.feed(post(bytes(120_000), length=200_000))
    assert not wire.transport.reading
    sent = other.feed(post(b"abc"))
    assert statuses(sent) == [503]
    assert b"Retry-After: 1" in sent
    # A request without a body is none of this.
    third = Wire(uploads, worker=wire.worker)
    uploads.may_read.set()
    assert statuses(third.feed(GET % 1)) == [200]
    wire.settle()
    assert wire.worker.buffered_bytes == 0
    wire.close()


def test_a_body_that_falls_silent_is_answered_with_408() -> None:
    echo = Echo()
    wire = Wire(echo, HttpConfig(body_idle_timeout_s=60))
    wire.feed(post(b"abc", length=10))
    wire.pass_time(50)
    wire.feed(b"d")
    assert wire.pass_time(50) == b""
    sent = wire.pass_time(12)
    assert statuses(sent) == [408]
    assert echo.seen == []
    wire.close()


def test_a_handler_learns_that_its_body_fell_silent_and_its_answer_is_replaced() -> None:
    uploads = Uploads()
    uploads.may_read.set()
    wire = Wire(uploads, HttpConfig(body_idle_timeout_s=60))
    wire.feed(post(b"abc", length=100_000))
    sent = wire.pass_time(62)
    assert [type(error) for error in uploads.failures] == [RequestAborted]
    assert statuses(sent) == [408]
    assert b"Connection: close" in sent
    wire.close()


def test_a_handler_learns_that_its_client_broke_off() -> None:
    uploads = Uploads()
    uploads.may_read.set()
    wire = Wire(uploads)
    wire.feed(post(b"abc", length=100_000))
    wire.lose()
    assert [type(error) for error in uploads.failures] == [RequestAborted]
    assert uploads.bodies == []
    assert wire.worker.buffered_bytes == 0
    wire.close()


def test_a_body_whose_rest_never_comes_is_never_taken_for_whole() -> None:
    uploads = Uploads()
    wire = Wire(uploads)
    wire.feed(post(b"x" * 70_000, length=100_000))
    wire.end_of_input()
    uploads.may_read.set()
    wire.settle()
    assert uploads.bodies == []
    assert [type(error) for error in uploads.failures] == [RequestAborted]
    wire.close()


def test_a_whole_body_that_was_not_read_is_not_taken_for_an_empty_one_after_a_loss() -> None:
    taken: list[bytes | Exception] = []
    may_read = asyncio.Event()

    async def handle(request: Request) -> Response:
        try:
            await may_read.wait()
        except asyncio.CancelledError:
            pass
        try:
            taken.append(await request.body.read())
        except RequestAborted as error:
            taken.append(error)
        return Response()

    wire = Wire(lambda request: handle(request))
    request = post(b"x" * 100)
    wire.feed(request[:-50])
    wire.feed(request[-50:])
    wire.lose()
    assert [type(item) for item in taken] == [RequestAborted]
    assert wire.worker.buffered_bytes == 0
    wire.close()


def test_a_body_in_single_bytes_is_not_an_object_per_byte() -> None:
    uploads = Uploads()
    wire = Wire(uploads)
    wire.feed(post(b"", length=100_000))
    for _ in range(10_000):
        wire.connection.data_received(b"x")
    wire.connection.data_received(bytes(90_000))
    assert wire.connection._body is not None
    assert len(wire.connection._body._chunks) < 20
    uploads.may_read.set()
    wire.settle()
    assert uploads.bodies == [b"x" * 10_000 + bytes(90_000)]
    wire.close()


def test_a_malformed_chunk_in_the_middle_reaches_the_handler_and_the_client() -> None:
    uploads = Uploads()
    uploads.may_read.set()
    wire = Wire(uploads)
    wire.feed(b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    sent = wire.feed(b"zz\r\n" + GET % 1)
    assert [type(error) for error in uploads.failures] == [RequestAborted]
    assert statuses(sent) == [400]
    wire.close()


def test_a_chunked_body_beyond_the_limit_is_413() -> None:
    uploads = Uploads()
    uploads.may_read.set()
    wire = Wire(uploads, HttpConfig(body_bytes_max=1000))
    sent = wire.feed(chunked(*([bytes(100)] * 11)))
    assert statuses(sent) == [413]
    assert uploads.bodies == []
    wire.close()


def test_reading_all_is_limited_and_counts_against_the_budget() -> None:
    uploads = Uploads(limit=300_000)
    uploads.may_read.set()
    wire = Wire(uploads)
    whole = bytes(290_000)
    message = post(whole)
    wire.feed(message[:280_000])
    assert wire.transport.reading
    assert wire.worker.buffered_bytes > 270_000
    assert statuses(wire.feed(message[280_000:])) == [200]
    assert uploads.bodies == [whole]
    sent = wire.feed(post(b"abc", length=300_001))
    assert [type(error) for error in uploads.failures] == [BodyTooLarge]
    assert statuses(sent) == [422]
    assert wire.worker.buffered_bytes == 0
    wire.close()


# Expect: 100-continue -------------------------------------------------------------------------------

EXPECT = b"Expect: 100-Continue"


def test_the_body_is_asked_for_when_the_handler_reads_it() -> None:
    uploads = Uploads()
    wire = Wire(uploads)
    assert wire.feed(post(b"", EXPECT, length=5)) == b""
    # The peer waits for us: its silence is no fault.
    assert wire.pass_time(300) == b""
    uploads.may_read.set()
    assert wire.settle() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(wire.feed(b"abcde")) == [200]
    assert uploads.bodies == [b"abcde"]
    assert not wire.transport.closed
    wire.close()


def test_a_body_that_comes_unasked_is_not_asked_for() -> None:
    uploads = Uploads()
    wire = Wire(uploads)
    wire.feed(post(b"", EXPECT, length=5))
    wire.feed(b"abcde")
    uploads.may_read.set()
    assert statuses(wire.settle()) == [200]
    wire.close()


def test_an_empty_body_is_asked_for_too() -> None:
    wire = Wire(always(lambda: Response(200, (), b"")))
    for _ in range(2):  # the second one is recognised as a repetition
        sent = wire.feed(post(b"", EXPECT, length=0))
        assert sent.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    wire.close()


def test_an_answer_without_reading_the_expected_body_closes() -> None:
    wire = Wire(always(lambda: Response(404, (), b"no")))
    sent = wire.feed(post(b"", EXPECT, length=5))
    assert statuses(sent) == [404]
    assert b"Connection: close" in sent
    assert wire.feed(b"abcde" + GET % 1) == b""
    wire.close()


def test_http_1_0_expects_nothing() -> None:
    echo = Echo()
    wire = Wire(echo)
    sent = wire.feed(b"POST / HTTP/1.0\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\nabc")
    assert statuses(sent) == [200]
    wire.close()


# Bodies that nobody reads -----------------------------------------------------------------------------


def test_a_short_rest_of_an_unread_body_is_dropped_and_the_connection_goes_on() -> None:
    answers = [Response(409, (), b"no"), Response(200, (), b"yes")]
    wire = Wire(lambda _: answers.pop(0))
    head, _, _ = post(b"", length=100_000).partition(b"\r\n\r\n")
    sent = wire.feed(head + b"\r\n\r\n" + bytes(50_000))
    assert statuses(sent) == [409]
    assert b"Connection: close" not in sent
    assert wire.feed(bytes(40_000)) == b""
    assert statuses(wire.feed(bytes(10_000) + GET % 1)) == [200]
    assert wire.worker.buffered_bytes == 0
    wire.close()


@pytest.mark.parametrize("request_head", [post(b"", length=10_000_000), chunked(b"abc")[:-5]])
def test_a_long_rest_closes_the_connection_after_the_answer_was_read(request_head: bytes) -> None:
    wire = Wire(always(lambda: Response(409, (), b"no")))
    sent = wire.feed(request_head)
    assert statuses(sent) == [409]
    assert b"Connection: close" in sent
    assert wire.transport.eof_sent
    assert not wire.transport.closed
    assert wire.feed(bytes(1_000_000)) == b""
    assert not wire.end_of_input()
    wire.close()


def test_a_peer_that_was_gone_already_when_it_was_refused_leaves_nothing_behind() -> None:
    wire = Wire(always(lambda: Response(409, (), b"no")))
    wire.transport.peer_is_gone = True
    wire.feed(post(b"", length=10_000_000))
    assert wire.transport.aborted
    wire.close()


def test_what_a_body_raises_need_not_be_caught(caplog: pytest.LogCaptureFixture) -> None:
    async def careless(request: Request) -> Response:
        return Response(200, (), await request.body.read_all(1000))

    wire = Wire(lambda request: careless(request))
    with caplog.at_level(logging.DEBUG, "aisle.http"):
        assert statuses(wire.feed(post(bytes(1001)))) == [413]
    assert not caplog.records
    wire.close()


def test_an_unread_body_that_falls_silent_ends_the_connection() -> None:
    wire = Wire(always(lambda: Response(409, (), b"no")), HttpConfig(body_idle_timeout_s=60))
    wire.feed(post(b"", length=100_000) + bytes(90_000))
    assert not wire.transport.closed
    wire.pass_time(62)
    assert wire.transport.closed
    wire.close()


# Answers ------------------------------------------------------------------------------------------------


def test_head_announces_what_get_would_send() -> None:
    answers = [
        Response(200, (), b"abc"),
        Response(200, (), b"", length=12345),
        Response(200, (), StreamBody(Chunks(b"abc"), 3)),
        Response(200, (), StreamBody(Chunks(b"abc"))),
    ]
    wire = Wire(lambda _: answers.pop(0))
    sent = [wire.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n") for _ in range(4)]
    assert all(part.endswith(b"\r\n\r\n") and part.count(b"\r\n\r\n") == 1 for part in sent)
    lengths = [part.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] for part in sent]
    assert lengths == [b"3", b"12345", b"3", b""]
    wire.close()


def test_head_of_a_stream_closes_its_iterator() -> None:
    chunks = Chunks(b"abc")
    wire = Wire(always(lambda: Response(200, (), StreamBody(chunks))))
    wire.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert chunks.closed == 1
    assert statuses(wire.feed(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")) == [200]
    wire.close()


def test_204_and_304_have_no_body_and_no_false_length() -> None:
    answers = [Response(204, (), b"x"), Response(304), Response(304, (), length=7), Response(205)]
    wire = Wire(lambda _: answers.pop(0))
    sent = [wire.feed(GET % 1) for _ in range(4)]
    lengths = [part.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] for part in sent]
    assert lengths == [b"", b"", b"7", b"0"]
    assert all(part.endswith(b"\r\n\r\n") for part in sent)
    wire.close()


def test_a_large_body_is_not_copied_behind_its_head() -> None:
    body = bytes(1_000_000)
    wire = Wire(always(lambda: Response(200, (), body)))
    assert body_of(wire.feed(GET % 1)) == body
    assert wire.transport.writes == 1
    wire.close()


@pytest.mark.parametrize("value", ["a\r\nX: b", "a\nb", "a\rb"])
def test_a_header_cannot_break_out_of_its_line(value: str, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(always(lambda: Response(200, [("X-A", value)], b"")))
    with caplog.at_level(logging.CRITICAL):
        sent = wire.feed(GET % 1)
    assert statuses(sent) == [500]
    assert b"X-A" not in sent
    wire.close()


def test_headers_beyond_latin_1_leave_as_utf_8_and_others_as_they_came() -> None:
    wire = Wire(always(lambda: Response(200, [("X-A", "\xe9"), ("X-B", "日")], b"")))
    sent = wire.feed(GET % 1)
    assert b"X-A: \xe9\r\n" in sent
    assert "X-B: 日\r\n".encode() in sent
    wire.close()


def test_a_handlers_bug_is_answered_with_500_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Request) -> Answer:
        raise KeyError("a bug")

    wire = Wire(fail)
    with caplog.at_level(logging.ERROR, "aisle.http"):
        sent = wire.feed(GET % 1 + GET % 2)
    assert statuses(sent) == [500]
    request_id = sent.partition(b"X-Request-Id: ")[2].partition(b"\r\n")[0].decode()
    assert request_id in body_of(sent).decode()
    assert request_id in caplog.text
    assert "KeyError: 'a bug'" in caplog.text
    assert b"a bug" not in sent
    assert wire.transport.closed or wire.transport.eof_sent
    wire.close()


def test_a_bug_in_a_coroutine_is_answered_with_500(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> Response:
        await asyncio.sleep(0)
        raise KeyError("a bug")

    wire = Wire(lambda _: fail())
    with caplog.at_level(logging.CRITICAL):
        assert statuses(wire.feed(GET % 1)) == [500]
    assert wire.telemetry.slots[metric.HTTP_HANDLER_FAILURES] == 1
    wire.close()


def test_a_handler_that_waits_for_something_cancelled_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> Response:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future
        raise AssertionError

    wire = Wire(lambda _: fail())
    with caplog.at_level(logging.CRITICAL):
        assert statuses(wire.feed(GET % 1)) == [500]
    wire.close()


def test_what_is_no_answer_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def nothing() -> None:
        await asyncio.sleep(0)

    for handler in (lambda _: None, lambda _: nothing()):
        wire = Wire(handler)  # type: ignore[arg-type]
        with caplog.at_level(logging.CRITICAL):
            assert statuses(wire.feed(GET % 1)) == [500]
        wire.close()


# Answers that one future stands in the way of ------------------------------------------------------


class Laters:
    """A handler whose answers come when their futures are done."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[bytes]] = []

    def __call__(self, request: Request) -> Answer:
        request.body.buffered()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return Later(future, lambda done: Response(200, (), done.result()))


def test_an_answer_comes_when_its_future_is_done_and_the_next_request_after_it() -> None:
    laters = Laters()
    wire = Wire(laters)
    wire.feed(post(b"abc") + GET % 2)
    assert wire.settle() == b""
    assert len(laters.futures) == 1
    laters.futures[0].set_result(b"one")
    assert body_of(wire.settle()) == b"one"
    laters.futures[1].set_result(b"two")
    assert body_of(wire.settle()) == b"two"
    assert wire.worker.buffered_bytes == 0
    assert not wire.transport.closed
    # The connection is idle again, with the time that idle connections have.
    assert wire.pass_time(80) == b""
    assert wire.transport.closed
    wire.close()


def test_a_future_that_failed_is_a_bug_unless_its_maker_knows_better(
    caplog: pytest.LogCaptureFixture,
) -> None:
    laters = Laters()
    wire = Wire(laters)
    wire.feed(GET % 1)
    laters.futures[0].set_exception(KeyError("a bug"))
    with caplog.at_level(logging.CRITICAL):
        assert statuses(wire.settle()) == [500]
    wire.close()


def test_a_maker_that_makes_no_answer_is_a_bug(caplog: pytest.LogCaptureFixture) -> None:
    async def done() -> bytes:
        return b""

    def handle(_: Request) -> Answer:
        return Later(asyncio.ensure_future(done()), lambda _: None)  # type: ignore[arg-type,return-value]

    wire = Wire(handle)
    with caplog.at_level(logging.CRITICAL):
        assert statuses(wire.feed(GET % 1)) == [500]
    wire.close()


def test_a_future_is_cancelled_when_its_client_goes_away() -> None:
    laters = Laters()
    wire = Wire(laters)
    wire.feed(GET % 1)
    wire.lose()
    assert laters.futures[0].cancelled()
    assert wire.settle() == b""
    wire.close()


def test_an_answer_that_is_there_when_the_client_is_gone_is_dropped() -> None:
    laters = Laters()
    wire = Wire(laters)
    wire.feed(GET % 1)
    laters.futures[0].set_result(b"one")
    wire.lose()
    assert wire.settle() == b""
    wire.close()


def test_a_future_that_somebody_else_cancels_breaks_the_connection_off() -> None:
    laters = Laters()
    wire = Wire(laters)
    wire.feed(GET % 1)
    laters.futures[0].cancel()
    assert wire.settle() == b""
    assert wire.transport.aborted
    wire.close()


def test_a_draining_worker_closes_after_an_answer_that_was_waited_for() -> None:
    laters = Laters()
    wire = Wire(laters)
    wire.feed(GET % 1)
    wire.worker.draining = True
    wire.connection.retire()
    laters.futures[0].set_result(b"one")
    assert b"Connection: close" in wire.settle()
    assert wire.transport.closed
    wire.close()


# Streams ------------------------------------------------------------------------------------------------


def test_a_stream_without_a_length_leaves_chunked() -> None:
    chunks = Chunks(b"abc", b"", b"0123456789")
    wire = Wire(always(lambda: Response(200, (), StreamBody(chunks))))
    sent = wire.feed(GET % 1)
    assert b"Transfer-Encoding: chunked\r\n" in sent
    assert body_of(sent) == b"3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n"
    assert chunks.closed == 1
    assert not wire.transport.closed
    wire.close()


def test_a_stream_with_a_length_leaves_as_it_is() -> None:
    wire = Wire(always(lambda: Response(200, (), StreamBody(Chunks(b"abc", b"de"), 5))))
    sent = wire.feed(GET % 1 + GET % 2)
    assert statuses(sent) == [200, 200]
    assert b"Content-Length: 5\r\n" in sent
    assert sent.endswith(b"\r\n\r\nabcde")
    wire.close()


@pytest.mark.parametrize("length", [None, 0])
def test_an_empty_stream_is_complete(length: int | None) -> None:
    wire = Wire(always(lambda: Response(200, (), StreamBody(Chunks(), length))))
    assert body_of(wire.feed(GET % 1)) == (b"" if length == 0 else b"0\r\n\r\n")
    assert not wire.transport.closed
    wire.close()


def test_for_http_1_0_the_end_of_the_connection_ends_a_stream() -> None:
    wire = Wire(always(lambda: Response(200, (), StreamBody(Chunks(b"abc", b"de")))))
    sent = wire.feed(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: close\r\n" in sent
    assert b"chunked" not in sent
    assert body_of(sent) == b"abcde"
    assert wire.transport.closed
    assert not wire.transport.aborted
    wire.close()


@pytest.mark.parametrize(
    ("chunks", "length"),
    [
        ((b"abc",), 5),
        ((), 5),
        ((b"abc", b"defgh"), 5),
        ((b"abc", KeyError("a bug")), 5),
        ((b"abc", KeyError("a bug")), None),
    ],
)
def test_a_stream_that_fails_breaks_off_visibly(
    chunks: tuple[bytes | Exception, ...], length: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    source = Chunks(*chunks)
    wire = Wire(always(lambda: Response(200, (), StreamBody(source, length))))
    with caplog.at_level(logging.ERROR, "aisle.http"):
        sent = wire.feed(GET % 1)
    assert wire.transport.aborted
    assert b"0\r\n\r\n" not in sent
    assert len(body_of(sent)) < 10
    assert source.closed == 1
    assert caplog.records
    wire.close()


def test_a_stream_that_fails_before_its_first_chunk_is_answered_with_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Chunks(KeyError("a bug"))
    wire = Wire(always(lambda: Response(200, (), StreamBody(source))))
    with caplog.at_level(logging.CRITICAL):
        assert statuses(wire.feed(GET % 1)) == [500]
    assert source.closed == 1
    wire.close()


def test_a_stream_is_made_only_as_fast_as_it_is_taken() -> None:
    source = Chunks(*([bytes(50_000)] * 20))
    wire = Wire(always(lambda: Response(200, (), StreamBody(source))))
    wire.transport.full = True
    wire.feed(GET % 1)
    assert len(source.chunks) >= 17
    wire.transport.take()
    assert len(wire.settle()) > 19 * 50_000 or wire.settle()
    wire.close()


def test_a_peer_that_takes_nothing_is_cut_off() -> None:
    source = Chunks(*([bytes(50_000)] * 20))
    wire = Wire(always(lambda: Response(200, (), StreamBody(source))), HttpConfig(send_idle_timeout_s=60))
    wire.transport.full = True
    wire.feed(GET % 1)
    wire.pass_time(50)
    assert not wire.transport.closed
    del wire.transport.held[:1000]  # it takes a little
    wire.pass_time(50)
    assert not wire.transport.closed
    wire.pass_time(80)
    assert wire.transport.aborted
    wire.lose()
    assert source.closed == 1
    wire.close()


def test_a_lost_connection_closes_the_stream() -> None:
    source = Chunks(*([bytes(50_000)] * 20))
    wire = Wire(always(lambda: Response(200, (), StreamBody(source))))
    wire.transport.full = True
    wire.feed(GET % 1)
    wire.lose()
    assert source.closed == 1
    assert not wire.worker.tasks
    wire.close()


# The books ----------------------------------------------------------------------------------------------


def test_requests_are_counted_by_method_and_class() -> None:
    answers = [Response(200), Response(404), Response(200), Response(503)]
    wire = Wire(lambda _: answers.pop(0))
    for method in (b"GET", b"GET", b"PUT", b"BREW"):
        wire.feed(method + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
    text = wire.telemetry.render()
    assert 'aisle_http_requests_total{method="GET",code="2xx"} 1\n' in text
    assert 'aisle_http_requests_total{method="GET",code="4xx"} 1\n' in text
    assert 'aisle_http_requests_total{method="PUT",code="2xx"} 1\n' in text
    assert 'aisle_http_requests_total{method="other",code="5xx"} 1\n' in text
    assert 'aisle_http_request_seconds_count{method="GET"} 2\n' in text
    wire.close()


def test_the_access_log_does_not_show_what_a_link_is_signed_with(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(Echo(), HttpConfig(access_log=True))
    with caplog.at_level(logging.INFO, "aisle.access"):
        for query in (
            b"X-Amz-Credential=k&X-Amz-Signature=5ecret&X-Amz-Security-Token=5ecret%2F",
            b"AWSAccessKeyId=k&Signature=5ecret%3D&Expires=1&x-amz-security-token=5ecret",
        ):
            wire.feed(b"GET /a?%b HTTP/1.1\r\nHost: x\r\n\r\n" % query)
    assert caplog.text.count("=k&") == 2
    assert "5ecret" not in caplog.text
    wire.close()


def test_the_access_log_shows_one_escaped_line_per_request(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(Echo(), HttpConfig(access_log=True))
    with caplog.at_level(logging.INFO, "aisle.access"):
        wire.feed(b"GET /\xff?q HTTP/1.1\r\nHost: a\r\nX-Request-Id: id1\r\n\r\n")
    line = caplog.records[0].getMessage()
    assert line.startswith("192.0.2.1:5000 GET /\\xff?q 200 ")
    assert line.endswith(" ms id1")
    wire.close()


def test_nothing_is_logged_by_default(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(Echo())
    with caplog.at_level(logging.DEBUG):
        wire.feed(GET % 1)
    assert not [record for record in caplog.records if record.name.startswith("aisle")]
    wire.close()


def test_a_slow_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(Echo(), HttpConfig(slow_request_s=1e-9))
    with caplog.at_level(logging.WARNING, "aisle.http"):
        wire.feed(GET % 1)
    assert "slow request: 192.0.2.1:5000 GET /1 200" in caplog.text
    assert wire.telemetry.slots[metric.HTTP_SLOW] == 1
    wire.close()
