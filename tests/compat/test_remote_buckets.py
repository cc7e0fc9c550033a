"""A real node in front of an S3 endpoint: cold and warm reads, followers, faults, kills."""

import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from support import processes
from support.ais import ais
from support.folders import files_below
from support.node import RunningNode, running_node

LARGE = os.urandom(20 * 1024 * 1024)
WAIT_S = 60.0


class Endpoint(BaseHTTPRequestHandler):
    """A small S3 endpoint of one bucket, `data`, whose answers can be held up, cut short or wrong."""

    protocol_version = "HTTP/1.1"
    objects: ClassVar[dict[str, bytes]] = {}
    gets: ClassVar[list[str]] = []
    half_sent = threading.Event()
    go_on = threading.Event()
    cuts: ClassVar[int] = 0
    lies = False

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0].strip("/")
        bucket, _, key = path.partition("/")
        if bucket != "data" or (key and key not in self.objects):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if not key:
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = self.objects[key]
        start, status = 0, 200
        asked = self.headers.get("Range")
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, status = int(first), 206
            end = int(last) + 1 if last else len(content)
        else:
            end = len(content)
        if with_body:
            self.gets.append(f"{key} {start}" if asked else key)
        digest = "0" * 32 if self.lies else hashlib.md5(content).hexdigest()
        self.send_response(status)
        self.send_header("ETag", f'"{digest}"')
        self.send_header("Last-Modified", "Fri, 20 Nov 2026 16:13:27 GMT")
        self.send_header("Content-Length", str(end - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            self._send(content[start:end], is_held=not asked)

    def _send(self, content: bytes, *, is_held: bool) -> None:
        middle = len(content) // 2
        self.wfile.write(content[:middle])
        self.wfile.flush()
        if Endpoint.cuts:
            Endpoint.cuts -= 1
            self.close_connection = True
            self.connection.close()
            return
        if is_held:
            self.half_sent.set()
            self.go_on.wait(WAIT_S)
        self.wfile.write(content[middle:])


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def served() -> Iterator[str]:
    server = Server(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def node(served: str) -> Iterator[RunningNode]:
    account = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
    with running_node(workers=2, env={"AWS_ENDPOINT_URL": served, **account}) as running:
        yield running


@pytest.fixture(autouse=True)
def usual() -> None:
    Endpoint.gets.clear()
    Endpoint.half_sent.clear()
    Endpoint.go_on.set()
    Endpoint.cuts, Endpoint.lies = 0, False


def url(node: RunningNode, key: str) -> str:
    return f"{node.url}/v1/objects/data/{key}?provider=aws"


def is_kept(node: RunningNode, key: str) -> bool:
    return requests.head(f"{url(node, key)}&presence=2", timeout=WAIT_S).status_code == 200


def wait_kept(node: RunningNode, key: str) -> None:
    """The last byte does not wait until the object is kept."""
    assert processes.wait_until(lambda: is_kept(node, key), timeout_s=WAIT_S, poll_s=0.02)


def test_many_who_ask_for_a_cold_object_get_it_whole(node: RunningNode) -> None:
    Endpoint.objects["many"] = LARGE
    Endpoint.go_on.clear()

    def ask(_: int) -> bytes:
        return requests.get(url(node, "many"), timeout=WAIT_S).content

    with ThreadPoolExecutor(16) as threads:
        asking = [threads.submit(ask, number) for number in range(16)]
        assert Endpoint.half_sent.wait(WAIT_S)
        assert not is_kept(node, "many")
        Endpoint.go_on.set()
        assert all(each.result() == LARGE for each in asking)
    wait_kept(node, "many")
    # One for each worker at most.
    assert 1 <= Endpoint.gets.count("many") <= 2
    warm = requests.get(url(node, "many"), timeout=WAIT_S)
    assert warm.content == LARGE
    assert warm.headers["ETag"] == f'"{hashlib.md5(LARGE).hexdigest()}"'
    assert warm.headers["Last-Modified"] == "Fri, 20 Nov 2026 16:13:27 GMT"
    assert 1 <= Endpoint.gets.count("many") <= 2


def test_who_comes_late_reads_what_has_left_the_memory(node: RunningNode) -> None:
    Endpoint.objects["late"] = LARGE
    Endpoint.go_on.clear()
    with ThreadPoolExecutor(9) as threads:
        first = threads.submit(lambda: requests.get(url(node, "late"), timeout=WAIT_S).content)
        assert Endpoint.half_sent.wait(WAIT_S)
        late = [
            threads.submit(lambda: requests.get(url(node, "late"), timeout=WAIT_S).content) for _ in range(8)
        ]
        span = {"Range": "bytes=100-1099"}
        assert requests.get(url(node, "late"), headers=span, timeout=WAIT_S).content == LARGE[100:1100]
        Endpoint.go_on.set()
        assert first.result() == LARGE
        assert all(each.result() == LARGE for each in late)


def test_a_wrong_digest_never_makes_a_whole_object(node: RunningNode) -> None:
    Endpoint.objects["wrong"] = LARGE
    Endpoint.lies = True
    with pytest.raises(requests.RequestException):
        requests.get(url(node, "wrong"), timeout=WAIT_S)
    assert not is_kept(node, "wrong")


def test_a_connection_that_breaks_is_continued(node: RunningNode) -> None:
    Endpoint.objects["cut"] = LARGE
    Endpoint.cuts = 1
    assert requests.get(url(node, "cut"), timeout=WAIT_S).content == LARGE
    wait_kept(node, "cut")
    assert [get for get in Endpoint.gets if get.startswith("cut ")]


def test_a_killed_worker_leaves_nothing_torn(node: RunningNode) -> None:
    Endpoint.objects["killed"] = LARGE
    Endpoint.go_on.clear()
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(requests.get, url(node, "killed"), timeout=WAIT_S)
        assert Endpoint.half_sent.wait(WAIT_S)
        node.kill("worker")
        Endpoint.go_on.set()
        with pytest.raises(requests.RequestException):
            asking.result()
    assert not is_kept(node, "killed")
    assert requests.get(url(node, "killed"), timeout=WAIT_S).content == LARGE


def test_the_command_reads_and_evicts(node: RunningNode) -> None:
    for key in ("ais/1", "ais/2", "ais/3"):
        Endpoint.objects[key] = b"x" * 100
        assert ais(node.url, "cat", f"s3://data/{key}").stdout == b"x" * 100
        wait_kept(node, key)
    told = ais(node.url, "evict", "s3://data/ais/1").text
    assert told.startswith("evict-objects[")
    assert "[ais/1] evict from s3://data. To monitor the progress, run 'ais show job " in told
    told = ais(node.url, "evict", "s3://data", "--template", "ais/{2..3}", "--wait").text
    assert 'evict "ais/{2..3}" from s3://data ...' in told
    assert told.rstrip().endswith("Done.")
    assert not is_kept(node, "ais/3")
    assert (
        ais(node.url, "evict", "s3://data", "--keep-md").text
        == "Evicted bucket s3://data (metadata preserved)\n"
    )
    assert ais(node.url, "evict", "s3://data").text == "Evicted bucket s3://data\n"
    destroy = {"action": "destroy-bck", "value": None}
    refused = requests.delete(f"{node.url}/v1/buckets/data?provider=aws", json=destroy, timeout=WAIT_S)
    assert (refused.status_code, "ais evict s3://data" in refused.text) == (405, True)


def test_what_has_vanished_here_is_fetched_again_and_counted_once(node: RunningNode) -> None:
    """A plain read finds the record and no payload file: the source has the bytes; they are kept again."""

    def payloads() -> set[Path]:
        return set(files_below(*(path / "data" for path in node.data)))

    def counted() -> float:
        lines = requests.get(f"{node.url}/metrics", timeout=WAIT_S).text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith("aisle_corrupt_objects_total")
        )

    Endpoint.objects["vanishes"] = LARGE
    before = payloads()
    assert requests.get(url(node, "vanishes"), timeout=WAIT_S).content == LARGE
    wait_kept(node, "vanishes")
    [file] = payloads() - before
    file.unlink()
    found = counted()
    assert requests.get(url(node, "vanishes"), timeout=WAIT_S).content == LARGE
    assert Endpoint.gets == ["vanishes", "vanishes"]
    assert counted() == found + 1
    wait_kept(node, "vanishes")
    assert requests.get(url(node, "vanishes"), timeout=WAIT_S).content == LARGE
    assert Endpoint.gets == ["vanishes", "vanishes"]
