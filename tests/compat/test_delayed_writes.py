"""Delayed writes of a real node: its source gone for a while, and the node killed in the middle."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
import requests

from support import processes
from support.ais import ais
from support.node import RunningNode, running_node

LARGE = os.urandom(6 * 1024 * 1024)
WAIT_S = 60.0
ACCOUNT = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
DATED = "Fri, 20 Nov 2020 16:13:27 GMT"


class Endpoint(BaseHTTPRequestHandler):
    """A small S3 endpoint of one bucket, `data`, that is held up in the middle of a write or behind it."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    puts: ClassVar[list[str]] = []
    go_on = threading.Event()
    go_on_behind = threading.Event()
    half_received = threading.Event()
    stored = threading.Event()

    def log_message(self, *_: Any) -> None: ...

    def _key(self) -> str:
        return unquote(self.path.partition("?")[0]).partition("/data")[2].removeprefix("/")

    def _answer(self, status: int, content: bytes = b"", *, with_body: bool = True, etag: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if etag:
            self.send_header("ETag", f'"{etag}"')
            self.send_header("Last-Modified", DATED)
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET(with_body=False)

    def do_GET(self, *, with_body: bool = True) -> None:
        key = self._key()
        content = self.objects.get(key) if key else b""
        if content is None:
            self._answer(404)
        else:
            tag = hashlib.md5(content).hexdigest()
            self._answer(200, content, with_body=with_body, etag=tag if key else "")

    def do_PUT(self) -> None:
        key, length = self._key(), int(self.headers["Content-Length"])
        self.puts.append(key)
        body = self.rfile.read(length // 2)
        self.half_received.set()
        self.go_on.wait(WAIT_S)
        body += self.rfile.read(length - len(body))
        if len(body) < length:
            return  # broken off: nothing is stored
        if self.headers.get("If-None-Match") and key in self.objects:
            self._answer(412)
            return
        self.objects[key] = body
        self.stored.set()
        self.go_on_behind.wait(WAIT_S)
        self._answer(200, etag=hashlib.md5(body).hexdigest())

    def do_DELETE(self) -> None:
        self.objects.pop(self._key(), None)
        self._answer(204)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: Any) -> None: ...


class Source:
    """The endpoint, which can be gone and come back at its address."""

    def __init__(self) -> None:
        self._server = Server(("127.0.0.1", 0), Endpoint)
        self._port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def leave(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def come_back(self) -> None:
        self._server = Server(("127.0.0.1", self._port), Endpoint)
        self._serve()


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    running = Source()
    yield running
    running.leave()


@pytest.fixture(scope="module")
def node(source: Source) -> Iterator[RunningNode]:
    with running_node(workers=2, env={"AWS_ENDPOINT_URL": source.url, **ACCOUNT}) as running:
        told = ais(running.url, "bucket", "props", "set", "s3://data", "write_policy.backend=delayed")
        assert told.code == 0, str(told)
        yield running


@pytest.fixture(autouse=True)
def usual() -> None:
    Endpoint.puts.clear()
    for event in (Endpoint.half_received, Endpoint.stored):
        event.clear()
    for event in (Endpoint.go_on, Endpoint.go_on_behind):
        event.set()


def url(node: RunningNode, key: str) -> str:
    return f"{node.url}/v1/objects/data/{key}?provider=aws"


def put(node: RunningNode, key: str, content: bytes) -> None:
    assert requests.put(url(node, key), content, timeout=WAIT_S).status_code == 200


def read(node: RunningNode, key: str) -> bytes | None:
    answer = requests.get(url(node, key), timeout=WAIT_S)
    return answer.content if answer.status_code == 200 else None


def unwritten(node: RunningNode) -> int:
    """How many changes the metrics tell of."""
    lines = requests.get(f"{node.url}/metrics", timeout=WAIT_S).text.splitlines()
    (told,) = [line for line in lines if line.startswith("aisle_unwritten_changes")]
    return int(told.rpartition(" ")[2])


def wait_written(node: RunningNode, *keys: str) -> None:
    """Wait until the source has these objects, by what the node tells of them."""

    def is_written(key: str) -> bool:
        head = requests.head(url(node, key), timeout=WAIT_S)
        return head.status_code == 200 and "Ais-Unwritten" not in head.headers

    for key in keys:
        assert processes.wait_until(lambda key=key: is_written(key), timeout_s=WAIT_S, poll_s=0.05), key


def test_a_source_that_is_gone_gets_everything_when_it_is_back(node: RunningNode, source: Source) -> None:
    Endpoint.objects["gone"] = b"to be removed"
    Endpoint.objects["old"] = b"before"
    written = {f"s/{number}": os.urandom(number * 5_000) for number in range(20)} | {"old": b"after"}
    source.leave()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: put(node, *item), written.items()))
    assert requests.delete(url(node, "gone"), timeout=WAIT_S).status_code == 200
    assert all(read(node, key) == content for key, content in written.items())
    assert read(node, "gone") is None
    assert requests.head(url(node, "old"), timeout=WAIT_S).headers["Ais-Unwritten"] == "true"
    assert processes.wait_until(lambda: unwritten(node) == 22, timeout_s=WAIT_S, poll_s=0.05)

    def shown() -> str:
        return ais(node.url, "show", "job", "write-back", "--json").text

    assert processes.wait_until(lambda: "pending:22" in shown(), timeout_s=WAIT_S, poll_s=0.1), shown()
    evicting = {"action": "evict-listrange"}
    refused = requests.delete(url(node, "old"), json=evicting, timeout=WAIT_S)
    assert (refused.status_code, "does not have all of that yet" in refused.text) == (409, True)
    source.come_back()
    wait_written(node, *written)
    assert processes.wait_until(lambda: "gone" not in Endpoint.objects, timeout_s=WAIT_S, poll_s=0.05)
    assert {key: Endpoint.objects.get(key) for key in written} == written
    assert requests.delete(url(node, "old"), json=evicting, timeout=WAIT_S).status_code == 200
    assert read(node, "old") == b"after"


def test_a_node_that_is_killed_in_the_middle_of_a_write_does_it_again(node: RunningNode) -> None:
    Endpoint.go_on.clear()
    put(node, "killed", LARGE)
    put(node, "small", b"small")
    assert Endpoint.half_received.wait(WAIT_S)
    node.kill()
    Endpoint.go_on.set()
    node.restart()
    assert read(node, "killed") == LARGE
    wait_written(node, "killed", "small")
    assert Endpoint.objects["killed"] == LARGE
    assert Endpoint.objects["small"] == b"small"


def test_a_node_that_is_killed_before_the_answer_knows_its_own_write(node: RunningNode) -> None:
    Endpoint.go_on_behind.clear()
    put(node, "answered", LARGE)
    assert Endpoint.stored.wait(WAIT_S)
    node.kill()
    Endpoint.go_on_behind.set()
    node.restart()
    wait_written(node, "answered")
    assert Endpoint.objects["answered"] == LARGE
    assert Endpoint.puts == ["answered"]


def test_only_the_job_worker_dies(node: RunningNode) -> None:
    Endpoint.go_on.clear()
    put(node, "worker", LARGE)
    assert Endpoint.half_received.wait(WAIT_S)
    node.kill("jobs")
    put(node, "worker", b"and the next version")
    Endpoint.go_on.set()
    wait_written(node, "worker")
    assert Endpoint.objects["worker"] == b"and the next version"
