"""The short ways through a connection lead to the same answers as the long ones."""

import pytest

from aisle.config import HttpConfig
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response, header_lines
from unit.httpd.wire import Echo, Wire, statuses

TAIL = b" HTTP/1.1\r\nHost: a\r\n\r\n"
HIDDEN = b"GET /1" + TAIL + b"GET /2"

LINES = [
    *(b"GET /a", b"HEAD /a", b"OPTIONS /a?x", b"DELETE /a?b?c=/d", b"GET /?", b"GET /%20+\xc3\xa9?\xff"),
    *(
        b"get /a",
        b"BREW /a",
        b"GET  /a",
        b"GET /a ",
        b"GET /a b",
        b" GET /a",
        b"GET a",
        b"GET /a?b c",
        b"GET",
    ),
    *(b"GET /a\r", b"GET /a\n", b"GET /a\tb", b"GET /a\x00", b"GET /a\x7f", b"GET /a#b", b"GET /a?b#c"),
    *(b"GET http://b/c", b"GET *", b"OPTIONS *", b"CONNECT a:1", b"", b"\r\n", b"\r\nGET /a", b"\r\n\r\n"),
    *(HIDDEN, HIDDEN + TAIL + b"GET /3", b"GET /1\r\n\r\n", b"GET /1\r\nX: y", b"GET /a HTTP/1.1"),
    *(b"GET /" + b"a" * 8000, b"GET /" + b"a" * 9000, b"GET /?" + b"a" * 9000),
]


@pytest.mark.parametrize("line", LINES, ids=lambda line: repr(line[:24]))
def test_a_repeated_section_hides_nothing_in_the_line_before_it(line: bytes) -> None:
    outcomes = []
    for first in (b"GET /first" + TAIL, b"GET /first HTTP/1.1\r\nHost: other\r\n\r\n"):
        echo = Echo()
        wire = Wire(echo)
        wire.feed(first)
        sent = wire.feed(line + TAIL)
        seen = [(seen.method, seen.path, seen.query, seen.headers) for seen in echo.seen[1:]]
        outcomes.append((statuses(sent) if sent else [], seen, wire.transport.is_closing()))
        wire.close()
    assert outcomes[0] == outcomes[1]


def test_requests_with_a_repeated_section_get_ids_of_their_own() -> None:
    seen: list[Request] = []

    def handle(request: Request) -> Answer:
        seen.append(request)
        return Response()

    wire = Wire(handle)
    for number in range(4):
        wire.feed(b"GET /%d" % number + TAIL)
    assert len({request.request_id for request in seen}) == 4
    assert len({request.peer for request in seen} - {""}) == 1
    wire.close()


def test_a_repeated_head_that_announces_a_body_is_waited_with() -> None:
    echo = Echo()
    wire = Wire(echo)
    head = b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n"
    wire.feed(head % 1 + b"abc")
    assert wire.feed(head % 2) == b""
    assert statuses(wire.feed(b"abc")) == [200]
    assert [seen.path for seen in echo.seen] == [b"/1", b"/2"]
    wire.close()


def test_a_repeated_section_does_not_bring_a_line_past_its_limit() -> None:
    wire = Wire(Echo(), HttpConfig(request_line_bytes_max=1024))
    assert statuses(wire.feed(b"GET /a" + TAIL)) == [200]
    assert statuses(wire.feed(b"GET /" + b"a" * 1024 + TAIL)) == [414]
    wire.close()


class Reader:
    """Takes a body at once, and as often as it is told to."""

    def __init__(self, *, limit: int = 100) -> None:
        self.limit = limit
        self.bodies: list[object] = []

    def __call__(self, request: Request) -> Answer:
        if request.method == "PUT":
            self.bodies += [request.body.length, request.body.buffered(), request.body.buffered()]
            return Response()
        return self._read(request)

    async def _read(self, request: Request) -> Response:
        if request.method == "POST":
            self.bodies += [await request.body.read(), await request.body.read()]
        else:
            self.bodies.append(await request.body.read_all(self.limit))
        return Response()


def sized(method: bytes, body: bytes) -> bytes:
    return b"%b / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (method, len(body), body)


def test_a_body_that_came_with_its_head_can_be_taken_once() -> None:
    reader = Reader()
    wire = Wire(reader)
    assert statuses(wire.feed(sized(b"PUT", b"abc"))) == [200]
    assert statuses(wire.feed(sized(b"POST", b"def"))) == [200]
    assert statuses(wire.feed(sized(b"PATCH", b"ghi"))) == [200]
    assert reader.bodies == [3, b"abc", b"", b"def", b"", b"ghi"]
    wire.close()


def test_what_follows_a_body_that_came_with_its_head_is_the_next_request() -> None:
    reader = Reader()
    wire = Wire(reader)
    requests = sized(b"PUT", b"GET /") + sized(b"PUT", b"") + sized(b"PUT", b"b")
    assert statuses(wire.feed(requests)) == [200, 200, 200]
    assert reader.bodies == [5, b"GET /", b"", 0, b"", b"", 1, b"b", b""]
    wire.close()


def test_a_body_that_came_with_its_head_is_still_limited() -> None:
    assert statuses(Wire(Reader(limit=2)).feed(sized(b"PATCH", b"abc"))) == [413]
    assert statuses(Wire(Reader(), HttpConfig(body_bytes_max=2)).feed(sized(b"PUT", b"abc"))) == [413]


def test_header_lines_refuse_what_breaks_out_of_its_line() -> None:
    assert header_lines([]) == ""
    assert header_lines([("A", "b"), ("C", "d")]) == "A: b\r\nC: d\r\n"
    for broken in ("b\r\nX: y", "b\n", "\rb"):
        with pytest.raises(ValueError, match="line break"):
            header_lines([("A", broken)])


def test_lines_are_sent_beside_headers() -> None:
    wire = Wire(lambda _: Response(200, [("A", "b")], b"x", lines="C: d\r\n"))
    for method in (b"GET", b"HEAD"):
        head = wire.feed(method + b" /" + TAIL).partition(b"\r\n\r\n")[0].split(b"\r\n")
        assert head[-2:] == [b"C: d", b"A: b"]
    wire.close()
