"""What the store on disk promises beyond the seam: several copies, several processes, crashes, damage."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from aisle.cluster.documents import Head
from aisle.cluster.embedded import EmbeddedStore
from aisle.cluster.reconcile import reconcile
from aisle.cluster.replica import FOLDER, Replica, Snapshot
from aisle.cluster.store import Document
from aisle.errors import CorruptObject, StartError

Mountpaths = list[Path]


@pytest.fixture
def mountpaths(tmp_path: Path) -> Mountpaths:
    made = [tmp_path / f"m{number}" for number in range(3)]
    for path in made:
        path.mkdir()
    reconcile(made)
    return made


def change(mountpaths: Sequence[Path], *changes: tuple[str, bytes | None]) -> None:
    store = EmbeddedStore(mountpaths)
    for key, value in changes:
        present = store.load(key)
        store.swap(key, value, expected_version=present.version if present else 0)
    store.close()


def content(mountpath: Path) -> tuple[Head, list[tuple[bytes, bytes]]]:
    replica = Replica(mountpath / FOLDER)
    try:
        with replica.reading() as snapshot:
            return snapshot.head(), list(snapshot.everything())
    finally:
        replica.close()


def values(mountpaths: Sequence[Path]) -> dict[str, bytes]:
    store = EmbeddedStore(mountpaths)
    try:
        return {document.key: document.value for document in store.list("")}
    finally:
        store.close()


def damage(mountpath: Path, stored: bytes) -> None:
    """Change one byte of a value on the disk, in every version of the page that still holds it."""
    file = mountpath / FOLDER / "data.mdb"
    raw = file.read_bytes()
    assert stored in raw
    file.write_bytes(raw.replace(stored, b"!" + stored[1:]))


def interrupt(monkeypatch: pytest.MonkeyPatch, *, at: int) -> None:
    """Let the `at`-th write to a copy within a change fail, as a crash there would."""
    calls = 0
    genuine = Snapshot.change

    def failing(self: Snapshot, key: str, document: Document | None, head: Head) -> None:
        nonlocal calls
        calls += 1
        if calls == at:
            raise KeyboardInterrupt
        genuine(self, key, document, head)

    monkeypatch.setattr(Snapshot, "change", failing)


def test_every_copy_holds_every_change(mountpaths: Mountpaths) -> None:
    change(mountpaths, ("a/1", b"x"), ("a/2", b"y"), ("a/1", None))
    first, second, third = map(content, mountpaths)
    assert first == second == third
    assert values(mountpaths) == {"a/2": b"y"}


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_crash_between_two_copies_leaves_all_or_nothing(
    mountpaths: Mountpaths, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    change(mountpaths, ("a/1", b"old"))
    with monkeypatch.context() as patch:
        interrupt(patch, at=at)
        with pytest.raises(KeyboardInterrupt):
            change(mountpaths, ("a/1", b"new"))
    reconcile(mountpaths)
    first, second, third = map(content, mountpaths)
    assert first == second == third
    # Nobody was told of the change: either is right. Once a copy has it, it wins.
    assert values(mountpaths) == {"a/1": b"old" if at == 1 else b"new"}


@pytest.mark.parametrize("at", [2, 3])
def test_a_change_that_failed_half_way_does_not_show_and_the_next_one_repairs(
    mountpaths: Mountpaths, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    change(mountpaths, ("a/1", b"old"))
    store = EmbeddedStore(mountpaths)
    with monkeypatch.context() as patch:
        interrupt(patch, at=at)
        with pytest.raises(KeyboardInterrupt):
            store.swap("a/1", b"lost", expected_version=1)
    assert store.load("a/1") == Document("a/1", b"old", 1)
    store.swap("a/2", b"next", expected_version=0)
    store.close()
    first, second, third = map(content, mountpaths)
    assert first == second == third
    assert values(mountpaths) == {"a/1": b"old", "a/2": b"next"}


def test_a_mountpath_that_was_away_does_not_bring_back_what_was_removed(mountpaths: Mountpaths) -> None:
    change(mountpaths, ("a/1", b"x"), ("a/2", b"y"))
    change(mountpaths[1:], ("a/1", None), ("a/3", b"z"))
    report = reconcile(mountpaths)
    assert report.rewritten == [mountpaths[0]]
    assert values(mountpaths) == {"a/2": b"y", "a/3": b"z"}


def test_a_new_mountpath_gets_everything_wherever_it_stands(mountpaths: Mountpaths, tmp_path: Path) -> None:
    change(mountpaths, ("a/1", b"x"))
    new = tmp_path / "a-new-one"
    new.mkdir()
    assert reconcile([new, *mountpaths]).rewritten == [new]
    assert values([new]) == {"a/1": b"x"}


def test_reconciling_equal_copies_changes_nothing(mountpaths: Mountpaths) -> None:
    change(mountpaths, ("a/1", b"x"))
    before = [content(mountpath) for mountpath in mountpaths]
    report = reconcile(mountpaths)
    assert (report.rewritten, report.set_aside, report.restored) == ([], [], [])
    assert [content(mountpath) for mountpath in mountpaths] == before


def test_a_damaged_document_is_read_from_another_copy_and_restored_at_the_next_start(
    mountpaths: Mountpaths,
) -> None:
    change(mountpaths, ("a/1", b"precious content"), ("a/2", b"other"))
    damage(mountpaths[0], b"precious content")
    store = EmbeddedStore(mountpaths)
    assert store.load("a/1") == Document("a/1", b"precious content", 1)
    assert [document.value for document in store.list("a/")] == [b"precious content", b"other"]
    store.close()
    report = reconcile(mountpaths)
    assert mountpaths[0] in report.rewritten or report.restored == ["a/1"]
    assert values(mountpaths[:1]) == {"a/1": b"precious content", "a/2": b"other"}


def test_a_damaged_document_of_the_most_advanced_copy_is_taken_from_an_older_one(
    mountpaths: Mountpaths,
) -> None:
    change(mountpaths, ("a/1", b"precious content"))
    change(mountpaths[:1], ("a/2", b"later"))
    damage(mountpaths[0], b"precious content")
    assert reconcile(mountpaths).restored == ["a/1"]
    assert values(mountpaths) == {"a/1": b"precious content", "a/2": b"later"}


def test_a_document_that_is_damaged_everywhere_is_an_error_that_names_it(mountpaths: Mountpaths) -> None:
    change(mountpaths, ("a/1", b"precious content"))
    for mountpath in mountpaths:
        damage(mountpath, b"precious content")
    store = EmbeddedStore(mountpaths)
    with pytest.raises(CorruptObject, match="a/1"):
        store.load("a/1")
    with pytest.raises(CorruptObject, match="a/1"):
        store.swap("a/1", b"x", expected_version=1)
    store.close()
    with pytest.raises(StartError, match="a/1"):
        reconcile(mountpaths)


def test_an_unreadable_copy_is_kept_aside_and_made_anew(mountpaths: Mountpaths) -> None:
    change(mountpaths, ("a/1", b"x"))
    (mountpaths[1] / FOLDER / "data.mdb").write_bytes(b"nonsense" * 4096)
    report = reconcile(mountpaths)
    assert report.set_aside == [mountpaths[1] / "metadata.damaged-1"]
    assert values(mountpaths[1:2]) == {"a/1": b"x"}


def test_when_no_copy_can_be_read_every_start_fails(mountpaths: Mountpaths, tmp_path: Path) -> None:
    change(mountpaths, ("a/1", b"x"))
    for mountpath in mountpaths:
        (mountpath / FOLDER / "data.mdb").write_bytes(b"nonsense" * 4096)
    # A new mountpath is no copy that could stand in.
    new = tmp_path / "new"
    new.mkdir()
    for _ in range(2):
        with pytest.raises(StartError, match="cannot be read"):
            reconcile([*mountpaths, new])
    assert all((mountpath / FOLDER / "data.mdb").exists() for mountpath in mountpaths)


def test_when_all_copies_are_lost_only_a_node_that_may_be_new_starts(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    for _ in range(2):  # the first look leaves empty copies
        with pytest.raises(StartError, match="the cluster metadata is missing, though there are buckets"):
            reconcile(folders, may_be_new=False)
    assert reconcile(folders).sequence == 0
    change(folders, ("a/1", b"x"))
    assert reconcile(folders, may_be_new=False).sequence == 1


COUNTER = """
import sys
from pathlib import Path
from aisle.cluster.embedded import EmbeddedStore
from aisle.errors import StaleVersion

store = EmbeddedStore([Path(text) for text in sys.argv[3:]])
name, rounds = sys.argv[1], int(sys.argv[2])
for number in range(rounds):
    while True:
        present = store.load("k/counter")
        try:
            store.swap("k/counter", b"%d" % (int(present.value) + 1), expected_version=present.version)
            break
        except StaleVersion:
            pass
    store.swap(f"own/{name}/{number}", b"x" * 500, expected_version=0)
    if number:
        store.swap(f"own/{name}/{number - 1}", None, expected_version=1)
    print(number, flush=True)
"""

Start = Callable[[str, int], "subprocess.Popen[bytes]"]


@pytest.fixture
def start(mountpaths: Mountpaths, tmp_path: Path) -> Start:
    def start_counting(name: str, rounds: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-c", COUNTER, name, str(rounds), *map(str, mountpaths)]
        with (tmp_path / f"{name}.out").open("wb") as out:
            return subprocess.Popen(command, stdout=out)

    return start_counting


def test_processes_see_each_others_changes_and_lose_none(mountpaths: Mountpaths, start: Start) -> None:
    change(mountpaths, ("k/counter", b"0"))
    store = EmbeddedStore(mountpaths)
    before = store.revision()
    processes = [start(f"p{number}", 50) for number in range(3)]
    assert [process.wait(100) for process in processes] == [0, 0, 0]
    assert store.load("k/counter") == Document("k/counter", b"150", 151)
    assert len(store.list("own/")) == 3
    assert store.revision() > before
    store.close()


def test_killed_writers_lose_nothing_acknowledged(
    mountpaths: Mountpaths, start: Start, tmp_path: Path
) -> None:
    change(mountpaths, ("k/counter", b"0"))
    total = 0
    for kill_number in range(4):
        names = [f"k{kill_number}-{number}" for number in range(2)]
        processes = [start(name, 1_000_000) for name in names]
        deadline_s = time.monotonic() + 90
        while any(len((tmp_path / f"{name}.out").read_bytes()) < 40 for name in names):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        time.sleep(0.01 * kill_number)
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.wait(60)
        reconcile(mountpaths)
        first, second, third = map(content, mountpaths)
        assert first == second == third
        found = values(mountpaths)
        for name in names:
            *_, last = (tmp_path / f"{name}.out").read_text().rpartition("\n")[0].split()
            total += int(last) + 1
            mine = sorted(int(key.rpartition("/")[2]) for key in found if key.startswith(f"own/{name}/"))
            # The last acknowledged one is there, at most one more was under way, removed ones stay away.
            assert mine[0] in (int(last), int(last) + 1)
            assert len(mine) <= 2
        assert int(found["k/counter"]) >= total
