"""Samples, pairs of samples, and what the kernel says about a tree of processes."""

import os
import resource
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = _CORES[0]
LOAD_CORE = _CORES[-1]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_UTIME, _PARENT = 11, 1  # fields of /proc/PID/stat behind the parenthesis that ends the name


class Failed(Exception):
    """A measurement that cannot be trusted; the row is reported as failed and the others go on."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one side."""

    rate: float
    """Work per second in the row's unit: larger is better."""
    cpu: float | None = None
    """Processor time of the server in the row's unit (µs per request, s per GiB)."""
    p99_ms: float | None = None


@dataclass(slots=True)
class Pairs:
    """Samples of both sides, taken in turn."""

    ours: list[Sample] = field(default_factory=list)
    peer: list[Sample] = field(default_factory=list)

    def ratio(self) -> float:
        """Our rate over the peer's: the median of the pairs' ratios."""
        return statistics.median(a.rate / b.rate for a, b in zip(self.ours, self.peer, strict=True))

    def cpu_ratio(self) -> float:
        """Our processor time over the peer's, as `ratio`."""
        pairs = zip(self.ours, self.peer, strict=True)
        return statistics.median((a.cpu or 0.0) / (b.cpu or 1.0) for a, b in pairs)


def interleave(
    count: int, ours: Callable[[], Sample], peer: Callable[[], Sample], *, prepare: Callable[[], None]
) -> Pairs:
    """`count` pairs; which side goes first changes from pair to pair, and `prepare` goes before each turn."""
    pairs = Pairs()
    for number in range(count):
        sides = [(ours, pairs.ours), (peer, pairs.peer)]
        for run, kept in sides if number % 2 == 0 else reversed(sides):
            prepare()
            kept.append(run())
    return pairs


def median(samples: Sequence[Sample], attribute: str) -> float | None:
    """The median of one attribute, or None when it was not measured."""
    values = [getattr(sample, attribute) for sample in samples]
    return statistics.median(values) if values and None not in values else None


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name, which may hold blanks itself."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def process_tree(root: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                children.setdefault(int(_stat(int(entry.name))[_PARENT]), []).append(int(entry.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [root]
    for pid in found:
        found.extend(children.get(pid, ()))
    return found


def cpu_seconds(root: int) -> float:
    """Processor time that the tree has used, that of its dead and awaited children included."""
    ticks = 0
    for pid in process_tree(root):
        try:
            ticks += sum(map(int, _stat(pid)[_UTIME : _UTIME + 4]))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return ticks / _TICKS_PER_SECOND


def ended_children_cpu_s() -> float:
    """Processor time of this process's children that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rss_anon_bytes(pid: int) -> int:
    """Memory of one process that no file backs."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise Failed(f"the kernel shows no RssAnon for process {pid}")


def require_core(root: int, core: int) -> None:
    """Raise Failed unless every process of the tree is bound to `core`."""
    for pid in process_tree(root):
        if os.sched_getaffinity(pid) != {core}:
            raise Failed(f"process {pid} left core {core}: {sorted(os.sched_getaffinity(pid))}")


def pin_to(core: int) -> Callable[[], None]:
    """For `preexec_fn`: binds the child, and what it starts, to `core`."""
    return lambda: os.sched_setaffinity(0, {core})
