"""Answers as bytes on one side, values on the other."""

import io

import pytest

from aisle.client.wire import FIELDS_MAX, Head, IncomingBody, Malformed, read_head, request_head
from aisle.errors import BadRequest


def stream(data: bytes) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]


def body_of(data: bytes, *, is_bodiless: bool = False, rest: bytes = b"") -> bytes:
    reader = stream(data)
    body = IncomingBody(reader, read_head(reader), is_bodiless=is_bodiless)
    buffer, received = memoryview(bytearray(7)), b""
    while count := body.readinto(buffer):
        received += bytes(buffer[:count])
    assert body.is_over
    assert reader.read() == rest
    return received


CLOSE = {"connection": "close"}
KEEP = {"connection": "keep-alive"}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_request_is_written_as_it_is() -> None:
    head = request_head("PUT", "/v1/objects/b//a%20b?provider=ais", {"Host": "h:1", "Content-Length": "0"})
    assert head == b"PUT /v1/objects/b//a%20b?provider=ais HTTP/1.1\r\nHost: h:1\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("value", ["a\r\nEvil: 1", "a\nb", "a\rb", "😀"])
def test_a_field_that_would_break_the_head_is_refused(value: str) -> None:
    with pytest.raises(BadRequest):
        request_head("GET", "/", {"Content-Type": value})


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", Head(200, "OK", {}, True)),
        (b"HTTP/1.1 200\r\n\r\n", Head(200, "", {}, True)),
        (
            b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n",
            Head(404, "Not Found", CLOSE, False),
        ),
        (b"HTTP/1.0 200 OK\r\n\r\n", Head(200, "OK", {}, False)),
        (
            b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
            Head(200, "OK", KEEP, True),
        ),
        (b"HTTP/1.1 200 OK\r\nX: a\r\nx:b \r\n\r\n", Head(200, "OK", {"x": "a, b"}, True)),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Head(200, "OK", {}, True)),
        (b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 201 C\r\n\r\n", Head(201, "C", {}, True)),
    ],
)
def test_heads_are_read(data: bytes, head: Head) -> None:
    assert read_head(stream(data)) == head


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: broken off",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * (FIELDS_MAX + 1) + b"\r\n",
        b"x" * 100_000,
    ],
)
def test_what_is_no_head_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_head(stream(data))


def test_a_connection_that_ends_before_the_head_was_closed() -> None:
    with pytest.raises(ConnectionResetError):
        read_head(stream(b""))


@pytest.mark.parametrize(
    ("data", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello world!next", b"hello world!"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nnext", b""),
        (b"HTTP/1.1 204 No\r\n\r\nnext", b""),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nnext", b""),
        (
            CHUNKED + b"5\r\nhello\r\nB;x=y\r\n over many \r\n0\r\nT: 1\r\n\r\nnext",
            b"hello over many ",
        ),
    ],
)
def test_bodies_are_read_to_their_end_and_no_further(data: bytes, body: bytes) -> None:
    assert body_of(data, rest=b"next") == body


def test_a_body_of_unknown_length_ends_with_the_connection() -> None:
    assert body_of(b"HTTP/1.1 200 OK\r\n\r\nuntil the end") == b"until the end"


def test_the_answer_to_head_has_no_body() -> None:
    assert body_of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nnext", is_bodiless=True, rest=b"next") == b""


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello",
        CHUNKED + b"5\r\nhel",
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED,
    ],
)
def test_a_body_that_breaks_off_is_told(data: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        body_of(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"5\r\nhello!!\r\n0\r\n\r\n",
    ],
)
def test_a_body_of_no_length_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        body_of(data)
