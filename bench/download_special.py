"""Downloads under special conditions: slow servers, a list of a million lines, readers on the same node."""

import http.client
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

from bench import load, open_loop
from bench.download import run_job
from bench.load import GIB, MIB
from bench.measure import (
    LOAD_CORE,
    SERVER_CORE,
    Failed,
    Sample,
    percentile,
    process_tree,
    rss_anon_bytes,
)
from bench.node import Node, object_path
from bench.peers import nginx
from bench.rows import Bar, Bench, Line, Row, compare

_SLOW_FILES, _SLOW_FILES_QUICK = 200, 64
_SLOW_FILE_BYTES = 5 * MIB
_SLOW_RATE = "2000000"  # bytes a second, of each connection
_CONNECTIONS = 32  # what a node gives one host unless it is told otherwise
_LINES, _LINES_QUICK = 1_000_000, 100_000
_LIST_TIMEOUT_S = 300.0
_READS_PER_SECOND = 500
_READ_BYTES = 10 * 1024
_READ_OBJECTS = 1_000


def slow(bench: Bench) -> list[Line]:
    """Files of 5 MiB from a server that limits each connection, by a job and by aria2c."""
    files = _SLOW_FILES_QUICK if bench.quick else _SLOW_FILES
    with (
        bench.node() as node,
        nginx(bench.scratch, core=LOAD_CORE, extra=f"limit_rate {_SLOW_RATE};") as source,
    ):
        payload = load.random_file(bench.scratch / "payload", _SLOW_FILE_BYTES).read_bytes()
        for number in range(files):
            (source.root / f"file{number:03d}").write_bytes(payload)
        turns = count()

        def ours() -> Sample:
            bucket = f"slow{next(turns)}"
            node.create_bucket(bucket)
            template = f"{source.url}/file{{000..{files - 1:03d}}}"
            request: dict[str, object] = {"type": "range", "bucket": {"name": bucket}, "template": template}
            elapsed, _ = run_job(node, request, objects=files)
            return Sample(files / elapsed)

        def by_aria2() -> Sample:
            folder = bench.scratch / f"aria2-{next(turns)}"
            folder.mkdir()
            listed = folder / "urls.txt"
            listed.write_text("".join(f"{source.url}/file{number:03d}\n" for number in range(files)))
            words = ["aria2c", "--quiet", "--no-conf", "--no-proxy=*", f"-j{_CONNECTIONS}"]
            began = time.perf_counter()
            load.run(
                [*words, "--dir", str(folder), "--input-file", str(listed)], timeout_s=120, core=SERVER_CORE
            )
            elapsed = time.perf_counter() - began
            shutil.rmtree(folder)
            return Sample(files / elapsed)

        pairs = bench.interleave(node, ours, by_aria2, most=3)
    work = f"download {files} × 5 MiB at 2 MB/s per connection / aria2c -j{_CONNECTIONS}"
    return [compare(work, pairs, Bar(0.97), unit="/s")]


def listed(bench: Bench) -> list[Line]:
    """A list with very many lines: until it is accepted and its first items are asked for."""
    lines = _LINES_QUICK if bench.quick else _LINES
    # A server that takes connections and says nothing: what is measured is all before the first answer.
    with bench.node() as node, socket.create_server(("127.0.0.1", 0), backlog=256) as silent:
        node.create_bucket("listed")
        (jobs,) = node.children("jobs")
        port = silent.getsockname()[1]
        peak = rss_anon_bytes(jobs)
        with _peaks(jobs) as memory:
            began = time.perf_counter()
            identity = _post_list(node, port, lines)
            connection, _ = silent.accept()
            elapsed = time.perf_counter() - began
            peak = max(peak, *memory)
        connection.close()
        status = json.loads(node.call("GET", "/v1/download", {"id": identity}))
        if status["total"] != lines:
            raise Failed(f"download: {status['total']} of {lines} lines were planned")
        node.call("DELETE", "/v1/download/abort", {"id": identity})
    shown = f"list of {lines:,} lines"
    return [
        Line(f"{shown}, accepted, planned and begun", elapsed, Bar(20.0, at_least=False, unit="s")),
        Line(f"{shown}: the job worker's RssAnon", peak / MIB, Bar(300.0, at_least=False, unit="MiB")),
    ]


def _post_list(node: Node, port: int, lines: int) -> str:
    """Send a list job line by line, as it would come from a pipe; the job's id."""

    def body() -> Iterator[bytes]:
        yield json.dumps({"type": "list", "bucket": {"name": "listed"}}).encode() + b"\n"
        for start in range(0, lines, 1000):
            yield b"".join(
                b'{"link": "http://127.0.0.1:%d/data/%09d.bin", "name": "set/%09d.bin"}\n' % (port, at, at)
                for at in range(start, min(lines, start + 1000))
            )

    connection = http.client.HTTPConnection(node.host, node.port, timeout=_LIST_TIMEOUT_S)
    try:
        headers = {"Content-Type": "application/x-ndjson"}
        connection.request("POST", "/v1/download", body=body(), headers=headers, encode_chunked=True)
        response = connection.getresponse()
        answer = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise Failed(f"POST of a list: {response.status} {answer[:300]!r}")
    return str(json.loads(answer)["id"])


@contextmanager
def _peaks(pid: int) -> Iterator[list[int]]:
    """RssAnon of a process, in bytes, many times a second while the block runs."""
    seen = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            seen.append(rss_anon_bytes(pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


def beside(bench: Bench) -> list[Line]:
    """GETs at a fixed rate, alone and while a job writes as fast as the disk takes it."""
    size_gib = 0.5 if bench.quick else 2.0
    with bench.node() as node, nginx(bench.scratch, core=LOAD_CORE) as source:
        for pid in process_tree(source.pid):
            os.setpriority(os.PRIO_PROCESS, pid, 19)  # it shares a core with who measures
        load.random_file(source.root / "large", int(size_gib * GIB))
        for bucket in ("read", "large"):
            node.create_bucket(bucket)
        payload = load.random_file(bench.scratch / "payload", _READ_BYTES).read_bytes()
        for number in range(_READ_OBJECTS):
            node.put("read", f"o{number:04d}", payload)
        turns = count()
        ratios, idles, loadeds = [], [], []
        for _ in range(bench.pairs):
            idle = _p99_ms(node, seconds=2 * bench.seconds)
            with _saturated(node, source.url, turns):
                loaded = _p99_ms(node, seconds=2 * bench.seconds)
            idles.append(idle)
            loadeds.append(loaded)
            ratios.append(loaded / idle)
    middle = percentile(ratios, 0.5)
    return [
        Line(
            f"p99 of GET 10 KiB at {_READS_PER_SECOND}/s beside a job that saturates the disk / idle",
            middle,
            Bar(2.0, at_least=False),
            ours=f"{percentile(loadeds, 0.5):.2f} ms",
            peer=f"{percentile(idles, 0.5):.2f} ms",
        )
    ]


@contextmanager
def _saturated(node: Node, url: str, turns: "count[int]") -> Iterator[None]:
    """A job of several copies of a large file runs, from when its first bytes have come on."""
    names = [f"copy{next(turns)}" for _ in range(8)]
    objects = dict.fromkeys(names, f"{url}/large")
    request = {"type": "multi", "bucket": {"name": "large"}, "objects": objects}
    identity = json.loads(node.call("POST", "/v1/download", request))["id"]

    def status() -> dict[str, object]:
        return dict(json.loads(node.call("GET", "/v1/download", {"id": identity})))

    while not status().get("bytes"):
        time.sleep(0.05)
    try:
        yield
        if not str(status()["finished_time"]).startswith("1970-"):
            raise Failed("the job was over before the measurement was")
    finally:
        node.call("DELETE", "/v1/download/abort", {"id": identity})
        for name in names:
            try:
                node.call("DELETE", object_path("large", name))
            except Failed:
                pass  # it had not come yet


def _p99_ms(node: Node, *, seconds: float) -> float:
    """The 99th percentile of GETs at the rate, in turn over the objects."""
    took_ms = open_loop.times_ms(
        node.host,
        node.port,
        lambda number: object_path("read", f"o{number * 7 % _READ_OBJECTS:04d}"),
        reads=int(seconds * _READS_PER_SECOND),
        per_second=_READS_PER_SECOND,
    )
    return percentile(took_ms, 0.99)


ROWS = [
    Row("download-slow", slow, needs=("nginx", "aria2c")),
    Row("download-list", listed),
    Row("download-beside", beside, needs=("nginx",)),
]
