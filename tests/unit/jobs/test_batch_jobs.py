"""Batches as jobs, seen from two processes that share a folder."""

import asyncio
import os
from pathlib import Path

import pytest

from aisle.errors import JobNotFound
from aisle.jobs.batch_jobs import KEPT_MAX, BatchJobs
from aisle.model.bulk import IDLE_NS
from aisle.model.names import Bucket

DATA, OTHER = Bucket("data"), Bucket("other")
SECOND_NS = 1_000_000_000


class Clock:
    now_ns = 100 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def here(tmp_path: Path, clock: Clock) -> BatchJobs:
    return BatchJobs(tmp_path, clock_ns=clock, pid=os.getpid())


@pytest.fixture
def there(tmp_path: Path, clock: Clock) -> BatchJobs:
    """Another process, which lives as long as this one's parent."""
    return BatchJobs(tmp_path, clock_ns=clock, pid=os.getppid())


def test_a_job_is_seen_everywhere_from_its_first_batch_on(
    here: BatchJobs, there: BatchJobs, clock: Clock
) -> None:
    job = here.join(DATA)
    here.begin(job)
    clock.now_ns += SECOND_NS
    here.show(job)
    for view in (here.find(job.id), there.find(job.id)):
        assert (view.kind, view.bucket, view.done_ns, view.ended_ns) == ("get-batch", DATA, 0, 0)
    clock.now_ns += SECOND_NS
    here.end(job, objects=3, sent=4000)
    for view in (here.find(job.id), there.find(job.id)):
        assert (view.objects, view.bytes, view.is_idle, view.ended_ns) == (3, 4000, True, 0)
    clock.now_ns += IDLE_NS
    assert there.find(job.id).ended_ns == 102 * SECOND_NS


def test_batches_of_a_bucket_share_a_job_while_it_lives(here: BatchJobs, clock: Clock) -> None:
    first = here.join(DATA)
    assert here.join(DATA) is first
    assert here.join(OTHER) is not first
    here.begin(first)
    clock.now_ns += 2 * IDLE_NS
    assert here.join(DATA) is first
    here.end(first, objects=1, sent=1)
    clock.now_ns += IDLE_NS
    assert here.join(DATA).id != first.id
    assert {view.id for view in here.all()} >= {first.id}


def test_a_job_is_stopped_from_another_process(here: BatchJobs, there: BatchJobs, clock: Clock) -> None:
    job = here.join(DATA)
    here.begin(job)
    clock.now_ns += SECOND_NS
    here.show(job)
    assert not here.is_aborted(job.id)
    asyncio.run(there.abort(job.id))
    assert here.is_aborted(job.id)
    view = here.find(job.id)
    assert (view.is_aborted, view.abort_error, bool(view.ended_ns)) == (True, "user abort", True)
    assert here.join(DATA).id != job.id


def test_stopping_what_is_over_does_nothing(here: BatchJobs) -> None:
    job = here.join(DATA)
    asyncio.run(here.abort(job.id))
    assert not here.is_aborted(job.id)
    with pytest.raises(JobNotFound):
        asyncio.run(here.abort("gbt-none"))
    with pytest.raises(JobNotFound):
        here.find("dnl-none")


def test_what_a_dead_process_was_sending_has_ended(tmp_path: Path, here: BatchJobs, clock: Clock) -> None:
    dead = BatchJobs(tmp_path, clock_ns=clock, pid=2**22 + 1)
    job = dead.join(DATA)
    dead.begin(job)
    assert here.find(job.id).ended_ns == job.last_ns


def test_not_all_are_kept_for_ever(here: BatchJobs, clock: Clock) -> None:
    for _ in range(KEPT_MAX + 10):
        clock.now_ns += IDLE_NS
        here.join(DATA)
    assert len(here.all()) <= KEPT_MAX + 1


def test_without_a_folder_batches_are_served_all_the_same(clock: Clock) -> None:
    jobs = BatchJobs(Path("/nowhere/at/all"), clock_ns=clock)
    job = jobs.join(DATA)
    jobs.begin(job)
    assert jobs.find(job.id).done_ns == 0
