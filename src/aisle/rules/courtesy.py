"""Whether a background process gives way: it does its work in small pieces while somebody is served.

Large pieces are the cheap ones: the page cache takes them in a few large folios, and a call that takes much
from a socket saves others. But a kernel without preemption gives the core to a reader that wakes up only when
the call is over; and who takes much from a socket at once lets its peer send as much at once, which the same
core has to take in before it does anything else (decision 0027). So it depends on whether somebody is served,
as the counters in shared memory tell.
"""

from collections.abc import Callable
from typing import Final

_LOOK_NS: Final = 100_000_000
_QUIET_NS: Final = 1_000_000_000


class Courtesy:
    """Whether one process gives way; asked by the event loop and by the threads that write."""

    def __init__(self, activity: Callable[[], int], clock_ns: Callable[[], int]) -> None:
        """`activity` is a number that changes whenever somebody is served, `clock_ns` a monotonic clock."""
        self._activity = activity
        self._clock_ns = clock_ns
        self._last = activity()
        self._looked_ns = self._seen_ns = clock_ns() - _QUIET_NS

    def gives_way(self) -> bool:
        """Whether somebody was served within the last second.

        Threads may ask at the same time: the worst that comes of it is one look too many.
        """
        now_ns = self._clock_ns()
        if now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            if (activity := self._activity()) != self._last:
                self._last, self._seen_ns = activity, now_ns
        return now_ns - self._seen_ns < _QUIET_NS


def never() -> bool:
    """What a process that serves answers: it gives way to nobody."""
    return False
