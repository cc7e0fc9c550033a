"""A start that breaks off anywhere while it prepares the mountpaths is taken up by the next one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aisle.errors import MountpathMissing, StartError
from aisle.storage import layout
from aisle.storage.layout import Mountpath, Prepared, prepare


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
