"""How long the event loop keeps its callers waiting, measured by a timer that should be on time."""

import asyncio
from collections.abc import Callable

from aisle.telemetry import (
    BOUNDS_NS,
    LOOP_STALL_MAX,
    LOOP_STALL_SECONDS,
    Telemetry,
    quantile_bound_ns,
)

INTERVAL_S = 0.02
WINDOW_S = 10.0
SLOW_NS = 5_000_000
"""With a 99th percentile above this, small payloads are read in a thread."""
_MAXIMUM_WINDOWS = 6  # the gauge shows the last minute


class StallWindows:
    """The decision: whether the loop stalls, judged anew for each window of observations."""

    def __init__(self) -> None:
        self.is_slow = False
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self._longest_ns = 0
        self._maxima: list[int] = []

    def on_window(self, counts: list[int], longest_ns: int) -> None:
        """A window has ended: `counts` are the histogram's since the start of the process."""
        fresh = [now - before for now, before in zip(counts, self._counts, strict=True)]
        self._counts = counts
        # A bucket's upper bound is what is known of those in it: exactly 5 ms is not slow yet.
        self.is_slow = quantile_bound_ns(fresh, 0.99) > SLOW_NS
        self._maxima = [*self._maxima[1 - _MAXIMUM_WINDOWS :], longest_ns]

    @property
    def longest_ns(self) -> int:
        """The longest stall within the last windows."""
        return max(self._maxima, default=0)


class StallWatch:
    """Measures the running loop for as long as it runs."""

    def __init__(self, telemetry: Telemetry, on_slow: Callable[[bool], None]) -> None:
        """`on_slow` is told after each window whether the loop stalls."""
        self._telemetry = telemetry
        self._on_slow = on_slow
        self._windows = StallWindows()
        self._longest_ns = 0
        self._loop = asyncio.get_running_loop()
        self._window_ends_s = self._loop.time() + WINDOW_S
        self._timer = self._loop.call_later(INTERVAL_S, self._measure, self._loop.time() + INTERVAL_S)

    def _measure(self, due_s: float) -> None:
        now_s = self._loop.time()
        late_ns = max(0, round((now_s - due_s) * 1e9))
        self._telemetry.observe(LOOP_STALL_SECONDS, late_ns)
        self._longest_ns = max(self._longest_ns, late_ns)
        if now_s >= self._window_ends_s:
            self._windows.on_window(self._telemetry.buckets(LOOP_STALL_SECONDS), self._longest_ns)
            self._telemetry.slots[LOOP_STALL_MAX] = self._windows.longest_ns
            self._on_slow(self._windows.is_slow)
            self._longest_ns, self._window_ends_s = 0, now_s + WINDOW_S
        self._timer = self._loop.call_later(INTERVAL_S, self._measure, now_s + INTERVAL_S)
