"""How the client's connections behave against servers that misbehave, over real sockets."""

import io
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from aisle.client import Client
from aisle.client.bodies import Body
from aisle.client.connections import Call, Connections
from aisle.errors import BadRequest, BucketNotFound, NodeFailed, NodeUnreachable
from aisle.model.names import Bucket

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
EMPTY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
NO_BUCKET = b'{"tcode":"ErrBckNotFound","message":"bucket \\"ais://b\\" does not exist","status":404}'


class Peer:
    """One accepted connection, as the server sees it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._received = b""

    def head(self) -> bytes:
        """The next request's head."""
        while b"\r\n\r\n" not in self._received:
            more = self.connection.recv(65536)
            if not more:
                return b""
            self._received += more
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        return head

    def body(self, length: int) -> bytes:
        """That many bytes."""
        while len(self._received) < length:
            more = self.connection.recv(65536)
            if not more:
                break
            self._received += more
        taken, self._received = self._received[:length], self._received[length:]
        return taken

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def reset(self) -> None:
        """Close so that the other side sees a reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()


@contextmanager
def server(*scripts: Callable[[Peer], None]) -> Iterator[str]:
    """A server that plays one script for each connection it accepts; its URL."""
    problems: list[BaseException] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        for script in scripts:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(10)
            try:
                script(Peer(connection))
            except BaseException as error:
                problems.append(error)
            finally:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(timeout=10)
        assert not thread.is_alive(), "the server's script was not played to its end"
    finally:
        listener.close()
    assert not problems, problems


def connections(url: str, *, timeout_s: float = 10) -> Connections:
    return Connections(url, timeout_s=timeout_s, pause=lambda seconds: None)


def ask(kept: Connections, method: str = "GET", target: str = "/x", body: Body | None = None) -> bytes:
    answer = kept.request(Call(method=method, target=target, body=body or Body()))
    data = answer.read()
    answer.close()
    return data


def answer_once(peer: Peer) -> None:
    peer.head()
    peer.send(OK)


def reset_at_once(peer: Peer) -> None:
    peer.head()
    peer.reset()


def test_a_connection_is_kept_for_the_next_request() -> None:
    def two(peer: Peer) -> None:
        for _ in range(2):
            answer_once(peer)

    with server(two) as url:
        kept = connections(url)
        assert [ask(kept), ask(kept)] == [b"ok", b"ok"]
        kept.close()


def test_a_connection_that_the_server_closed_meanwhile_is_no_error() -> None:
    with server(answer_once, answer_once) as url:
        kept = connections(url)
        assert [ask(kept), ask(kept)] == [b"ok", b"ok"]
        kept.close()


def test_a_reset_before_the_answer_is_tried_again() -> None:
    with server(reset_at_once, reset_at_once, answer_once) as url:
        answer = connections(url).request(Call(method="GET", target="/x"))
        assert answer.read() == b"ok"
        assert answer.repeated
        answer.close()


def test_attempts_end() -> None:
    with server(*[reset_at_once] * 4) as url, pytest.raises(NodeUnreachable, match="before it answered"):
        ask(connections(url))


def test_what_creates_is_never_sent_twice() -> None:
    with server(reset_at_once) as url, pytest.raises(NodeUnreachable):
        ask(connections(url), "POST")


def test_a_file_is_sent_again_from_where_it_stood() -> None:
    data = os.urandom(300_000)

    def take(peer: Peer) -> None:
        peer.head()
        assert peer.body(len(data)) == data
        peer.send(OK)

    def break_off(peer: Peer) -> None:
        peer.head()
        peer.body(100_000)
        peer.reset()

    file = io.BytesIO(b"before" + data)
    file.seek(6)
    with server(break_off, take) as url:
        assert ask(connections(url), "PUT", body=Body(file, length=len(data))) == b"ok"


def test_a_pipe_cannot_be_sent_again() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    def break_off(peer: Peer) -> None:
        head = peer.head()
        assert b"Transfer-Encoding: chunked" in head
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.body(10)
        peer.reset()

    with server(break_off) as url, pytest.raises(NodeUnreachable):
        ask(connections(url), "PUT", body=Body(Pipe(b"x" * 3_000_000)))


def test_chunks_are_framed_and_ended() -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    def take(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body(15) == b"5\r\nhello\r\n0\r\n\r\n"
        peer.send(OK)

    with server(take) as url:
        assert ask(connections(url), "PUT", body=Body(Pipe(b"hello"))) == b"ok"


def test_a_busy_node_is_asked_again() -> None:
    def busy(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
        answer_once(peer)

    with server(busy) as url:
        assert ask(connections(url)) == b"ok"


def test_a_large_body_waits_until_the_node_wants_it() -> None:
    data = os.urandom(2_000_000)

    def take(peer: Peer) -> None:
        assert b"Expect: 100-continue" in peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body(len(data)) == data
        peer.send(OK)
        answer_once(peer)

    with server(take) as url:
        kept = connections(url)
        assert ask(kept, "PUT", body=Body(io.BytesIO(data), length=len(data))) == b"ok"
        assert ask(kept) == b"ok"
        kept.close()


def test_a_server_that_never_says_continue_gets_the_body_all_the_same() -> None:
    data = os.urandom(2_000_000)

    def take(peer: Peer) -> None:
        peer.head()
        assert peer.body(len(data)) == data
        peer.send(OK)

    with server(take) as url:
        assert ask(connections(url), "PUT", body=Body(io.BytesIO(data), length=len(data))) == b"ok"


def test_a_large_body_that_is_refused_is_not_sent() -> None:
    def refuse(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 404 No\r\nContent-Length: %d\r\n\r\n%b" % (len(NO_BUCKET), NO_BUCKET))
        assert peer.body(1) == b""

    with server(refuse) as url:
        body = Body(io.BytesIO(b"x" * 2_000_000), length=2_000_000)
        with pytest.raises(BucketNotFound):
            Client(url).put(Bucket("b"), b"o", body)


def test_a_refusal_in_the_middle_of_the_body_is_read() -> None:
    def refuse(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        peer.body(100)
        head = b"HTTP/1.1 507 Full\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        peer.send(head)
        peer.connection.shutdown(socket.SHUT_WR)
        while peer.connection.recv(1 << 20):
            pass

    with server(refuse) as url:
        body = Body(io.BytesIO(b"x" * 20_000_000), length=20_000_000)
        answer = connections(url).request(Call(method="PUT", target="/x", body=body))
        assert answer.status == 507
        answer.close()


def test_a_redirected_body_goes_to_the_target_only() -> None:
    data = os.urandom(2_000_000)

    def take(peer: Peer) -> None:
        assert peer.head().startswith(b"PUT /v1/objects/b//o%20?pid=p&utm=u ")
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.body(len(data)) == data
        peer.send(EMPTY)

    with server(take) as target:

        def gateway(peer: Peer) -> None:
            peer.head()
            location = f"{target}/v1/objects/b//o%20?pid=p&utm=u".encode()
            peer.send(b"HTTP/1.1 307 T\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n" % location)
            assert peer.body(1) == b""

        with server(gateway) as url:
            Client(url).put(Bucket("b"), b"/o ", Body(io.BytesIO(data), length=len(data)))


def test_redirects_end() -> None:
    def again(peer: Peer) -> None:
        while peer.head():
            peer.send(b"HTTP/1.1 301 T\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n")

    with server(again) as url:
        kept = connections(url)
        with pytest.raises(NodeFailed, match="without end"):
            ask(kept)
        kept.close()


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_is_an_error(framing: bytes) -> None:
    def break_off(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n20\r\nhello" % framing)

    with server(break_off) as url, pytest.raises(NodeUnreachable, match="broke after"):
        ask(connections(url))


def test_what_does_not_speak_http_is_no_node() -> None:
    def greet(peer: Peer) -> None:
        peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        peer.head()

    with server(greet) as url, pytest.raises(NodeFailed, match="does not speak HTTP"):
        ask(connections(url))


def test_silence_ends_in_an_error() -> None:
    def be_silent(peer: Peer) -> None:
        while peer.head():
            pass

    with server(be_silent) as url, pytest.raises(NodeUnreachable, match=r"no answer within 0\.2 s"):
        ask(connections(url, timeout_s=0.2))


def test_names_travel_byte_for_byte() -> None:
    seen: list[bytes] = []

    def note(peer: Peer) -> None:
        while head := peer.head():
            seen.append(head.split(b" ")[1])
            peer.send(EMPTY)

    names = [b"a//b", b"/a", b"dir/", b"100%", b"1+1", b"x y", "😀".encode(), b"?q#f", b"..", b"a/../b"]
    with server(note) as url:
        client = Client(url)
        for name in names:
            client.remove(Bucket("b"), name)
        client.close()
    assert [path.removeprefix(b"/v1/objects/b/").removesuffix(b"?provider=ais") for path in seen] == [
        *(
            b"a//b",
            b"/a",
            b"dir/",
            b"100%25",
            b"1%2B1",
            b"x%20y",
            b"%F0%9F%98%80",
            b"%3Fq%23f",
            b"..",
            b"a/../b",
        )
    ]


def test_a_file_that_shrinks_while_it_is_sent_is_told() -> None:
    def take(peer: Peer) -> None:
        peer.head()
        peer.body(100)

    with server(take) as url, pytest.raises(BadRequest, match="change while it was sent"):
        ask(connections(url), "PUT", body=Body(io.BytesIO(b"short"), length=100))


@pytest.mark.parametrize("endpoint", ["", "ftp://h", "http://", "http://h:port", "http://[::1"])
def test_what_is_no_endpoint_is_told(endpoint: str) -> None:
    with pytest.raises(BadRequest, match="is not the URL of a node"):
        Connections(endpoint, timeout_s=1)


def test_nobody_there_is_told_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port
        with pytest.raises(NodeUnreachable, match="connection refused"):
            ask(connections(f"127.0.0.1:{closed.getsockname()[1]}"))
