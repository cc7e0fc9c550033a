"""GETs at a fixed rate, each sent when it is its time, whatever became of those before."""

import os
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.load import read_head
from bench.measure import Failed

_CONNECTIONS = 16
_SILENCE_S = 30.0


def times_ms(
    host: str, port: int, path: Callable[[int], str], *, reads: int, per_second: float
) -> list[float]:
    """How long each of so many GETs took, counted from when it was due: waiting behind a slow one counts.

    One thread, which sleeps until something comes or is due: several would wait for each other, and who
    spins would take the core from the source of a job that runs beside. Raises Failed.
    """
    with _punctual():
        return _times_ms(host, port, path, reads, per_second)


@contextmanager
def _punctual() -> Iterator[None]:
    """Run before all others on this core, where that is allowed: another one's lateness is measured."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _times_ms(host: str, port: int, path: Callable[[int], str], reads: int, per_second: float) -> list[float]:
    free = deque(_connected(host, port) for _ in range(_CONNECTIONS))
    busy: dict[socket.socket, float] = {}
    took_ms: list[float] = []
    sent = 0
    began = time.perf_counter() + 0.05
    while len(took_ms) < reads:
        wait_s = _SILENCE_S
        while sent < reads and free:
            wait_s = began + sent / per_second - time.perf_counter()
            if wait_s > 0:
                break
            connection = free.popleft()
            busy[connection] = began + sent / per_second
            connection.sendall(f"GET {path(sent)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            sent += 1
            wait_s = 0
        ready, _, _ = select.select(list(busy), [], [], wait_s)
        if not ready and wait_s == _SILENCE_S:
            raise Failed(f"no answer for {_SILENCE_S:.0f} s")
        for connection in ready:
            left = read_head(connection)
            while left:
                if not (piece := connection.recv(left)):
                    raise Failed(f"closed with {left} bytes to come")
                left -= len(piece)
            took_ms.append((time.perf_counter() - busy.pop(connection)) * 1000)
            free.append(connection)
    for connection in free:
        connection.close()
    return took_ms


def _connected(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port), timeout=_SILENCE_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
