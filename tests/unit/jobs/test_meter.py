"""Counters of downloads grow by what jobs do in this process, once."""

from collections.abc import Iterator
from typing import cast

from aisle.jobs.download import DownloadJob
from aisle.jobs.meter import DownloadMeter
from aisle.jobs.tally import Tally
from aisle.model.job import ActiveItem, FinishedItem, JobProgress
from aisle.telemetry import (
    DOWNLOAD_BYTES,
    DOWNLOAD_ERRORS,
    DOWNLOAD_FILES,
    DOWNLOADS_ACTIVE,
    Telemetry,
)


class FakeJob:
    def __init__(self, *, finished: int = 0) -> None:
        self.id = "dnl-1"
        self.tally = Tally(JobProgress(id=self.id, total=10, finished=finished))
        self.bytes_received = 0
        self.running = 0

    def active(self) -> Iterator[ActiveItem]:
        return iter([ActiveItem("x", 0, -1, 0)] * self.running)


def finished(name: str) -> FinishedItem:
    return FinishedItem(name, 100, 100, 1, 2)


def test_what_a_job_does_is_counted_once_and_what_others_did_is_not() -> None:
    telemetry, fake = Telemetry.private(), FakeJob(finished=4)
    meter, job, slots = DownloadMeter(telemetry), cast("DownloadJob", fake), telemetry.slots
    meter.begin(job)
    meter.look([job])
    assert slots[DOWNLOAD_FILES] == 0
    fake.tally.stored(1, finished("a"))
    fake.tally.gave_up(2, finished("b"), "404")
    fake.bytes_received += 100
    fake.running = 3
    meter.look([job])
    meter.look([job])
    assert slots[DOWNLOAD_FILES : DOWNLOAD_FILES + 2].tolist() == [1, 1]
    assert (slots[DOWNLOAD_BYTES], slots[DOWNLOAD_ERRORS], slots[DOWNLOADS_ACTIVE]) == (100, 1, 3)
    fake.tally.stored(3, finished("c"))
    meter.end(job)
    meter.look([])
    assert (slots[DOWNLOAD_FILES], slots[DOWNLOADS_ACTIVE]) == (2, 0)
