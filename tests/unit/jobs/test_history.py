"""Jobs that have ended: told apart from those that go on, and forgotten in time."""

import asyncio

from aisle.cluster.memory import MemoryStore
from aisle.jobs.history import History
from aisle.model.job import (
    PROGRESS_PREFIX,
    RECORD_PREFIX,
    DownloadSpec,
    FinishedItem,
    ItemError,
    JobProgress,
    JobRecord,
    decode_brief,
    encode_job,
)
from aisle.model.names import Bucket

DAY_S = 86_400
NOW_S = 1_000 * DAY_S


class Jobs:
    """Jobs in a store: their ids, and how many days ago each ended, None for one that goes on."""

    def __init__(self, **ended_days: float | None) -> None:
        self.store = MemoryStore()
        self.records = {}
        self.now_ns = NOW_S * 10**9
        for name, days in ended_days.items():
            job_id = f"dnl-{name}"
            spec = DownloadSpec(kind="single", bucket=Bucket("b"), link="http://h/x", object_name="x")
            record = self.records[job_id] = JobRecord(id=job_id, started_ns=1, download=spec)
            self.store.swap(RECORD_PREFIX + job_id, encode_job(record), expected_version=0)
            finished_ns = 0 if days is None else int((NOW_S - days * DAY_S) * 1e9)
            progress = JobProgress(id=job_id, total=1, finished_ns=finished_ns)
            self.store.swap(PROGRESS_PREFIX + job_id, encode_job(progress), expected_version=0)

    def history(self, keep_s: float) -> History:
        return History(self.store, lambda: self.now_ns, keep_s=keep_s)


def test_what_has_ended_is_found_with_its_time_and_what_was_removed_with_none() -> None:
    jobs = Jobs(old=40, new=1, goes_on=None, removed=3)
    del jobs.records["dnl-removed"]
    ended = jobs.history(DAY_S).ended(jobs.records)
    assert ended == {
        "dnl-old": (NOW_S - 40 * DAY_S) * 10**9,
        "dnl-new": (NOW_S - DAY_S) * 10**9,
        "dnl-removed": 0,
    }


def test_jobs_are_forgotten_after_their_time_and_running_ones_never() -> None:
    jobs = Jobs(old=40, new=1, goes_on=None)
    history = jobs.history(30 * DAY_S)
    ended = history.ended(jobs.records)
    old = history.expired(ended, jobs.records)
    assert old == ["dnl-old"]
    asyncio.run(history.remove(old))
    assert {document.key for document in jobs.store.list(RECORD_PREFIX)} == {"job/dnl-new", "job/dnl-goes_on"}
    assert history.expired(ended, jobs.records) == []  # a minute has not passed
    jobs.now_ns += 61 * 10**9
    assert history.expired(ended, jobs.records) == ["dnl-old"]
    asyncio.run(history.remove(["dnl-old"]))  # harmless: it is gone


def test_a_history_without_end_forgets_nothing() -> None:
    jobs = Jobs(old=40_000 / DAY_S * 400)
    history = jobs.history(0)
    assert history.expired(history.ended(jobs.records), jobs.records) == []


def test_a_brief_progress_is_the_same_without_its_items() -> None:
    progress = JobProgress(
        id="dnl-x",
        total=3,
        done=((0, 3),),
        finished=1,
        skipped=1,
        updated=1,
        failed=2,
        scheduled=3,
        received=5,
        finished_ns=7,
        error="e",
        errors=(ItemError("a", "b"), ItemError("c", "d")),
        recent=(FinishedItem("a", 1, 1, 1, 1),),
        manifest_bytes=9,
    )
    brief = decode_brief(encode_job(progress)).progress(errors_max=1)
    assert brief == JobProgress(
        id="dnl-x",
        total=3,
        finished=1,
        skipped=1,
        updated=1,
        failed=2,
        scheduled=3,
        received=5,
        finished_ns=7,
        error="e",
        errors=(ItemError("a", "b"),),
        manifest_bytes=9,
    )
