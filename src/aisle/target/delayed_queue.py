"""The queues of changes that are acknowledged here and not yet at their source.

The queue of a bucket is a bucket of storage's own, which nobody else finds: an entry has the name of the
object and says what is to be done (`model/unwritten.py`). A name has one entry at most, so that only the
last change of an object counts.

Entry and object are two records, changed one after the other, perhaps by several processes at once. What
keeps them in agreement: an entry is there before the change that it is about; it goes only if nobody has
written it since it was read; and whoever has made a change looks again (`settle`), and says what is there
now if somebody else's entry says otherwise.
"""

import time
from asyncio import sleep
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import msgspec

from aisle.errors import ConditionFailed, NotFound, NotYetWritten, TooBusy
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import ABSENT, Attributes, Condition, Generation
from aisle.model.unwritten import QueueEntry, decode_entry, encode_entry, is_unwritten
from aisle.storage.engine import Held
from aisle.target.objects import TargetEngine

WAITED_S: Final = 30.0
"""How long a write that cannot be delayed waits for an earlier change of its object."""
_LOOK_INTERVAL_S: Final = 0.05
_RING_INTERVAL_S: Final = 0.05
_ATTEMPTS_MAX: Final = 100

OpenQueue = Callable[[BucketInfo], Awaitable[BucketInfo]]
"""The bucket with a queue that can be written to, which is made if the one that it names cannot."""


class Noted(NamedTuple):
    """An entry as it was read."""

    entry: QueueEntry
    generation: Generation
    """The entry's own, which changes whenever it is written."""


class DelayedQueue:
    """The queues, as one process sees them. `ring` is called when there is something new in one."""

    def __init__(
        self,
        engine: TargetEngine,
        open_queue: OpenQueue | None = None,
        *,
        ring: Callable[[], None] = lambda: None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._engine = engine
        self._open_queue = open_queue
        self._ring = ring
        self._clock = clock
        self._rung_s = 0.0

    def takes(self, bucket: BucketInfo, key: bytes) -> bool:
        """Whether a write of an object is to be delayed: its bucket says so, or an earlier one still is."""
        if bucket.delays_writes and (bucket.queue or self._open_queue is not None):
            return True
        return self.find(bucket, key) is not None

    def find(self, bucket: BucketInfo, key: bytes) -> Noted | None:
        """The entry of an object, if it has one."""
        return find_entry(self._engine, bucket, key)

    async def note_write(self, bucket: BucketInfo, key: bytes, generation: Generation) -> BucketInfo:
        """Note that an object is about to be written; the bucket with the queue that has the entry.

        Raises OutOfSpace, Unavailable.
        """
        return await self._note(bucket, key, QueueEntry(generation))

    async def note_removal(self, bucket: BucketInfo, key: bytes, generation: Generation) -> BucketInfo:
        """Note that an object is about to be removed. Raises as `note_write`."""
        return await self._note(bucket, key, QueueEntry(generation, is_removal=True))

    async def _note(self, bucket: BucketInfo, key: bytes, entry: QueueEntry) -> BucketInfo:
        """Make this the entry of an object; what is known of its source goes over from the one before."""
        if not bucket.queue:
            bucket = await self._opened(bucket)
        for _ in range(_ATTEMPTS_MAX):
            before = self.find(bucket, key)
            held = self._engine.look_up(ObjectName(bucket.number, key))
            noted = msgspec.structs.replace(_continued(entry, before, held), noted_ns=self._clock())
            try:
                await self._put(bucket, key, noted, before)
            except ConditionFailed:
                continue
            except NotFound:
                bucket = await self._opened(bucket)
                continue
            return bucket
        raise TooBusy(f"{display(bucket.bucket, key)} is being written by others: try again")

    async def _opened(self, bucket: BucketInfo) -> BucketInfo:
        """The bucket with a queue that can be written to, if its writes still go to the same source later."""
        opened = await self._open_queue(bucket) if self._open_queue is not None else None
        if opened is None or not opened.delays_writes or opened.remote != bucket.remote:
            raise TooBusy(f"{bucket.bucket.cname} is being changed: try again")
        return opened

    async def settle(self, bucket: BucketInfo, key: bytes, generation: Generation) -> None:
        """See to it that the entry of an object that was just written is about just that.

        Raises OutOfSpace, Unavailable: then nobody knows whether the write will reach its source.
        """
        for _ in range(_ATTEMPTS_MAX):
            held, noted = self._engine.look_up(ObjectName(bucket.number, key)), self.find(bucket, key)
            entry = _mended(held, noted, generation)
            if entry is None:
                self.rung()
                return
            try:
                if not entry.noted_ns:
                    entry = msgspec.structs.replace(entry, noted_ns=self._clock())
                await self._put(bucket, key, entry, noted)
            except ConditionFailed:
                continue
        raise TooBusy(f"{display(bucket.bucket, key)} is being written by others: try again")

    async def settle_removal(self, bucket: BucketInfo, key: bytes, generation: Generation) -> None:
        """See to it that an object that was just removed, in this generation, goes at its source as well.

        Whoever wrote it may have settled, or taken to the source, what was removed right after. Raises as
        `settle`.
        """
        for _ in range(_ATTEMPTS_MAX):
            noted = self.find(bucket, key)
            if self._engine.look_up(ObjectName(bucket.number, key)) is not None:
                break  # written again
            if noted is None or (generation and noted.entry.generation == generation):
                if noted is not None and noted.entry.is_removal:
                    break
                bucket = await self.note_removal(bucket, key, generation)
                continue
            if noted.entry.is_removal or noted.entry.replaces_removal:
                break
            # Somebody is about to write it.
            entry = msgspec.structs.replace(noted.entry, replaces_removal=True)
            if await self.replace(bucket, key, noted, entry) is not None:
                break
        else:
            raise TooBusy(f"{display(bucket.bucket, key)} is being written by others: try again")
        self.rung()

    def rung(self) -> None:
        """Tell whoever writes to the sources that there is something new; it looks now and then anyway."""
        now_s = time.monotonic()
        if now_s - self._rung_s >= _RING_INTERVAL_S:
            self._rung_s = now_s
            self._ring()

    async def replace(self, bucket: BucketInfo, key: bytes, noted: Noted, entry: QueueEntry) -> Noted | None:
        """Write an entry anew; as it then is, or None if somebody else has written it since it was read."""
        try:
            generation = await self._put(bucket, key, entry, noted)
        except ConditionFailed:
            return None
        return Noted(entry, generation)

    async def drop(self, bucket: BucketInfo, key: bytes, noted: Noted) -> bool:
        """Remove an entry; False if somebody has written it since it was read."""
        name = ObjectName(bucket.queue, key)
        try:
            return await self._engine.remove(name, condition=Condition(generation=noted.generation))
        except ConditionFailed:
            return False

    async def written(self, bucket: BucketInfo, key: bytes) -> None:
        """Wait until an earlier change of an object has reached its source.

        Raises TooBusy, and NotYetWritten for one that waits for somebody to decide.
        """
        deadline_s = time.monotonic() + WAITED_S
        where = display(bucket.bucket, key)
        while (noted := self.find(bucket, key)) is not None:
            if noted.entry.conflict:
                raise NotYetWritten(where)
            if time.monotonic() > deadline_s:
                raise TooBusy(f"{where}: an earlier change is not yet written to its source: try again")
            self.rung()
            await sleep(_LOOK_INTERVAL_S)

    async def _put(
        self, bucket: BucketInfo, key: bytes, entry: QueueEntry, before: Noted | None
    ) -> Generation:
        condition = Condition(generation=before.generation) if before else ABSENT
        name = ObjectName(bucket.queue, key)
        written = await self._engine.put_small(name, encode_entry(entry), Attributes(), condition=condition)
        return written.generation


def find_entry(engine: TargetEngine, bucket: BucketInfo, key: bytes) -> Noted | None:
    """The entry of an object in its bucket's queue, if it has one."""
    if not bucket.queue:
        return None
    stored = engine.open(ObjectName(bucket.queue, key))
    if stored is None:
        return None
    try:
        assert stored.inline is not None, "entries are small"
        return Noted(decode_entry(stored.inline), stored.record.generation)
    finally:
        stored.close()


def _continued(entry: QueueEntry, before: Noted | None, held: Held | None) -> QueueEntry:
    """A new entry with what is known of the object's source.

    A change that is in conflict was seen by whoever changes the object again: what the source has instead
    is what that replaces.
    """
    if before is not None:
        known = before.entry
        return msgspec.structs.replace(
            entry,
            base=known.found if known.conflict else known.base,
            sent=known.sent,
            replaces_removal=known.is_removal or (known.replaces_removal and held is None),
        )
    if held is not None and not is_unwritten(held.record.attributes):
        return msgspec.structs.replace(entry, base=held.record.attributes.custom.get("ETag", ""))
    return entry


def _mended(held: Held | None, noted: Noted | None, generation: Generation) -> QueueEntry | None:
    """What the entry of an object must become after it was written in this generation; None: it is right."""
    entry = noted.entry if noted else QueueEntry(generation)
    if held is None:
        # It was removed at once, and its entry is still the write's.
        is_stale = noted is not None and entry.generation == generation and not entry.is_removal
        return msgspec.structs.replace(entry, is_removal=True, noted_ns=0) if is_stale else None
    is_current = held.record.generation == generation and is_unwritten(held.record.attributes)
    if not is_current or (noted is not None and entry.generation == generation and not entry.is_removal):
        return None
    replaces_removal = entry.is_removal or entry.replaces_removal
    # One that has lost its entry was written when its record says, which may be long ago.
    noted_ns = 0 if noted else held.record.written_ns
    return msgspec.structs.replace(
        entry,
        generation=generation,
        is_removal=False,
        noted_ns=noted_ns,
        conflict="",
        replaces_removal=replaces_removal,
    )
