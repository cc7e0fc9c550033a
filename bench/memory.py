"""Memory of a worker: idle, and how much it grows while large objects stream in and out."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from bench import load
from bench.load import GIB, MIB
from bench.measure import rss_anon_bytes
from bench.node import Node, object_path
from bench.rows import Bar, Bench, Line, Row

_STREAMS = 4
_SETTLE_S = 1.0
_SAMPLE_INTERVAL_S = 0.02


def memory(bench: Bench) -> list[Line]:
    """RssAnon of the one worker; four objects at once, first in, then out."""
    size_bytes = GIB // 2 if bench.quick else 2 * GIB
    source = bench.scratch / "sparse.bin"
    with source.open("wb") as file:
        file.truncate(size_bytes)  # what is uploaded costs no disk on this side
    with bench.node() as node:
        node.create_bucket("memory")
        time.sleep(_SETTLE_S)
        (worker,) = node.children("worker")
        idle = rss_anon_bytes(worker)
        grown_in = _peak_while(worker, lambda: _upload_all(node, source)) - idle
        grown_out = _peak_while(worker, lambda: _read_all(node, size_bytes)) - idle
    shown = f"{_STREAMS} × {size_bytes / GIB:g} GiB"
    small, large = (Bar(limit, at_least=False, unit="MiB") for limit in (60, 64))
    return [
        Line("memory of an idle worker (RssAnon)", idle / MIB, small),
        Line(f"its growth while {shown} stream in", grown_in / MIB, large),
        Line(f"its growth while {shown} stream out", grown_out / MIB, large),
    ]


def _peak_while(worker: int, work: Callable[[], None]) -> int:
    """The largest RssAnon seen, in bytes, while `work` runs."""
    with ThreadPoolExecutor(1) as pool:
        done: Future[None] = pool.submit(work)
        peak = rss_anon_bytes(worker)
        while not done.done():
            peak = max(peak, rss_anon_bytes(worker))
            time.sleep(_SAMPLE_INTERVAL_S)
        done.result()
    return peak


def _upload_all(node: Node, source: Path) -> None:
    urls = [node.url + object_path("memory", f"large{number}") for number in range(_STREAMS)]
    with ThreadPoolExecutor(_STREAMS) as pool:
        list(pool.map(lambda url: load.upload(url, source, timeout_s=300), urls))


def _read_all(node: Node, size_bytes: int) -> None:
    """Four curls, each reads another object whole."""

    def read(number: int) -> None:
        url = node.url + object_path("memory", f"large{number}")
        quiet = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "-o", "/dev/null"]
        got = load.run([*quiet, "-w", "%{size_download}", url], timeout_s=300)
        assert int(got) == size_bytes, got

    with ThreadPoolExecutor(_STREAMS) as pool:
        list(pool.map(read, range(_STREAMS)))


ROWS = [Row("memory", memory, needs=("curl",))]
