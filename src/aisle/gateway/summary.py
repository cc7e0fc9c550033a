"""Summaries of buckets: how many objects, how large, how much of the disks.

A summary reads every name of a bucket, which takes a second for some million, so it is asked for once
and then polled for. Its id is all that processes share: each works out the summary of an id when it is
first asked about it, and keeps it for a while. So any worker answers the next poll, also after a
restart, and a poll waits for the work it has started. What the source of a remote bucket has is summed up
only if that is asked for, and as long as somebody polls: it may be far, and much larger.
"""

import asyncio
import base64
import hashlib
import math
import os
import secrets
import time
from asyncio import Task
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aisle.backends.provider import BackendProvider
from aisle.errors import AisleError, JobNotFound, TooBusy
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
ABANDONED_S: Final = 60.0
"""After this long without a poll, sources are listed no further."""
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
    remote_objects: int = 0
    """At the source of a remote bucket, be they here or not; 0 unless it was asked."""
    remote_size: int = 0
    refusal: str = ""
    """Why the source could not be asked to its end, where others were asked too."""

    @property
    def average(self) -> int:
        """The mean size, rounded; 0 for no objects. That of the source's if there are more of them."""
        objects, size = max((self.objects, self.size), (self.remote_objects, self.remote_size))
        return math.floor(size / objects + 0.5) if objects else 0

    def add_remote(self, sizes: Sequence[int]) -> None:
        """Count these objects of the source too."""
        self._compare(sizes)
        self.remote_objects += len(sizes)
        self.remote_size += sum(sizes)

    def _compare(self, sizes: Sequence[int]) -> None:
        if sizes:
            is_first = not (self.objects or self.remote_objects)
            self.smallest = min(sizes) if is_first else min(self.smallest, *sizes)
            self.largest = max(self.largest, *sizes)

    def add(self, sizes: Sequence[int]) -> None:
        """Count these objects too."""
        self._compare(sizes)
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
    summaries: list[Summary]
    started_s: float
    asked_s: float
    """When it was last asked about."""
    task: Task[None]


class _Key(NamedTuple):
    job: str
    numbers: tuple[int, ...]
    prefix: str
    asks_sources: bool


class Summaries:
    """The summaries that one process makes."""

    def __init__(
        self,
        engine: StorageEngine,
        node: NodeInformation,
        *,
        clock: Callable[[], int] = time.time_ns,
        wait_s: float = WAIT_S,
        provider_of: Callable[[BucketInfo], BackendProvider] | None = None,
    ) -> None:
        """`provider_of` gives the provider of a bucket that has a remote one behind it."""
        self._provider_of = provider_of
        self._engine = engine
        self._node = node
        self._clock = clock
        self._wait_s = wait_s
        self._running: dict[_Key, _Running] = {}

    def begin(self, prefix: str = "") -> str:
        """An id to ask with, which carries the prefix: AIStore's SDK names that in its first request only."""
        stamp = f"{self._clock() // 1_000_000_000:x}{secrets.token_hex(3)}"[-16:]
        carried = base64.urlsafe_b64encode(prefix.encode()).decode().rstrip("=")
        return f"{stamp}{self._mark(stamp)}" + (f"-{carried}" if carried else "")

    async def ask(
        self, job: str, buckets: Sequence[BucketInfo], prefix: str, *, asks_sources: bool = False
    ) -> tuple[list[Summary], bool]:
        """The summaries of buckets' objects whose names begin with `prefix`, and whether they are complete.

        Without a prefix it is the one that the summary began with.
        `asks_sources` counts what the sources of remote buckets have, too. Of several buckets, one whose
        source fails says so (`Totals.refusal`). Raises JobNotFound for an id that was not given out, or too
        long ago, TooBusy, and for a single bucket what its provider raises.
        """
        begun_with = self._check(job)
        key = _Key(job, tuple(info.number for info in buckets), prefix or begun_with, asks_sources)
        running = self._running.get(key)
        if running is None or running.task.cancelled():
            running = self._running[key] = self._start(key, buckets)
        running.asked_s = time.monotonic()
        await asyncio.wait([running.task], timeout=self._wait_s)
        if not running.task.done() or running.task.cancelled():
            return running.summaries, False
        if running.task.exception() is not None:
            # The next who asks with this id tries again.
            self._running.pop(key, None)
        running.task.result()
        return running.summaries, True

    def _start(self, key: _Key, buckets: Sequence[BucketInfo]) -> _Running:
        now_s = time.monotonic()
        for known, held in list(self._running.items()):
            if held.task.done() and now_s - held.started_s > KEPT_S:
                del self._running[known]
        if len(self._running) >= KEPT_MAX:
            done = [known for known, held in self._running.items() if held.task.done()]
            if not done:
                raise TooBusy("too many summaries are being made at once: try again")
            del self._running[done[0]]
        disks_bytes = self._disks_bytes()
        summaries = [Summary(info, Totals(), disks_bytes) for info in buckets]
        task = asyncio.get_running_loop().create_task(self._count(summaries, key))
        return _Running(summaries, now_s, now_s, task)

    async def _count(self, summaries: Sequence[Summary], key: _Key) -> None:
        prefix = key.prefix.encode()
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

        if key.asks_sources:
            for summary in summaries:
                try:
                    await self._count_source(summary, key)
                except AisleError as error:
                    if len(summaries) == 1:
                        raise
                    summary.totals.refusal = str(error)

    async def _count_source(self, summary: Summary, key: _Key) -> None:
        """Count what the source of a remote bucket lists, until nobody polls any more."""
        remote = summary.bucket.remote
        if remote is None or self._provider_of is None:
            return
        provider, token = self._provider_of(summary.bucket), ""
        while True:
            page = await provider.list_objects(remote.name, prefix=key.prefix, token=token)
            summary.totals.add_remote([about.size for about in page.objects])
            token = page.token
            if not token:
                return
            if time.monotonic() - self._running[key].asked_s > ABANDONED_S:
                raise asyncio.CancelledError

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

    def _check(self, job: str) -> str:
        """The prefix that an id carries.

        Raises JobNotFound for an id that was not given out, or too long ago.
        """
        own, _, carried = job.partition("-")
        stamp, mark = own[:-8], own[-8:]
        if not 9 <= len(stamp) <= 16 or mark != self._mark(stamp):
            raise JobNotFound(job, kind="summary")
        started_ns = int(stamp[:-6], 16) * 1_000_000_000
        if not -VALID_NS < self._clock() - started_ns < VALID_NS:
            raise JobNotFound(job, kind="summary")
        try:
            return base64.urlsafe_b64decode(carried + "=" * (-len(carried) % 4)).decode()
        except ValueError as error:
            raise JobNotFound(job, kind="summary") from error
