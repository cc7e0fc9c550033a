"""Promoting: which files of the machine may become objects, and what becomes of them."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import BulkTools
from aisle.jobs.promoting import Promoting
from aisle.model.bulk import BulkProgress
from service.calling import Answer, Native


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "promote"
    (folder / "d" / "sub").mkdir(parents=True)
    for name in ("f.txt", "d/a", "d/b", "d/sub/c"):
        (folder / name).write_bytes(name.encode())
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def node(root: Path) -> Iterator[Native]:
    made = Native(promote_roots=(str(root),))
    made.bucket("b")
    yield made
    made.close()


def promote(node: Native, source: Path | str, **how: Any) -> Answer:
    value = {
        "tid": "",
        "src": str(source),
        "obj": "",
        "rcr": False,
        "ovw": False,
        "dls": False,
        "notshr": False,
    }
    message = {"action": "promote", "name": str(source), "value": value | how}
    return node("POST", "/v1/objects/b?provider=ais", message)


def read(node: Native, name: str) -> bytes:
    return node("GET", f"/v1/objects/b/{name}?provider=ais").body


@pytest.mark.parametrize(
    ("wanted", "name"), [("", "f.txt"), ("into/", "into/f.txt"), ("other", "other"), ("a/b", "a/b")]
)
def test_a_file_becomes_an_object_at_once(node: Native, root: Path, wanted: str, name: str) -> None:
    answer = promote(node, root / "f.txt", obj=wanted)
    assert (answer.status, answer.body) == (200, b"")
    assert read(node, name) == b"f.txt"
    assert (root / "f.txt").exists()


def test_an_object_that_is_there_stays_unless_it_may_be_overwritten(node: Native, root: Path) -> None:
    node.put("b/f.txt", b"before")
    assert promote(node, root / "f.txt").status == 200
    assert read(node, "f.txt") == b"before"
    assert promote(node, root / "f.txt", dls=True).status == 200
    assert (root / "f.txt").exists()
    assert promote(node, root / "f.txt", ovw=True).status == 200
    assert read(node, "f.txt") == b"f.txt"


def test_a_source_is_deleted_when_it_is_an_object(node: Native, root: Path) -> None:
    assert promote(node, root / "f.txt", dls=True).status == 200
    assert not (root / "f.txt").exists()
    assert read(node, "f.txt") == b"f.txt"


def test_a_folder_is_a_job(node: Native, root: Path) -> None:
    answer = promote(node, root / "d", obj="p/")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert answer.body
    node.work()
    assert node.names("b") == ["p/a", "p/b"]


def test_folders_in_it_come_too_if_asked(node: Native, root: Path) -> None:
    (root / "d" / "link").symlink_to(root.parent / "secret")
    os.mkfifo(root / "d" / "pipe")
    assert promote(node, root / "d", rcr=True, dls=True).body
    node.work()
    assert node.names("b") == ["a", "b", "sub/c"]
    assert read(node, "sub/c") == b"d/sub/c"
    assert sorted(path.name for path in (root / "d").rglob("*")) == ["link", "pipe", "sub"]


@pytest.mark.parametrize(
    ("source", "status", "tcode"),
    [
        ("../secret", 400, "errInvalidPromoteSource"),
        ("d/../../secret", 400, "errInvalidPromoteSource"),
        ("link", 400, "errInvalidPromoteSource"),
        ("linked/secret", 400, "errInvalidPromoteSource"),
        ("pipe", 400, "errInvalidPromoteSource"),
        ("none", 404, "ErrNotFound"),
    ],
)
def test_what_lies_outside_is_out_of_reach(
    node: Native, root: Path, source: str, status: int, tcode: str
) -> None:
    (root / "link").symlink_to(root.parent / "secret")
    (root / "linked").symlink_to(root.parent)
    os.mkfifo(root / "pipe")
    answer = promote(node, f"{root}/{source}")
    assert (answer.status, answer.json()["tcode"]) == (status, tcode), answer.body
    assert node.names("b") == []


@pytest.mark.parametrize("source", ["/etc/passwd", "etc/passwd", "", "/", "f.txt"])
def test_other_paths_are_refused(node: Native, source: str) -> None:
    answer = promote(node, source)
    assert (answer.status, answer.json()["tcode"]) == (400, "errInvalidPromoteSource")


def test_an_empty_folder_is_refused(node: Native, root: Path) -> None:
    (root / "empty" / "deeper").mkdir(parents=True)
    answer = promote(node, root / "empty", rcr=True)
    assert (answer.status, "is empty" in answer.json()["message"]) == (400, True)


def test_wrong_messages_are_refused(node: Native, root: Path) -> None:
    assert promote(node, root / "f.txt", recurs=False).status == 400
    assert promote(node, root / "f.txt", ovw="x").status == 400
    assert promote(node, root / "f.txt", tid="other").status == 404
    assert promote(node, root / "f.txt", obj="x" * 1025).status == 400
    missing = node(
        "POST", "/v1/objects/none?provider=ais", {"action": "promote", "name": str(root / "f.txt")}
    )
    assert (missing.status, missing.json()["tcode"]) == (404, "ErrBckNotFound")
    assert node.names("b") == []


def test_without_folders_set_aside_nothing_can_be_promoted(native: Native, root: Path) -> None:
    assert promote(native, root / "f.txt").status == 400


@pytest.mark.parametrize("is_resumed", [True, False])
def test_what_a_killed_process_had_promoted_is_counted_and_its_source_goes(
    node: Native, root: Path, is_resumed: bool
) -> None:
    job = promote(node, root / "d", dls=True).body.decode()
    # As if the process had died between writing these and keeping how far it was.
    for name, content in (("a", b"d/a"), ("b", b"x/b")):
        node.put(f"b/{name}", content)
    info = node.buckets.select(name="b")[0]
    record = node.bulk.find(job).record
    work = Promoting(BulkTools(node.store, node.engine, node.buckets), record)
    tally = BulkTally(BulkProgress(id=job), is_resumed=is_resumed)
    node.runner.run(work.run(tally))
    assert info.number == record.number
    assert tally.progress().objects == 1
    # What somebody else has written meanwhile stays, and so does the file of that name.
    assert read(node, "b") == b"x/b"
    assert [path.name for path in (root / "d").iterdir() if path.is_file()] == ["b"]
