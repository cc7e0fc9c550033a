import os
from pathlib import Path

import pytest

from aisle.errors import AisleError, BadRequest, BodyTooLarge, CorruptObject, OutOfSpace
from aisle.jobs import list_intake
from aisle.jobs.list_files import BLOCK_ITEMS, ListStore, write_list
from aisle.jobs.list_intake import ListIntake
from aisle.jobs.list_sweep import ListSweep
from aisle.rules.download_list import ListedItem
from aisle.rules.download_plan import Item
from aisle.storage.sync import Durability

SHA = "sha256:" + "0" * 64


class Recording(Durability):
    """Notes what was made durable, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def sync_payload(self, fd: int) -> None:
        self.done.append("payload")

    def sync_folder(self, path: str) -> None:
        names = sorted(os.listdir(path))
        self.done.append(f"{Path(path).name}: {' '.join(names)}")


def numbered(count: int) -> list[ListedItem]:
    return [ListedItem(f"o{number}".encode(), f"http://h/{number}", SHA, number) for number in range(count)]


@pytest.mark.parametrize("count", [1, BLOCK_ITEMS - 1, BLOCK_ITEMS, BLOCK_ITEMS + 1, 5 * BLOCK_ITEMS + 3])
def test_items_are_found_by_number(tmp_path: Path, count: int) -> None:
    lists = ListStore([tmp_path / "lists"])
    assert write_list(lists, "x", numbered(count)) == count
    found = lists.open("x")
    assert found.total == count
    order = [*range(count), *reversed(range(count)), count // 2]
    assert [found.item(number) for number in order] == [
        Item(number, f"o{number}".encode(), f"http://h/{number}", SHA, number) for number in order
    ]
    assert list(found.items()) == numbered(count)
    assert found.label(count - 1) == f"http://h/{count - 1}"
    found.close()


def test_an_item_with_an_error_fails_when_its_turn_comes(tmp_path: Path) -> None:
    lists = ListStore([tmp_path])
    write_list(
        lists,
        "x",
        [ListedItem(b"a", "http://h/a?token=s", error="no page"), ListedItem(b"b", "http://h/b?token=s")],
    )
    found = lists.open("x")
    with pytest.raises(AisleError, match="no page"):
        found.item(0)
    assert (found.label(0), found.label(1)) == ("a", "http://h/b?token=...")
    assert found.item(1).key == b"b"


def test_a_list_appears_whole_and_durable(tmp_path: Path) -> None:
    durability = Recording()
    lists = ListStore([tmp_path / "lists"], durability)
    draft = lists.new("x")
    draft.add(numbered(3))
    assert not lists.exists("x")
    draft.publish()
    assert lists.exists("x")
    assert durability.done == [f"{tmp_path.name}: lists", "payload", "lists: x"]


def test_a_list_is_found_in_any_mountpath(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    write_list(ListStore.in_mountpaths([str(second)]), "x", numbered(2))
    lists = ListStore.in_mountpaths([str(first), str(second)])
    assert lists.exists("x")
    assert lists.open("x").total == 2
    assert set(lists.ages(0)) == {"x"}
    lists.remove("x")
    assert not lists.exists("x")


def test_a_draft_that_is_aborted_leaves_nothing(tmp_path: Path) -> None:
    lists = ListStore([tmp_path])
    draft = lists.new("x")
    draft.add(numbered(100_000))
    draft.write()
    draft.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    class Full(Durability):
        def sync_payload(self, fd: int) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutOfSpace, match="No space"):
        write_list(ListStore([tmp_path], Full()), "x", numbered(3))
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_while_a_list_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    lists = ListStore([tmp_path])
    monkeypatch.setattr("aisle.jobs.list_files.os.write", full)
    with pytest.raises(OutOfSpace, match="No space"):
        write_list(lists, "x", numbered(50_000))
    assert list(tmp_path.iterdir()) == []


def test_what_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    lists = ListStore([tmp_path])
    (tmp_path / "x.new").write_bytes(b"half")
    write_list(lists, "x", numbered(2))
    assert lists.open("x").total == 2


def test_damage_is_told_and_concerns_no_other_block(tmp_path: Path) -> None:
    lists = ListStore([tmp_path])
    write_list(lists, "x", numbered(3 * BLOCK_ITEMS))
    content = bytearray((tmp_path / "x").read_bytes())
    at = content.index(f"http://h/{BLOCK_ITEMS}".encode())
    content[at] ^= 1
    (tmp_path / "x").write_bytes(content)
    found = lists.open("x")
    assert found.item(0).key == b"o0"
    assert found.item(2 * BLOCK_ITEMS).number == 2 * BLOCK_ITEMS
    with pytest.raises(CorruptObject, match="damaged"):
        found.item(BLOCK_ITEMS + 1)
    assert found.label(BLOCK_ITEMS + 1) == f"item {BLOCK_ITEMS + 2}"


@pytest.mark.parametrize("cut", [0, 5, 60, -1])
def test_a_list_that_is_cut_off_is_not_opened(tmp_path: Path, cut: int) -> None:
    lists = ListStore([tmp_path])
    write_list(lists, "x", numbered(100))
    content = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(content[:cut])
    with pytest.raises(CorruptObject):
        lists.open("x")
    with pytest.raises(CorruptObject):
        lists.open("missing")


# Lists on their way in.


async def taken(lists: ListStore, body: bytes, *, piece: int = 1000) -> list[ListedItem]:
    intake = ListIntake(lists, subdir="d", first_line=2)
    try:
        for start in range(0, len(body), piece):
            await intake.take(body[start : start + piece])
        found = await intake.finish()
    finally:
        intake.abort()
    written = lists.open(found.name)
    assert written.total == found.items
    return list(written.items())


def lines(*names: str) -> bytes:
    return b"".join(b'{"link": "http://h/%b"}\n' % name.encode() for name in names)


def run(lists: ListStore, body: bytes, *, piece: int = 1000) -> list[ListedItem]:
    import asyncio

    return asyncio.run(taken(lists, body, piece=piece))


def test_a_list_is_received(tmp_path: Path) -> None:
    names = [f"o{number}" for number in range(3000)]
    found = run(ListStore([tmp_path]), lines(*names).removesuffix(b"\n"), piece=777)
    assert found == [ListedItem(f"d/{name}".encode(), f"http://h/{name}") for name in names]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lines("a", "b", "a"), 'items 1 .* and 3 .* would both become object "d/a"'),
        (lines("a") + b"x\n", "line 3"),
        (lines("a") + b"x", "line 3"),
        (b"", "the list is empty"),
        (b"\n\n", "the list is empty"),
    ],
)
def test_nothing_is_left_of_a_list_that_is_refused(tmp_path: Path, body: bytes, reason: str) -> None:
    with pytest.raises(BadRequest, match=reason):
        run(ListStore([tmp_path]), body)
    assert list(tmp_path.iterdir()) == []


def test_a_list_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_intake, "LIST_BYTES_MAX", 100)
    with pytest.raises(BodyTooLarge):
        run(ListStore([tmp_path]), lines(*map(str, range(100))))
    assert list(tmp_path.iterdir()) == []


# Lists that nobody needs any more.


class Records:
    """Stands for the store: the lists that jobs name."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def all(self) -> dict[str, str]:
        return self.names


def sweeping(lists: ListStore) -> tuple[ListSweep, Records]:
    from aisle.cluster.memory import MemoryStore

    sweep = ListSweep(lists, MemoryStore())
    records = Records()
    sweep._names = records  # type: ignore[assignment]
    return sweep, records


def test_a_list_goes_with_its_job_and_not_before(tmp_path: Path) -> None:
    lists = ListStore([tmp_path])
    write_list(lists, "x", numbered(1))
    write_list(lists, "y", numbered(1))
    sweep, records = sweeping(lists)
    now_s = (tmp_path / "x").stat().st_mtime
    sweep.look(now_s)  # no job yet
    records.names = {"dnl-1": "x", "dnl-2": "y", "dnl-3": ""}
    sweep.look(now_s + 10)
    del records.names["dnl-1"]
    sweep.look(now_s + 20)
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_a_list_that_never_had_a_job_goes_after_an_hour(tmp_path: Path) -> None:
    lists = ListStore([tmp_path])
    write_list(lists, "x", numbered(1))
    lists.new("y")
    sweep, _ = sweeping(lists)
    now_s = (tmp_path / "x").stat().st_mtime
    sweep.look(now_s + 3500)
    assert len(list(tmp_path.iterdir())) == 2
    sweep.look(now_s + 3700)
    assert list(tmp_path.iterdir()) == []
