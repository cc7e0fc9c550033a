"""How far a download job is, how fast it goes, and when it will be done, from what the node told so far.

A node tells bytes and their rate where it can; one of AIStore tells files alone. The rest is worked
out from the last seconds, because a mean over the whole time says nothing after a pause.
"""

from collections import deque
from typing import NamedTuple

from aisle.client.downloads import DownloadJob, Task

WINDOW_S = 15.0
_SEEN_MIN_S = 1.0  # less says too little to foretell anything


class _Seen(NamedTuple):
    at_s: float
    share: float
    bytes: int


class Pace:
    """The pace of one job; times are seconds of any clock that goes on steadily."""

    def __init__(self) -> None:
        self._seen: deque[_Seen] = deque()
        self._files: dict[str, tuple[float, int, float]] = {}  # when, how much, bytes per second
        self.share: float | None = None
        """What is done, from 0 to 1; None while nobody knows how much there is."""
        self.bytes = 0
        """Received so far."""
        self.bytes_per_second = 0.0
        self.remaining_s: float | None = None
        """Until it will be done; None while that cannot be told."""

    def update(self, job: DownloadJob, now_s: float) -> None:
        """Take the next state of the job."""
        self.bytes = job.bytes or sum(task.downloaded for task in job.current_tasks)
        self.share = share_done(job)
        self._seen.append(_Seen(now_s, self.share or 0.0, self.bytes))
        while len(self._seen) > 2 and now_s - self._seen[0].at_s > WINDOW_S:
            self._seen.popleft()
        first = self._seen[0]
        passed_s = now_s - first.at_s
        measured = max(0.0, (self.bytes - first.bytes) / passed_s) if passed_s >= _SEEN_MIN_S else 0.0
        self.bytes_per_second = float(job.rate) or measured
        self.remaining_s = self._remaining_s(job, first, passed_s)
        self._update_files(job.current_tasks, now_s)

    def file_rate(self, name: str) -> float:
        """Bytes per second of a file that is under way, 0 while nothing can be said."""
        return self._files[name][2] if name in self._files else 0.0

    def _remaining_s(self, job: DownloadJob, first: _Seen, passed_s: float) -> float | None:
        if job.total_bytes > 0 and self.bytes_per_second > 0:
            return max(0.0, (job.total_bytes - self.bytes) / self.bytes_per_second)
        if self.share is None or passed_s < _SEEN_MIN_S or self.share <= first.share:
            return None
        return (1.0 - self.share) * passed_s / (self.share - first.share)

    def _update_files(self, tasks: list[Task], now_s: float) -> None:
        files: dict[str, tuple[float, int, float]] = {}
        for task in tasks:
            at_s, before, rate = self._files.get(task.name, (now_s, task.downloaded, 0.0))
            if now_s - at_s >= _SEEN_MIN_S:
                fresh = max(0, task.downloaded - before) / (now_s - at_s)
                # Half old, half new: neither jumps about nor lags behind.
                files[task.name] = (now_s, task.downloaded, (rate + fresh) / 2 if rate else fresh)
            else:
                files[task.name] = (at_s, before, rate)
        self._files = files


def share_done(job: DownloadJob) -> float | None:
    """What of a job is done, from 0 to 1: of its bytes where they are known, else of its files."""
    if job.total_bytes > 0:
        return min(1.0, job.bytes / job.total_bytes)
    if job.total <= 0:
        return None
    started = sum(min(1.0, task.downloaded / task.total) for task in job.current_tasks if task.total)
    return min(1.0, (job.done + job.errors + started) / job.total)
