"""Downloads in the node's metrics: what running jobs have done since they were last looked at."""

from collections.abc import Iterable
from typing import Final

from aisle.jobs.download import DownloadJob
from aisle.telemetry import (
    DOWNLOAD_BYTES,
    DOWNLOAD_ERRORS,
    DOWNLOAD_FILES,
    DOWNLOAD_RESULTS,
    DOWNLOADS_ACTIVE,
    Telemetry,
)

_DONE: Final = DOWNLOAD_FILES + DOWNLOAD_RESULTS.index("done")
_FAILED: Final = DOWNLOAD_FILES + DOWNLOAD_RESULTS.index("failed")


class DownloadMeter:
    """Adds to the counters what jobs count for themselves."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._slots = telemetry.slots
        self._seen: dict[str, tuple[int, int, int]] = {}

    def begin(self, job: DownloadJob) -> None:
        """A job runs from here on; what an earlier process did for it was counted there."""
        self._seen[job.id] = _counts(job)

    def look(self, jobs: Iterable[DownloadJob]) -> None:
        """Count what these jobs, all that run, have done since the last look."""
        active = 0
        for job in jobs:
            self._count(job)
            active += sum(1 for _ in job.active())
        self._slots[DOWNLOADS_ACTIVE] = active

    def end(self, job: DownloadJob) -> None:
        """A job runs no more."""
        self._count(job)
        del self._seen[job.id]

    def _count(self, job: DownloadJob) -> None:
        counts = _counts(job)
        finished, failed, received = (
            now - seen for now, seen in zip(counts, self._seen[job.id], strict=True)
        )
        self._seen[job.id] = counts
        slots = self._slots
        slots[_DONE] += finished
        slots[_FAILED] += failed
        slots[DOWNLOAD_ERRORS] += failed
        slots[DOWNLOAD_BYTES] += received


def _counts(job: DownloadJob) -> tuple[int, int, int]:
    return job.tally.finished, job.tally.failed, job.bytes_received
