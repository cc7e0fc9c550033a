"""A start that breaks off anywhere while it prepares the mountpaths is taken up by the next one."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from aisle.errors import MountpathMissing, StartError
from aisle.storage import layout
from aisle.storage.layout import Incarnations, Mountpath, Prepared, holds_buckets, prepare
from aisle.storage.local import LocalEngine
from aisle.storage.volatile import open_volatile
from contract.test_storage_mountpaths import mounted


def start(*paths: Path) -> Prepared:
    for path in paths:
        path.mkdir(exist_ok=True)
        (path / ".lock").touch()
    return prepare(paths, new_node_id=lambda: "node-id")


def break_off(monkeypatch: pytest.MonkeyPatch, name: str, at: int) -> None:
    """Let the start end in a call of a function of the module, after (odd `at`) or before (even) its work."""
    genuine: Callable[..., None] = getattr(layout, name)
    calls = 0

    def failing(*arguments: object, **named: object) -> None:
        nonlocal calls
        calls += 1
        if calls * 2 == at:
            raise KeyboardInterrupt
        genuine(*arguments, **named)
        if calls * 2 - 1 == at:
            raise KeyboardInterrupt

    monkeypatch.setattr(layout, name, failing)


@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("name", ["write_durably", "_make_folders"])
@pytest.mark.parametrize("count_before", [0, 1])
def test_a_start_that_broke_off_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int, count_before: int
) -> None:
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    before = start(*paths[:count_before]).mountpaths if count_before else ()
    with monkeypatch.context() as patch:
        break_off(patch, name, at)
        try:
            start(*paths)
        except KeyboardInterrupt:
            pass
    prepared = start(*paths)
    assert prepared.node == "node-id"
    assert {mountpath.path for mountpath in prepared.mountpaths} == set(paths)
    assert set(before) <= set(prepared.mountpaths)
    assert start(*paths) == prepared


def test_a_temporary_description_alone_does_not_make_a_folder_foreign(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / ".aisle.json.new").write_text("{")
    assert start(folder).mountpaths == (Mountpath(start(folder).mountpaths[0].id, folder),)


def test_a_mountpath_that_is_gone_or_empty_is_an_error_that_names_it(tmp_path: Path) -> None:
    first, second, empty = tmp_path / "a", tmp_path / "b", tmp_path / "empty"
    start(first, second)
    with pytest.raises(MountpathMissing, match=str(second)):
        start(first)
    with pytest.raises(MountpathMissing, match=str(second)):
        start(first, empty)
    # Nothing was written into the wrong folder.
    assert [entry.name for entry in empty.iterdir()] == [".lock"]


def test_a_mountpath_that_was_left_out_does_not_come_back_by_itself(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    start(first, second)
    prepare([first], new_node_id=lambda: "other", accept_missing=True)
    with pytest.raises(StartError, match="left out"):
        start(first, second)


def test_a_folder_with_other_things_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(StartError, match="photos"):
        start(tmp_path)


def empty(file: Path) -> None:
    file.write_bytes(b"")


def damage(file: Path) -> None:
    file.write_bytes(os.urandom(8192))


@pytest.mark.parametrize(
    ("lost", "how", "told"),
    [
        ("index/data.mdb", Path.unlink, "the index of mountpath .* is missing: `ais storage restore`"),
        ("index/data.mdb", empty, "the index of mountpath .* is missing: `ais storage restore`"),
        ("index/data.mdb", damage, "the index of mountpath .* is damaged .*: `ais storage restore`"),
        ("data", Path.rmdir, "the payload files of mountpath .* are missing .*: put them back"),
    ],
)
def test_what_a_mountpath_has_lost_is_not_made_anew(
    tmp_path: Path, lost: str, how: Callable[[Path], None], told: str
) -> None:
    start(tmp_path / "a", tmp_path / "b")
    how(tmp_path / "b" / lost)
    for _ in range(2):
        with pytest.raises(StartError, match=told):
            start(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("how", [empty, damage, Path.unlink])
@pytest.mark.parametrize("lost", ["volatile/data.mdb", "volatile/boot", ".incarnation"])
def test_what_can_be_made_anew_is(tmp_path: Path, lost: str, how: Callable[[Path], None]) -> None:
    prepared = start(tmp_path)
    before = Incarnations(prepared.mountpaths).new()
    how(tmp_path / lost)
    prepared = start(tmp_path)
    new = [Incarnations(prepared.mountpaths).new() for _ in range(3)]
    assert new == sorted(set(new))
    assert lost == ".incarnation" or before < new[0]
    assert open_volatile(tmp_path, writable=True).get_ns(b"x") == 0


def test_a_node_without_buckets_is_told_from_one_that_has_some(tmp_path: Path) -> None:
    paths = [mountpath.path for mountpath in start(tmp_path / "a", tmp_path / "b").mountpaths]
    assert not holds_buckets(paths)

    async def open_one(engine: LocalEngine) -> None:
        await engine.open_bucket(5)

    with mounted(paths) as (_, run):
        run(open_one)
    assert holds_buckets(paths)
