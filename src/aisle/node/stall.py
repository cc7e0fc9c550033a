"""Whether the event loop keeps its callers waiting: the HTTP server measures, here it is judged."""

import asyncio
import logging

from aisle.telemetry import BOUNDS_NS, LOOP_STALL_SECONDS, Telemetry, quantile_bound_ns

_log = logging.getLogger(__name__)

WINDOW_S = 10.0
SLOW_NS = 5_000_000
"""A 99th percentile above this is slow."""
WINDOWS_TO_CHANGE = 3
"""So many windows in a row have to agree: a machine that is busy for a moment is not news."""


class StallJudge:
    """The decision, made anew for each window of observations."""

    def __init__(self) -> None:
        self.is_slow = False
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self._disagreeing = 0

    def on_window(self, counts: list[int]) -> bool:
        """A window has ended: `counts` are the histogram's since the process began.

        Whether the judgement has changed.
        """
        fresh = [now - before for now, before in zip(counts, self._counts, strict=True)]
        self._counts = counts
        # A bucket's upper bound is what is known of those in it: exactly 5 ms is not slow yet.
        was_slow = quantile_bound_ns(fresh, 0.99) > SLOW_NS
        self._disagreeing = self._disagreeing + 1 if was_slow != self.is_slow else 0
        if self._disagreeing < WINDOWS_TO_CHANGE:
            return False
        self.is_slow, self._disagreeing = was_slow, 0
        return True


async def watch_stalls(telemetry: Telemetry) -> None:
    """Tell the log when the process's event loop becomes slow, and when it has recovered; endless."""
    judge = StallJudge()
    while True:
        await asyncio.sleep(WINDOW_S)
        if judge.on_window(telemetry.buckets(LOOP_STALL_SECONDS)):
            if judge.is_slow:
                _log.warning("requests wait for each other: the event loop stalls for more than 5 ms")
            else:
                _log.info("the event loop keeps up again")
