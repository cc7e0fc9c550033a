"""How a background process writes: in large pieces while nobody is served, in small ones beside others.

Large writes are the cheap ones: the page cache takes a megabyte in a few large folios, for little more than
half of the processor time that it takes at 64 KiB a call. But a kernel without preemption gives the core to
a reader that wakes up only when the call is over, and what is handed to the disk at once is waited for by
everybody. So it depends on whether somebody is served, as the counters in shared memory tell.
"""

import time
from collections.abc import Callable
from typing import Final

SMALL_BYTES: Final = 64 * 1024
LARGE_BYTES: Final = 1 << 30
_LOOK_NS: Final = 100_000_000
_QUIET_NS: Final = 1_000_000_000


class Courtesy:
    """What one process may write in one call; asked by the threads that write."""

    def __init__(self, activity: Callable[[], int], clock_ns: Callable[[], int] = time.monotonic_ns) -> None:
        """`activity` is a number that changes whenever somebody is served."""
        self._activity = activity
        self._clock_ns = clock_ns
        self._last = activity()
        self._looked_ns = self._seen_ns = clock_ns() - _QUIET_NS

    def bytes_at_once(self) -> int:
        """At most so many bytes in one system call, for now.

        Threads may ask at the same time: the worst that comes of it is one look too many.
        """
        now_ns = self._clock_ns()
        if now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            if (activity := self._activity()) != self._last:
                self._last, self._seen_ns = activity, now_ns
        return SMALL_BYTES if now_ns - self._seen_ns < _QUIET_NS else LARGE_BYTES


def write_at_will() -> int:
    """What a process that serves writes in one call: all it has."""
    return LARGE_BYTES
