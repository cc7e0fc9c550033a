"""Listening sockets: politeness among processes, address families, near peers."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from aisle.config import HttpConfig
from aisle.httpd.response import Response
from aisle.httpd.sendfile import is_near
from aisle.httpd.server import Server
from aisle.telemetry import Telemetry

GET = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class Load:
    """Another process always holds fewer connections, until told otherwise."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []
        self.now_open = 0
        self.opened_at: list[float] = []

    def is_above_least(self) -> bool:
        self.asked_at.append(time.monotonic())
        return True

    def opened(self) -> None:
        self.opened_at.append(time.monotonic())
        self.now_open += 1

    def closed(self) -> None:
        self.now_open -= 1


@contextmanager
def serving(listener: socket.socket, load: Load | None = None) -> Iterator[list[str]]:
    """Serve in a thread; the list receives the peers' names."""
    peers: list[str] = []
    stop: list[Callable[[], None]] = []
    ready = threading.Event()

    async def serve() -> None:
        def answer(request: object) -> Response:
            peers.append(request.peer)  # type: ignore[attr-defined]
            return Response(200, (), b"hello")

        server = Server(answer, HttpConfig(), telemetry=Telemetry.private(), load=load)
        await server.start([listener])
        done = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(done.set))
        ready.set()
        await done.wait()
        await server.drain(1.0)

    thread = threading.Thread(target=lambda: uvloop.run(serve()))
    thread.start()
    assert ready.wait(10)
    try:
        yield peers
    finally:
        stop[0]()
        thread.join(10)
        listener.close()


def ask(family: int, address: object) -> bytes:
    with socket.socket(family) as sock:
        sock.settimeout(10)
        sock.connect(address)  # type: ignore[arg-type]
        sock.sendall(GET)
        received = b""
        while data := sock.recv(4096):
            received += data
    return received


def test_a_busier_process_waits_a_moment_and_accepts_then() -> None:
    load, listener = Load(), socket.create_server(("127.0.0.1", 0))
    with serving(listener, load):
        address = listener.getsockname()
        assert ask(socket.AF_INET, address).endswith(b"hello")
        assert len(load.opened_at) == 1
        assert load.opened_at[0] - load.asked_at[0] >= 0.0005
        # It waits once per connection, however long nobody else comes.
        assert ask(socket.AF_INET, address).endswith(b"hello")
        assert len(load.asked_at) == 2
    assert load.now_open == 0


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    with serving(listener) as peers:
        assert ask(socket.AF_UNIX, path).endswith(b"hello")
    assert peers == ["unix"]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")
def test_ipv6_and_ipv4_are_served_by_one_socket() -> None:
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    with serving(listener) as peers:
        assert ask(socket.AF_INET6, listener.getsockname()).endswith(b"hello")
    assert peers[0].startswith("[::1]:")
    listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with serving(listener) as peers:
        assert ask(socket.AF_INET, ("127.0.0.1", listener.getsockname()[1])).endswith(b"hello")
    assert peers[0].startswith("[::ffff:127.0.0.1]:")


def test_this_machine_is_near_and_a_socket_without_a_peer_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as sock:
            assert is_near(sock)
        assert not is_near(listener)
    one, other = socket.socketpair()
    with one, other:
        assert is_near(one)
