"""How busy the machine is: the disks under the mountpaths, and the processors.

The kernel counts since it started; how busy something is follows from two looks. Whoever asks looks, and
is told about the time since the look before, which is at least a second old. Where the kernel tells
nothing (another system, a container), nothing is told.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

SPAN_S_MIN: Final = 1.0
"""Looks that are nearer to each other would tell chance."""
_SECTOR_BYTES: Final = 512
"""In `/proc/diskstats`, whatever the disk's own sectors are."""


class DiskRates(NamedTuple):
    """What a disk did: bytes per second, mean bytes of a request, percent of the time that it was busy."""

    read_rate: int
    read_average: int
    write_rate: int
    write_average: int
    percent_busy: int


class FileSystem(NamedTuple):
    """What a mountpath lies on; empty where that is not known."""

    device: str = ""
    kind: str = ""
    disk: str = ""


class _Counts(NamedTuple):
    """A disk's line of `/proc/diskstats`, as far as it matters."""

    reads: int
    sectors_read: int
    writes: int
    sectors_written: int
    busy_ms: int


class _Look(NamedTuple):
    at_s: float
    disks: dict[str, _Counts]
    busy: int
    total: int


class Activity:
    """Looks at the machine; `folders` are the mountpaths."""

    def __init__(
        self,
        folders: Sequence[str],
        *,
        clock_s: Callable[[], float] = time.monotonic,
        root: Path = Path("/"),
    ) -> None:
        """`root` is where `proc` and `sys` are found."""
        self._clock_s = clock_s
        self._root = root
        self.file_systems = {folder: self._file_system(folder) for folder in folders}
        """By mountpath."""
        self._names = {system.disk for system in self.file_systems.values() if system.disk}
        self._before = self._now = self._look()

    def disks(self) -> dict[str, DiskRates]:
        """What the disks under the mountpaths did lately, by their names."""
        before, now = self._span()
        seconds = now.at_s - before.at_s
        found = {}
        for name in sorted(now.disks.keys() & before.disks.keys()):
            change = _Counts(
                *(new - old for new, old in zip(now.disks[name], before.disks[name], strict=True))
            )
            found[name] = DiskRates(
                _per(change.sectors_read * _SECTOR_BYTES, seconds),
                _per(change.sectors_read * _SECTOR_BYTES, change.reads),
                _per(change.sectors_written * _SECTOR_BYTES, seconds),
                _per(change.sectors_written * _SECTOR_BYTES, change.writes),
                min(100, _per(change.busy_ms, seconds * 10)),
            )
        return found

    def processors_percent(self) -> int:
        """How busy all processors together were lately."""
        before, now = self._span()
        return min(100, _per(100 * (now.busy - before.busy), now.total - before.total))

    def _span(self) -> tuple[_Look, _Look]:
        """The two looks to compare."""
        if self._clock_s() - self._now.at_s >= SPAN_S_MIN:
            self._before, self._now = self._now, self._look()
        return self._before, self._now

    def _look(self) -> _Look:
        busy = total = 0
        for line in self._lines("proc/stat")[:1]:
            ticks = [int(word) for word in line.split()[1:9]]
            total = sum(ticks)
            busy = total - sum(ticks[3:5])  # but for those idle, and waiting for a disk
        return _Look(self._clock_s(), self._disk_counts(), busy, total)

    def _disk_counts(self) -> dict[str, _Counts]:
        found = {}
        for line in self._lines("proc/diskstats"):
            words = line.split()
            if len(words) > 12 and words[2] in self._names:
                reads, sectors_read, writes, sectors_written, busy_ms = (
                    int(words[place]) for place in (3, 5, 7, 9, 12)
                )
                found[words[2]] = _Counts(reads, sectors_read, writes, sectors_written, busy_ms)
        return found

    def _file_system(self, folder: str) -> FileSystem:
        try:
            number = os.stat(folder).st_dev
        except OSError:
            return FileSystem()
        device = f"{os.major(number)}:{os.minor(number)}"
        for line in self._lines("proc/self/mountinfo"):
            # Optional fields end with a dash; behind it stand the kind and the device.
            head, _, tail = line.partition(" - ")
            if head.split()[2:3] == [device] and len(tail.split()) >= 2:
                kind, source = tail.split()[:2]
                return FileSystem(source, kind, self._disk(device))
        return FileSystem(disk=self._disk(device))

    def _disk(self, device: str) -> str:
        """The disk that a device number stands for, or that it is a partition of."""
        link = self._root / "sys/dev/block" / device
        if not link.exists():
            return ""
        path = link.resolve()
        return path.parent.name if (path / "partition").exists() else path.name

    def _lines(self, path: str) -> list[str]:
        try:
            return (self._root / path).read_text("utf-8", "replace").splitlines()
        except OSError:
            return []


def _per(amount: float, of: float) -> int:
    return round(amount / of) if of > 0 else 0
