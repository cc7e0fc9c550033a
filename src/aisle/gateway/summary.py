"""Summaries of buckets: how many objects, how large, how much of the disks.

A summary reads every name of a bucket, which takes a second for some million, so it is asked for once
and then polled for. Its id is all that processes share: each works out the summary of an id when it is
first asked about it, and keeps it for a while. So any worker answers the next poll, also after a
restart, and a poll waits for the work it has started.
"""

import asyncio
import hashlib
import math
import os
import secrets
import time
from asyncio import Task
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aisle.errors import JobNotFound, TooBusy
from aisle.gateway.information import NodeInformation
from aisle.model.bucket import BucketInfo
from aisle.model.record import INLINE_BYTES_MAX, decode_listed_size
from aisle.storage.engine import StorageEngine

SLICE_ENTRIES: Final = 1_000
"""Names read before other requests get their turn: about 2 ms."""
WAIT_S: Final = 2.0
"""How long a poll waits for the summary to be complete."""
KEPT_S: Final = 600.0
"""For how long a process keeps a summary that it made."""
KEPT_MAX: Final = 256
"""Summaries that a process keeps, and makes at a time."""
VALID_NS: Final = 3600 * 1_000_000_000
"""For how long an id can be asked about."""
_BLOCK_BYTES: Final = 4096


@dataclass(slots=True)
class Totals:
    """What is known of a bucket's objects so far; all sizes in bytes."""

    objects: int = 0
    size: int = 0
    on_disk: int = 0
    """With what file systems add by keeping whole blocks."""
    smallest: int = 0
    largest: int = 0

    @property
    def average(self) -> int:
        """The mean size, rounded; 0 for no objects."""
        return math.floor(self.size / self.objects + 0.5) if self.objects else 0

    def add(self, sizes: Sequence[int]) -> None:
        """Count these objects too."""
        if not sizes:
            return
        self.smallest = min(sizes) if not self.objects else min(self.smallest, *sizes)
        self.largest = max(self.largest, *sizes)
        self.objects += len(sizes)
        self.size += sum(sizes)
        self.on_disk += sum(
            size if size <= INLINE_BYTES_MAX else -(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in sizes
        )


class Summary(NamedTuple):
    """One bucket's totals, beside the space of all disks."""

    bucket: BucketInfo
    totals: Totals
    disks_bytes: int

    @property
    def percent_used(self) -> int:
        """The share of the disks that the bucket takes."""
        return round(100 * self.totals.on_disk / self.disks_bytes) if self.disks_bytes else 0


@dataclass(slots=True)
class _Running:
    task: Task[None]
    summaries: list[Summary]
    started_s: float


class Summaries:
    """The summaries that one process makes."""

    def __init__(
        self,
        engine: StorageEngine,
        node: NodeInformation,
        *,
        clock: Callable[[], int] = time.time_ns,
        wait_s: float = WAIT_S,
    ) -> None:
        self._engine = engine
        self._node = node
        self._clock = clock
        self._wait_s = wait_s
        self._running: dict[tuple[str, tuple[int, ...], str], _Running] = {}

    def begin(self) -> str:
        """An id to ask with."""
        stamp = f"{self._clock() // 1_000_000_000:x}{secrets.token_hex(3)}"[-16:]
        return f"{stamp}{self._mark(stamp)}"

    async def ask(self, job: str, buckets: Sequence[BucketInfo], prefix: str) -> tuple[list[Summary], bool]:
        """The summaries of buckets' objects whose names begin with `prefix`, and whether they are complete.

        Raises JobNotFound for an id that was not given out, or too long ago, and TooBusy.
        """
        self._check(job)
        key = (job, tuple(info.number for info in buckets), prefix)
        running = self._running.get(key)
        if running is None:
            running = self._running[key] = self._start(buckets, prefix)
        await asyncio.wait([running.task], timeout=self._wait_s)
        if not running.task.done():
            return running.summaries, False
        if running.task.exception() is not None:
            # The next who asks with this id tries again.
            self._running.pop(key, None)
        running.task.result()
        return running.summaries, True

    def _start(self, buckets: Sequence[BucketInfo], prefix: str) -> _Running:
        now_s = time.monotonic()
        for key, held in list(self._running.items()):
            if held.task.done() and now_s - held.started_s > KEPT_S:
                del self._running[key]
        if len(self._running) >= KEPT_MAX:
            done = [key for key, held in self._running.items() if held.task.done()]
            if not done:
                raise TooBusy("too many summaries are being made at once: try again")
            del self._running[done[0]]
        disks_bytes = self._disks_bytes()
        summaries = [Summary(info, Totals(), disks_bytes) for info in buckets]
        task = asyncio.get_running_loop().create_task(self._count(summaries, prefix.encode()))
        return _Running(task, summaries, now_s)

    async def _count(self, summaries: Sequence[Summary], prefix: bytes) -> None:
        for summary in summaries:
            after, more = b"", True
            while more:
                entries, more = self._engine.scan(
                    summary.bucket.number, prefix=prefix, after=after, limit=SLICE_ENTRIES
                )
                summary.totals.add(
                    [decode_listed_size(entry.encoded).size for entry in entries if entry.encoded]
                )
                if entries:
                    after = entries[-1].key
                await asyncio.sleep(0)

    def _disks_bytes(self) -> int:
        """The file systems of all mountpaths; one that holds several counts once."""
        systems: dict[int, int] = {}
        for path, capacity in self._node.capacities().items():
            try:
                device = os.stat(path).st_dev
            except OSError:
                continue
            systems[device] = capacity.used + capacity.available
        return sum(systems.values())

    def _mark(self, stamp: str) -> str:
        """What shows that an id was given out by this node."""
        identity = f"{self._node.identity.cluster_id}/{stamp}".encode()
        return hashlib.blake2s(identity, digest_size=4).hexdigest()

    def _check(self, job: str) -> None:
        stamp, mark = job[:-8], job[-8:]
        if not 9 <= len(stamp) <= 16 or mark != self._mark(stamp):
            raise JobNotFound(job, kind="summary")
        started_ns = int(stamp[:-6], 16) * 1_000_000_000
        if not -VALID_NS < self._clock() - started_ns < VALID_NS:
            raise JobNotFound(job, kind="summary")
