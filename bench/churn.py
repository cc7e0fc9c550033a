"""Overwrite churn: what a large index full of holes costs the next PUT."""

import random

from bench import load
from bench.fill import fill_bucket
from bench.load import GIB, Server
from bench.measure import Sample
from bench.node import object_path
from bench.rows import Bar, Bench, Line, Row, compare

_BUCKET = "churn"
_OBJECT_BYTES = 16 * 1024
_BODIES = 64
_CONNECTIONS = 32


def churn(bench: Bench) -> list[Line]:
    """PUT of 16 KiB into 5 GiB of index, half of it deleted at random, beside an empty index."""
    index_gib = 1 if bench.quick else 5
    objects = index_gib * GIB // _OBJECT_BYTES
    names = [f"old{number:08d}" for number in range(objects)]
    bodies = load.random_file(bench.scratch / "bodies.bin", _BODIES * _OBJECT_BYTES)
    payload = bodies.read_bytes()[:_OBJECT_BYTES]
    with bench.node() as worn, bench.node() as fresh:
        removed = random.Random(1).sample(names, objects // 2)
        fill_bucket(worn, _BUCKET, names, payload=payload, removed=removed)
        fresh.create_bucket(_BUCKET)
        turn = iter(range(1_000_000))

        def put(server: Server) -> Sample:
            prefix = object_path(_BUCKET, f"{next(turn)}-")
            return load.put_many(
                server, prefix, bodies, _OBJECT_BYTES, connections=_CONNECTIONS, seconds=bench.seconds
            )

        pairs = bench.interleave(
            worn,
            lambda: put(Server(worn.url, worn.pid)),
            lambda: put(Server(fresh.url, fresh.pid)),
        )
    line = compare("", pairs, Bar(1.5, at_least=False), unit="/s")
    work = f"time of PUT 16 KiB: {index_gib} GiB index, half deleted / empty index"
    return [Line(work, 1 / pairs.ratio(), line.bar, line.ours, line.peer, line.cpu, line.p99)]


ROWS = [Row("churn", churn, needs=("wrk",))]
