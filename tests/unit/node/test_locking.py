"""How long a start waits for whoever has the mountpaths."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from aisle.errors import MountpathLocked
from aisle.node import site

ORPHAN, STRANGER, UNKNOWN = 7, 8, 0


class Clock:
    """Time that passes only in sleep."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def locked_by(monkeypatch: pytest.MonkeyPatch, holders: Iterator[int | None]) -> float:
    """How long it took to get the lock, which these processes had, one after the other."""
    clock = Clock()

    def lock(path: Path) -> int:
        holder = next(holders)
        if holder is not None:
            raise MountpathLocked(str(path), pid=holder)
        return 99

    monkeypatch.setattr(site, "time", clock)
    monkeypatch.setattr(site, "lock_mountpath", lock)
    monkeypatch.setattr(site, "_is_orphan", lambda pid: pid == ORPHAN)
    with ExitStack() as stack:
        monkeypatch.setattr(site.os, "close", lambda _fd: None)
        assert site._lock([Path("/m")], stack) == (99,)
        stack.pop_all()
    return clock.now_s - 100.0


def seconds(holder: int, of: float) -> list[int | None]:
    return [holder] * round(of / site._LOCK_RETRY_S)


def test_orphans_are_waited_for_and_one_that_just_died_too(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = [*seconds(ORPHAN, 10), UNKNOWN, UNKNOWN, None]
    assert locked_by(monkeypatch, iter(holders)) > 10


@pytest.mark.parametrize("holder", [STRANGER, UNKNOWN])
def test_others_are_not_waited_for_as_long(monkeypatch: pytest.MonkeyPatch, holder: int) -> None:
    with pytest.raises(MountpathLocked):
        locked_by(monkeypatch, iter([*seconds(holder, 4), None]))
    with pytest.raises(MountpathLocked):
        locked_by(monkeypatch, iter([*seconds(ORPHAN, 5), *seconds(holder, 4), None]))
    with pytest.raises(MountpathLocked):
        locked_by(monkeypatch, iter([*seconds(ORPHAN, 31), None]))
