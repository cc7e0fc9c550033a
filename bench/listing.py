"""LIST: pages of 1,000 keys in MessagePack, from buckets that are small, large, cold and spread.

A walk lists a bucket from end to end, and fails unless every name comes once and in order.
"""

import json
import os
import socket
import statistics
import time
from dataclasses import dataclass
from itertools import pairwise

import msgspec

from bench import load
from bench.disk import forget
from bench.fill import fill_bucket
from bench.measure import Failed, cpu_seconds, percentile
from bench.node import Node
from bench.rows import Bar, Bench, Line, Row

_PAGE = 1000
_LARGE, _SMALL, _SMALL_OBJECTS = "large", "small", 10_000
_NO_RECURSION = 2048
_COLD_ROUNDS = 5
_HEADERS = "Accept: application/msgpack\r\nContent-Type: application/json\r\n"


class _Listing(msgspec.Struct):
    """What is needed to go on: the entries stay as bytes, so that little is added to the time."""

    continuation_token: str = msgspec.field(name="ContinuationToken")
    entries: msgspec.Raw = msgspec.field(name="Entries", default=msgspec.Raw())


_decode = msgspec.msgpack.Decoder(_Listing).decode
_decode_entries = msgspec.msgpack.Decoder(list[dict[str, object]]).decode


@dataclass(frozen=True, slots=True)
class _Page:
    seconds: float
    token: str
    entries: msgspec.Raw


class _Lister:
    """One keep-alive connection that asks for pages; a bare socket, to add little to the time."""

    def __init__(self, node: Node) -> None:
        self._connection = socket.create_connection((node.host, node.port), timeout=60)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{node.host}:{node.port}"

    def page(self, bucket: str, *, token: str = "", flags: int = 0) -> _Page:
        """The page behind `token`."""
        value = {"pagesize": _PAGE, "continuation_token": token, "flags": str(flags), "props": "name,size"}
        body = json.dumps({"action": "list", "value": value})
        head = f"GET /v1/buckets/{bucket} HTTP/1.1\r\nHost: {self._host}\r\n{_HEADERS}"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        began = time.perf_counter()
        self._connection.sendall(request)
        answer = bytearray(load.read_head(self._connection))
        view, received = memoryview(answer), 0
        while received < len(answer):
            got = self._connection.recv_into(view[received:])
            if not got:
                raise Failed(f"listing {bucket}: the answer was cut off")
            received += got
        elapsed = time.perf_counter() - began
        listing = _decode(answer)
        return _Page(elapsed, listing.continuation_token, listing.entries)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Walk:
    """A bucket listed from end to end."""

    keys: int
    seconds: float
    cpu_s: float
    pages_ms: list[float]

    @property
    def keys_per_second(self) -> float:
        return self.keys / self.seconds


def walk(node: Node, bucket: str, *, objects: int) -> Walk:
    """Page after page over one connection; Failed unless all objects come, once, in order."""
    lister, pages, token = _Lister(node), [], ""
    before, began = cpu_seconds(node.pid), time.perf_counter()
    while True:
        page = lister.page(bucket, token=token)
        pages.append(page)
        token = page.token
        if not token:
            break
    elapsed, used = time.perf_counter() - began, cpu_seconds(node.pid) - before
    lister.close()
    names = [str(entry["n"]) for page in pages for entry in _decode_entries(page.entries)]
    if len(names) != objects or any(a >= b for a, b in pairwise(names)):
        raise Failed(f"{bucket}: {len(names)} names listed of {objects}, or out of order")
    return Walk(objects, elapsed, used, [page.seconds * 1000 for page in pages[:-1]])


def _names(objects: int) -> list[str]:
    """`objects` names under prefixes of 1,000 each, in order."""
    return [f"shard-{number // _PAGE:04d}/sample-{number % _PAGE:04d}.jpg" for number in range(objects)]


def _prepare(node: Node, objects: int) -> None:
    """Both buckets; nothing is measured meanwhile."""
    for bucket, size in ((_LARGE, objects), (_SMALL, _SMALL_OBJECTS)):
        fill_bucket(node, bucket, _names(size))


def _cold_page_ms(node: Node) -> float:
    """The first page from the middle of the bucket after the index has left the page cache."""
    node.stop()
    os.sync()
    for mountpath in node.mountpaths:
        for file in (mountpath / "index").glob("*.mdb"):
            forget(file)
    node.start()
    lister = _Lister(node)
    elapsed = lister.page(_LARGE, token="shard-0500/sample-0499.jpg").seconds * 1000
    lister.close()
    return elapsed


def _directories_ms(node: Node, *, count: int, rounds: int) -> float:
    """A page of `count` common prefixes, non-recursive: the median of `rounds`."""
    lister = _Lister(node)
    pages = [lister.page(_LARGE, flags=_NO_RECURSION) for _ in range(rounds)]
    lister.close()
    found = len(_decode_entries(pages[0].entries))
    if found != count:
        raise Failed(f"non-recursive listing shows {found} directories of {count}")
    return statistics.median([page.seconds * 1000 for page in pages])


def listing(bench: Bench) -> list[Line]:
    """All of the listing bars; the node over four mountpaths runs beside the other, in turn."""
    objects = 200_000 if bench.quick else 1_000_000
    directories = objects // _PAGE
    with bench.node() as one, bench.node(mountpaths=4) as four:
        _prepare(one, objects)
        _prepare(four, objects)
        cold = [_cold_page_ms(one) for _ in range(_COLD_ROUNDS)]
        large, small, spread, shallow = [], [], [], []
        for _ in range(2 if bench.quick else min(3, bench.pairs)):
            with bench.sampled(one):
                large.append(walk(one, _LARGE, objects=objects))
            small.append([walk(one, _SMALL, objects=_SMALL_OBJECTS) for _ in range(5)])
            spread.append(walk(four, _LARGE, objects=objects))
            shallow.append(_directories_ms(one, count=directories, rounds=20))
    page_ms = statistics.median([time for walk in large for time in walk.pages_ms])
    p99_ms = percentile([time for walk in large for time in walk.pages_ms], 0.99)
    small_ms = statistics.median([time for walks in small for walk in walks for time in walk.pages_ms])
    rate = statistics.median([walk.keys_per_second for walk in large])
    ratios = [b.keys_per_second / a.keys_per_second for a, b in zip(large, spread, strict=True)]
    cpu_us = statistics.median([walk.cpu_s / walk.keys * 1e6 * _PAGE for walk in large])
    shown = f"{objects:,}"
    plain = f"{page_ms:.2f} ms"
    return [
        Line(
            f"LIST {shown} objects by 1,000, MessagePack",
            rate,
            Bar(300_000, 500_000, unit="keys/s"),
            f"{rate:,.0f} keys/s",
            cpu=f"{cpu_us:,.0f} µs per page",
            p99=f"{p99_ms:.2f} ms",
        ),
        Line(
            f"LIST page of {shown} / of 10,000 objects",
            page_ms / small_ms,
            Bar(1.3, at_least=False),
            plain,
            f"{small_ms:.2f} ms",
        ),
        Line("LIST cold page", statistics.median(cold), Bar(20, at_least=False, unit="ms"), _range_ms(cold)),
        Line(
            f"LIST non-recursive, {directories:,} prefixes × 1,000 / plain page",
            statistics.median(shallow) * (_PAGE / directories) / page_ms,
            Bar(2.0, at_least=False),
            f"{statistics.median(shallow):.2f} ms",
            plain,
        ),
        Line(
            "LIST on 4 mountpaths / on one",
            statistics.median(ratios),
            Bar(0.7),
            f"{statistics.median([walk.keys_per_second for walk in spread]):,.0f} keys/s",
            f"{rate:,.0f} keys/s",
        ),
    ]


def _range_ms(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ms ({min(values):.2f}–{max(values):.2f})"


ROWS = [Row("list", listing)]
