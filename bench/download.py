"""Downloads: many small files, once and once more, and one large file, beside curl and aria2c.

nginx serves the files from the load's core; who downloads runs on the servers' core.
"""

import json
import time
from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path

from bench import load
from bench.load import GIB
from bench.measure import LOAD_CORE, SERVER_CORE, Failed, Sample, cpu_seconds, ended_children_cpu_s
from bench.node import Node
from bench.peers import Nginx, nginx
from bench.rows import Bar, Bench, Line, Row, compare

_SMALL_BYTES = 10 * 1024
_FILES, _FILES_QUICK = 5_000, 1_000
_POLL_S = 0.1
_JOB_TIMEOUT_S = 120.0


def run_job(node: Node, request: dict[str, object], *, objects: int) -> tuple[float, float]:
    """Run a download job; seconds until all of it is durable, and the node's processor time.

    The job says itself when it was finished: asking more often would cost the servers' core.
    """
    before, began = cpu_seconds(node.pid), time.time()
    identity = json.loads(node.call("POST", "/v1/download", request))["id"]
    while time.time() - began < _JOB_TIMEOUT_S:
        jobs = json.loads(node.call("GET", "/v1/download", {"regex": "", "only_active_tasks": False}))
        (job,) = [job for job in jobs if job["id"] == identity]
        if job["error_cnt"]:
            raise Failed(f"download: {job['error_cnt']} of {objects} objects failed")
        finished_s = datetime.fromisoformat(job["finished_time"]).timestamp()
        if finished_s > 0:
            if job["finished_cnt"] != objects:
                raise Failed(f"download: {job['finished_cnt']} of {objects} objects arrived")
            return finished_s - began, cpu_seconds(node.pid) - before
        time.sleep(_POLL_S)
    raise Failed(f"download: not finished after {_JOB_TIMEOUT_S} s")


def small(bench: Bench) -> list[Line]:
    """Many files of 10 KiB by one job, by one curl, by one aria2c."""
    files = _FILES_QUICK if bench.quick else _FILES
    with bench.node() as node, nginx(bench.scratch, core=LOAD_CORE) as source:
        payload = load.random_file(bench.scratch / "payload", files * _SMALL_BYTES).read_bytes()
        for number in range(files):
            chunk = payload[number * _SMALL_BYTES : (number + 1) * _SMALL_BYTES]
            (source.root / f"file{number:06d}").write_bytes(chunk)
        turns = count()

        def ours() -> Sample:
            bucket = f"small{next(turns)}"
            node.create_bucket(bucket)
            template = f"{source.url}/file{{000000..{files - 1:06d}}}"
            request: dict[str, object] = {"type": "range", "bucket": {"name": bucket}, "template": template}
            elapsed, used = run_job(node, request, objects=files)
            return Sample(files / elapsed, cpu=used / files * 1e6)

        _warm_up(source, files)
        by_curl = bench.interleave(node, ours, _to_files(bench, files, source, _curl))
        by_aria2 = bench.interleave(node, ours, _to_files(bench, files, source, _aria2), most=3)
    shown = f"download {files:,} × 10 KiB, durable"
    return [
        compare(f"{shown} / curl --parallel-max 50", by_curl, Bar(1.2, 1.5), unit="/s"),
        compare(f"{shown} / aria2c -j16", by_aria2, Bar(10.0), unit="/s"),
    ]


def again(bench: Bench) -> list[Line]:
    """A job once more, with nothing changed: time of the second run over that of the first."""
    files = _FILES_QUICK if bench.quick else _FILES
    with bench.node() as node, nginx(bench.scratch, core=LOAD_CORE) as source:
        payload = load.random_file(bench.scratch / "payload", files * _SMALL_BYTES).read_bytes()
        for number in range(files):
            chunk = payload[number * _SMALL_BYTES : (number + 1) * _SMALL_BYTES]
            (source.root / f"file{number:06d}").write_bytes(chunk)
        turns = count()
        template = f"{source.url}/file{{000000..{files - 1:06d}}}"

        def run(bucket: str) -> Sample:
            request: dict[str, object] = {"type": "range", "bucket": {"name": bucket}, "template": template}
            elapsed, used = run_job(node, request, objects=files)
            return Sample(files / elapsed, cpu=used / files * 1e6)

        def first() -> Sample:
            bucket = f"again{next(turns)}"
            node.create_bucket(bucket)
            return run(bucket)

        def second() -> Sample:
            # Made here, so that each is the second run of its bucket, whichever side goes first.
            bucket = f"again{next(turns)}"
            node.create_bucket(bucket)
            run(bucket)
            return run(bucket)

        _warm_up(source, files)
        pairs = bench.interleave(node, second, first)
    line = compare("", pairs, Bar(0.7, 0.55, at_least=False), unit="/s")
    work = f"time of a second run of {files:,} unchanged × 10 KiB / the first"
    return [Line(work, 1 / pairs.ratio(), line.bar, line.ours, line.peer, line.cpu, line.p99)]


def _warm_up(source: Nginx, files: int) -> None:
    """The source's files once through its server, so that no side pays for the first reading."""
    server = load.Server(source.url, source.pid)
    load.get_many(server, "/file", files, connections=8, seconds=1)


def _to_files(
    bench: Bench, files: int, source: Nginx, command: Callable[[Path, list[str]], list[str]]
) -> Callable[[], Sample]:
    """A turn of a program that downloads into an empty folder; it syncs nothing.

    The folders stay until the row ends: who creates files where others have just been removed pays for
    them (see `disk.spread`), and curl took up to nine times as long.
    """
    turns = count()
    urls = [f"{source.url}/file{number:06d}" for number in range(files)]

    def turn() -> Sample:
        folder = bench.scratch / f"{command.__name__}{next(turns)}"
        folder.mkdir()
        words = command(folder, urls)
        before, began = ended_children_cpu_s(), time.perf_counter()
        load.run(words, timeout_s=_JOB_TIMEOUT_S, core=SERVER_CORE)
        elapsed, used = time.perf_counter() - began, ended_children_cpu_s() - before
        arrived = sum(1 for file in folder.glob("file*"))
        if arrived != files:
            raise Failed(f"{words[0]}: {arrived} of {files} files arrived")
        return Sample(files / elapsed, cpu=used / files * 1e6)

    return turn


def _curl(folder: Path, urls: list[str]) -> list[str]:
    configuration = folder / "curl.txt"
    lines = [f'url = "{url}"\noutput = "{folder}/{url.rpartition("/")[2]}"\n' for url in urls]
    configuration.write_text("".join(lines), encoding="utf-8")
    quiet = ["--silent", "--show-error", "--noproxy", "*"]
    return ["curl", *quiet, "--parallel", "--parallel-max", "50", "--config", str(configuration)]


def _aria2(folder: Path, urls: list[str]) -> list[str]:
    listed = folder / "urls.txt"
    listed.write_text("\n".join(urls) + "\n", encoding="utf-8")
    quiet = ["--quiet", "--no-conf", "--no-proxy=*"]
    return ["aria2c", *quiet, "-j16", "--dir", str(folder), "--input-file", str(listed)]


def large(bench: Bench) -> list[Line]:
    """One large file by a job, and by programs that then sync it: aria2c over eight connections, curl."""
    by_aria2 = ["aria2c", "--quiet", "--no-conf", "--no-proxy=*", "-x8", "-s8", "--dir=/", "--out"]
    by_curl = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", "--output"]
    return [
        _large(bench, 1.0 if bench.quick else 4.0, by_aria2, Bar(1.0, 1.2)),
        _large(bench, 0.5 if bench.quick else 2.0, by_curl, Bar(0.9, 1.0)),
    ]


def _large(bench: Bench, size_gib: float, command: list[str], bar: Bar) -> Line:
    """A file of that size by a job, and by a command that is to be followed by file name and link."""
    with bench.node() as node, nginx(bench.scratch, core=LOAD_CORE) as source:
        load.random_file(source.root / "large", int(size_gib * GIB))
        link = f"{source.url}/large"
        node.create_bucket("large")
        turns = count()

        def ours() -> Sample:
            name = f"large{next(turns)}"
            request = {"type": "single", "bucket": {"name": "large"}, "object_name": name, "link": link}
            elapsed, used = run_job(node, request, objects=1)
            node.call("DELETE", f"/v1/objects/large/{name}")
            return Sample(size_gib / elapsed, cpu=used / size_gib)

        def theirs() -> Sample:
            file = bench.scratch / f"{command[0]}-large{next(turns)}"
            before, began = ended_children_cpu_s(), time.perf_counter()
            load.run([*command, str(file), link], timeout_s=_JOB_TIMEOUT_S, core=SERVER_CORE)
            load.sync_file(file, core=SERVER_CORE)
            elapsed, used = time.perf_counter() - began, ended_children_cpu_s() - before
            file.unlink()
            return Sample(size_gib / elapsed, cpu=used / size_gib)

        pairs = bench.interleave(node, ours, theirs, most=3)
    with_options = "aria2c -x8" if command[0] == "aria2c" else command[0]
    work = f"download 1 × {size_gib:g} GiB / {with_options} + sync FILE"
    return compare(work, pairs, bar, unit="GiB/s", cpu_unit="s/GiB")


ROWS = [
    Row("download-small", small, needs=("nginx", "wrk", "curl", "aria2c")),
    Row("download-again", again, needs=("nginx", "wrk")),
    Row("download-large", large, needs=("nginx", "aria2c", "curl", "sync")),
]
