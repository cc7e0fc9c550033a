"""All download jobs of a node, sharing its connections.

Jobs of one priority take turns, one item at a time, so a job of a million items and one of a single
file are equally fast at getting a connection; those of a higher one come first. Items that have come
but are not stored yet are bounded as well: a disk that cannot keep up slows the network down.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import NamedTuple

from aisle.jobs.arrivals import Arrivals
from aisle.jobs.download import DownloadJob
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.item_owner import JobItem
from aisle.jobs.pool import JobLimits, Turn
from aisle.rules.download_hosts import HostGate
from aisle.transfer.fetch import Fetcher
from aisle.transfer.rates import Throttle, TokenBucket

_STORING_MAX = 256
_UNPACKED_AT_ONCE = 2  # archives: each takes a thread, and memory for what it has in it
_QUEUED_BYTES_MAX = 64 * 1024 * 1024
_RESERVED_SHARE = 8  # one in so many connections is kept for jobs that have few

_log = logging.getLogger(__name__)


class DownloadsLimits(NamedTuple):
    """The node's limits for all jobs together, and for each."""

    connections_max: int
    connections_per_host_max: int
    retries_max: int
    part_bytes: int
    connections_per_object_max: int = 1
    bytes_per_second: int = 0
    """Of all jobs together, 0 for no limit."""


class Downloads:
    """The running jobs, and the connections they share; a Pool. `clock_ns` gives Unix nanoseconds."""

    def __init__(self, fetcher: Fetcher, limits: DownloadsLimits, *, clock_ns: Callable[[], int]) -> None:
        self._loop = asyncio.get_running_loop()
        self._fetcher = fetcher
        self._limits = limits
        self.clock_ns = clock_ns
        self.hosts = HostGate(limits.connections_per_host_max)
        self.budget = ByteBudget(_QUEUED_BYTES_MAX)
        self.arrivals = Arrivals(fetcher.afterwards)
        self.throttle: Throttle | None = (
            TokenBucket(limits.bytes_per_second) if limits.bytes_per_second else None
        )
        self.job_limits = JobLimits(
            limits.connections_max,
            limits.retries_max,
            limits.part_bytes,
            limits.connections_per_object_max,
        )
        self.unpacking = asyncio.Semaphore(_UNPACKED_AT_ONCE)
        self._jobs: deque[DownloadJob] = deque()
        self._connections = 0
        self._storing = 0
        self._filling = False
        self._looking = False
        self.is_held_back = False
        """Whether items wait to be started because too many are being stored."""
        self._wake: asyncio.TimerHandle | None = None
        self._works: set[asyncio.Task[None]] = set()

    def now_s(self) -> float:
        """Seconds of the event loop's clock."""
        return self._loop.time()

    def add(self, job: DownloadJob) -> None:
        """Run a job; its `on_over` is called when it is over."""
        self._jobs.append(job)
        self._fill()

    def prioritize(self, job: DownloadJob, priority: int) -> None:
        """Change a job's priority."""
        if job.priority != priority:
            job.priority = priority
            self._fill()

    async def settled(self) -> None:
        """Wait for the end of what goes on beside the jobs by now: drafts of stopped jobs are gone then."""
        if works := set(self._works):
            await asyncio.wait(works)

    def stop(self, job: DownloadJob, *, keep_parts: bool) -> None:
        """Stop a job at once; `on_over` is called before this returns."""
        if job in self._jobs:
            job.stop(keep_parts=keep_parts)
            self._fill()

    def room(self, running: int) -> int:
        """How many connections more a job may have that has so many, as far as it is about other jobs.

        The last free ones are for jobs that have few: one whose servers are silent does not hold them all.
        """
        limit = self._limits.connections_max
        reserved, free = limit // _RESERVED_SHARE, limit - self._connections
        return min(free, max(reserved - running, free - reserved))

    def connection_freed(self, host: str, *, answered: bool) -> None:
        """A request to this server has ended, with what was asked for or not; `look` follows."""
        self._connections -= 1
        self.hosts.leave(host, answered=answered)

    def item_received(self) -> None:
        """An item is being stored without having come."""
        self._storing += 1

    def item_came(self, host: str) -> None:
        """An item has come whole and is being stored: its connection is free, and `look` follows."""
        self._storing += 1
        self._connections -= 1
        self.hosts.leave(host, answered=True)
        if not self._looking:
            self.look()

    def item_settled(self) -> None:
        """An item is not being stored any more; `look` follows if that lets anything start or end."""
        self._storing -= 1

    def look(self) -> None:
        """There may be more to start, or nothing left."""
        # Many items end at a time: what follows from them is done once, before their connections rest.
        if not self._looking:
            self._looking = True
            self._fetcher.afterwards(self._look)

    def _look(self) -> None:
        self._looking = False
        self._fill()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work to its end, whatever becomes of the job."""
        task = self._loop.create_task(_checked(work))
        self._works.add(task)
        task.add_done_callback(self._works.discard)

    async def close(self) -> None:
        """Stop all jobs, keeping what is durable of them, and wait until their drafts are gone."""
        for job in list(self._jobs):
            self.stop(job, keep_parts=True)
        while self._works:
            await asyncio.wait(self._works)
        if self._wake is not None:
            self._wake.cancel()

    def _fill(self) -> None:
        """Start whatever may start now, one item of each job in turn; end jobs that are over."""
        if self._filling:  # starting items may call back
            return
        self._filling = True
        try:
            again_at_s = self._start_items()
        finally:
            self._filling = False
        self._end_jobs()
        self._wake_at(again_at_s)

    def _start_items(self) -> float | None:
        """Start items until nobody has one; when to look again."""
        self.is_held_back = self._storing >= _STORING_MAX
        priorities = sorted({job.priority for job in self._jobs}, reverse=True)
        times_s = [self._start_items_of(priority) for priority in priorities]
        # What no item wants, large ones may have in addition.
        times_s += [self._start_streams_of(priority) for priority in priorities]
        return min((time_s for time_s in times_s if time_s is not None), default=None)

    def _start_items_of(self, priority: int) -> float | None:
        """Start items of the jobs of that priority, in turn, until none of them has one."""
        now_s = self.now_s()
        again_at_s: float | None = None
        without = 0  # jobs in a row that had nothing to start
        jobs, limit = self._jobs, self._limits.connections_max
        while without < len(jobs) and self._connections < limit and not self.is_held_back:
            job = jobs[0]
            jobs.rotate(-1)
            if job.priority != priority:
                without += 1
                continue
            # The only job has all turns one after the other.
            if taken := self._take(job, now_s, 1 if len(jobs) > 1 else limit):
                for item in taken:
                    if not job.is_stopped:  # as the failure of one may have it
                        self._start(job, item)
                without = 0
                continue
            turn = _turn(job, now_s)
            if turn.item is not None:
                self._connections += 1
                self._start(job, turn.item)
                without = 0
                continue
            without += 1
            if turn.again_at_s is not None:
                again_at_s = turn.again_at_s if again_at_s is None else min(again_at_s, turn.again_at_s)
        return again_at_s

    def _start_streams_of(self, priority: int) -> float | None:
        """Start further connections for items of the jobs of that priority, in turn, as `_start_items_of`."""
        now_s = self.now_s()
        again_at_s: float | None = None
        without = 0
        jobs, limit = self._jobs, self._limits.connections_max
        while without < len(jobs) and self._connections < limit:
            job = jobs[0]
            jobs.rotate(-1)
            turn = job.stream_turn(now_s) if job.priority == priority else None
            if turn is not None and turn.item is not None:
                self._connections += 1
                turn.item.start_stream()
                without = 0
                continue
            without += 1
            if turn is not None and turn.again_at_s is not None:
                again_at_s = turn.again_at_s
        return again_at_s

    def _take(self, job: DownloadJob, now_s: float, most: int) -> list[JobItem]:
        """What the job takes; one that fails at that is over, as with `_turn`."""
        before = job.running
        try:
            taken = job.take(now_s, most)
        except Exception as error:  # noqa: BLE001 - an outermost loop
            # What it had taken until then is stopped with it, and its connections are given back.
            self._connections += job.running - before
            _break(job, error)
            return []
        self._connections += len(taken)
        return taken

    def _start(self, job: DownloadJob, item: JobItem) -> None:
        try:
            item.start(self._fetcher)
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the others up
            job.item_broken(item, error)

    def _end_jobs(self) -> None:
        for job in list(self._jobs):
            if job.is_over:
                self._jobs.remove(job)
                if job.on_over is not None:
                    job.on_over()

    def _wake_at(self, again_at_s: float | None) -> None:
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if again_at_s is not None:
            self._wake = self._loop.call_at(again_at_s, self._fill)


def _turn(job: DownloadJob, now_s: float) -> Turn:
    """The job's turn; a job that fails at that is over, and nobody else hears of it."""
    try:
        return job.turn(now_s)
    except Exception as error:  # noqa: BLE001 - an outermost loop
        _break(job, error)
        return Turn(None)


def _break(job: DownloadJob, error: Exception) -> None:
    _log.error("job %s cannot go on", job.id, exc_info=error)
    job.stop(keep_parts=False, error=f"internal error: {error!r}")


async def _checked(work: Coroutine[object, object, None]) -> None:
    """An outermost loop for work in the background: what it does not handle itself is a bug."""
    try:
        await work
    except Exception:  # noqa: BLE001 - an outermost loop
        _log.exception("background work of a download failed")
