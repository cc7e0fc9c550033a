"""Remote buckets: cold and warm reads of a node whose source is a second node, as an S3 endpoint.

The source shares its core with the load; the node has its own. Direct reads go to the source itself.
"""

import hashlib
import json
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from botocore.session import Session

from bench import load, machine
from bench.fill import fill_bucket
from bench.listing import walk
from bench.load import GIB, MIB, Server
from bench.measure import LOAD_CORE, SERVER_CORE, Failed, Sample, cpu_seconds, percentile
from bench.node import Node, node, object_path
from bench.rows import Bar, Bench, Line, Row, compare

_BUCKET = "data"
_SMALL_BYTES = 10 * 1024
_WAIT_S = 60.0


class Front(NamedTuple):
    """A node, and the node that is its source."""

    node: Node
    source: Node

    def evict(self) -> None:
        """Forget what is kept of the bucket."""
        message = {"action": "evict-remote-bck", "value": {"keep_bck_md": True}}
        self.node.call("DELETE", f"/v1/buckets/{_BUCKET}?provider=aws&keep_bck_md=true", message)

    def has(self, name: str) -> bool:
        """Whether the node keeps an object."""
        try:
            self.node.call("HEAD", f"{remote_path(name)}&flt_presence=2")
        except Failed:
            return False
        return True


def remote_path(name: str) -> str:
    """The path of an object of the remote bucket in the native API."""
    return f"{object_path(_BUCKET, name)}?provider=aws"


def environment_for(source: Node) -> Mapping[str, str]:
    """What makes a node take `source` for Amazon."""
    account = {"AWS_ACCESS_KEY_ID": "AKIDBENCH", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
    return {**account, "AWS_ENDPOINT_URL": f"{source.url}/s3", "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def front_of(bench: Bench, source: Node) -> Iterator[Front]:
    """A node in front of a source that is filled already."""
    with bench.node(environment=environment_for(source)) as made:
        yield Front(made, source)


class _Reader:
    """One keep-alive connection to a node."""

    def __init__(self, server: Node) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=_WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{server.host}:{server.port}"
        self._buffer = bytearray(256 * 1024)

    def get(self, path: str) -> int:
        """Read an object whole; its length."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        length = left = load.read_head(self._socket)
        while left:
            if not (got := self._socket.recv_into(self._buffer, min(left, len(self._buffer)))):
                raise Failed(f"{path}: the answer was cut off")
            left -= got
        return length

    def get_ms(self, path: str) -> float:
        """How long that takes."""
        began = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - began) * 1000

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def cold_small(bench: Bench) -> list[Line]:
    """Each object once: directly at the source, and through a node that does not have it."""
    objects = 300 if bench.quick else 2000
    names = [f"small{number:06d}" for number in range(objects)]
    with node(bench.scratch, core=LOAD_CORE) as source:
        fill_bucket(source, _BUCKET, names, payload=b"x" * _SMALL_BYTES)
        with front_of(bench, source) as front:
            through, direct = _Reader(front.node), _Reader(source)
            through.get(remote_path(names[0]))  # the bucket becomes known
            cold_ms, direct_ms = [], []
            for name in names[1:]:
                direct_ms.append(direct.get_ms(f"/s3/{_BUCKET}/{name}"))
                cold_ms.append(through.get_ms(remote_path(name)))
            through.close()
            direct.close()
    lines = []
    for share, bar in (
        (0.5, Bar(1.5, 0.8, at_least=False, unit="ms")),
        (0.99, Bar(4, at_least=False, unit="ms")),
    ):
        cold, plain = percentile(cold_ms, share), percentile(direct_ms, share)
        work = f"cold GET 10 KiB, one connection, p{share * 100:g} beyond the direct GET"
        lines.append(Line(work, cold - plain, bar, f"{cold:.2f} ms", f"{plain:.2f} ms"))
    return lines


def cold_large(bench: Bench) -> list[Line]:
    """One large object, kept durably, beside curl from the source and `sync FILE`."""
    size = (GIB // 4) if bench.quick else GIB
    lines = []
    for parts, bar in ((True, Bar(0.8, 1.0)), (False, Bar(0.45, 1.0))):
        with node(bench.scratch, core=LOAD_CORE) as source:
            _upload(source, load.random_file(bench.scratch / "large.bin", size), in_parts=parts)
            with front_of(bench, source) as front:
                pairs = bench.interleave(
                    front.node,
                    partial(_kept, front, size),
                    partial(_copied, source, bench.scratch / "copy", size),
                    most=3,
                )
        told = "a multipart ETag" if parts else "an MD5"
        work = f"cold GET {size / GIB:g} GiB with {told}, kept / curl + sync FILE"
        lines.append(compare(work, pairs, bar, unit="GiB/s", cpu_unit="s/GiB"))
    return lines


def _upload(source: Node, file: Path, *, in_parts: bool) -> None:
    path = f"/s3/{_BUCKET}/large"
    source.call("PUT", f"/s3/{_BUCKET}")
    if not in_parts:
        load.upload(source.url + path, file, timeout_s=120)
        return
    upload = source.call("POST", f"{path}?uploads").decode().partition("<UploadId>")[2].partition("<")[0]
    listed = ""
    with file.open("rb") as payload:
        for number in count(1):
            if not (part := payload.read(64 * MIB)):
                break
            etag = _put_part(source, f"{path}?partNumber={number}&uploadId={upload}", part)
            listed += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
    body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
    source.call("POST", f"{path}?uploadId={upload}", body)


def _put_part(source: Node, path: str, part: bytes) -> str:
    """The ETag of an uploaded part, which is the MD5 of its bytes."""
    source.call("PUT", path, part)
    return f'"{hashlib.md5(part).hexdigest()}"'


def _kept(front: Front, size: int) -> Sample:
    """Read through the node once, until it keeps the object."""
    before, began = cpu_seconds(front.node.pid), time.perf_counter()
    load.run(["curl", "-sSf", "-o", "/dev/null", front.node.url + remote_path("large")], timeout_s=_WAIT_S)
    while not front.has("large"):
        if time.perf_counter() - began > _WAIT_S:
            raise Failed("a cold object was not kept")
        time.sleep(0.005)
    elapsed, used = time.perf_counter() - began, cpu_seconds(front.node.pid) - before
    front.evict()
    return Sample(size / GIB / elapsed, cpu=used / (size / GIB))


def _copied(source: Node, file: Path, size: int) -> Sample:
    """Fetched by curl from the source, on the node's core, and synced."""
    link = f"{source.url}/s3/{_BUCKET}/large"
    began = time.perf_counter()
    load.run(["curl", "-sSf", "-o", str(file), link], timeout_s=_WAIT_S, core=SERVER_CORE)
    load.sync_file(file, core=SERVER_CORE)
    elapsed = time.perf_counter() - began
    file.unlink()
    return Sample(size / GIB / elapsed)


def herd(bench: Bench) -> list[Line]:
    """Many clients ask for one cold object at once, beside the same for a warm one."""
    clients, size = (20, 64 * MIB) if bench.quick else (100, 256 * MIB)
    with node(bench.scratch, core=LOAD_CORE) as source:
        _upload(source, load.random_file(bench.scratch / "large.bin", size), in_parts=True)
        with front_of(bench, source) as front:

            def together() -> Sample:
                began = time.perf_counter()
                _ask_together(front, clients, size)
                return Sample(clients * size / GIB / (time.perf_counter() - began))

            def cold() -> Sample:
                front.evict()
                asked = _reads(source)
                sample = together()
                if (asked := _reads(source) - asked) != 1:
                    raise Failed(f"{asked} GETs at the source, not one")
                return sample

            def warm() -> Sample:
                _Reader(front.node).get(remote_path("large"))
                return together()

            pairs = bench.interleave(front.node, cold, warm, most=3)
    work = f"{clients} clients, one cold object of {size // MIB} MiB (one GET at its source) / a warm one"
    return [compare(work, pairs, Bar(0.7), unit="GiB/s")]


def _ask_together(front: Front, clients: int, size: int) -> None:
    """One object over so many connections at once, by one process that costs little itself."""
    command = ["curl", "-sSf", "--parallel", "--parallel-immediate", "--parallel-max", str(clients)]
    for _ in range(clients):
        command += ["-o", "/dev/null", front.node.url + remote_path("large")]
    told = load.run([*command, "-w", "%{size_download} %{num_connects}\\n"], timeout_s=_WAIT_S)
    if told.splitlines() != [f"{size} 1"] * clients:
        raise Failed(f"answers of other lengths, or over fewer connections: {told[:200]!r}")


def _reads(server: Node) -> int:
    """How many objects a node has read for anybody."""
    for line in server.call("GET", "/metrics").decode().splitlines():
        if line.startswith("ais_target_get_count"):
            return int(float(line.split()[-1]))
    raise Failed("the source tells no count of GETs")


def prefetch(bench: Bench) -> list[Line]:
    """A prefix of small objects, prefetched, beside `s5cmd cp` of it to a folder."""
    objects = 1000 if bench.quick else 5000
    names = [f"train/{number:06d}" for number in range(objects)]
    with node(bench.scratch, core=LOAD_CORE) as source:
        fill_bucket(source, _BUCKET, names, payload=b"x" * _SMALL_BYTES)
        with front_of(bench, source) as front:
            turns = count()

            def ours() -> Sample:
                front.evict()
                before, began = cpu_seconds(front.node.pid), time.perf_counter()
                _prefetch(front, "train/", objects)
                used = cpu_seconds(front.node.pid) - before
                return Sample(objects / (time.perf_counter() - began), cpu=used / objects * 1e6)

            def s5cmd() -> Sample:
                folder = bench.scratch / f"copy{next(turns)}"
                return _s5cmd(source, folder, objects)

            front.node.call("HEAD", remote_path(names[0]))
            pairs = bench.interleave(front.node, ours, s5cmd)
    return [compare(f"prefetch {objects:,} × 10 KiB / s5cmd cp", pairs, Bar(2.0, 4.0), unit="/s")]


def _prefetch(front: Front, prefix: str, objects: int) -> None:
    """Run the job to its end."""
    message = {"action": "prefetch-listrange", "value": {"template": "", "prefix": prefix}}
    answer = front.node.call("POST", f"/v1/buckets/{_BUCKET}?provider=aws", message)
    identity = answer.decode().strip('"\n')
    deadline = time.perf_counter() + _WAIT_S
    while True:
        body = {"id": identity}
        told = json.loads(front.node.call("GET", "/v1/cluster?what=status", body))
        if told.get("end_time"):
            break
        if time.perf_counter() > deadline:
            raise Failed("the prefetch does not end")
        time.sleep(0.05)
    if not all(front.has(f"{prefix}{number:06d}") for number in (0, objects // 2, objects - 1)):
        raise Failed(f"the prefetch left objects out: {told}")


def _s5cmd(source: Node, folder: Path, objects: int) -> Sample:
    command = [machine.program("s5cmd") or "s5cmd", "--no-sign-request", "--endpoint-url", f"{source.url}/s3"]
    began = time.perf_counter()
    load.run([*command, "cp", f"s3://{_BUCKET}/train/*", f"{folder}/"], timeout_s=_WAIT_S, core=SERVER_CORE)
    elapsed = time.perf_counter() - began
    found = sum(1 for _ in folder.iterdir())
    if found != objects:
        raise Failed(f"s5cmd copied {found} of {objects} objects")
    return Sample(objects / elapsed)


def warm(bench: Bench) -> list[Line]:
    """Processor time of a warm GET of a remote bucket, beside the node's own."""
    names = [f"small{number:06d}" for number in range(1000)]
    with node(bench.scratch, core=LOAD_CORE) as source:
        fill_bucket(source, _BUCKET, names, payload=b"x" * _SMALL_BYTES)
        with front_of(bench, source) as front:
            reader = _Reader(front.node)
            front.node.create_bucket("own")
            for name in names:
                reader.get(remote_path(name))
                front.node.put("own", name, b"x" * _SMALL_BYTES)
            reader.close()
            server = Server(front.node.url, front.node.pid)
            lines = bench.scratch / "requests.txt"

            def turn(paths: list[str]) -> Sample:
                lines.write_text("".join(f"{path}\n" for path in paths), encoding="ascii")
                return load.get_signed(server, lines, connections=32, seconds=bench.seconds)

            pairs = bench.interleave(
                front.node,
                partial(turn, [remote_path(name) for name in names]),
                partial(turn, [object_path("own", name) + "?provider=ais" for name in names]),
            )
    line = compare("", pairs, Bar(1.05, at_least=False), unit="/s")
    work = "warm GET 10 KiB of a remote bucket, CPU-µs / of an own one"
    return [Line(work, statistics.median([pairs.cpu_ratio()]), line.bar, line.ours, line.peer, line.cpu)]


def listing(bench: Bench) -> list[Line]:
    """A remote bucket listed in MessagePack, and by botocore; the peer is botocore at the source."""
    objects = 20_000 if bench.quick else 100_000
    names = [f"train/{number // 1000:04d}/{number % 1000:04d}.jpg" for number in range(objects)]
    with node(bench.scratch, core=LOAD_CORE) as source:
        fill_bucket(source, _BUCKET, names)
        with front_of(bench, source) as front:
            direct = partial(_listed_by_botocore, source.url, objects)
            _Reader(front.node).get(remote_path(names[0]))

            def ours() -> Sample:
                walked = walk(front.node, f"{_BUCKET}?provider=aws", objects=objects)
                return Sample(walked.keys_per_second, cpu=walked.cpu_s / objects * 1e6)

            native = bench.interleave(front.node, ours, direct, most=3)
            through = bench.interleave(
                front.node, partial(_listed_by_botocore, front.node.url, objects), direct, most=3
            )
    work = f"list {objects:,} objects of a remote bucket"
    return [
        compare(f"{work}, MessagePack / botocore at the source", native, Bar(5.0), unit="keys/s"),
        compare(f"{work}, botocore through S3 / at the source", through, Bar(0.9), unit="keys/s"),
    ]


def _listed_by_botocore(url: str, objects: int) -> Sample:
    client = Session().create_client(
        "s3",
        endpoint_url=f"{url}/s3",
        region_name="us-east-1",
        aws_access_key_id="AKIDBENCH",
        aws_secret_access_key="secret",
    )
    began, found = time.perf_counter(), 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET):
        found += len(page.get("Contents", ()))
    if found != objects:
        raise Failed(f"botocore listed {found} objects of {objects}")
    return Sample(objects / (time.perf_counter() - began))


ROWS = [
    Row("remote-list", listing),
    Row("remote-cold-small", cold_small),
    Row("remote-cold-large", cold_large, needs=("curl", "sync")),
    Row("remote-herd", herd, needs=("curl",)),
    Row("remote-prefetch", prefetch, needs=("s5cmd",)),
    Row("remote-warm", warm, needs=("wrk",)),
]
