"""What several indexes say is of one moment, also while objects move between them."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import lmdb
import pytest

from aisle.storage.read_disk import ReadDisk, ReadDisks
from aisle.storage.tables import IndexTables


class Moving:
    """An environment; whoever begins to read it has `moves` run just before, if there are any left."""

    def __init__(self, path: Path, moves: Iterator[int]) -> None:
        self.inner = lmdb.open(str(path))
        self._moves = moves
        self.move: Any = lambda _count: None

    def begin(self) -> lmdb.Transaction:
        if count := next(self._moves, 0):
            self.move(count)
        return self.inner.begin()

    def info(self) -> Any:
        return self.inner.info()

    def put(self, value: int) -> None:
        with self.inner.begin(write=True) as transaction:
            transaction.put(b"objects", b"%d" % value)

    def held(self) -> int:
        with self.inner.begin() as transaction:
            return int(transaction.get(b"objects") or b"0")


def held(transaction: lmdb.Transaction, _tables: IndexTables) -> int:
    return int(transaction.get(b"objects") or b"0")


@pytest.mark.parametrize("moves", [[], [482], [100, 0, 200, 3]])
def test_what_moves_between_two_looks_is_seen_once(tmp_path: Path, moves: list[int]) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    one, other = Moving(tmp_path / "a", iter(())), Moving(tmp_path / "b", iter(moves))
    one.put(1000)
    other.put(0)

    def move(count: int) -> None:
        one.put(one.held() - count)
        other.put(other.held() + count)

    other.move = move
    disks = [
        SimpleNamespace(mountpath=SimpleNamespace(id=name), tables=SimpleNamespace(environment=environment))
        for name, environment in (("a", one), ("b", other))
    ]
    found = ReadDisks(cast("list[ReadDisk]", disks)).at_once(held)
    assert sum(found) == 1000
    for environment in (one, other):
        environment.inner.close()
