"""A source of signed requests that notes what it is sent, and that lies or breaks off: nothing of it is kept.

It checks no signatures; what is refused is for `test_pass_through` to show.
"""

import hashlib
import http.client
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import requests

from support import processes
from support.node import RunningNode, running_node

LARGE = os.urandom(3_000_000)
SIGNED = (
    "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k%2F20261121%2Fus-east-1%2Fs3%2Faws4_request"
    "&X-Amz-Date=20261121T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + "0" * 64
)
WAIT_S = 60.0


class Source(BaseHTTPRequestHandler):
    """Has every object, with the same bytes."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []
    etag = ""
    cut_after: ClassVar[int] = 0
    status = 200
    moved_to = ""

    def log_message(self, *_: Any) -> None: ...

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.asked.append((self.command, self.path, headers, self.rfile.read(length)))
        is_same = headers.get("if-none-match") == f'"{Source.etag}"'
        status = 304 if is_same and Source.status == 200 else Source.status
        body = LARGE if self.command == "GET" and status == 200 and "/data/" in self.path else b""
        self.send_response(status)
        self.send_header("ETag", f'"{Source.etag}"')
        self.send_header("Last-Modified", "Fri, 20 Nov 2026 16:13:27 GMT")
        self.send_header("Content-Length", str(len(body)))
        if Source.moved_to:
            self.send_header("Location", Source.moved_to)
        self.end_headers()
        if Source.cut_after and body:
            self.wfile.write(body[: Source.cut_after])
            self.close_connection = True
            self.connection.close()
            return
        self.wfile.write(body)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Source)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def node(source: str) -> Iterator[RunningNode]:
    account = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
    with running_node(env=account) as running:
        value = {"extra": {"aws": {"endpoint": f"http://{source}"}}, "features": "512"}
        message = {"action": "create-bck", "value": value}
        made = requests.post(f"{running.url}/v1/buckets/data?provider=aws", json=message, timeout=WAIT_S)
        assert made.status_code == 200, made.text
        yield running


@pytest.fixture(autouse=True)
def usual() -> None:
    Source.asked.clear()
    Source.etag, Source.cut_after, Source.status = hashlib.md5(LARGE).hexdigest(), 0, 200
    Source.moved_to = ""


def link(node: RunningNode, key: str, more: str = "") -> str:
    return f"{node.url}/s3/data/{key}?{SIGNED}{more}"


def is_kept(node: RunningNode, key: str) -> bool:
    url = f"{node.url}/v1/objects/data/{key}?provider=aws&presence=2"
    return requests.head(url, timeout=WAIT_S).status_code == 200


def test_a_request_is_sent_on_word_for_word(node: RunningNode, source: str) -> None:
    key = "a//b%20c%2B%C3%BC+d/%2e%2e/e"
    target = f"/s3/data/{key}?{SIGNED}&x-id=GetObject"
    mine = {"x-amz-meta-odd": "ä,  b", "Range": "bytes=1-2", "User-Agent": "mine", "Accept-Encoding": "gzip"}
    # A client that changes nothing of its own accord.
    connection = http.client.HTTPConnection(node.host, node.port, timeout=WAIT_S)
    connection.request("GET", target, headers=mine)
    assert connection.getresponse().status == 200
    connection.close()
    ((method, target, sent, _),) = Source.asked
    assert (method, target) == ("GET", f"/data/{key}?{SIGNED}&x-id=GetObject")
    assert sent["host"] == source
    assert (sent["range"], sent["user-agent"]) == ("bytes=1-2", "mine")
    assert sent["x-amz-meta-odd"] == "ä,  b"
    assert sent["accept-encoding"] == "identity"  # not signed, and what goes by may be kept
    assert "if-none-match" not in sent
    assert "x-amz-content-sha256" not in sent
    covered = link(node, key).replace("SignedHeaders=host", "SignedHeaders=accept-encoding%3Bhost")
    requests.get(covered, headers={"Accept-Encoding": "gzip"}, timeout=WAIT_S)
    assert Source.asked[-1][2]["accept-encoding"] == "gzip"


def test_only_the_tag_of_what_is_here_is_added(node: RunningNode) -> None:
    assert requests.get(link(node, "tagged"), timeout=WAIT_S).content == LARGE
    assert is_kept(node, "tagged")
    first = Source.asked[-1]
    assert requests.get(link(node, "tagged"), timeout=WAIT_S).content == LARGE
    second = Source.asked[-1]
    assert second[:2] == first[:2]
    assert second[2] == {**first[2], "if-none-match": f'"{Source.etag}"'}
    # Who asks on a condition of his own gets what the source says to that.
    own = requests.get(link(node, "tagged"), headers={"If-None-Match": '"other"'}, timeout=WAIT_S)
    assert (own.status_code, Source.asked[-1][2]["if-none-match"]) == (200, '"other"')
    told = requests.get(
        link(node, "tagged", "&response-content-type=text%2Fx&response-cache-control=no-store"),
        timeout=WAIT_S,
    )
    assert (told.headers["Content-Type"], told.headers["Cache-Control"]) == ("text/x", "no-store")
    assert told.content == LARGE


def test_wrong_bytes_are_never_whole_and_not_kept(node: RunningNode) -> None:
    Source.etag = "0" * 32
    with pytest.raises(requests.RequestException):
        requests.get(link(node, "wrong"), timeout=WAIT_S)
    assert not is_kept(node, "wrong")


def test_an_answer_that_breaks_off_is_broken_off(node: RunningNode) -> None:
    Source.cut_after = len(LARGE) // 2
    with pytest.raises(requests.RequestException):
        requests.get(link(node, "cut"), timeout=WAIT_S)
    assert not is_kept(node, "cut")


def test_a_client_that_leaves_leaves_nothing(node: RunningNode) -> None:
    with requests.get(link(node, "left"), stream=True, timeout=WAIT_S) as answer:
        next(answer.iter_content(1000))
    assert not is_kept(node, "left")

    def is_read_and_kept() -> bool:
        assert requests.get(link(node, "left"), timeout=WAIT_S).content == LARGE
        return is_kept(node, "left")

    # Of two who read at once only one is kept, and the one who left may not be forgotten yet.
    assert processes.wait_until(is_read_and_kept, timeout_s=WAIT_S, poll_s=0.05)


def test_a_redirect_is_told_and_not_followed(node: RunningNode) -> None:
    Source.status, Source.moved_to = 307, "http://169.254.169.254/latest/meta-data"
    moved = requests.get(link(node, "moved"), allow_redirects=False, timeout=WAIT_S)
    assert (moved.status_code, moved.headers["Location"], len(Source.asked)) == (307, Source.moved_to, 1)


def test_errors_of_a_write_tell_what_may_have_happened(node: RunningNode) -> None:
    for status in (403, 412, 503, 500):
        Source.status = 200
        assert requests.get(link(node, "written"), timeout=WAIT_S).content == LARGE
        assert is_kept(node, "written")
        Source.status = status
        assert requests.put(link(node, "written"), data=b"x" * 100_000, timeout=WAIT_S).status_code == status
        assert is_kept(node, "written")
    # After the last one nobody knows: the source is asked until it says what it has.
    Source.etag, Source.status = "1" * 32, 200
    assert processes.wait_until(lambda: not is_kept(node, "written"), timeout_s=WAIT_S)


def test_a_write_whose_tag_is_of_other_bytes_is_not_kept(node: RunningNode) -> None:
    written = requests.put(link(node, "torn"), data=b"not those bytes", timeout=WAIT_S)
    assert (written.status_code, written.headers["ETag"]) == (200, f'"{Source.etag}"')
    assert not is_kept(node, "torn")


def test_what_only_its_writer_has_the_key_of_is_not_kept(node: RunningNode) -> None:
    mine = {"x-amz-server-side-encryption-customer-algorithm": "AES256"}
    assert requests.get(link(node, "sealed"), headers=mine, timeout=WAIT_S).content == LARGE
    assert not is_kept(node, "sealed")
    assert requests.get(link(node, "sealed"), timeout=WAIT_S).content == LARGE
    assert is_kept(node, "sealed")
    assert requests.get(link(node, "sealed"), headers=mine, timeout=WAIT_S).content == LARGE
    assert "if-none-match" not in Source.asked[-1][2]


def test_buckets_are_not_changed_from_here(node: RunningNode) -> None:
    for method, more in (("DELETE", ""), ("PUT", ""), ("POST", "&delete"), ("PUT", "&acl")):
        answer = requests.request(method, f"{node.url}/s3/data?{SIGNED}{more}", data=b"<x/>", timeout=WAIT_S)
        assert answer.status_code in (405, 501)
    assert Source.asked == []
