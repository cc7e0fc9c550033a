"""GET: small objects, large objects, small ones beside large ones, and large ones over TLS."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from threading import Thread

from bench import load
from bench.load import MIB, Server
from bench.measure import SERVER_CORE, Failed, Sample
from bench.node import Node, object_path
from bench.peers import nginx, self_signed
from bench.rows import Bar, Bench, Line, Row, compare

_BUCKET = "bench"
_SMALL_BYTES = 10 * 1024
_SMALL_COUNT = 1000
_LARGE_BYTES = 256 * MIB


def _fill_small(node: Node, root: Path, scratch: Path) -> None:
    """The same small objects on both sides."""
    payloads = load.random_file(scratch / "small.bin", _SMALL_COUNT * _SMALL_BYTES).read_bytes()
    for number in range(_SMALL_COUNT):
        payload = payloads[number * _SMALL_BYTES : (number + 1) * _SMALL_BYTES]
        node.put(_BUCKET, f"small{number:06d}", payload)
        (root / f"small{number:06d}").write_bytes(payload)


def small(bench: Bench) -> list[Line]:
    """GET of 10 KiB over 32 connections, 1,000 objects in turn."""
    with bench.node() as node, nginx(bench.scratch) as peer:
        node.create_bucket(_BUCKET)
        _fill_small(node, peer.root, bench.scratch)
        run = partial(load.get_many, count=_SMALL_COUNT, connections=32, seconds=bench.seconds)
        pairs = bench.interleave(
            node,
            lambda: run(Server(node.url, node.pid), object_path(_BUCKET, "small")),
            lambda: run(Server(peer.url, peer.pid), "/small"),
        )
    return [compare("GET 10 KiB, 32 connections / nginx static", pairs, Bar(0.55, 0.75), unit="/s")]


def large(bench: Bench) -> list[Line]:
    """GET of 256 MiB over 4 connections, and the latency of small GETs beside it."""
    with bench.node() as node, nginx(bench.scratch) as peer:
        node.create_bucket(_BUCKET)
        _fill_small(node, peer.root, bench.scratch)
        source = load.random_file(peer.root / "large", _LARGE_BYTES)
        load.upload(node.url + object_path(_BUCKET, "large"), source, timeout_s=60)
        ours, theirs = Server(node.url, node.pid), Server(peer.url, peer.pid)
        run = partial(load.read_large, connections=4, seconds=bench.seconds)
        pairs = bench.interleave(
            node, lambda: run(ours, object_path(_BUCKET, "large")), lambda: run(theirs, "/large")
        )
        beside = bench.interleave(
            node,
            lambda: _beside(bench, ours, object_path(_BUCKET, "")),
            lambda: _beside(bench, theirs, "/"),
            most=3,
        )
    line = compare("GET 256 MiB, 4 connections / nginx", pairs, Bar(1.4, 1.8), unit="GiB/s", cpu_unit="s/GiB")
    waits = [sample.p99_ms or 0.0 for sample in beside.ours]
    quick = compare("", beside, Bar(10, at_least=False, unit="ms"), unit="/s")
    work = "p99 of GET 10 KiB, 4 connections, beside it"
    return [
        line,
        Line(work, sorted(waits)[len(waits) // 2], quick.bar, quick.ours, quick.peer, p99=quick.p99),
    ]


def _beside(bench: Bench, server: Server, prefix: str) -> Sample:
    """Small GETs while four connections read the large object.

    wrk runs before the large reader, which fills the load's core: its own waiting for that core is
    not the server's latency.
    """
    failures: list[BaseException] = []

    def read() -> None:
        try:
            load.read_large(server, prefix + "large", connections=4, seconds=bench.seconds + 1)
        except (Failed, OSError) as error:
            failures.append(error)

    reader = Thread(target=read)
    reader.start()
    try:
        return load.get_many(
            server, prefix + "small", _SMALL_COUNT, connections=4, seconds=bench.seconds, nice=-15
        )
    finally:
        reader.join()
        if failures:
            raise failures[0]


def tls(bench: Bench) -> list[Line]:
    """GET of 256 MiB over TLS 1.3 with AES-256-GCM: processor time of the server."""
    with ExitStack() as stack:
        certificate = self_signed(bench.scratch)
        node = stack.enter_context(bench.node(certificate=certificate))
        peer = stack.enter_context(nginx(bench.scratch, core=SERVER_CORE, certificate=certificate))
        node.create_bucket(_BUCKET)
        payload = load.random_file(peer.root / "large", _LARGE_BYTES).read_bytes()
        node.put(_BUCKET, "large", payload)
        run = partial(load.read_tls, certificate=certificate.chain, times=2 if bench.quick else 4)
        pairs = bench.interleave(
            node,
            lambda: run(Server(node.url, node.pid), object_path(_BUCKET, "large")),
            lambda: run(Server(peer.tls_url, peer.pid), "/large"),
        )
    line = compare("", pairs, Bar(1.25, 1.0, at_least=False), unit="GiB/s", cpu_unit="s/GiB")
    work = "TLS GET 256 MiB, CPU-s/GiB / nginx"
    return [Line(work, pairs.cpu_ratio(), line.bar, line.ours, line.peer, line.cpu)]


ROWS = [
    Row("get-small", small, needs=("nginx", "wrk")),
    Row("get-large", large, needs=("nginx", "wrk", "curl")),
    Row("get-tls", tls, needs=("nginx", "openssl")),
]
