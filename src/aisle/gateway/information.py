"""What the node tells about itself and its machine."""

import os
import resource
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from aisle.gateway.activity import Activity


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeIdentity:
    """Who the node is. Times are Unix nanoseconds.

    One node plays both of AIStore's roles; clients expect them to have different ids.
    """

    cluster_id: str
    node_id: str
    """8 or more letters, digits, `-`, `_`: the target's id, from which clients work out placement."""
    public_url: str = ""
    """By which clients reach the node; empty: by whatever address they used."""
    mountpaths: tuple[str, ...] = ()
    created_ns: int = 0
    started_ns: int = 0

    @property
    def target_id(self) -> str:
        """The id as a target."""
        return self.node_id

    @property
    def gateway_id(self) -> str:
        """The id as a gateway."""
        return f"{self.node_id}-g"


class Capacity(NamedTuple):
    """The file system of a mountpath, bytes."""

    used: int
    available: int

    @property
    def percent_used(self) -> int:
        """How full it is."""
        return round(100 * self.used / max(1, self.used + self.available))


class Memory(NamedTuple):
    """The machine's memory, bytes."""

    total: int
    free: int
    available: int
    cached: int
    swap_total: int
    swap_free: int


class Process(NamedTuple):
    """The answering process: memory in bytes, processor time in milliseconds."""

    resident: int
    virtual: int
    shared: int
    user_ms: int
    system_ms: int


class NodeInformation:
    """Who the node is and how it and its machine are."""

    def __init__(self, identity: NodeIdentity, *, clock: Callable[[], int] = time.time_ns) -> None:
        self.identity = identity
        self.activity = Activity(identity.mountpaths)
        """How busy its disks and processors are."""
        self._clock = clock

    def uptime_ns(self) -> int:
        """How long the node has been running."""
        return max(1, self._clock() - self.identity.started_ns)

    def capacities(self) -> dict[str, Capacity]:
        """Each mountpath's file system; one that cannot be asked counts as empty."""
        return {path: _capacity(path) for path in self.identity.mountpaths}

    def load(self) -> Sequence[float]:
        """The machine's load averages over 1, 5 and 15 minutes."""
        return os.getloadavg()

    def memory(self) -> Memory:
        """The machine's memory."""
        return _memory()

    def process(self) -> Process:
        """The answering process."""
        return _process()


def _capacity(path: str) -> Capacity:
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return Capacity(0, 0)
    return Capacity(usage.used, usage.free)


def _memory() -> Memory:
    """From /proc/meminfo; elsewhere only the total is known."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Memory(total, 0, 0, 0, 0, 0)
    pairs = (line.split() for line in lines)
    kib = {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs}
    return Memory(
        kib.get("MemTotal", 0),
        kib.get("MemFree", 0),
        kib.get("MemAvailable", 0),
        kib.get("Buffers", 0) + kib.get("Cached", 0),
        kib.get("SwapTotal", 0),
        kib.get("SwapFree", 0),
    )


def _process() -> Process:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    times = round(usage.ru_utime * 1000), round(usage.ru_stime * 1000)
    try:
        words = Path("/proc/self/statm").read_text("ascii").split()
    except OSError:
        return Process(usage.ru_maxrss, usage.ru_maxrss, 0, *times)
    page = os.sysconf("SC_PAGE_SIZE")
    virtual, resident, shared = (int(word) * page for word in words[:3])
    return Process(resident, virtual, shared, *times)
