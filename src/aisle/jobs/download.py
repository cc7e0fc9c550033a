"""One download job at work: hands out its items, takes their results, knows when it is over.

Items are taken in order, failed ones come again when their time has come. Too many waiting for that
stop new ones from being taken: a source that is down should not have a whole job tried on it.
"""

import heapq
import itertools
import logging
import random
from collections.abc import Callable, Coroutine, Iterator, Sequence

from aisle.errors import AisleError, NotFound, SourceFailed, UploadNotFound
from aisle.jobs.destination import Destination, is_as_wanted, is_later_version
from aisle.jobs.extracting import MEMBER, Extraction, StopExtracting, is_unpacked
from aisle.jobs.item import ItemDownload
from aisle.jobs.item_owner import JobItem
from aisle.jobs.large import SavedParts, saved_parts
from aisle.jobs.manifest import Manifest
from aisle.jobs.outcomes import Outcomes
from aisle.jobs.parking import PARKED_MAX, Parking, Ready, earliest
from aisle.jobs.pool import Pool, Turn
from aisle.jobs.small_item import SmallItems
from aisle.jobs.tally import Tally
from aisle.model.job import ActiveItem, FinishedItem, Headers, JobProgress, JobRecord
from aisle.model.record import Record
from aisle.rules.backoff import delay_s, parse_retry_after
from aisle.rules.download_known import known_object
from aisle.rules.download_names import public_server
from aisle.rules.download_plan import Item, Plan
from aisle.rules.download_silence import Heard
from aisle.transfer.carriers import RequestOptions
from aisle.transfer.failures import Failure
from aisle.transfer.rates import TokenBucket, together

_log = logging.getLogger(__name__)

_WAITING_MAX = 1_000
_FULL_MANIFEST_WAIT_S = 0.5
_STREAMS_LOOK_S = 0.5
_REFUSED_STREAM_WAIT_S = 1.0
_CHECKED_PER_TURN_MAX = 500  # items found stored already, before others get their turn


_NOTHING = Turn(None)

MakeItem = Callable[..., JobItem]
"""Makes what fetches an item of a job: of its owner, the item and the time, `now_ns`."""


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
        manifest: Manifest | None = None,
        make_item: MakeItem = ItemDownload,
    ) -> None:
        """`continued` says that an earlier process may have worked on it, whatever was kept.

        `headers` go with each request, to the host of its own link only. `plan` has the items of a job
        whose record has not. `manifest` is told what becomes of each item. `make_item` knows how the bytes
        of an item are had.
        """
        spec = record.download
        self.id = record.id
        self.destination = destination
        self.budget, self.arrivals = pool.budget, pool.arrivals
        limits = pool.job_limits
        self.part_bytes, self.streams_max = limits.part_bytes, limits.streams_max
        self.hosts = pool.hosts
        self.manifest = manifest
        self.manifest_missing = kept.manifest_missing if kept else 0
        self.priority = record.priority
        self.options = RequestOptions(private_headers=headers, timeout_s=spec.timeout_s)
        self.packed_options = self.options._replace(decode=False)
        own_throttle = TokenBucket(spec.bytes_per_hour / 3600) if spec.bytes_per_hour else None
        self.throttle = together(pool.throttle, own_throttle)
        self.bytes_received = 0
        self._plan = plan or Plan(spec)
        self.tally = Tally(kept or JobProgress(id=record.id, total=self._plan.total))
        self._outcomes = Outcomes(self.tally, manifest, pool.clock_ns)
        self.on_over: Callable[[], None] | None = None
        self._make = make_item
        self._record, self._pool, self._clock_ns = record, pool, pool.clock_ns
        self._extracts = spec.extract
        self._retries_max = limits.retries_max
        self._connections_max = min(spec.connections or limits.connections_max, limits.connections_max)
        self._numbers: Iterator[int] = self.tally.done.missing(self._plan.total)
        self._parked = Parking(pool.hosts)  # taken, and waiting for their servers
        self._exhausted, self._continued = False, continued
        # Not in an empty bucket, and an archive that is unpacked is not there itself.
        self._may_be_there = not (spec.extract or destination.is_empty())
        self._saved: dict[bytes, SavedParts] = saved_parts(destination, record.id) if continued else {}
        is_unusual = bool(self._saved or self.throttle or spec.timeout_s)
        self._small_items = None if is_unusual else SmallItems(self)
        self._active, self._storing = dict[int, JobItem](), dict[int, JobItem]()
        self._splitting: dict[JobItem, None] = {}  # active ones that may have further connections
        self._further = 0  # connections beyond the first of each active item
        self._waiting: list[tuple[float, int, JobItem]] = []
        self._order = itertools.count()
        self._sized = self._sized_bytes = 0
        self._heard = Heard()
        self.is_stopped = self._keeps_parts = self._is_broken = False
        self._trouble = ""

    @property
    def is_over(self) -> bool:
        """Whether every item is done, or the job was stopped."""
        nothing_left = self._exhausted and not self._parked.count and not self._waiting
        return self.is_stopped or (nothing_left and not self._active and not self._storing)

    @property
    def running(self) -> int:
        """How many connections it has."""
        return len(self._active) + self._further

    def take(self, now_s: float, most: int) -> list[JobItem]:
        """Items to start now, at most so many; the caller starts them.

        That is for the usual case, all at once; if there are none, `turn` may know of one.
        """
        running = self.running
        if self.is_stopped or (self.manifest is not None and self.manifest.is_full):
            return []
        if self._parked.count or self._waiting or self._heard.given_up:
            return []
        taken: list[JobItem] = []
        active, admit = self._active, self._pool.hosts.admit
        for _ in range(min(most, self._connections_max - running, self._pool.room(running))):
            item = self._new()
            if item is None:
                break
            if not admit(item.host, now_s):
                self._parked.pick(item, now_s)
                break
            active[item.item.number] = item
            taken.append(item)
        return taken

    def turn(self, now_s: float) -> Turn:
        """An item to start now, if there is one; the caller starts it."""
        running = self.running
        if self.is_stopped or running >= self._connections_max:
            return _NOTHING
        if self.manifest is not None and self.manifest.is_full:
            return Turn(None, now_s + _FULL_MANIFEST_WAIT_S)
        if self._pool.room(running) <= 0:
            return _NOTHING
        for _ in range(_CHECKED_PER_TURN_MAX):
            item, again_at_s = self._ready(now_s)
            if item is None:
                return Turn(None, again_at_s)
            if not (self._heard.given_up and self._heard.is_gone(item.host, self._clock_ns())):
                break
            server = public_server(item.host)
            self._give_up(item, f"{server} answers no requests: not asked for {item.name}")
        else:
            return Turn(None, now_s)
        self._pool.hosts.enter(item.host)
        self._active[item.item.number] = item
        return Turn(item)

    def stream_turn(self, now_s: float) -> Turn:
        """An item that would come faster over one more connection; the caller starts that."""
        connections = len(self._active) + self._further
        if not self._splitting or connections >= self._connections_max:
            return _NOTHING
        if self._pool.room(connections) <= 0:
            return _NOTHING
        for item in self._splitting:
            opens_at_s = self._pool.hosts.opens_at_s(item.host, now_s)
            if opens_at_s is not None and opens_at_s <= now_s and item.wants_stream(now_s):
                self._splitting[item] = self._splitting.pop(item)  # the last one next time
                self._pool.hosts.enter(item.host)
                self._further += 1
                return Turn(item)
        return Turn(None, now_s + _STREAMS_LOOK_S)

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
        self.is_stopped = True
        self._keeps_parts = keep_parts
        self.tally.error = self.tally.error or error
        for item in self._active.values():
            for _ in range(max(1, item.connections)):
                self._pool.connection_freed(item.host, answered=False)
        waiting = [item for _, _, item in self._waiting]
        for _ in self._storing:
            self._pool.item_settled()
        for item in (*self._active.values(), *self._storing.values(), *waiting, *self._parked):
            item.cancel(keep_parts=keep_parts)
        self._active.clear()
        self._splitting.clear()
        self._further = 0
        self._storing.clear()
        self._waiting.clear()
        self._parked.clear()

    # Called by items.

    def item_replaced(self, item: JobItem, other: JobItem) -> None:
        """What fetches the item is another one from now on."""
        number = item.item.number
        (self._active if number in self._active else self._storing)[number] = other

    def item_received(self, item: JobItem) -> None:
        """All bytes are here, the connection is free; they are not stored yet."""
        number, host = item.item.number, item.host
        del self._active[number]
        self._storing[number] = item
        if self._splitting:
            self._splitting.pop(item, None)
        self._heard.note(host, self._clock_ns())
        self._pool.item_came(host)

    def item_stored(self, item: JobItem, record: Record) -> None:
        """The object is visible and durable."""
        if self._extracts and is_unpacked(item.item.key):
            self._pool.spawn(self._unpack(item, record))
        else:
            self._settle(item, record)

    def _settle(self, item: JobItem, record: Record, *, unpacked: Sequence[bytes] | None = None) -> None:
        del self._storing[item.item.number]
        self._count_size(record.size)
        if unpacked is None:
            self._outcomes.stored(item.item, record, item.started_ns, updated=item.replaces)
        else:
            self._outcomes.unpacked(item.item, record, item.started_ns, unpacked)
        self._pool.item_settled()
        if self._pool.is_held_back or self.is_over:
            self._pool.look()

    async def _unpack(self, item: JobItem, record: Record) -> None:
        """Make of an archive what is in it; only then it is done."""
        lines: list[bytes] = []

        def note(key: bytes, name: str, member: Record) -> None:
            if self.manifest is not None:
                lines.append(self.manifest.member(item.item, key, name, member))

        extraction = Extraction(self.destination, record, since_ns=self._record.started_ns, on_stored=note)
        try:
            async with self._pool.unpacking:
                await extraction.run(item.item.key, is_stopped=lambda: self.is_stopped)
        except StopExtracting:
            if not self._keeps_parts:
                await extraction.drop(item.item.key)
        except AisleError as error:
            if not self.is_stopped:
                self.item_failed(item, Failure(error, transient=False), "")
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            self.item_broken(item, error)
        else:
            if not self.is_stopped:
                self._settle(item, record, unpacked=lines)

    def item_unchanged(self, item: JobItem) -> None:
        """The source still has what the known object was made from: done, if that is still the object."""
        known, record = item.known, self.destination.record(item.item.key)
        del self._active[item.item.number]
        self._heard.note(item.host, self._clock_ns())
        self._pool.connection_freed(item.host, answered=True)
        if record is not None and known is not None and record.generation == known.generation:
            self._count_size(0)  # nothing is to come for it
            self._outcomes.unchanged(item.item, record, item.started_ns)
        else:
            # It was overwritten or removed meanwhile, or is damaged: fetched, whatever the source has.
            item.known = None
            heapq.heappush(self._waiting, (self._pool.now_s(), next(self._order), item))
        self._pool.look()

    def item_gone(self, item: JobItem, size: int) -> None:
        """The source has no such object any more, and its copy here was removed, as the job wants it."""
        del self._active[item.item.number]
        self._pool.connection_freed(item.host, answered=True)
        self._count_size(0)
        self._outcomes.removed(item.item, size, item.started_ns)
        self._pool.look()

    def item_failed(self, item: JobItem, failure: Failure, retry_after: str) -> None:
        """An attempt has failed: the item comes again later, or never."""
        number = item.item.number
        if self._active.pop(number, None) is not None:
            self._splitting.pop(item, None)
            self._pool.connection_freed(item.host, answered=False)
        else:
            del self._storing[number]
            self._pool.item_settled()
        error = failure.error
        if isinstance(error, NotFound) and not isinstance(error, UploadNotFound):
            self.stop(keep_parts=False, error=f'bucket "{self.destination.bucket.bucket.cname}" is gone')
        elif failure.transient and item.failures <= self._retries_of(item):
            self._put_off(item, retry_after, error)
        else:
            if not item.is_answered:
                self._heard.note_given_up(item.host, self._clock_ns())
            self._give_up(item, str(error))
        self._pool.look()

    def item_broken(self, item: JobItem, error: Exception) -> None:
        """Something happened that nobody thought of: the item has failed for good."""
        if self.is_stopped:
            return
        # Told once with all its details: the next thousand items may meet the same.
        _log.error(
            "job %s: item %s: %r", self.id, item.name, error, exc_info=None if self._is_broken else error
        )
        self._is_broken = True
        self.item_failed(item, Failure(AisleError(f"internal error: {error!r}"), transient=False), "")

    def item_may_split(self, item: JobItem) -> None:
        """From now on the item may be given further connections, until it has come or failed."""
        self._splitting[item] = None
        self._pool.look()

    def connection_spared(self, item: JobItem, failure: Failure | None, retry_after: str) -> None:
        """One of several connections of an item has ended, well or not; the others go on."""
        self._further -= 1
        self._pool.connection_freed(item.host, answered=failure is None)
        if failure is not None:
            asked_s = self._asked_s(retry_after)
            self._ask_less(item.host, failure.error, asked_s, asked_s or _REFUSED_STREAM_WAIT_S)
        self._pool.look()

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work that must not be lost when the job ends."""
        self._pool.spawn(work)

    # What comes next.

    def _ready(self, now_s: float) -> Ready:
        """An item that can be started now. One whose server must be left alone holds up no others."""
        parked = self._parked
        ready, again_at_s = parked.take(now_s) if parked.count else (None, None)
        while ready is None and parked.count < PARKED_MAX:
            item = (self._due(now_s) if self._waiting else None) or self._new()
            if item is None:
                return None, earliest(again_at_s, self._again_at_s(now_s))
            ready, opens_at_s = parked.pick(item, now_s)
            if ready is None:
                again_at_s = earliest(again_at_s, opens_at_s)
        return ready, again_at_s

    def _due(self, now_s: float) -> JobItem | None:
        if self._waiting[0][0] <= now_s:
            return heapq.heappop(self._waiting)[2]
        return None

    def _new(self) -> JobItem | None:
        """The next item that must be fetched; what is stored already is counted on the way."""
        if self._exhausted or len(self._waiting) >= _WAITING_MAX:
            return None
        for _ in range(_CHECKED_PER_TURN_MAX):
            number = next(self._numbers, None)
            if number is None:
                self._exhausted = True
                return None
            self.tally.scheduled += 1
            try:
                item = self._plan.item(number)
            except AisleError as error:
                self._unreadable(number, error)
                continue
            if self._continued and self._is_stored(item):
                continue
            download = self._item(item)
            if self._may_be_there and self._is_there(download):
                continue
            saved = self._saved.pop(item.key, None) if self._saved else None
            if saved is not None:
                download.adopt(saved)
            return download
        return None

    def _item(self, item: Item) -> JobItem:
        """What fetches an item: as one that needs little, if it may turn out to be one."""
        now_ns = self._clock_ns()
        small = self._small_items.make(item, now_ns=now_ns) if self._small_items is not None else None
        return small or self._make(self, item, now_ns=now_ns)

    def _again_at_s(self, now_s: float) -> float | None:
        """When there may be an item, after there was none just now."""
        if not self._exhausted and len(self._waiting) < _WAITING_MAX:
            return now_s
        return self._waiting[0][0] if self._waiting else None

    def _unreadable(self, number: int, error: AisleError) -> None:
        name, now_ns = self._plan.label(number), self._clock_ns()
        self._count_size(0)
        self._outcomes.failed(number, FinishedItem(name, 0, -1, now_ns, now_ns), name, str(error))

    def _is_stored(self, item: Item) -> bool:
        """Whether an earlier process stored the item and could not write that down any more."""
        record = self.destination.stored_since(item.key, item.link, self._record.started_ns)
        if record is None or not is_as_wanted(record, item):
            return False
        if self._extracts and is_unpacked(item.key):
            if MEMBER in record.attributes.custom:
                return False  # what was in the archive, under its own name
            archive = self._make(self, item, now_ns=self._clock_ns())
            self._storing[item.number] = archive
            self._pool.item_received()
            self._pool.spawn(self._unpack(archive, record))
            return True
        self._count_size(record.size)
        self._outcomes.stored(item, record, record.written_ns, updated=is_later_version(record))
        return True

    def _is_there(self, download: JobItem) -> bool:
        """Whether the object is there as the item wants it; if it may be, the source will be asked."""
        item = download.item
        found = self.destination.look_up(item.key)
        download.replaces = found is not None and found.written_ns < self._record.started_ns
        if found is None or self._record.download.refetch or not is_as_wanted(found, item):
            return False
        if not item.checksum:
            download.known = known_object(found, item.link)
            return False
        record = self.destination.record(item.key)  # not a damaged one
        if record is None or record.generation != found.generation:
            return False
        self._count_size(0)
        self._outcomes.unchanged(item, record, download.started_ns)
        return True

    def _give_up(self, item: JobItem, error: str) -> None:
        item.cancel(keep_parts=False)
        size = -1 if item.size is None else item.size
        failed = FinishedItem(item.name, 0, size, item.started_ns, self._clock_ns())
        self._count_size(0)
        self._outcomes.failed(item.item.number, failed, item.item.link, error)

    def _retries_of(self, item: JobItem) -> int:
        """How often an item that has just failed may be tried again."""
        if item.is_answered:
            self._heard.note(item.host, self._clock_ns())
            return self._retries_max
        return self._heard.retries_max(item.host, since_ns=item.started_ns, usual=self._retries_max)

    def trouble(self) -> tuple[int, str]:
        """How many items wait for another attempt, and why the last of them failed, if any does."""
        retrying = sum(item.failures > 0 for _, _, item in self._waiting)
        return retrying, self._trouble if retrying else ""

    def _put_off(self, item: JobItem, retry_after: str, error: AisleError) -> None:
        self._trouble = f"{item.name}: {error}"
        asked_s = self._asked_s(retry_after)
        wait_s = delay_s(max(1, item.failures), chance=random.random(), retry_after_s=asked_s)  # noqa: S311
        self._ask_less(item.host, error, asked_s, wait_s)
        heapq.heappush(self._waiting, (self._pool.now_s() + wait_s, next(self._order), item))

    def _asked_s(self, retry_after: str) -> float | None:
        """How long a server wants to be left alone, if it says so."""
        return parse_retry_after(retry_after, now_s=self._clock_ns() / 1e9) if retry_after else None

    def _ask_less(self, host: str, error: AisleError, asked_s: float | None, wait_s: float) -> None:
        """Leave a server alone for a while if its answer says that it was asked too much."""
        if asked_s is not None or (isinstance(error, SourceFailed) and error.status == 429):
            self._pool.hosts.close(host, self._pool.now_s() + wait_s)

    def _count_size(self, size: int) -> None:
        self._sized += 1
        self._sized_bytes += size
