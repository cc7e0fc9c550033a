"""One download job at work: hands out its items, takes their results, knows when it is over.

Items are taken in order, failed ones come again when their time has come. Too many waiting for that
stop new ones from being taken: a source that is down should not have a whole job tried on it.
"""

import heapq
import itertools
import logging
import random
from collections.abc import Callable, Coroutine, Iterator
from typing import NamedTuple, Protocol

from aisle.errors import AisleError, NotFound, SourceFailed, UploadNotFound
from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.item import ItemDownload
from aisle.jobs.large import SavedParts, saved_parts
from aisle.jobs.tally import Tally
from aisle.model.job import ActiveItem, FinishedItem, Headers, JobProgress, JobRecord
from aisle.model.record import Record
from aisle.rules.backoff import delay_s, parse_retry_after
from aisle.rules.download_hosts import HostGate
from aisle.rules.download_plan import Item, Plan
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import RequestOptions
from aisle.transfer.rates import TokenBucket

_log = logging.getLogger(__name__)

_WAITING_MAX = 1_000
_CHECKED_PER_TURN_MAX = 500  # items found stored already, before others get their turn


class JobLimits(NamedTuple):
    """The node's limits, as far as they concern a single job."""

    connections_max: int
    retries_max: int
    part_bytes: int


class Pool(Protocol):
    """What a job needs of whoever runs it."""

    hosts: HostGate
    budget: ByteBudget
    job_limits: JobLimits
    is_held_back: bool
    """Whether items wait to be started because too many are being stored."""

    def clock_ns(self) -> int:
        """Unix nanoseconds."""

    def now_s(self) -> float:
        """Seconds of the event loop's clock."""

    def connection_freed(self, host: str, *, answered: bool) -> None:
        """A request to this server has ended, with what was asked for or not; `look` follows."""

    def item_received(self) -> None:
        """An item has come whole and is being stored."""

    def item_settled(self) -> None:
        """An item is not being stored any more; `look` follows if that lets anything start or end."""

    def look(self) -> None:
        """There may be more to start, or nothing left."""

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work to its end, whatever becomes of the job."""


class Turn(NamedTuple):
    """What a job answers when it may start something."""

    item: ItemDownload | None
    again_at_s: float | None = None
    """When to ask again if there was no item; None if something must end first."""


_NOTHING = Turn(None)


class DownloadJob:
    """A download job that is running; an ItemOwner."""

    def __init__(
        self,
        record: JobRecord,
        kept: JobProgress | None,
        destination: Destination,
        pool: Pool,
        *,
        continued: bool,
        headers: Headers = (),
        plan: Plan | None = None,
    ) -> None:
        """`continued` says that an earlier process may have worked on it, whatever was kept.

        `headers` go with each request, to the host of its own link only. `plan` has the items of a job
        whose record has not.
        """
        spec = record.download
        self.id = record.id
        self.destination = destination
        self.budget = pool.budget
        limits = pool.job_limits
        self.part_bytes = limits.part_bytes
        self.options = RequestOptions(private_headers=headers, timeout_s=spec.timeout_s)
        self.packed_options = self.options._replace(decode=False)
        self.throttle = TokenBucket(spec.bytes_per_hour / 3600) if spec.bytes_per_hour else None
        self.bytes_received = 0
        self._plan = plan or Plan(spec)
        self.tally = Tally(kept or JobProgress(id=record.id, total=self._plan.total))
        self.on_over: Callable[[], None] | None = None
        self._record = record
        self._pool = pool
        self._retries_max = limits.retries_max
        self._connections_max = min(spec.connections or limits.connections_max, limits.connections_max)
        self._numbers: Iterator[int] = self.tally.done.missing(self._plan.total)
        self._next: ItemDownload | None = None  # taken, and waiting for its server
        self._exhausted = False
        self._continued = continued
        self._saved: dict[bytes, SavedParts] = saved_parts(destination, record.id) if continued else {}
        self._active: dict[int, ItemDownload] = {}
        self._storing: dict[int, ItemDownload] = {}
        self._waiting: list[tuple[float, int, ItemDownload]] = []
        self._order = itertools.count()
        self._sized = self._sized_bytes = 0
        self._stopped = False
        self._is_broken = False

    @property
    def is_over(self) -> bool:
        """Whether every item is done, or the job was stopped."""
        nothing_left = self._exhausted and self._next is None and not self._waiting
        return self._stopped or (nothing_left and not self._active and not self._storing)

    def turn(self, now_s: float) -> Turn:
        """An item to start now, if there is one; the caller starts it."""
        if self._stopped or len(self._active) >= self._connections_max:
            return _NOTHING
        if self._next is None:
            found = self._due(now_s) or self._new()
            if found is None:
                return Turn(None, self._again_at_s(now_s))
            self._next = found
        item = self._next
        opens_at_s = self._pool.hosts.opens_at_s(item.host, now_s)
        if opens_at_s is None or opens_at_s > now_s:
            return Turn(None, opens_at_s)
        self._next = None
        self._pool.hosts.enter(item.host)
        self._active[item.item.number] = item
        return Turn(item)

    def active(self) -> Iterator[ActiveItem]:
        """The items that are being fetched or stored now."""
        for item in (*self._active.values(), *self._storing.values()):
            yield ActiveItem(
                item.name, item.received, -1 if item.size is None else item.size, item.started_ns
            )

    def bytes_total(self) -> int:
        """Bytes of all items together, or -1 as long as not all sizes are known."""
        known = self._sized + sum(item.size is not None for item in self._active.values())
        if known + len(self._storing) < self._plan.total:
            return -1
        running = (*self._active.values(), *self._storing.values())
        return self._sized_bytes + sum(item.size or item.received for item in running)

    def stop(self, *, keep_parts: bool, error: str = "") -> None:
        """Stop every item at once. With `keep_parts`, a later process continues where this one was."""
        self._stopped = True
        self.tally.error = self.tally.error or error
        for item in self._active.values():
            self._pool.connection_freed(item.host, answered=False)
        waiting = [item for _, _, item in self._waiting] + ([self._next] if self._next else [])
        for _ in self._storing:
            self._pool.item_settled()
        for item in (*self._active.values(), *self._storing.values(), *waiting):
            item.cancel(keep_parts=keep_parts)
        self._active.clear()
        self._storing.clear()
        self._waiting.clear()
        self._next = None

    # Called by items.

    def item_received(self, item: ItemDownload) -> None:
        """All bytes are here, the connection is free; they are not stored yet."""
        del self._active[item.item.number]
        self._storing[item.item.number] = item
        self._pool.item_received()
        self._pool.connection_freed(item.host, answered=True)
        self._pool.look()

    def item_stored(self, item: ItemDownload, record: Record) -> None:
        """The object is visible and durable."""
        del self._storing[item.item.number]
        self._count_size(record.size)
        self.tally.stored(item.item.number, self._finished(item.name, record.size, item.started_ns))
        self._pool.item_settled()
        if self._pool.is_held_back or self.is_over:
            self._pool.look()

    def item_failed(self, item: ItemDownload, failure: Failure, retry_after: str) -> None:
        """An attempt has failed: the item comes again later, or never."""
        number = item.item.number
        if self._active.pop(number, None) is not None:
            self._pool.connection_freed(item.host, answered=False)
        else:
            del self._storing[number]
            self._pool.item_settled()
        error = failure.error
        if isinstance(error, NotFound) and not isinstance(error, UploadNotFound):
            self.stop(keep_parts=False, error=f'bucket "{self.destination.bucket.bucket.cname}" is gone')
        elif failure.transient and item.failures <= self._retries_max:
            self._put_off(item, retry_after, error)
        else:
            item.cancel(keep_parts=False)
            size = -1 if item.size is None else item.size
            failed = FinishedItem(item.name, 0, size, item.started_ns, self._pool.clock_ns())
            self._count_size(0)
            self.tally.gave_up(number, failed, str(error))
        self._pool.look()

    def item_broken(self, item: ItemDownload, error: Exception) -> None:
        """Something happened that nobody thought of: the item has failed for good."""
        if self._stopped:
            return
        # Told once with all its details: the next thousand items may meet the same.
        _log.error(
            "job %s: item %s: %r", self.id, item.name, error, exc_info=None if self._is_broken else error
        )
        self._is_broken = True
        self.item_failed(item, Failure(AisleError(f"internal error: {error!r}"), transient=False), "")

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work that must not be lost when the job ends."""
        self._pool.spawn(work)

    # What comes next.

    def _due(self, now_s: float) -> ItemDownload | None:
        if self._waiting and self._waiting[0][0] <= now_s:
            return heapq.heappop(self._waiting)[2]
        return None

    def _new(self) -> ItemDownload | None:
        """The next item that must be fetched; what is stored already is counted on the way."""
        if self._exhausted or len(self._waiting) >= _WAITING_MAX:
            return None
        for _ in range(_CHECKED_PER_TURN_MAX):
            number = next(self._numbers, None)
            if number is None:
                self._exhausted = True
                return None
            self.tally.scheduled += 1
            item = self._read(number)
            if item is None or (self._continued and self._is_stored(item)):
                continue
            download = ItemDownload(self, item, now_ns=self._pool.clock_ns())
            saved = self._saved.pop(item.key, None) if self._saved else None
            if saved is not None:
                download.adopt(saved)
            return download
        return None

    def _again_at_s(self, now_s: float) -> float | None:
        """When there may be an item, after there was none just now."""
        if not self._exhausted and len(self._waiting) < _WAITING_MAX:
            return now_s
        return self._waiting[0][0] if self._waiting else None

    def _read(self, number: int) -> Item | None:
        try:
            return self._plan.item(number)
        except AisleError as error:
            name = self._plan.label(number)
            now_ns = self._pool.clock_ns()
            self._count_size(0)
            self.tally.gave_up(number, FinishedItem(name, 0, -1, now_ns, now_ns), str(error))
            return None

    def _is_stored(self, item: Item) -> bool:
        """Whether an earlier process stored the item and could not write that down any more."""
        record = self.destination.stored_since(item.key, item.link, self._record.started_ns)
        if record is None:
            return False
        name = item.key.decode("utf-8", "backslashreplace")
        self._count_size(record.size)
        self.tally.stored(item.number, self._finished(name, record.size, record.written_ns))
        return True

    def _put_off(self, item: ItemDownload, retry_after: str, error: AisleError) -> None:
        asked_s = parse_retry_after(retry_after, now_s=self._pool.clock_ns() / 1e9) if retry_after else None
        wait_s = delay_s(max(1, item.failures), chance=random.random(), retry_after_s=asked_s)  # noqa: S311
        due_s = self._pool.now_s() + wait_s
        if asked_s is not None or (isinstance(error, SourceFailed) and error.status == 429):
            self._pool.hosts.close(item.host, due_s)
        heapq.heappush(self._waiting, (due_s, next(self._order), item))

    def _finished(self, name: str, size: int, started_ns: int) -> FinishedItem:
        return FinishedItem(name, size, size, started_ns, self._pool.clock_ns())

    def _count_size(self, size: int) -> None:
        self._sized += 1
        self._sized_bytes += size
