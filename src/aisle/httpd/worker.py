"""What all connections of one worker share: limits, the handler, coarse time, budgets, the books.

Time is coarse on purpose: the server's tick refreshes it a few times a second, and a deadline is a
number that the tick compares. No request starts a timer.
"""

import asyncio
import logging
import os
import re
from bisect import bisect_left
from time import perf_counter_ns
from typing import TYPE_CHECKING, Final

from aisle import telemetry as metric
from aisle.config import HttpConfig
from aisle.httpd.render import StatusLines
from aisle.httpd.request import Request
from aisle.httpd.response import Handler
from aisle.httpd.sendfile import FileReads
from aisle.telemetry import BOUNDS_NS, METHODS, METRICS, Telemetry

if TYPE_CHECKING:
    from aisle.httpd.connection import Connection

_REQUEST_ID: Final = re.compile(r"[!-~]{1,128}")
_SECRET_PARAMETER: Final = re.compile(rb"(?i)\b((?:x-amz-)?(?:signature|security-token))=[^&]*")
"""What of a presigned link lets whoever reads it use it."""

_log = logging.getLogger("aisle.http")
_access = logging.getLogger("aisle.access")


def _method_slots() -> dict[str, tuple[int, int]]:
    """Method -> the slot before its counts by status class, and the first slot of its histogram."""
    by_first = {entry.first: [slot for slot, _ in entry.children()] for entry in METRICS}
    counts, seconds = by_first[metric.HTTP_REQUESTS], by_first[metric.HTTP_SECONDS]
    classes = len(counts) // len(METHODS)
    return {name: (counts[classes * n] - 1, seconds[n]) for n, name in enumerate(METHODS)}


_METHOD_SLOTS: Final = _method_slots()
_OTHER_SLOTS: Final = _METHOD_SLOTS[METHODS[-1]]
_BUCKETS: Final = len(BOUNDS_NS) + 1
_FASTEST_NS: Final = BOUNDS_NS[0]


class Worker:
    """The surroundings of the connections of one process."""

    __slots__ = (
        "_id_count",
        "_id_prefix",
        "_sent_bytes",
        "_slow_ns",
        "access_log",
        "buffered_bytes",
        "config",
        "connections",
        "draining",
        "files",
        "handler",
        "head_bytes_unchecked",
        "keepalive_deadline_s",
        "loop",
        "now_s",
        "received_bytes",
        "slots",
        "status_lines",
        "tasks",
        "tick_s",
    )

    def __init__(
        self,
        handler: Handler,
        config: HttpConfig,
        telemetry: Telemetry,
        *,
        loop: asyncio.AbstractEventLoop,
        files: FileReads,
    ) -> None:
        self.handler = handler
        self.config = config
        self.slots = telemetry.slots
        self.loop = loop
        self.files = files
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        """Exchanges that must wait for something."""
        self.draining = False
        self.received_bytes = 0
        """Counted here, and entered in the books by the tick."""
        self._sent_bytes = 0
        self.buffered_bytes = 0
        """Bytes of request bodies that arrived and were not taken by their handlers yet."""
        self.status_lines = StatusLines()
        self.access_log = config.access_log
        self.head_bytes_unchecked = min(config.request_line_bytes_max, config.header_bytes_max)
        """A head up to this length is within all limits of length."""
        shortest = min(
            config.header_timeout_s,
            config.body_idle_timeout_s,
            config.send_idle_timeout_s,
            config.keepalive_timeout_s,
        )
        self.tick_s = min(0.5, shortest / 4)
        """How far `now_s` lags behind at most, while the loop does not stall."""
        self.now_s = 0.0
        self.keepalive_deadline_s = 0.0
        # Unique for practical purposes: 40 random bits per process, then a count.
        self._id_prefix = os.urandom(5).hex()
        self._id_count = 0
        self._slow_ns = int(config.slow_request_s * 1e9) or 1 << 62

    def set_time(self, monotonic_s: float, unix_s: float) -> None:
        """The tick: refresh what follows from the time."""
        self.now_s = monotonic_s
        # A deadline is checked only at the next tick: never early, late by at most two of them.
        self.keepalive_deadline_s = monotonic_s + self.config.keepalive_timeout_s + self.tick_s
        self.status_lines.set_time(unix_s)

    def count_traffic(self) -> bool:
        """Enter the bytes that went by in the books; whether there were any since the last call."""
        active = bool(self.received_bytes or self._sent_bytes)
        if active:
            self.slots[metric.HTTP_RECEIVED_BYTES] += self.received_bytes
            self.slots[metric.HTTP_SENT_BYTES] += self._sent_bytes
            self.received_bytes = self._sent_bytes = 0
        return active

    def deadline(self, timeout_s: float) -> float:
        """The time at which `timeout_s` from now is over."""
        return self.now_s + timeout_s + self.tick_s

    def check_deadlines(self) -> None:
        """Tell the connections whose peers were too slow."""
        now_s = self.now_s
        late = [
            connection
            for connection in self.connections
            if connection.read_deadline_s < now_s or connection.write_deadline_s < now_s
        ]
        for connection in late:
            if connection.read_deadline_s < now_s:
                connection.on_read_deadline()
            if connection.write_deadline_s < now_s:
                connection.on_write_deadline()

    def request_id(self, given: str | None) -> str:
        """The client's own id if it is fit for a log, else a new one."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given
        self._id_count += 1
        return f"{self._id_prefix}-{self._id_count}"

    def count_body_bytes(self, delta: int) -> None:
        """More or fewer bytes of request bodies are held in memory."""
        self.buffered_bytes += delta
        self.slots[metric.HTTP_BUFFERED_BYTES] = self.buffered_bytes

    def count(self, counter: int) -> None:
        """Add one to a counter."""
        self.slots[counter] += 1

    def answered(self, request: Request, status: int, sent_bytes: int, started_ns: int) -> None:
        """Enter one finished request in the books."""
        elapsed_ns = perf_counter_ns() - started_ns
        slots = self.slots
        self._sent_bytes += sent_bytes
        requests, histogram = _METHOD_SLOTS.get(request.method, _OTHER_SLOTS)
        slots[requests + status // 100] += 1
        bucket = 0 if elapsed_ns <= _FASTEST_NS else bisect_left(BOUNDS_NS, elapsed_ns)
        slots[histogram + bucket] += 1
        slots[histogram + _BUCKETS] += elapsed_ns
        if elapsed_ns >= self._slow_ns:
            self.count(metric.HTTP_SLOW)
            _log.warning("slow request: %s", _line(request, status, sent_bytes, elapsed_ns))
        if self.access_log:
            _access.info("%s", _line(request, status, sent_bytes, elapsed_ns))


def _line(request: Request, status: int, sent_bytes: int, elapsed_ns: int) -> str:
    """One request for a log. What the client chose is escaped: no line breaks, no terminal codes."""
    query = _SECRET_PARAMETER.sub(rb"\1=...", request.query)
    target = request.path + (b"?" + query if query else b"")
    return (
        f"{request.peer} {request.method} {target.decode('ascii', 'backslashreplace')} {status} "
        f"{sent_bytes} {elapsed_ns / 1e6:.3f} ms {request.request_id}"
    )
