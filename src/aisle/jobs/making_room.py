"""Making room: copies of remote objects that were not used for longest go until the disks are less full.

A job of AIStore's kind `lru`. All that may go is looked through twice, in small pieces: first it is counted
how much there is of each age, then everything beyond the age that suffices goes. That takes the same little
memory for a thousand objects and for ten million. A job that is killed begins anew and finds less to do.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from aisle.errors import AisleError, ConditionFailed, NotFound
from aisle.gateway.space import evictable_buckets
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.jobs.bulk_work import BulkTools
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import BulkRecord
from aisle.model.names import ObjectName
from aisle.model.quantities import duration_s
from aisle.model.record import Condition, Inline, Record
from aisle.model.unwritten import is_unwritten
from aisle.rules.eviction import Ages, Cut, Need, footprint_of, is_copy, need_of, share, staleness
from aisle.rules.remote_metadata import is_same
from aisle.storage.space import Aged, CacheSpace
from aisle.telemetry import EVICTED_BYTES, EVICTED_COUNT, Telemetry

_LEAVING_PERCENT: Final = 1
"""So much of a disk that is about to be unlinked is worth waiting for."""
_LOOKS_MAX: Final = 4
PIECE_OBJECTS: Final = 256
"""Records looked at before others get their turn."""
BATCH_OBJECTS: Final = 64
"""Objects that go together, durably."""
PRESSED: Final = b"pressed"
"""As the details of a job: objects do not fit, so that the low level counts as the high one."""


class Candidate(NamedTuple):
    """A copy that may go."""

    bucket: BucketInfo
    key: bytes
    record: Record
    staleness: int


class MakingRoom:
    """Evicts from the mountpaths that are above their high level; of one bucket if the job names one."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Make what room there can be. Raises OutOfSpace and Unavailable when nothing can be removed."""
        space = self._tools.space
        if space is None:
            return
        for mountpath in space.mountpaths():
            is_pressed = self._record.details == PRESSED
            need = await need_of_mountpath(self._tools, mountpath, is_pressed=is_pressed)
            if need is not None:
                await _Pass(self._tools, space, mountpath, self._buckets(), need=need).run(tally)

    def _buckets(self) -> list[BucketInfo]:
        wanted = self._record.bucket
        return [
            info for info in evictable_buckets(self._tools.buckets) if wanted is None or info.bucket == wanted
        ]


async def need_of_mountpath(tools: BulkTools, mountpath: str, *, is_pressed: bool = False) -> Need | None:
    """What has to go of a mountpath, None if it is not above its high level, or cannot be asked.

    Where objects are refused because they do not fit (`is_pressed`), what is above the low level goes, too,
    unless files that have gone already will make room when they are unlinked.
    """
    space = tools.space
    if space is None:
        return None
    levels = tools.buckets.configuration.get().values.space
    high = levels.lowwm if is_pressed else levels.highwm
    try:
        if need_of(space.usage(mountpath), low=levels.lowwm, high=high) is None:
            return None
        usage = await asyncio.to_thread(space.usage_in_detail, mountpath)
    except OSError:
        return None
    if usage.leaving > share(usage.total, _LEAVING_PERCENT):
        high = levels.highwm
    return need_of(usage, low=levels.lowwm, high=high)


class _Pass:
    """Looks through what may go of a mountpath, and its eviction.

    What is used between the two looks stays: then it is looked again for the rest.
    """

    def __init__(
        self,
        tools: BulkTools,
        space: CacheSpace,
        mountpath: str,
        buckets: Sequence[BucketInfo],
        *,
        need: Need,
    ) -> None:
        self._tools = tools
        self._space = space
        self._mountpath = mountpath
        self._buckets = buckets
        self._need = need
        self._slots = (tools.counters or Telemetry.private()).slots

    async def run(self, tally: BulkTally) -> None:
        left = self._need.bytes
        for _ in range(_LOOKS_MAX):
            gone = await self._evict_stalest(left, tally, now_ns=self._tools.clock_ns())
            left -= gone
            if not gone or left <= 0:
                return

    async def _evict_stalest(self, wanted: int, tally: BulkTally, *, now_ns: int) -> int:
        """Evict what was not used for longest; about how many bytes went."""
        freed = 0
        last_sequence = self._space.last_sequence(self._mountpath)
        ages = Ages()
        async for candidates in self._candidates(now_ns, last_sequence):
            for candidate in candidates:
                ages.add(candidate.staleness, footprint_of(candidate.record))
        chosen_of = _Choice(ages.cut(wanted))
        async for candidates in self._candidates(now_ns, last_sequence):
            chosen = chosen_of.some(candidates)
            for start in range(0, len(chosen), BATCH_OBJECTS):
                batch = chosen[start : start + BATCH_OBJECTS]
                went = await asyncio.gather(*map(self._evict, batch))
                gone = [candidate.record for candidate, is_gone in zip(batch, went, strict=True) if is_gone]
                self._count(gone, len(batch), tally)
                freed += sum(map(footprint_of, gone))
        return freed

    async def _candidates(self, now_ns: int, last_sequence: int) -> AsyncIterator[list[Candidate]]:
        """All that may go, in the order of buckets and names, in pieces."""
        for bucket in self._buckets:
            spared_ns = now_ns - int((duration_s(bucket.properties.lru.dont_evict_time) or 0) * 1e9)
            after = b""
            while found := self._space.aged(self._mountpath, bucket.number, after=after, limit=PIECE_OBJECTS):
                after = found[-1].key
                yield [
                    Candidate(
                        bucket,
                        aged.key,
                        aged.record,
                        staleness(
                            aged.used_ns,
                            now_ns,
                            sequence=aged.record.sequence,
                            last_sequence=last_sequence,
                        ),
                    )
                    for aged in found
                    if self._may_go(bucket, aged, spared_ns, now_ns)
                ]
                await asyncio.sleep(0)

    def _may_go(self, bucket: BucketInfo, aged: Aged, spared_ns: int, now_ns: int) -> bool:
        record, behind = aged.record, bucket.remote
        if self._need.files_only and isinstance(record.payload, Inline):
            return False
        if is_unwritten(record.attributes) or behind is None:
            return False
        # What is not known to have been used counts as used when it was written, if clocks agree on that.
        used_ns = aged.used_ns or (record.written_ns if record.written_ns <= now_ns else 0)
        return used_ns <= spared_ns and is_copy(record.attributes, behind.provider)

    async def _evict(self, candidate: Candidate) -> bool:
        """Drop a copy, if it still is the one that was looked at; whether it went."""
        bucket, record = candidate.bucket, candidate.record
        if not bucket.bucket.is_remote and not await self._is_elsewhere(candidate):
            return False
        if not self._is_still_copy(bucket):
            return False
        condition = Condition(generation=record.generation)
        try:
            return await self._tools.engine.remove(
                ObjectName(bucket.number, candidate.key), condition=condition
            )
        except (ConditionFailed, NotFound):
            return False  # it was written meanwhile, or its bucket is gone

    def _is_still_copy(self, bucket: BucketInfo) -> bool:
        """Whether what the bucket holds may go still: its source may have been taken away meanwhile."""
        try:
            now = self._tools.buckets.find(bucket.bucket)
        except NotFound:
            return False
        return now.number == bucket.number and now.remote == bucket.remote and now.properties.lru.enabled

    async def _is_elsewhere(self, candidate: Candidate) -> bool:
        """Whether the source that an own bucket has got has the object: it may be older than that."""
        behind = candidate.bucket.remote
        assert behind is not None
        try:
            provider = self._tools.provider_of(candidate.bucket)
            about = await provider.head(behind.name, candidate.key.decode())
        except AisleError:
            return False
        return is_same(candidate.record.attributes, candidate.record.size, about)

    def _count(self, gone: Sequence[Record], visited: int, tally: BulkTally) -> None:
        counts = BatchCounts()
        for record in gone:
            counts.done(record.size)
        self._slots[EVICTED_COUNT] += counts.objects
        self._slots[EVICTED_BYTES] += counts.bytes
        tally.add(counts, visited=visited, after=b"")


class _Choice:
    """What of the candidates goes, as they come by once more."""

    def __init__(self, cut: Cut) -> None:
        self._staleness, self._left_of_class = cut

    def some(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Those of a piece that go."""
        return [candidate for candidate in candidates if self._is_chosen(candidate)]

    def _is_chosen(self, candidate: Candidate) -> bool:
        if candidate.staleness != self._staleness or self._left_of_class <= 0:
            return candidate.staleness > self._staleness
        self._left_of_class -= footprint_of(candidate.record)
        return True
