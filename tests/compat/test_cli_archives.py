"""`ais archive` and what other commands do with archives, on a running node."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ais import ais
from support.node import RunningNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        ais(running.url, "create", "ais://data")
        yield running


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "note.txt"
    path.write_bytes(b"text" * 1000)
    return path


def test_a_file_goes_into_an_archive_and_comes_back(node: RunningNode, file: Path, tmp_path: Path) -> None:
    run = ais(node.url, "archive", "put", str(file), "ais://data/x/s.tar")
    assert (run.code, run.lines) == (0, [f'PUT "{file}" => ais://data/x/s.tar/note.txt'])
    run = ais(node.url, "archive", "put", str(file), "data/x/s.tar/deep/more.txt", "--append")
    assert run.lines == [f'APPEND "{file}" => ais://data/x/s.tar/deep/more.txt']
    run = ais(node.url, "archive", "ls", "ais://data/x/s.tar")
    assert [line.split() for line in run.lines[1:]] == [
        ["x/s.tar", "10.00KiB"],
        ["x/s.tar/deep/more.txt", "3.91KiB"],
        ["x/s.tar/note.txt", "3.91KiB"],
    ]
    assert ais(node.url, "archive", "get", "data/x/s.tar/deep/more.txt", "-").stdout == file.read_bytes()
    run = ais(node.url, "get", "ais://data/x/s.tar", "--archpath", "note.txt", "--yes", cwd=tmp_path)
    assert run.code == 0, run.stderr
    run = ais(node.url, "get", "data/x/s.tar", "-", "--archregx", "more", "--archmode", "substr")
    with tarfile.open(fileobj=io.BytesIO(run.stdout)) as tar:
        assert tar.getnames() == ["deep/more.txt"]
    assert ais(node.url, "ls", "ais://data", "--archive", "--count-only").text == "3\n"
    told = ais(node.url, "ls", "data/x/s.tar", "--archive", "--json").json
    assert [entry["name"] for entry in told["objects"]] == [
        "x/s.tar",
        "x/s.tar/deep/more.txt",
        "x/s.tar/note.txt",
    ]


def test_what_is_missing_is_named(node: RunningNode, file: Path) -> None:
    ais(node.url, "archive", "put", str(file), "ais://data/t.zip", "--append-or-put")
    run = ais(node.url, "archive", "get", "ais://data/t.zip/none", "-")
    assert (run.code, run.stderr.splitlines()) == (
        3,
        [
            "Error: none in ais://data/t.zip does not exist",
            "  See what is in it with: ais archive ls ais://data/t.zip",
        ],
    )
    run = ais(node.url, "archive", "put", str(file), "ais://data/new.tgz", "--append")
    assert (run.code, run.stderr.splitlines()[0]) == (3, "Error: ais://data/new.tgz does not exist")
    run = ais(node.url, "archive", "put", str(file), "ais://data/new.rar")
    assert run.code == 1
    assert "not the name of an archive" in run.stderr
    run = ais(node.url, "archive", "put", str(file), "ais://data/t.zip", "--archpath", "../up")
    assert run.code == 1


def test_a_bucket_is_packed(node: RunningNode) -> None:
    ais(node.url, "create", "ais://from", "ais://to")
    for number in range(3):
        ais(node.url, "put", "-", f"ais://from/dir/{number}", stdin=b"x" * number)
    run = ais(node.url, "archive", "bucket", "ais://from", "ais://to/all.tgz", "--prefix", "dir/", "--wait")
    assert (run.code, run.lines) == (0, ["Archived ais://from => ais://to/all.tgz: 3 objects, 3B"])
    run = ais(
        node.url, "archive", "bucket", "from", "to/s.tar", "--list", "dir/1,dir/2", "--basename", "--json"
    )
    assert (run.json["kind"], run.json["state"], run.json["objects"]) == ("archive", "finished", 2)
    run = ais(node.url, "archive", "ls", "ais://to/s.tar", "--no-headers")
    assert [line.split()[0] for line in run.lines] == ["s.tar", "s.tar/1", "s.tar/2"]
    run = ais(node.url, "archive", "bucket", "ais://from", "ais://to/x.tar", "--list", "none")
    assert run.code == 1
    assert "ais://from/none does not exist" in run.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["archive", "get", "data/s.tar"],
        ["archive", "get", "data/s.tar/a", "--archpath", "b"],
        ["archive", "put", __file__, "data/s.tar", "--append", "--append-or-put"],
        ["archive", "put", __file__, "data/s.tar/a", "--archpath", "b"],
        ["archive", "bucket", "data/x", "data/s.tar"],
        ["archive", "bucket", "data", "data/s.tar", "--list", "a", "--template", "b"],
        ["get", "data/s.tar", "--archpath", "a", "--offset", "1"],
        ["get", "data/s.tar", "--archpath", "a", "--archregx", "b"],
        ["get", "data", "-r", "--archpath", "a"],
    ],
)
def test_wrong_usage_is_told(node: RunningNode, arguments: list[str]) -> None:
    assert ais(node.url, *arguments).code == 2
