import json

import pytest

from support.cli import run_ais
from support.fake_node import FakeNode, job, snapshot


@pytest.fixture
def node() -> FakeNode:
    return FakeNode(
        jobs={
            "dnl-a": [
                job(
                    "dnl-a",
                    done=1,
                    total=3,
                    running=True,
                    current_tasks=[{"name": "slow", "downloaded": "14680064", "total": "268435456"}],
                )
            ],
            "dnl-b": [job("dnl-b", done=10, total=10)],
            "dnl-c": [job("dnl-c", done=0, total=1, aborted=True)],
        }
    )


def test_running_jobs_are_listed(node: FakeNode) -> None:
    lines = run_ais(node, "show", "job").stdout.splitlines()
    assert lines == ["JOB ID  STATUS     ERRORS  DESCRIPTION", "dnl-a   2 pending  0       test dnl-a"]


@pytest.mark.parametrize("form", [["show", "job", "download", "--all"], ["job", "show", "--all", "-H"]])
def test_finished_jobs_are_listed_on_request(node: FakeNode, form: list[str]) -> None:
    text = run_ais(node, *form).stdout
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("dnl")] == [
        ["dnl-a", "2"],
        ["dnl-b", "Finished"],
        ["dnl-c", "Aborted"],
    ]


def test_no_jobs_is_said_beside_the_output() -> None:
    result = run_ais(FakeNode(), "show", "job")
    assert (result.stdout, result.stderr) == ("", "No running jobs. Finished ones: ais show job --all\n")


@pytest.mark.parametrize("form", [["show", "job", "dnl-a"], ["show", "job", "download", "dnl-a"]])
def test_a_running_job_tells_what_is_under_way(node: FakeNode, form: list[str]) -> None:
    assert run_ais(node, *form).stdout.splitlines() == [
        "dnl-a progress: downloaded 1 file (out of 3)",
        "\tslow: 14.00MiB/256.00MiB (5.47%)",
    ]


def test_a_finished_job_tells_its_outcome(node: FakeNode) -> None:
    assert run_ais(node, "show", "job", "dnl-b").stdout == "Done: 10 files downloaded\n"
    assert run_ais(node, "show", "job", "dnl-c").stdout == "Download dnl-c (test dnl-c): aborted\n"


def test_a_node_that_tells_bytes_is_believed(node: FakeNode) -> None:
    node.jobs["dnl-d"] = [job("dnl-d", done=2, total=2, bytes=3_145_728, total_bytes=3_145_728)]
    result = run_ais(node, "show", "job", "dnl-d")
    assert (result.stdout, result.stderr) == (
        "Done: 2 files downloaded\n",
        "3.00MiB in 1.0 s, 3.00MiB/s\n",
    )


def test_what_was_skipped_and_what_failed_is_counted(node: FakeNode) -> None:
    failures = [{"name": "o1", "error": "status 404"}]
    node.jobs["dnl-d"] = [
        job(
            "dnl-d",
            done=9,
            total=10,
            skipped_cnt=3,
            updated_cnt=2,
            error_cnt=1,
            download_errors=failures,
        )
    ]
    result = run_ais(node, "show", "job", "dnl-d")
    assert result.stdout == "Done: 9 files downloaded, skipped: 3, updated: 2, error: 1\n"
    assert "3 unchanged, not fetched again; 2 changed, fetched anew" in result.stderr
    assert "ais show job dnl-d -v" in result.stderr
    assert run_ais(node, "show", "job", "dnl-d", "-v").stdout.splitlines()[1:] == [
        "Errors:",
        "\to1: status 404",
    ]


def test_a_long_job_tells_how_far_it_is(node: FakeNode) -> None:
    task = {"name": "slow", "downloaded": "10"}
    node.jobs["dnl-d"] = [job("dnl-d", done=64, total=141, running=True, current_tasks=[task])]
    line = "dnl-d progress: downloaded 64 files (out of 141) (45.39%)"
    assert run_ais(node, "show", "job", "dnl-d").stdout.splitlines() == [line]
    assert run_ais(node, "show", "job", "dnl-d", "-v").stdout.splitlines() == [line, "\tslow: 10B"]


def test_sizes_are_written_in_the_units_that_are_asked_for(node: FakeNode) -> None:
    try:
        assert "14.68MB/268.44MB" in run_ais(node, "show", "job", "dnl-a", "--units", "si").stdout
    finally:
        run_ais(node, "show", "job", "dnl-a", "--units", "iec")  # one process runs all of these commands


def test_downloads_alone_are_listed_with_the_last_that_ended(node: FakeNode) -> None:
    lines = run_ais(node, "show", "job", "download", "-H").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["dnl-a", "dnl-b", "dnl-c"]
    many = FakeNode(
        jobs={f"dnl-{number:02}": [job(f"dnl-{number:02}", done=1, total=1)] for number in range(30)}
    )
    result = run_ais(many, "show", "job", "download", "-H")
    assert len(result.stdout.splitlines()) == 20
    assert result.stderr == "10 earlier downloads not shown: add --all\n"
    assert len(run_ais(many, "show", "job", "download", "-H", "--all").stdout.splitlines()) == 30


def test_a_job_as_json(node: FakeNode) -> None:
    told = json.loads(run_ais(node, "show", "job", "dnl-b", "--json").stdout)
    assert told == {
        "id": "dnl-b",
        "kind": "download",
        "description": "test dnl-b",
        "state": "finished",
        "started": "2026-11-20T16:10:37.425972+00:00",
        "finished": "2026-11-20T16:10:38.426296+00:00",
        "total": 10,
        "done": 10,
        "skipped": 0,
        "updated": 0,
        "errors": 0,
        "retrying": 0,
        "bytes": 0,
        "total_bytes": -1,
        "bytes_per_second": 0,
    }


def test_a_list_of_jobs_as_json(node: FakeNode) -> None:
    told = json.loads(run_ais(node, "show", "job", "--json").stdout)
    assert [(one["id"], one["state"], one["finished"]) for one in told["jobs"]] == [
        ("dnl-a", "running", None)
    ]


def test_an_unknown_job_is_told(node: FakeNode) -> None:
    result = run_ais(node, "show", "job", "dnl-none")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[0] == "Error: download job dnl-none does not exist"


@pytest.mark.parametrize(
    "form", [["job", "abort"], ["job", "stop"], ["stop", "download"], ["job", "stop", "download"]]
)
def test_jobs_are_stopped(node: FakeNode, form: list[str]) -> None:
    assert run_ais(node, *form, "dnl-a").stdout == "Stopped download job dnl-a\n"
    assert node.calls[-1].target == "/v1/download/abort"


def test_finished_jobs_are_forgotten_and_running_ones_not(node: FakeNode) -> None:
    for form in (["job", "rm", "download"], ["rm", "job", "download"]):
        assert run_ais(node, *form, "dnl-b").stdout == 'Removed finished download job "dnl-b"\n'
    result = run_ais(node, "job", "rm", "dnl-a")
    assert result.exit_code == 1
    assert "still running" in result.stderr
    assert "ais job abort" in result.stderr


def test_all_running_downloads_are_stopped_when_somebody_agrees(node: FakeNode) -> None:
    assert run_ais(node, "stop", "download", "--all").exit_code == 2  # nobody is there to agree
    assert run_ais(node, "stop", "download", "--all", "--yes").stdout == "Stopped download job dnl-a\n"
    del node.jobs["dnl-a"]
    result = run_ais(node, "stop", "download", "--regex", ".*", "--yes")
    assert (result.exit_code, result.stderr) == (0, "No running download jobs, nothing to do\n")


def test_all_ended_downloads_are_forgotten(node: FakeNode) -> None:
    assert run_ais(node, "job", "rm", "download", "--all").stdout.splitlines() == [
        'Removed download job "dnl-b"',
        'Removed download job "dnl-c"',
    ]


def test_an_expression_that_cannot_be_read_is_told(node: FakeNode) -> None:
    node.others = {"one": [snapshot("one", "copy-bck", running=True)]}
    result = run_ais(node, "show", "job", "copy-bucket", "--regex", "[")
    assert result.exit_code == 1
    assert "regex '[' is not a regular expression" in result.stderr


def test_all_jobs_of_a_kind_or_of_all_kinds_are_stopped(node: FakeNode) -> None:
    node.others = {
        "one": [snapshot("one", "copy-bck", running=True)],
        "two": [snapshot("two", "delete-listrange", running=True)],
        "old": [snapshot("old", "copy-bck")],
    }
    assert run_ais(node, "stop", "copy-bucket", "--all").exit_code == 2  # nobody is there to agree
    assert run_ais(node, "stop", "copy-bucket", "--all", "-y").stdout == "Stopped copy-bucket job one\n"
    assert run_ais(node, "stop", "delete-objects", "--regex", "two", "-y").stdout == (
        "Stopped delete-objects job two\n"
    )
    assert run_ais(node, "stop", "delete-objects", "--regex", "other", "-y").stdout == ""
    told = run_ais(node, "stop", "--all", "-y").stdout.splitlines()
    assert told == [
        "Stopped copy-bucket job one",
        "Stopped delete-objects job two",
        "Stopped download job dnl-a",
    ]
    none = run_ais(FakeNode(), "stop", "--all")
    assert (none.exit_code, none.stderr) == (0, "No running jobs, nothing to do\n")


@pytest.mark.parametrize("form", [["stop", "download"], ["job", "rm", "download"]])
def test_jobs_are_named_or_selected_but_not_both(node: FakeNode, form: list[str]) -> None:
    assert run_ais(node, *form).exit_code == 2
    assert run_ais(node, *form, "dnl-a", "--all", "--yes").exit_code == 2


def test_a_download_of_nothing_says_so() -> None:
    node = FakeNode()
    node.jobs["dnl-e"] = [job("dnl-e", done=0, total=0)]
    result = run_ais(node, "job", "wait", "dnl-e")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "There was nothing to download: no file matches"


@pytest.mark.parametrize("form", [["wait", "download"], ["job", "wait"], ["wait", "job"]])
def test_waiting_tells_the_outcome_by_its_exit_code(node: FakeNode, form: list[str]) -> None:
    result = run_ais(node, *form, "dnl-b")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, "download[dnl-b] finished")
    assert run_ais(node, *form, "dnl-c").exit_code == 1


def test_the_only_download_that_runs_need_not_be_named(node: FakeNode) -> None:
    running, ended = node.jobs["dnl-a"][0], job("dnl-a", done=3, total=3)
    node.jobs["dnl-a"] = [running, ended]
    result = run_ais(node, "show", "job", "download", "--progress")
    assert (result.exit_code, result.stdout) == (0, "All 3 files successfully downloaded\n")
    result = run_ais(node, "show", "job", "download", "--progress")
    assert (result.exit_code, "no download runs" in result.stderr) == (2, True)


def test_one_job_must_be_named(node: FakeNode) -> None:
    assert run_ais(node, "job", "wait", "dnl-a", "dnl-b").exit_code == 2
    assert run_ais(node, "show", "job", "--progress").exit_code == 2
