"""LIST through S3: pages of 1,000 keys in XML, version 2, as SDKs ask for them.

The bucket is walked from end to end by its continuation tokens, which fails unless every name comes
once and in order.
"""

import re
import socket
import statistics
import time
from itertools import pairwise
from urllib.parse import quote

from bench import load
from bench.fill import fill_bucket
from bench.measure import Failed, cpu_seconds, percentile
from bench.node import Node
from bench.rows import Bar, Bench, Line, Row

_BUCKET = "large"
_PAGE = 1000
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]+)</NextContinuationToken>")
_KEY = re.compile(rb"<Key>([^<]*)</Key>")


class _Lister:
    """One keep-alive connection that asks for pages; a bare socket, to add little to the time."""

    def __init__(self, node: Node) -> None:
        self._connection = socket.create_connection((node.host, node.port), timeout=60)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{node.host}:{node.port}"

    def page(self, query: str) -> bytearray:
        """The document that a query asks for."""
        head = f"GET /s3/{_BUCKET}?{query} HTTP/1.1\r\nHost: {self._host}\r\n\r\n"
        self._connection.sendall(head.encode())
        answer = bytearray(load.read_head(self._connection))
        view, received = memoryview(answer), 0
        while received < len(answer):
            got = self._connection.recv_into(view[received:])
            if not got:
                raise Failed("listing over S3: the answer was cut off")
            received += got
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def _walk(node: Node, names: list[bytes]) -> tuple[float, float, list[float]]:
    """All pages over one connection: keys per second, the node's CPU seconds, and each page's ms."""
    lister, pages, pages_ms = _Lister(node), [], []
    query = f"list-type=2&max-keys={_PAGE}"
    following = query
    before, began = cpu_seconds(node.pid), time.perf_counter()
    while following:
        asked = time.perf_counter()
        page = lister.page(following)
        pages_ms.append((time.perf_counter() - asked) * 1000)
        pages.append(page)
        # It stands before the entries; without one the whole page is searched once.
        token = _TOKEN.search(page, 0, 4096)
        following = f"{query}&continuation-token={quote(token[1].decode())}" if token else ""
    elapsed, used = time.perf_counter() - began, cpu_seconds(node.pid) - before
    lister.close()
    found = [bytes(match[1]) for page in pages for match in _KEY.finditer(page)]
    if found != names or any(a >= b for a, b in pairwise(found)):
        raise Failed(f"{_BUCKET}: {len(found)} names listed of {len(names)}, or out of order")
    return len(found) / elapsed, used, pages_ms


def listing(bench: Bench) -> list[Line]:
    """The bar of listings through S3."""
    objects = 100_000 if bench.quick else 500_000
    names = [f"shard-{number // _PAGE:04d}/sample-{number % _PAGE:04d}.jpg" for number in range(objects)]
    keys = [name.encode() for name in names]
    with bench.node() as node:
        fill_bucket(node, _BUCKET, names)
        rates, cpu, pages_ms = [], [], []
        for _ in range(2 if bench.quick else min(3, bench.pairs)):
            with bench.sampled(node):
                rate, used, times = _walk(node, keys)
            rates.append(rate)
            cpu.append(used / objects * _PAGE * 1e6)
            pages_ms += times
    rate = statistics.median(rates)
    return [
        Line(
            f"S3 LIST {objects:,} objects by 1,000, XML",
            rate,
            Bar(300_000, 500_000, unit="keys/s"),
            f"{rate:,.0f} keys/s",
            cpu=f"{statistics.median(cpu):,.0f} µs per page",
            p99=f"{percentile(pages_ms, 0.99):.2f} ms",
        )
    ]


ROWS = [Row("s3-list", listing)]
