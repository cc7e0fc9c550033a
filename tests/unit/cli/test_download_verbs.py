"""Verbs on downloads: resting, verifying, repairing, manifests."""

import json
from pathlib import Path

import pytest

from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, error, job

MANIFEST = [
    {
        "item": 0,
        "object": "a",
        "source": "http://h/a",
        "result": "stored",
        "size": 3,
        "checksum": "xxhash2:ab",
        "etag": "e",
        "time": "2026-11-20T16:12:38.537593Z",
    },
    {
        "item": 1,
        "object": "b",
        "source": "http://h/b",
        "result": "failed",
        "time": "2026-11-20T16:12:39Z",
        "error": "status 404",
    },
]
GOOD = {"checked": 2, "bytes": 2048, "bad": 0, "done": True}
BAD = [
    {"item": 1, "object": "b", "problem": "missing", "detail": "there is no such object"},
    {"checked": 2, "bytes": 2048, "bad": 1, "done": True},
]


@pytest.fixture
def node() -> FakeNode:
    return FakeNode({"nnn": {}}, jobs={"dnl-1": [job("dnl-1", done=2, total=2)]})


def answers(node: FakeNode, *documents: object) -> None:
    """A status, then lines."""
    node.answers.append(FakeAnswer(200, json.dumps(job("dnl-1", done=2, total=2)).encode()))
    node.answers.append(FakeAnswer(200, b"".join(json.dumps(line).encode() + b"\n" for line in documents)))


def test_downloads_rest_and_go_on(node: FakeNode) -> None:
    for verb, said in (("pause", "Paused dnl-1"), ("resume", "Resumed dnl-1")):
        for words in (["download", verb, "dnl-1"], ["job", verb, "dnl-1"]):
            result = run_ais(node, *words)
            assert (result.exit_code, said in result.stdout) == (0, True)
            assert (node.calls[-1].method, node.calls[-1].target) == ("PUT", f"/v1/download/{verb}")
            assert node.messages[-1] == {"id": "dnl-1"}


def test_a_download_that_rests_says_so(node: FakeNode) -> None:
    node.jobs["dnl-2"] = [job("dnl-2", done=1, total=20, running=True, state="paused")]
    lines = run_ais(node, "show", "job", "dnl-2").stdout.splitlines()
    assert lines[-1] == "\tpaused: let it go on with: ais download resume dnl-2"
    assert "Paused" in run_ais(node, "show", "job", "download").stdout


def test_what_has_ended_cannot_rest(node: FakeNode) -> None:
    node.answers.append(error(409, 'job "dnl-1" has ended: it cannot be paused'))
    result = run_ais(node, "download", "pause", "dnl-1")
    assert result.exit_code != 0
    assert "has ended" in result.stderr


def test_priorities_are_sent(node: FakeNode) -> None:
    assert run_ais(node, "download", "priority", "dnl-1", "--", "-5").exit_code == 0
    assert node.messages[-1] == {"id": "dnl-1", "priority": -5}


def test_a_good_download_verifies(node: FakeNode) -> None:
    answers(node, {**GOOD, "done": False}, GOOD)
    result = run_ais(node, "download", "verify", "dnl-1")
    assert (result.exit_code, result.stdout) == (0, "Verified 2 files (2.00KiB): all are what was stored\n")


def test_what_is_bad_is_told_and_ends_the_command_so(node: FakeNode) -> None:
    answers(node, *BAD)
    result = run_ais(node, "download", "verify", "dnl-1")
    assert (result.exit_code, result.stdout) == (1, "Bad: 1 of 2 files (2.00KiB) (1 missing)\n")
    assert "b: missing: there is no such object" in result.stderr
    assert "ais download repair dnl-1" in result.stderr
    answers(node, *BAD)
    result = run_ais(node, "download", "verify", "dnl-1", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"id": "dnl-1", "checked": 2, "bytes": 2048, "bad": [BAD[0]]}


def test_a_verification_that_breaks_off_is_no_success(node: FakeNode) -> None:
    answers(node, {**GOOD, "done": False})
    assert run_ais(node, "download", "verify", "dnl-1").exit_code != 0


def test_a_repair_fetches_what_is_bad(node: FakeNode) -> None:
    answers(node, *BAD)
    result = run_ais(node, "download", "repair", "dnl-1", "--dry-run")
    assert (result.exit_code, "Would fetch 1 file again" in result.stdout) == (0, True)
    answers(node, *BAD)
    result = run_ais(node, "download", "repair", "dnl-1", "--no-wait")
    assert (result.exit_code, "Started download job dnl-new" in result.stdout) == (0, True)
    assert node.calls[-1].target == "/v1/download/repair"
    assert node.messages[-1] == {"id": "dnl-1", "items": [1]}
    answers(node, GOOD)
    result = run_ais(node, "download", "repair", "dnl-1")
    assert (result.exit_code, result.stdout) == (0, "Nothing to repair: 2 files (2.00KiB) verified\n")


def test_a_manifest_is_written_as_lines(node: FakeNode, tmp_path: Path) -> None:
    answers(node, *MANIFEST)
    result = run_ais(node, "job", "manifest", "dnl-1")
    assert [json.loads(line) for line in result.stdout.splitlines()] == MANIFEST
    answers(node, *MANIFEST)
    path = tmp_path / "m.jsonl"
    assert run_ais(node, "job", "manifest", "download", "dnl-1", "--json", "-o", str(path)).exit_code == 0
    assert [json.loads(line) for line in path.read_text().splitlines()] == MANIFEST


def test_lines_that_a_full_disk_did_not_take_are_told(node: FakeNode) -> None:
    answers(node, *MANIFEST)
    node.answers[-1].headers["manifest-missing"] = "3"  # type: ignore[union-attr]
    result = run_ais(node, "job", "manifest", "dnl-1")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)
    assert "3 lines could not be written" in result.stderr


def test_a_manifest_is_written_as_parquet(node: FakeNode, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    answers(node, *MANIFEST)
    path = tmp_path / "m.parquet"
    assert run_ais(node, "job", "manifest", "dnl-1", "--parquet", "--output", str(path)).exit_code == 0
    rows = parquet.read_table(path).to_pylist()
    assert [(row["object"], row["result"], row["size"], row["error"]) for row in rows] == [
        ("a", "stored", 3, None),
        ("b", "failed", None, "status 404"),
    ]
    assert rows[0]["time"].isoformat() == "2026-11-20T16:12:38.537593+00:00"
    assert [file.name for file in tmp_path.iterdir()] == ["m.parquet"]


def test_an_unknown_job_leaves_no_file(node: FakeNode, tmp_path: Path) -> None:
    for form in ("--json", "--parquet"):
        result = run_ais(node, "job", "manifest", "dnl-none", form, "-o", str(tmp_path / "m"))
        assert result.exit_code != 0
        assert "dnl-none" in result.stderr
    assert list(tmp_path.iterdir()) == []
