"""No answer over plain HTTP is taken for another one's, and none is read otherwise than libcurl reads it."""

import asyncio
import os
import socket
import threading
import time
from typing import Any

import pytest

from aisle.rules.download_names import have_one_server
from aisle.transfer import plain, plain_connection
from support.faulty import Asked, Writer, serving
from support.plain_rig import Rig, head, raw, with_rig

BODY = os.urandom(10_000)
BUFFER_BYTES = 4096
SURPLUS = head("Content-Length: 5") + b"WRONG"


def filling_head() -> tuple[list[bytes], bytes]:
    """A head and a body that fill a buffer together, with a surplus behind them; and the body."""
    begun = head(f"Content-Length: {BUFFER_BYTES}")
    body = b"x" * (BUFFER_BYTES - len(begun))
    return [head(f"Content-Length: {len(body)}") + body + SURPLUS], body


def filling_body() -> tuple[list[bytes], bytes]:
    """A body that comes behind its head and fills a buffer, with a surplus behind it; and the body."""
    body = b"x" * BUFFER_BYTES
    return [head(f"Content-Length: {len(body)}"), body + SURPLUS], body


@pytest.mark.parametrize("gives_way", [False, True])
@pytest.mark.parametrize("answer", [filling_head, filling_body])
def test_what_lies_behind_a_full_buffer_is_no_answer_to_the_next(
    monkeypatch: pytest.MonkeyPatch, answer: Any, gives_way: bool
) -> None:
    monkeypatch.setattr(plain_connection, "SMALL_RECEIVE_BYTES", BUFFER_BYTES)
    for module in (plain, plain_connection):
        monkeypatch.setattr(module, "RECEIVE_BYTES", BUFFER_BYTES)
    pieces, body = answer()

    async def late(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.1)  # a surplus that is taken for its answer comes first
        await serving(b"right")(asked, writer)

    @with_rig(gives_way=lambda: gives_way)
    async def test(rig: Rig) -> None:
        link = rig.server.on("/f", raw(*pieces, pause_s=0.1))
        following = rig.server.on("/g", late)
        first, taken = await rig.fetch_both(link, following)
        assert (first.bytes, taken.bytes) == (body, b"right")

    test()


@with_rig()
async def test_what_came_while_a_connection_rested_is_no_answer_to_the_next(rig: Rig) -> None:
    """As load balancers end connections that rest: by an answer that nobody asked for."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for late in (head("Content-Length: 0", status="408 Request Timeout"), b""):
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(head("Content-Length: 5") + b"right")
                    time.sleep(0.1)
                    peer.sendall(late)

        serving_thread = threading.Thread(target=serve, daemon=True)
        serving_thread.start()
        link = f"http://127.0.0.1:{listener.getsockname()[1]}/f"
        assert (await rig.fetch(link)).bytes == b"right"
        time.sleep(0.5)  # noqa: ASYNC251 - the loop is busy, and hears of nothing
        taken = await rig.fetch(link)
        assert taken.reply is not None
        assert (taken.reply.status, taken.bytes) == (200, b"right")
        await asyncio.to_thread(serving_thread.join, 5)


ODD = {
    "a second status": b"HTTP/1.1 404 No\r\nX: y\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "no colon": b"HTTP/1.1 200 OK\r\ngarbage\r\nContent-Length: 4\r\n\r\nbody",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 2\r\nContent-Length: 4\r\n\r\nbody",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\0\r\nContent-Length: 4\r\n\r\nbody",
    "version 1.x": b"HTTP/1.x 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "version 1.10": b"HTTP/1.10 200 OK\r\nContent-Length: 4\r\n\r\nbody",
    "no status": b"HTTP/1.1 abc\r\nContent-Length: 4\r\n\r\nbody",
    "two digits": b"HTTP/1.1 20\r\nContent-Length: 4\r\n\r\nbody",
    "5,000 digits": b"HTTP/1.1 " + b"9" * 5000 + b" OK\r\nContent-Length: 4\r\n\r\nbody",
    "something else than HTTP": head("Upgrade: x", status="101 S") + head("Content-Length: 4") + b"body",
    "two places": head("Content-Length: 0", "Location: /a", "location: /b", status="302 Found"),
}


@pytest.mark.parametrize("what", ODD)
def test_odd_heads_are_left_to_libcurl(what: str) -> None:
    @with_rig(stall_timeout_s=1.0)
    async def test(rig: Rig) -> None:
        link = rig.server.on("/f", raw(ODD[what]))
        _, taken = rig.start(link)
        await taken.end
        assert rig.by_libcurl[:1] == [link]

    test()


@with_rig()
async def test_an_empty_answer_with_trailers_is_a_whole_one(rig: Rig) -> None:
    """To libcurl trailers are lines of the head."""
    trailers = b'0\r\nX-Sum: 1\r\nETag: "trailing"\r\nContent-Length: 7\r\n\r\n'
    link = rig.server.on("/f", raw(head("Transfer-Encoding: chunked", "Trailer: X-Sum"), trailers))
    taken = await rig.fetch(link)
    assert taken.bytes == b""
    assert taken.reply is not None
    assert taken.reply.fields == {"Transfer-Encoding": "chunked"}
    assert rig.by_libcurl == [link]


@with_rig(connections_per_host_max=2)
async def test_a_server_that_was_left_alone_has_no_more_connections_than_others(rig: Rig) -> None:
    go_on = asyncio.Event()

    async def slow(asked: Asked, writer: Writer) -> None:
        await go_on.wait()
        await serving(BODY)(asked, writer)

    lane = rig.fetcher.lane
    assert lane is not None
    link = rig.server.on("/f", slow)
    await rig.fetch(rig.server.on("/known", serving(BODY)))
    started = [rig.start(link)[1] for _ in range(2)]
    (server,) = lane._servers.values()
    lane.leave_alone(server, 0.0)
    started += [rig.start(link)[1] for _ in range(4)]
    await asyncio.sleep(0.1)
    assert rig.server.running == 2
    go_on.set()
    for taken in started:
        assert await taken.end is None
        assert taken.bytes == BODY
    assert (rig.server.running_max, rig.by_libcurl) == (2, [])


@pytest.mark.parametrize("spelling", ["http://FILES.test:{}/f", "http://Files.test:{}/f"])
def test_another_spelling_of_a_server_is_no_other_server(spelling: str) -> None:
    @with_rig(connections_per_host_max=1)
    async def test(rig: Rig) -> None:
        rig.server.on("/f", serving(BODY))
        link = spelling.format(rig.server.port)
        assert (await rig.fetch(link)).bytes == BODY
        assert rig.by_libcurl == [link]

    test()


@pytest.mark.parametrize(
    ("other", "is_one"),
    [
        ("https://H.test:8443/b", True),
        ("https://h.test:8443", True),
        ("http://h.test:8443/a", False),
        ("https://h.test/a", False),
        ("https://x.h.test:8443/a", False),
    ],
)
def test_with_and_without_tls_are_two_servers(other: str, is_one: bool) -> None:
    assert have_one_server("https://h.test:8443/a", other) is is_one
    assert have_one_server(other, "https://h.test:8443/a") is is_one
