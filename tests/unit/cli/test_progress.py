"""Bars, and what they know of how much it will be."""

import os
from pathlib import Path

import pytest

from aisle.cli import progress
from aisle.cli.progress import TransferBar, transfer
from aisle.cli.put import _size_of_all
from aisle.errors import NodeUnreachable


@pytest.fixture(autouse=True)
def shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "FIRST_SHOWN_AFTER_S", 0.0)


@pytest.mark.parametrize("is_early", [True, False])
def test_a_total_may_be_found_before_or_while_the_bar_is_shown(is_early: bool) -> None:
    bar = TransferBar("PUT", total_bytes=None, shown=True)
    if is_early:
        bar.expect(10)
    bar.advance(5)
    bar.finish_file()
    if not is_early:
        bar.expect(10)
    assert bar._progress is not None
    [task] = bar._progress.tasks
    bar.stop()
    assert (task.completed, task.total, task.description) == (5, 10, "PUT (1 file)")


def test_without_a_terminal_nobody_looks_for_a_total() -> None:
    def find() -> int:
        raise AssertionError("nobody would see it")

    with transfer("PUT", find_total=find) as bar:
        bar.advance(5)
    assert bar.bytes == 5


def test_a_total_that_cannot_be_found_stays_open() -> None:
    def away() -> int:
        raise NodeUnreachable("http://fake", "refused")

    bar = TransferBar("GET", total_bytes=None, shown=True)
    progress._find(bar, away)
    bar.advance(1)
    assert bar._progress is not None
    bar.stop()
    assert bar._progress.tasks[0].total is None


def test_the_size_of_files_and_folders_is_that_of_the_files_in_them(tmp_path: Path) -> None:
    (tmp_path / "set" / "deep").mkdir(parents=True)
    for name, size in (("one", 1), ("set/a", 20), ("set/deep/b", 300)):
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "set" / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "set" / "pipe")
    assert _size_of_all([str(tmp_path / "one"), str(tmp_path / "set")]) == 321
