"""`ais cp`, `ais mv`, `ais rm --list|--template` and `ais show job` against a real node."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ais import ais
from support.node import RunningNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        yield running


@pytest.fixture
def url(node: RunningNode, tmp_path: Path) -> str:
    """A node with 12 objects in `ais://data`, and nothing else."""
    for bucket in ("data", "copy", "moved"):
        ais(node.url, "rmb", bucket, "--yes")
    folder = tmp_path / "src"
    folder.mkdir()
    for number in range(12):
        (folder / f"{number:02}.bin").write_bytes(bytes([number]) * (number * 10_000))
    assert ais(node.url, "create", "data").code == 0
    assert ais(node.url, "put", "src", "ais://data", "-r", cwd=tmp_path).code == 0
    assert len(names(node.url, "data")) == 12
    return node.url


def names(url: str, bucket: str) -> list[str]:
    return ais(url, "ls", f"ais://{bucket}", "--props", "name", "-H").lines


def test_objects_and_buckets_are_copied(url: str) -> None:
    before = names(url, "data")
    run = ais(url, "cp", "ais://data", "ais://copy", "--wait")
    assert (run.code, run.lines) == (0, ["Copying ais://data => ais://copy ...Done. 12 objects, 644.53KiB"])
    assert names(url, "copy") == before
    run = ais(url, "cp", "ais://data/" + before[3], "ais://copy/é/new name#1")
    assert (run.code, run.lines) == (0, [f"COPY ais://data/{before[3]} => ais://copy/é/new name#1"])
    copied = ais(url, "get", "ais://copy/é/new name#1", "-").stdout
    assert copied == ais(url, "get", f"ais://data/{before[3]}", "-").stdout != b""
    run = ais(url, "cp", "ais://data", "ais://copy/again/", "--list", f"{before[0]},{before[1]}")
    assert run.code == 0, run.stderr
    assert [name for name in names(url, "copy") if name.startswith("again/")] == [
        f"again/{before[0]}",
        f"again/{before[1]}",
    ]
    run = ais(url, "cp", "ais://data", "ais://nowhere", "--dry-run", "--json", "--wait")
    assert (run.code, run.json["objects"], run.json["state"]) == (0, 12, "finished")
    assert ais(url, "ls", "ais://nowhere").code == 3
    run = ais(url, "cp", f"ais://data/{before[3]}", "ais://copy/only/tried", "--dry-run")
    assert run.lines == [f"[dry run] COPY ais://data/{before[3]} => ais://copy/only/tried"]
    assert ais(url, "get", "ais://copy/only/tried", "-").code == 3
    assert ais(url, "cp", "ais://data/none", "ais://copy").code == 3
    assert ais(url, "cp", "ais://data", "ais://data").code == 1


def test_objects_and_buckets_are_renamed(url: str) -> None:
    before = names(url, "data")
    assert ais(url, "mv", "ais://data/" + before[0], "first").code == 0
    assert names(url, "data") == [*before[1:], "first"]
    run = ais(url, "mv", "ais://data", "ais://moved")
    assert run.code == 0
    assert run.lines[0].endswith("] ais://data => ais://moved ...")
    assert run.lines[1:] == ["Done."]
    assert names(url, "moved") == [*before[1:], "first"]
    assert ais(url, "ls", "ais://data").code == 3
    assert ais(url, "create", "data").code == 0
    run = ais(url, "mv", "ais://data", "ais://moved")
    assert (run.code, "already exists" in run.stderr) == (1, True)


def test_selected_objects_are_removed(url: str) -> None:
    before = names(url, "data")
    template = before[0].replace("00", "{00..04}")
    assert ais(url, "rm", "ais://data", "--template", template).lines == ["deleted 5 objects"]
    run = ais(url, "rm", "ais://data", "--list", f"{before[5]},nope,{before[6]}")
    assert (run.code, run.lines) == (1, ["deleted 2 objects"])
    assert "ais://data/nope does not exist" in run.stderr
    assert names(url, "data") == before[7:]


def test_jobs_are_shown_and_waited_for(url: str) -> None:
    job_id = ais(url, "cp", "ais://data", "ais://copy", "--wait", "--json").json["id"]
    lines = ais(url, "show", "job", "--all").lines
    assert [line for line in lines if line.startswith(job_id) and "copy-bucket" in line]
    told = ais(url, "show", "job", job_id, "--json").json
    assert (told["kind"], told["objects"], told["error"]) == ("copy-bck", 12, "")
    assert ais(url, "job", "wait", job_id).code == 0
    assert ais(url, "job", "abort", job_id).code == 0
    assert ais(url, "show", "job", job_id, "--json").json["state"] == "finished"
    assert ais(url, "show", "job", "never-was").code == 3
