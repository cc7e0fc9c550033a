"""Get-batch: 1,000 objects of 10 KiB in one answer, beside the same objects one by one.

Both sides are the same node, and both readers are bare sockets that keep one connection open.
"""

import io
import json
import socket
import tarfile
import time
from collections.abc import Callable

from bench import load
from bench.measure import Failed, Sample, cpu_seconds
from bench.node import Node, object_path
from bench.rows import Bar, Bench, Line, Row, compare

_BUCKET = "batch"
_COUNT = 1000
_BYTES = 10 * 1024
_TIMEOUT_S = 60
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class _Connection:
    """One keep-alive connection."""

    def __init__(self, node: Node) -> None:
        self._socket = socket.create_connection((node.host, node.port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host = f"{node.host}:{node.port}"
        self._buffer = memoryview(bytearray(1024 * 1024))

    def get(self, path: str) -> int:
        """The length of an object's answer, all of which was read."""
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode())
        length = left = load.read_head(self._socket)
        while left:
            got = self._socket.recv_into(self._buffer, min(left, len(self._buffer)))
            if not got:
                raise Failed(f"{path}: the answer was cut off")
            left -= got
        return length

    def batch(self, body: bytes) -> bytes:
        """The chunked body of the answer to a batch, as it came."""
        head = (
            f"GET /v1/ml/moss/{_BUCKET} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        pieces, tail = [], b""
        while tail != _LAST_CHUNK:
            got = self._socket.recv_into(self._buffer)
            if not got:
                raise Failed("the batch was cut off")
            pieces.append(bytes(self._buffer[:got]))
            tail = (tail + pieces[-1][-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
        return b"".join(pieces)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _names() -> list[str]:
    return [f"sample-{number:06d}" for number in range(_COUNT)]


def _check(answer: bytes) -> None:
    """Raise Failed unless the answer is a tar of all objects, in order."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise Failed(f"get-batch: {answer[:300]!r}")
    body = bytearray()
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        body += rest[:length]
        rest = rest[length + 2 :]
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        found = [(member.name, member.size) for member in tar]
    if found != [(f"{_BUCKET}/{name}", _BYTES) for name in _names()]:
        raise Failed(f"get-batch: {len(found)} members of {_COUNT}, or not those that were asked for")


def batch(bench: Bench) -> list[Line]:
    """Objects per second, in a batch and one by one."""
    body = json.dumps({"in": [{"objname": name} for name in _names()], "strm": True}).encode()
    paths = [object_path(_BUCKET, name) for name in _names()]
    with bench.node() as node:
        node.create_bucket(_BUCKET)
        payloads = load.random_file(bench.scratch / "batch.bin", _COUNT * _BYTES).read_bytes()
        for number, name in enumerate(_names()):
            node.put(_BUCKET, name, payloads[number * _BYTES : (number + 1) * _BYTES])
        connection = _Connection(node)
        _check(connection.batch(body))

        def timed(count: int, work: Callable[[], object]) -> Sample:
            before, began, rounds = cpu_seconds(node.pid), time.perf_counter(), 0
            while time.perf_counter() - began < bench.seconds:
                work()
                rounds += 1
            elapsed, used = time.perf_counter() - began, cpu_seconds(node.pid) - before
            return Sample(rounds * count / elapsed, used / (rounds * count) * 1e6)

        def one_by_one() -> None:
            for path in paths:
                if connection.get(path) != _BYTES:
                    raise Failed(f"{path} has another length")

        pairs = bench.interleave(
            node,
            lambda: timed(_COUNT, lambda: connection.batch(body)),
            lambda: timed(_COUNT, one_by_one),
        )
        connection.close()
    work = "get-batch of 1,000 × 10 KiB / GETs one by one, one connection"
    return [compare(work, pairs, Bar(3.0), unit="objects/s")]


ROWS = [Row("get-batch", batch)]
