"""What followers of a download are told, and when."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from aisle.api.native import download_events
from aisle.api.native.download_events import FOLLOWERS_MAX, DownloadEvents
from aisle.errors import JobNotFound, TooBusy
from aisle.httpd.response import StreamBody
from aisle.jobs.board import JobBoard, JobStatus
from aisle.model.job import DownloadSpec, FinishedItem, ItemError, JobProgress, JobRecord
from aisle.model.names import Bucket

SPEC = DownloadSpec(kind="single", bucket=Bucket("b"), link="http://h/x", object_name="x")
RECORD = JobRecord(id="dnl-1", started_ns=1, download=SPEC)


def status(done: int, *, errors: int = 0, finished_ns: int = 0) -> JobStatus:
    progress = JobProgress(
        id="dnl-1",
        total=9,
        finished=done,
        failed=errors,
        finished_ns=finished_ns,
        errors=tuple(ItemError(f"o{number}", "bad") for number in range(errors)),
        recent=(FinishedItem("x", 1, 1, 1, 1),),
    )
    return JobStatus(RECORD, progress, None)


class Board:
    """Shows one state after the other, the last for ever; None stands for a job that is gone."""

    def __init__(self, *states: JobStatus | None) -> None:
        self.states = list(states)

    def glance(self, job_id: str) -> JobStatus:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state is None:
            raise JobNotFound(job_id, kind="download")
        return state


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_events, "_LOOK_INTERVAL_S", 0)


def followed(events: DownloadEvents) -> AsyncIterator[bytes]:
    body = events.follow("dnl-1").body
    assert isinstance(body, StreamBody)
    assert body.length is None
    return body.chunks


def told(*states: JobStatus | None, **settings: Any) -> list[tuple[str, dict[str, Any]]]:
    """The events of a job that goes through these states."""

    async def gathered() -> bytes:
        events = DownloadEvents(cast("JobBoard", Board(*states)), **settings)
        return b"".join([chunk async for chunk in followed(events)])

    text = asyncio.run(gathered()).decode()
    parts = [part.split("\n") for part in text.split("\n\n") if part and not part.startswith(":")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in parts]


def test_only_changes_are_told_and_at_last_the_whole_end() -> None:
    events = told(status(1), status(1), status(1), status(2), status(2), status(9, finished_ns=5))
    assert [(name, job["finished_cnt"]) for name, job in events] == [("status", 1), ("status", 2), ("end", 9)]
    assert ["finished_tasks" in job for _, job in events] == [False, False, True]
    assert events[-1][1]["state"] == "finished"


def test_each_failure_is_told_once_and_all_at_the_end() -> None:
    events = told(
        status(0, errors=2), status(0, errors=3), status(1, errors=3), status(9, errors=4, finished_ns=5)
    )
    failures = [[error["name"] for error in job.get("download_errors", [])] for _, job in events]
    assert failures == [["o0", "o1"], ["o2"], [], ["o0", "o1", "o2", "o3"]]


def test_a_job_that_is_removed_ends_the_stream() -> None:
    assert told(status(1), None)[-1] == ("removed", {"id": "dnl-1"})


def test_a_process_that_wants_to_end_ends_the_stream() -> None:
    looks = iter([False, False, True])
    assert [name for name, _ in told(status(1), is_ending=lambda: next(looks))] == ["status"]


def test_silence_is_broken_by_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download_events, "_HEARTBEAT_S", 0)

    async def first_two() -> list[bytes]:
        chunks = followed(DownloadEvents(cast("JobBoard", Board(status(1)))))
        return [await anext(chunks), await anext(chunks)]

    first, second = asyncio.run(first_two())
    assert first.startswith(b"event: status")
    assert second == b":\n\n"


def test_followers_are_bounded_and_leave_their_places() -> None:
    async def test() -> None:
        events = DownloadEvents(cast("JobBoard", Board(status(1))))
        followers = [followed(events) for _ in range(FOLLOWERS_MAX)]
        with pytest.raises(TooBusy):
            events.follow("dnl-1")
        await anext(followers[0])
        for _ in range(2):
            await followers[0].aclose()  # type: ignore[attr-defined]
        with pytest.raises(StopAsyncIteration):
            await anext(followers[0])
        events.follow("dnl-1")
        with pytest.raises(TooBusy):
            events.follow("dnl-1")

    asyncio.run(test())
