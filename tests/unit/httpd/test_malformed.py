"""Malformed requests: refused with 400 (or what fits better) and closed, however they are split."""

import pytest

from unit.httpd.wire import Echo, Wire, statuses

GOOD = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n"


def head(*lines: bytes) -> bytes:
    return b"\r\n".join((*lines, b"", b""))


HOST = b"Host: a"
GET = b"GET / HTTP/1.1"
POST = b"POST / HTTP/1.1"
CHUNKED = b"Transfer-Encoding: chunked"

HEADS = {
    "no host": head(GET),
    "two hosts": head(GET, HOST, b"Host: b"),
    "the same host twice": head(GET, HOST, HOST),
    "empty host": head(GET, b"Host:"),
    "host with a space": head(GET, b"Host: a b"),
    "host with a path": head(GET, b"Host: a/b"),
    "host with user information": head(GET, b"Host: u@a"),
    "host with a wrong port": head(GET, b"Host: a:b"),
    "host with a list": head(GET, b"Host: a:1, b:2"),
    "bare LF after the request line": GET + b"\n" + HOST + b"\r\n\r\n",
    "bare LF after a header": GET + b"\r\n" + HOST + b"\n\r\n",
    "only LF": GET + b"\n" + HOST + b"\n\n",
    "bare CR in the request line": head(b"GET /\r HTTP/1.1", HOST),
    "bare CR in a value": head(GET, HOST, b"X: a\rb"),
    "bare CR before a line end": head(GET, HOST, b"X: a\r"),
    "bare LF in a value": head(GET, HOST, b"X: a\nY: b"),
    "NUL in a value": head(GET, HOST, b"X: a\0b"),
    "NUL in a name": head(GET, HOST, b"X\0: a"),
    "NUL in the target": head(b"GET /\0 HTTP/1.1", HOST),
    "DEL in a value": head(GET, HOST, b"X: a\x7fb"),
    "escape in a value": head(GET, HOST, b"X: a\x1bb"),
    "tab in the request line": head(b"GET\t/ HTTP/1.1", HOST),
    "folded header": head(GET, HOST, b"X: a", b" b"),
    "header folded with a tab": head(GET, HOST, b"X: a", b"\tb"),
    "first header begins with a space": head(GET, b" Host: a"),
    "space before the colon": head(GET, HOST, b"X : a"),
    "tab before the colon": head(GET, HOST, b"X\t: a"),
    "empty header name": head(GET, HOST, b": a"),
    "header without a colon": head(GET, HOST, b"X"),
    "known header name without a colon": head(GET, HOST, b"Accept"),
    "brackets in a header name": head(GET, HOST, b"X[1]: a"),
    "header name beyond ASCII": head(GET, HOST, b"X\xe9: a"),
    "two spaces in the request line": head(b"GET  / HTTP/1.1", HOST),
    "space behind the version": head(b"GET / HTTP/1.1 ", HOST),
    "space before the method": head(b" GET / HTTP/1.1", HOST),
    "no version": head(b"GET /", HOST),
    "no target": head(b"GET HTTP/1.1", HOST),
    "a space in the target": head(b"GET /a b HTTP/1.1", HOST),
    "a fragment": head(b"GET /a#b HTTP/1.1", HOST),
    "target without a slash": head(b"GET a HTTP/1.1", HOST),
    "target of another scheme": head(b"GET ftp://a/ HTTP/1.1", HOST),
    "absolute target without a host": head(b"GET http:///x HTTP/1.1", HOST),
    "absolute target with user information": head(b"GET http://u@a/x HTTP/1.1", HOST),
    "asterisk for GET": head(b"GET * HTTP/1.1", HOST),
    "authority for GET": head(b"GET a:80 HTTP/1.1", HOST),
    "lower-case protocol": head(b"GET / http/1.1", HOST),
    "strange version": head(b"GET / HTTP/1.1a", HOST),
    "version with two digits": head(b"GET / HTTP/1.10", HOST),
    "version with a space": head(b"GET / HTTP /1.1", HOST),
    "method with a colon": head(b"GE:T / HTTP/1.1", HOST),
    "very long method": head(b"G" * 40 + b" / HTTP/1.1", HOST),
    "two lengths": head(POST, HOST, b"Content-Length: 1", b"Content-Length: 2"),
    "the same length twice": head(POST, HOST, b"Content-Length: 1", b"Content-Length: 1"),
    "a list of lengths": head(POST, HOST, b"Content-Length: 1, 1"),
    "length with a sign": head(POST, HOST, b"Content-Length: +1"),
    "negative length": head(POST, HOST, b"Content-Length: -1"),
    "hexadecimal length": head(POST, HOST, b"Content-Length: 0x1"),
    "length with an underscore": head(POST, HOST, b"Content-Length: 1_0"),
    "length with a fraction": head(POST, HOST, b"Content-Length: 1.0"),
    "empty length": head(POST, HOST, b"Content-Length: "),
    "length in superscript": head(POST, HOST, b"Content-Length: \xb2"),
    "length of 30 digits": head(POST, HOST, b"Content-Length: " + b"9" * 30),
    "length and chunked": head(POST, HOST, b"Content-Length: 1", CHUNKED),
    "chunked and length": head(POST, HOST, CHUNKED, b"Content-Length: 1"),
    "chunked twice": head(POST, HOST, CHUNKED, CHUNKED),
    "gzip, chunked": head(POST, HOST, b"Transfer-Encoding: gzip, chunked"),
    "chunked, identity": head(POST, HOST, b"Transfer-Encoding: chunked, identity"),
    "identity": head(POST, HOST, b"Transfer-Encoding: identity"),
    "quoted chunked": head(POST, HOST, b'Transfer-Encoding: "chunked"'),
    "chunked behind a vertical tab": head(POST, HOST, b"Transfer-Encoding: \x0bchunked"),
    "empty transfer coding": head(POST, HOST, b"Transfer-Encoding:"),
    "chunked in HTTP/1.0": head(b"POST / HTTP/1.0", CHUNKED),
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n",
    "an answer": head(b"HTTP/1.1 200 OK", HOST),
    "nothing but spaces": b"    \r\n\r\n",
}

BODIES = {
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "size that is no number": b"xyz\r\n",
    "size with 0x": b"0x3\r\nabc\r\n0\r\n\r\n",
    "size with a sign": b"+3\r\nabc\r\n0\r\n\r\n",
    "negative size": b"-3\r\nabc\r\n0\r\n\r\n",
    "size with an underscore": b"1_0\r\nabc\r\n0\r\n\r\n",
    "space before the size": b" 3\r\nabc\r\n0\r\n\r\n",
    "space behind the size": b"3 \r\nabc\r\n0\r\n\r\n",
    "size of 17 digits": b"00000000000000003\r\nabc\r\n0\r\n\r\n",
    "size too large for anything": b"FFFFFFFFFFFFFFFFF\r\n",
    "bare LF behind the size": b"3\nabc\r\n0\r\n\r\n",
    "bare CR behind the size": b"3\rabc\r\n0\r\n\r\n",
    "chunk longer than its size": b"3\r\nabcd\r\n0\r\n\r\n",
    "chunk shorter than its size": b"3\r\nab\r\n0\r\n\r\n",
    "bare LF behind a chunk": b"3\r\nabc\n0\r\n\r\n",
    "bare CR behind a chunk": b"3\r\nabc\r0\r\n\r\n",
    "LF in an extension": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "CR in an extension": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "NUL in an extension": b"3;a\0b\r\nabc\r\n0\r\n\r\n",
    "extension without a name": b"3;\r\nabc\r\n0\r\n\r\n",
    "extension with a colon": b"3;a:b\r\nabc\r\n0\r\n\r\n",
    "extension with a space": b"3; a\r\nabc\r\n0\r\n\r\n",
    "extension without its value": b"3;a=\r\nabc\r\n0\r\n\r\n",
    "extension with an open quote": b'3;a="b\r\nabc\r\n0\r\n\r\n',
    "endless extension": b"3;" + b"a" * 3000,
    "long extension": b"3;" + b"a" * 3000 + b"\r\nabc\r\n0\r\n\r\n",
    "many extensions": (b"1;" + b"a" * 900 + b"\r\nx\r\n") * 30,
    "bare LF at the end": b"3\r\nabc\r\n0\r\n\n",
    "trailer without a colon": b"0\r\nX\r\n\r\n",
    "trailer with a space before the colon": b"0\r\nX : a\r\n\r\n",
    "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
    "NUL in a trailer": b"0\r\nX: \0\r\n\r\n",
}

OTHER = {
    "unknown expectation": (head(POST, HOST, b"Content-Length: 1", b"Expect: tea"), 417),
    "two expectations": (
        head(POST, HOST, b"Content-Length: 1", b"Expect: 100-continue", b"Expect: 100-continue"),
        417,
    ),
    "HTTP/2 with prior knowledge": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/0.9 by number": (head(b"GET / HTTP/0.9", HOST), 505),
    "HTTP/1.2": (head(b"GET / HTTP/1.2", HOST), 505),
    "CONNECT": (head(b"CONNECT a:443 HTTP/1.1", HOST), 405),
    "long request line": (head(b"GET /" + b"a" * 16 * 1024 + b" HTTP/1.1", HOST), 414),
    "endless request line": (b"GET /" + b"a" * 20_000, 414),
    "many headers": (head(GET, HOST, *(b"X-%d: a" % n for n in range(128))), 431),
    "large header": (head(GET, HOST, b"X: " + b"a" * 64 * 1024), 431),
    "endless header": (GET + b"\r\nX: " + b"a" * 70_000, 431),
    "many trailers": (
        head(POST, HOST, CHUNKED) + b"0\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(70)) + b"\r\n",
        431,
    ),
    "announced body too large": (head(POST, HOST, b"Content-Length: %d" % (6 * 1024**4)), 413),
}

TABLE = [
    *(pytest.param(data, 400, id=name) for name, data in HEADS.items()),
    *(
        pytest.param(head(POST, HOST, CHUNKED) + data, 400, id=f"chunked body: {name}")
        for name, data in BODIES.items()
    ),
    *(pytest.param(data, status, id=name) for name, (data, status) in OTHER.items()),
]


@pytest.mark.parametrize(("data", "status"), TABLE)
@pytest.mark.parametrize("one_by_one", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("before", [b"", GOOD], ids=["first", "second"])
def test_a_malformed_request_is_refused_and_the_connection_closed(
    data: bytes, status: int, one_by_one: bool, before: bytes
) -> None:
    echo = Echo()
    wire = Wire(echo)
    sent = wire.feed(before + data + GOOD, one_by_one=one_by_one)

    assert statuses(sent) == ([200, status] if before else [status])
    assert b"\r\nConnection: close\r\n" in sent
    assert [seen.path for seen in echo.seen if seen.body is not None] == ([b"/good"] if before else [])
    assert wire.transport.eof_sent or wire.transport.closed
    # What follows is not taken for a request.
    assert wire.feed(GOOD) == b""
    wire.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\nHost: a\n",
        b"GET / HTTP/1.1\r\nX: \0",
        b"\0",
        b"{",
    ],
)
def test_what_cannot_become_a_request_is_refused_before_its_end(data: bytes) -> None:
    wire = Wire(Echo())
    assert statuses(wire.feed(data)) == [400]
    wire.close()


def test_a_refusal_names_the_reason_and_an_id() -> None:
    wire = Wire(Echo())
    sent = wire.feed(head(GET))
    assert b"Content-Type: application/json" in sent
    assert b'"message": "missing Host header"' in sent
    assert b"X-Request-Id: " in sent
    wire.close()


def test_a_refused_peer_may_read_its_answer_before_the_connection_is_gone() -> None:
    wire = Wire(Echo())
    wire.feed(head(GET))
    assert wire.transport.eof_sent
    assert not wire.transport.closed
    wire.pass_time(10)
    assert wire.transport.aborted
    wire.close()
