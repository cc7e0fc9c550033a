"""How late the event loop comes back: what blocks it is felt by every connection of the process."""

from typing import Final

from aisle import telemetry as metric
from aisle.telemetry import Telemetry

_WINDOW_S: Final = 30.0


class StallGauge:
    """Turns the lateness of a timer into a histogram and a recent maximum."""

    __slots__ = ("_before_ns", "_now_ns", "_telemetry", "_window_ends_s")

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._window_ends_s = 0.0
        # Two windows of half a minute: the maximum shown covers 30 to 60 seconds.
        self._before_ns = 0
        self._now_ns = 0

    def note(self, late_s: float, now_s: float) -> None:
        """The timer that should have fired `late_s` ago has fired."""
        late_ns = max(0, int(late_s * 1e9))
        self._telemetry.observe(metric.LOOP_STALL_SECONDS, late_ns)
        if now_s >= self._window_ends_s:
            self._window_ends_s = now_s + _WINDOW_S
            self._before_ns, self._now_ns = self._now_ns, 0
        self._now_ns = max(self._now_ns, late_ns)
        self._telemetry.slots[metric.LOOP_STALL_MAX] = max(self._now_ns, self._before_ns)
