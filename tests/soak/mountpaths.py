"""More mountpaths, one after the other, while every object stays readable and is listed once."""

import time
from pathlib import Path
from typing import NamedTuple

from support.content import payload
from support.fsck import assert_clean
from support.load import read
from support.native import NativeClient
from support.node import RunningNode, running_node
from support.oracle import Oracle

BUCKET = "spread"
_SIZES = (0, 100, 10_240, 16_384, 16_385, 60_000)
_WATCHED_S = 3.0


class Spread(NamedTuple):
    """What the growing of a node showed."""

    objects: int
    passes: int
    """Complete reads and listings after additions, each of which found everything."""


def add_mountpaths(objects: int, folder: Path, *, watched_s: float = _WATCHED_S) -> Spread:
    """Objects on one mountpath, then two, then three, then a kill; all are there at any time."""
    oracle = Oracle()
    paths = [folder / f"disk{number}" for number in range(1, 4)]
    passes = 0
    with running_node(paths[:1]) as node:
        assert NativeClient(node.host, node.port).create_bucket(BUCKET).status == 200
        names = [f"set/{number:04d}" for number in range(objects)]
        _write(node, oracle, names)
        for number in (2, 3):
            node.restart(data=paths[:number])
            passes += _watch(node, oracle, watched_s)
            _write(node, oracle, names[number :: objects // 20 or 1])  # an overwrite drops the older copy
            _delete(node, oracle, names[number + 5 :: objects // 10 or 1])
            passes += _watch(node, oracle, 0)
        node.kill("all")
        node.restart()
        passes += _watch(node, oracle, watched_s)
        present = oracle.totals()[0]
        node.stop()
        assert_clean(paths)
    return Spread(present, passes)


def _write(node: RunningNode, oracle: Oracle, names: list[str]) -> None:
    client = NativeClient(node.host, node.port)
    for number, name in enumerate(names):
        operation = oracle.begin(name, _SIZES[number % len(_SIZES)])
        assert operation.size is not None
        answer = client.put(BUCKET, name, payload(name, operation.sequence, operation.size))
        assert answer.status == 200, answer
        oracle.acknowledge(name, operation)
    client.close()


def _delete(node: RunningNode, oracle: Oracle, names: list[str]) -> None:
    client = NativeClient(node.host, node.port)
    for name in names:
        before = oracle.moment(name)
        operation = oracle.begin(name, None)
        answer = client.delete(BUCKET, name)
        if answer.status == 404:
            oracle.deletion_found_nothing(name, before)
        assert answer.status in (200, 404), answer
        oracle.acknowledge(name, operation)
    client.close()


def _watch(node: RunningNode, oracle: Oracle, watched_s: float) -> int:
    """Read and list everything, again and again for so long; the number of passes."""
    client = NativeClient(node.host, node.port)
    ends = time.monotonic() + watched_s
    passes = 0
    while not passes or time.monotonic() < ends:
        for page_entries in (1000, 37):
            listed = [
                (entry.name, entry.size) for entry in client.list_all(BUCKET, page_entries=page_entries)
            ]
            oracle.check_listing(listed, oracle.moments())
        for name in oracle.names():
            oracle.check(name, read(client, BUCKET, name))
        passes += 1
    client.close()
    return passes
