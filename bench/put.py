"""PUT: small durable objects, the same over many workers, and large ones."""

from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

from bench import load
from bench.load import MIB, Server
from bench.measure import SERVER_CORE, Sample, cpu_seconds
from bench.node import Node, object_path
from bench.peers import Nginx, nginx
from bench.rows import Bar, Bench, Line, Row, compare

_BUCKET = "bench"
_SMALL_BYTES = 10 * 1024
_BODIES = 64
_CONNECTIONS = 32
_LARGE_BYTES = 256 * MIB


def _put_to_node(node: Node, bodies: Path, bench: Bench) -> Callable[[], Sample]:
    """A turn of PUTs to the node, under names that no turn before it used."""
    turns = count()
    run = partial(load.put_many, connections=_CONNECTIONS, seconds=bench.seconds)
    server = Server(node.url, node.pid)
    return lambda: run(server, object_path(_BUCKET, f"{next(turns)}-"), bodies, _SMALL_BYTES)


def _put_to_nginx(peer: Nginx, bodies: Path, bench: Bench) -> Callable[[], Sample]:
    """A turn of PUTs to nginx, each into a new folder; they go with nginx."""
    turns = count()

    def turn() -> Sample:
        folder = peer.root / "dav" / str(next(turns))
        folder.mkdir()
        run = partial(load.put_many, connections=_CONNECTIONS, seconds=bench.seconds)
        return run(Server(peer.url, peer.pid), f"/dav/{folder.name}/", bodies, _SMALL_BYTES)

    return turn


def small(bench: Bench) -> list[Line]:
    """PUT of 10 KiB, new names, 32 connections; ours is on disk when it is answered."""
    bodies = load.random_file(bench.scratch / "bodies.bin", _BODIES * _SMALL_BYTES)
    with bench.node() as node, nginx(bench.scratch) as peer:
        node.create_bucket(_BUCKET)
        pairs = bench.interleave(node, _put_to_node(node, bodies, bench), _put_to_nginx(peer, bodies, bench))
    return [compare("PUT 10 KiB, durable / nginx DAV (no sync)", pairs, Bar(0.8, 1.5), unit="/s")]


def workers(bench: Bench) -> list[Line]:
    """The same with eight workers (on the one core) beside one worker."""
    bodies = load.random_file(bench.scratch / "bodies.bin", _BODIES * _SMALL_BYTES)
    with bench.node(workers=8) as many, bench.node() as one:
        many.create_bucket(_BUCKET)
        one.create_bucket(_BUCKET)
        pairs = bench.interleave(many, _put_to_node(many, bodies, bench), _put_to_node(one, bodies, bench))
    return [compare("PUT 10 KiB, --workers 8 / --workers 1", pairs, Bar(0.7, 1.0), unit="/s")]


def large(bench: Bench) -> list[Line]:
    """PUT of 256 MiB with `curl -T`; the peer's time includes `sync FILE`."""
    source = load.random_file(bench.scratch / "large.bin", _LARGE_BYTES)
    size_gib = _LARGE_BYTES / load.GIB
    turns = count()
    with bench.node() as node, nginx(bench.scratch) as peer:
        node.create_bucket(_BUCKET)

        def to_node() -> Sample:
            name, before = f"large{next(turns)}", cpu_seconds(node.pid)
            elapsed = load.upload(node.url + object_path(_BUCKET, name), source, timeout_s=120)
            used = cpu_seconds(node.pid) - before
            node.call("DELETE", object_path(_BUCKET, name))
            return Sample(size_gib / elapsed, cpu=used / size_gib)

        def to_nginx() -> Sample:
            file, before = peer.root / "dav" / f"large{next(turns)}", cpu_seconds(peer.pid)
            elapsed = load.upload(f"{peer.url}/dav/{file.name}", source, timeout_s=120)
            elapsed += load.sync_file(file, core=SERVER_CORE)
            used = cpu_seconds(peer.pid) - before
            file.unlink()
            return Sample(size_gib / elapsed, cpu=used / size_gib)

        pairs = bench.interleave(node, to_node, to_nginx)
    return [
        compare("PUT 256 MiB / nginx DAV + sync FILE", pairs, Bar(0.6, 1.0), unit="GiB/s", cpu_unit="s/GiB")
    ]


ROWS = [
    Row("put-small", small, needs=("nginx", "wrk")),
    Row("put-workers", workers, needs=("wrk",)),
    Row("put-large", large, needs=("nginx", "curl", "sync")),
]
