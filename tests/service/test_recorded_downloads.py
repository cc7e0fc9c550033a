"""The downloader's answers beside those that a running AIStore 5.0 gave to the same requests.

Exchanges are told field by field; fields of ours come behind AIStore's. Where it answers a question
without a body by 400, ours reads the query and lists all jobs.
"""

import json
from typing import Any

import msgspec
import pytest

from aisle.api.native.download_status import wire_job, wire_status
from aisle.jobs.board import JobStatus
from aisle.model.job import (
    ActiveItem,
    DownloadSpec,
    FinishedItem,
    ItemError,
    JobLive,
    JobProgress,
    JobRecord,
    encode_job,
)
from aisle.model.names import Bucket
from service.calling import Native

BUCKET = {"name": "api", "provider": "ais"}
JSON, TEXT = "application/json", "text/plain; charset=utf-8"
STARTED_NS, ITEM_NS, ENDED_NS = (
    1_795_191_158_537_593_441,
    1_795_191_159_500_085_332,
    1_795_191_160_192_000_000,
)
OURS = ["state", "bytes", "total_bytes", "rate", "priority", "updated_cnt", "retrying_cnt", "trouble"]
JOB = [
    *("id", "xaction_id", "description", "started_time", "finished_time", "finished_cnt", "scheduled_cnt"),
    *("skipped_cnt", "error_cnt", "total", "all_dispatched", "aborted"),
]

ACCEPTED: list[dict[str, Any]] = [
    {"type": "single", "object_name": "one", "link": "http://127.0.0.1:8090/b/o0001"},
    {"type": "range", "template": "http://127.0.0.1:8090/b/o{0000..0004}", "description": "five"},
    {"type": "multi", "objects": {"m1": "http://127.0.0.1:8090/b/o0001", "m2": "http://127.0.0.1:8090/b/o2"}},
    {"type": "multi", "objects": ["http://127.0.0.1:8090/b/o0003", "http://127.0.0.1:8090/b/o0004"]},
    {
        "type": "single",
        "object_name": "lim",
        "link": "http://127.0.0.1:8093/big",
        "timeout": "1h",
        "limits": {"connections": 2, "bytes_per_hour": 1_000_000_000},
        "progress_interval": "1s",
    },
    {
        "type": "single",
        "link": "http://127.0.0.1:8090/b/o0001",
        "headers": {"X-A": ["1", "2"]},
        "priority": 3,
    },
]
TEMPLATE = "http://127.0.0.1:8090/b/o{0004..0000}"
REFUSED: list[tuple[dict[str, Any], str]] = [
    (
        {"type": "zzz"},
        "input does not match any of the supported formats (single, range, multi, backend)",
    ),
    ({"type": "single", "object_name": "one"}, "missing 'link' in the request body"),
    ({"type": "range"}, "missing 'template' in the request body"),
    ({"type": "multi"}, "body should not be empty"),
    ({"type": "multi", "objects": {"a": 1}}, "values in map should be strings, found: float64"),
    (
        {"type": "range", "template": TEMPLATE},
        f"errTemplateInvalid: invalid 'bash' template \"{TEMPLATE}\": 'start' cannot be greater than 'end'",
    ),
    (
        {"type": "single", "link": "http://h/x", "limits": {"connections": -1}},
        "'limit.connections' must be non-negative (got: -1)",
    ),
]


@pytest.fixture
def node() -> Native:
    return Native()


def started(node: Native, **body: object) -> str:
    answer = node("POST", "/v1/download", {"bucket": BUCKET, **body})
    assert (answer.status, answer.headers["content-type"]) == (200, JSON), answer.body
    told = answer.json()
    assert list(told) == ["id"]
    assert not answer.body.endswith(b"\n")
    return str(told["id"])


def failure(message: str, method: str, path: str, status: int, *, tcode: str = "") -> dict[str, Any]:
    head = {"tcode": tcode} if tcode else {}
    return head | {"message": message, "method": method, "url_path": path, "status": status}


def assert_fails(answer: Any, wanted: dict[str, Any]) -> None:
    told = answer.json()
    assert (answer.status, answer.headers["content-type"]) == (wanted["status"], JSON)
    assert {name: told[name] for name in wanted} == wanted
    assert [name for name in told if name not in wanted] == ["remote_addr", "caller", "node"]


@pytest.mark.parametrize("body", ACCEPTED)
def test_requests_are_accepted_and_answered_with_an_id(node: Native, body: dict[str, Any]) -> None:
    job_id = started(node, **body)
    assert job_id.startswith("dnl-")
    shown = node("GET", "/v1/download", {"id": job_id})
    assert (shown.status, shown.headers["content-type"]) == (200, TEXT)
    assert list(shown.json()) == JOB + OURS


@pytest.mark.parametrize(("body", "message"), REFUSED)
def test_refusals_say_what_aistores_say(node: Native, body: dict[str, Any], message: str) -> None:
    answer = node("POST", "/v1/download", {"bucket": BUCKET, **body})
    assert_fails(answer, failure(f"Error starting download: {message}", "POST", "/v1/download", 400))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/download"),
        ("DELETE", "/v1/download/abort"),
        ("DELETE", "/v1/download/remove"),
        ("PUT", "/v1/download/pause"),
        ("PUT", "/v1/download/resume"),
        ("GET", "/v1/download/manifest"),
        ("GET", "/v1/download/verify"),
    ],
)
def test_a_job_that_is_not_there_is_told(node: Native, method: str, path: str) -> None:
    answer = node(method, path, {"id": "nosuch"})
    told = answer.json()
    assert (answer.status, told["tcode"], list(told)[:2]) == (404, "ErrNotFound", ["tcode", "message"])
    assert told["message"].endswith("download job nosuch does not exist")


def test_running_jobs_are_not_removed_and_aborted_ones_are(node: Native) -> None:
    job_id = started(node, **ACCEPTED[0])
    answer = node("DELETE", "/v1/download/remove", {"id": job_id})
    wanted = failure(f'job "{job_id}" is still running', "DELETE", "/v1/download/remove", 400)
    assert_fails(answer, wanted)
    for verb in ("abort", "abort", "remove"):
        answer = node("DELETE", f"/v1/download/{verb}", {"id": job_id})
        assert (answer.status, answer.body) == (200, b"")
    assert node("DELETE", "/v1/download/remove", {"id": job_id}).status == 404
    assert node("GET", "/v1/download", {}).json() == []


def test_lists_are_chosen_by_their_descriptions(node: Native) -> None:
    ids = [started(node, **body) for body in ACCEPTED]
    answer = node("GET", "/v1/download", {"regex": "^five"})
    assert (answer.status, answer.headers["content-type"]) == (200, TEXT)
    assert [job["id"] for job in answer.json()] == [ids[1]]
    assert [list(job) for job in answer.json()] == [JOB + OURS]
    everything = {"id": "", "regex": "", "only_active_tasks": True}
    assert {job["id"] for job in node("GET", "/v1/download", everything).json()} == set(ids)
    assert len(node("GET", "/v1/download").json()) == len(ids)
    assert [job["id"] for job in node("GET", "/v1/download?regex=five$").json()] == [ids[1]]
    for regex in ("(", "(?=five)", "a" * 2000):
        assert node("GET", "/v1/download", {"regex": regex}).status == 400


def test_no_expression_holds_a_worker_up(node: Native) -> None:
    started(node, **(ACCEPTED[0] | {"description": "a" * 5_000 + "!"}))
    # With an engine that backtracks this takes longer than the universe has.
    answer = node("GET", "/v1/download", {"regex": "^(a+)+(a+)+$"})
    assert (answer.status, answer.json()) == (200, [])


def test_a_status_has_aistores_members_in_its_order() -> None:
    spec = DownloadSpec(kind="single", bucket=Bucket("api"), description="http://h/big -> ais://api/lim")
    record = JobRecord(id="dnl-isKnw77iw", started_ns=STARTED_NS, download=spec)
    progress = JobProgress(id=record.id, total=1, scheduled=1)
    live = JobLive(progress=progress, active=(ActiveItem("lim", 2_065_158, 268_435_456, ITEM_NS),))
    told = json.loads(encode(wire_status(JobStatus(record, progress, live), only_active=False)))
    assert list(told) == [*JOB, "current_tasks", *OURS]
    assert {name: told[name] for name in (*JOB, "current_tasks") if name != "xaction_id"} == {
        "id": "dnl-isKnw77iw",
        "description": "http://h/big -> ais://api/lim",
        "started_time": "2026-11-20T16:12:38.537593441Z",
        "finished_time": "1970-01-01T00:00:00Z",
        "finished_cnt": 0,
        "scheduled_cnt": 1,
        "skipped_cnt": 0,
        "error_cnt": 0,
        "total": 1,
        "all_dispatched": True,
        "aborted": False,
        "current_tasks": [
            {
                "name": "lim",
                "downloaded": "2065158",
                "total": "268435456",
                "start_time": "2026-11-20T16:12:39.500085332Z",
                "end_time": "1970-01-01T00:00:00Z",
            }
        ],
    }


def test_what_has_failed_is_told_as_aistore_does() -> None:
    spec = DownloadSpec(kind="multi", bucket=Bucket("api"), description="multi-download -> ais://api")
    record = JobRecord(id="dnl-x", started_ns=STARTED_NS, download=spec)
    progress = JobProgress(
        id=record.id,
        total=2,
        scheduled=2,
        finished=1,
        failed=1,
        received=10,
        finished_ns=ENDED_NS,
        errors=(ItemError("x1", "ErrNotFound: http://h/none does not exist"),),
        recent=(FinishedItem("x1", 0, -1, ITEM_NS, ENDED_NS), FinishedItem("x2", 10, 10, ITEM_NS, ENDED_NS)),
    )
    status = JobStatus(record, progress, None)
    told = json.loads(encode(wire_status(status, only_active=False)))
    assert list(told) == [*JOB, "finished_tasks", "download_errors", *OURS]
    assert told["download_errors"] == [{"name": "x1", "error": "ErrNotFound: http://h/none does not exist"}]
    assert [list(task) for task in told["finished_tasks"]] == [
        ["name", "downloaded", "start_time", "end_time"],
        ["name", "downloaded", "total", "start_time", "end_time"],
    ]
    assert told["finished_time"] == "2026-11-20T16:12:40.192Z"
    assert list(json.loads(encode(wire_status(status, only_active=True)))) == JOB + OURS
    assert list(json.loads(encode(wire_job(status)))) == JOB + OURS


def encode(job: object) -> bytes:
    return msgspec.json.encode(job)


def test_jobs_rest_and_go_on(node: Native) -> None:
    job_id = started(node, **ACCEPTED[0])
    for verb, state in (("pause", "paused"), ("pause", "paused"), ("resume", "running")):
        answer = node("PUT", f"/v1/download/{verb}", {"id": job_id})
        assert (answer.status, answer.body) == (200, b"")
        assert node("GET", f"/v1/download?id={job_id}").json()["state"] == state
    assert node("PUT", f"/v1/download/pause?id={job_id}").status == 200
    node("DELETE", "/v1/download/abort", {"id": job_id})
    assert node("PUT", "/v1/download/resume", {"id": job_id}).status == 409
    for verb in ("pause", "resume", "priority"):
        assert node("PUT", f"/v1/download/{verb}", {}).status == 400


def test_priorities_are_bounded(node: Native) -> None:
    job_id = started(node, **ACCEPTED[0], priority=-7)
    assert node("GET", f"/v1/download?id={job_id}").json()["priority"] == -7
    assert node("PUT", f"/v1/download/priority?id={job_id}&priority=12").status == 200
    assert node("GET", f"/v1/download?id={job_id}").json()["priority"] == 12
    for wrong in ({}, {"priority": 1001}, {"priority": -1001}, {"priority": "much"}):
        assert node("PUT", "/v1/download/priority", {"id": job_id, **wrong}).status == 400
    assert node("POST", "/v1/download", {"bucket": BUCKET, **ACCEPTED[0], "priority": 1001}).status == 400


def test_a_job_that_has_ended_is_followed_to_its_end_only(node: Native) -> None:
    job_id = started(node, **ACCEPTED[0])
    ended = JobProgress(id=job_id, total=1, scheduled=1, finished=1, finished_ns=ENDED_NS)
    node.store.swap(f"progress/{job_id}", encode_job(ended), expected_version=0)
    answer = node("GET", f"/v1/download?id={job_id}&follow=1")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream")
    name, data, *rest = answer.body.decode().split("\n")
    assert (name, rest) == ("event: end", ["", ""])
    assert json.loads(data.removeprefix("data: "))["state"] == "finished"
    assert node("GET", "/v1/download?follow=1").status == 400


def test_nothing_is_in_the_manifest_of_a_job_that_has_not_begun(node: Native) -> None:
    job_id = started(node, **ACCEPTED[0])
    answer = node("GET", f"/v1/download/manifest?id={job_id}")
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, b"", "application/x-ndjson")
    answer = node("GET", f"/v1/download/verify?id={job_id}")
    assert json.loads(answer.body) == {"checked": 0, "bytes": 0, "bad": 0, "done": True}
    assert node("POST", "/v1/download/repair", {"id": job_id}).status == 400
