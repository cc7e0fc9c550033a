"""A job's counts: what is done, what failed, how fast it goes."""

import itertools
from collections import deque
from collections.abc import Iterable

from aisle.model.job import (
    KEPT_ERRORS,
    KEPT_FINISHED,
    SHOWN_FINISHED,
    ActiveItem,
    FinishedItem,
    ItemError,
    JobLive,
    JobProgress,
)
from aisle.rules.download_plan import NumberSet

_RATE_WINDOW_S = 3.0
_ERROR_CHARS_MAX = 500
_KEPT_BYTES_MAX = 256 * 1024  # of names and errors: the document stays well below a store's limit


class Tally:
    """Counts and spans that always agree with each other; starts from what was kept last."""

    def __init__(self, kept: JobProgress) -> None:
        self._id = kept.id
        self._total = kept.total
        self.done = NumberSet(kept.done)
        self.finished = kept.finished
        self.skipped = kept.skipped
        self.updated = kept.updated
        self.failed = kept.failed
        self.scheduled = kept.finished + kept.failed
        self.received = kept.received
        self.error = kept.error
        self.changes = 0
        """Grows with every change that is worth keeping."""
        self._errors = list(kept.errors)
        self._error_bytes = sum(_bytes(*error) for error in kept.errors)
        self._recent = deque(kept.recent, maxlen=KEPT_FINISHED)
        self._rates: deque[tuple[float, int]] = deque()

    def stored(self, number: int, item: FinishedItem, *, updated: bool = False) -> bool:
        """An item is stored, and `updated` if its object was there before; whether it was not done before."""
        is_new = self.done.add(number)
        if is_new:
            self.finished += 1
            self.updated += updated
            self.received += item.received
            self._recent.append(item)
            self.changes += 1
        return is_new

    def unchanged(self, number: int, item: FinishedItem) -> bool:
        """An item's object is there and is what its source has; whether the item was not done before."""
        is_new = self.done.add(number)
        if is_new:
            self.finished += 1
            self.skipped += 1
            self._recent.append(item)
            self.changes += 1
        return is_new

    def gave_up(self, number: int, item: FinishedItem, error: str) -> bool:
        """An item has failed for good; whether it was not done before."""
        is_new = self.done.add(number)
        if is_new:
            self.failed += 1
            self._keep_error(ItemError(item.name, error[:_ERROR_CHARS_MAX]))
            self._recent.append(item)
            self.changes += 1
        return is_new

    def _keep_error(self, error: ItemError) -> None:
        if len(self._errors) < KEPT_ERRORS and self._error_bytes < _KEPT_BYTES_MAX:
            self._errors.append(error)
            self._error_bytes += _bytes(*error)

    def progress(self, *, finished_ns: int = 0, finished_max: int = KEPT_FINISHED) -> JobProgress:
        """What to keep now, with at most `finished_max` of the last finished items."""
        return JobProgress(
            id=self._id,
            total=self._total,
            done=self.done.spans(),
            finished=self.finished,
            skipped=self.skipped,
            updated=self.updated,
            failed=self.failed,
            scheduled=self.scheduled,
            received=self.received,
            finished_ns=finished_ns,
            error=self.error,
            errors=tuple(self._errors),
            recent=_newest(self._recent, finished_max),
        )

    def live(
        self, active: Iterable[ActiveItem], *, bytes_received: int, bytes_total: int, now_s: float
    ) -> JobLive:
        """What to show now; called at intervals, it also measures the rate."""
        rates = self._rates
        rates.append((now_s, bytes_received))
        while len(rates) > 2 and rates[1][0] < now_s - _RATE_WINDOW_S:
            rates.popleft()
        since_s, at_bytes = rates[0]
        rate = (bytes_received - at_bytes) / (now_s - since_s) if now_s > since_s else 0.0
        return JobLive(
            progress=self.progress(finished_max=SHOWN_FINISHED),
            active=tuple(active),
            bytes_received=bytes_received,
            bytes_per_second=rate,
            bytes_total=bytes_total,
        )


def _newest(items: deque[FinishedItem], count_max: int) -> tuple[FinishedItem, ...]:
    """The last of the items, as many as may be kept, the oldest first."""
    left = _KEPT_BYTES_MAX
    kept = []
    for item in itertools.islice(reversed(items), count_max):
        left -= _bytes(item.name)
        if left < 0:
            break
        kept.append(item)
    return tuple(reversed(kept))


def _bytes(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)
