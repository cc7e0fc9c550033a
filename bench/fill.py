"""Many objects in a running node, by way of its own API: what listings and churn are measured on."""

import select
import socket
from collections.abc import Iterator, Sequence

from bench.measure import Failed
from bench.node import Node, object_path

_CONNECTIONS = 128
_SILENCE_S = 30.0


def put_each(node: Node, bucket: str, names: Sequence[str], payload: bytes = b"x") -> None:
    """An object under each name."""
    _each(node, "PUT", bucket, names, payload)


def delete_each(node: Node, bucket: str, names: Sequence[str]) -> None:
    """Delete the object of each name."""
    _each(node, "DELETE", bucket, names, b"")


def _each(node: Node, method: str, bucket: str, names: Sequence[str], payload: bytes) -> None:
    """One request per name over many connections, one at a time on each. Failed unless all succeed.

    The answers have no body, so that a head is a whole answer.
    """
    fields = f" HTTP/1.1\r\nHost: {node.host}:{node.port}\r\nContent-Length: {len(payload)}\r\n\r\n"
    start, rest = f"{method} {object_path(bucket, '')}".encode(), fields.encode() + payload
    requests = (start + name.encode() + rest for name in names)
    connections = {}
    try:
        for _ in range(_CONNECTIONS):
            connection = socket.create_connection((node.host, node.port), timeout=_SILENCE_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections[connection.fileno()] = connection
        _exchange(connections, requests)
    finally:
        for connection in connections.values():
            connection.close()


def _exchange(connections: dict[int, socket.socket], requests: Iterator[bytes]) -> None:
    """Send requests until none is left, the next on whichever connection has its answer."""
    poller = select.epoll()
    waiting = 0
    for number, connection in connections.items():
        request = next(requests, None)
        if request is not None:
            poller.register(number, select.EPOLLIN)
            connection.sendall(request)
            waiting += 1
    with poller:
        while waiting:
            events = poller.poll(_SILENCE_S)
            if not events:
                raise Failed(f"filling a bucket: no answer for {_SILENCE_S} s")
            for number, _ in events:
                _check(connections[number])
                request = next(requests, None)
                if request is None:
                    poller.unregister(number)
                    waiting -= 1
                else:
                    connections[number].sendall(request)


def _check(connection: socket.socket) -> None:
    """Read an answer. Failed unless it reports success."""
    answer = connection.recv(4096)
    while answer and not answer.endswith(b"\r\n\r\n"):
        more = connection.recv(4096)
        answer = answer + more if more else b""
    if not answer.startswith(b"HTTP/1.1 2"):
        raise Failed(f"filling a bucket: {answer[:300]!r}")
