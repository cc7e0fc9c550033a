"""When the committer waits for more operations of processes that nobody waits for.

A transaction costs about as much as fifteen small puts. Workers' operations never wait: clients do, and
while one group is flushed the next one gathers. A patient process (the job worker) goes on fetching while
its operations gather, so a pause makes fewer and larger groups of them, provided that enough arrive in it.
"""

PAUSE_S = 0.002
"""How long operations gather; epoll counts in whole milliseconds."""
ENOUGH = 16
"""A group of so many is not waited for any longer."""
WORTH = 3
"""A pause that brings fewer was not worth it."""
_SKIPPED_MIN, _SKIPPED_MAX = 8, 512


class Gathering:
    """Learns from each pause whether the next one is worth it."""

    def __init__(self) -> None:
        self._skipped = _SKIPPED_MIN
        self._left = 0
        """Groups to come that do not wait."""

    def is_worth(self, held: int) -> bool:
        """Whether to pause before a group of which `held` operations are there."""
        if not 0 < held < ENOUGH:
            return False
        if self._left:
            self._left -= 1
            return False
        return True

    def paused(self, gained: int) -> None:
        """A pause has brought so many more operations."""
        if gained >= WORTH:
            self._skipped = _SKIPPED_MIN
            return
        # One that sends each operation after the answer to the last must hardly notice.
        self._left = self._skipped
        self._skipped = min(2 * self._skipped, _SKIPPED_MAX)
