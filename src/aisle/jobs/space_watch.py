"""Watching how full the disks are: starts the job that makes room.

That is when a disk passes its high level, or when objects do not fit although it has not.

One job at a time. After one that found far less to evict than was wanted, because everything is in use, the
next one waits as long as `lru.capacity_upd_time` says.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from aisle.errors import AisleError, JobNotFound
from aisle.gateway.space import evictable_buckets
from aisle.jobs.bulk_board import BulkBoard, BulkStatus
from aisle.jobs.bulk_work import BulkTools
from aisle.jobs.making_room import PRESSED, need_of_mountpath
from aisle.model.bulk import EVICTION, BulkRecord
from aisle.model.quantities import duration_s
from aisle.telemetry import COLD_NOT_KEPT

LOOK_INTERVAL_S: Final = 2.0
_ENOUGH: Final = 4
"""A job that evicted less than the wanted bytes through this is not repeated soon."""

_PAGE_BYTES: Final = 4096

_log = logging.getLogger(__name__)


async def watch_space(tools: BulkTools, board: BulkBoard) -> None:
    """Watch the node's disks until cancelled. Only one process per node may do this."""
    watch = SpaceWatch(tools, board)
    while True:
        await asyncio.sleep(LOOK_INTERVAL_S)
        try:
            await watch.look()
        except (AisleError, OSError) as error:
            _log.warning("cannot look after the space of the disks: %s", error)


class SpaceWatch:
    """What was found by the last looks. `now_s` gives monotonic seconds."""

    def __init__(
        self, tools: BulkTools, board: BulkBoard, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._tools = tools
        self._board = board
        self._now_s = now_s
        self._rests_until_s = 0.0
        self._wanted = 0
        self._refused = 0  # what was refused before this process began counts
        running = [status.record.id for status in board.all() if _is_running(status)]
        self._job_id = running[-1] if running else ""

    async def look(self) -> None:
        """Start a job if there has to be one. Raises OutOfSpace, Unavailable."""
        if self._job_id and not self._has_ended():
            return
        if self._now_s() < self._rests_until_s or not evictable_buckets(self._tools.buckets):
            return
        space = self._tools.space
        mountpaths = space.mountpaths() if space else []
        earlier, self._refused = self._refused, self._count_refused()
        is_pressed = self._refused > earlier
        needs = [
            await need_of_mountpath(self._tools, mountpath, is_pressed=is_pressed) for mountpath in mountpaths
        ]
        self._wanted = sum(need.bytes for need in needs if need)
        if self._wanted:
            details = PRESSED if is_pressed else b""
            record = BulkRecord(id="", kind=EVICTION, started_ns=0, details=details)
            self._job_id = await self._board.submit(record)

    def _count_refused(self) -> int:
        """How many objects there was no room for, since the node started."""
        counters = self._tools.counters
        return counters.total(COLD_NOT_KEPT) if counters is not None else 0

    def _has_ended(self) -> bool:
        """Whether the job that was started last is over; then it is judged."""
        try:
            status = self._board.find(self._job_id)
        except JobNotFound:
            status = None
        if status is not None and not status.done_ns:
            return False
        self._job_id = ""
        if status is None or _freed_bytes(status) * _ENOUGH < self._wanted:
            pause = self._tools.buckets.configuration.get().values.lru.capacity_upd_time
            self._rests_until_s = self._now_s() + (duration_s(pause) or 0.0)
        return True


def _is_running(status: BulkStatus) -> bool:
    return status.record.kind == EVICTION and not status.done_ns


def _freed_bytes(status: BulkStatus) -> int:
    """About what a job has given back: sizes, and a page for each object."""
    return status.progress.bytes + status.progress.objects * _PAGE_BYTES
