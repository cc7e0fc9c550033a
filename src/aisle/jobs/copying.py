"""Copying many objects between two buckets of any providers, and keeping the second like the first.

Objects that are not here are read straight from their source. What the destination has already, as far as
digests, entity tags or versions tell, is left as it is. A job that synchronizes removes, after the copies,
what the destination has beyond what the source has; each such name is asked for at the source first.
"""

import asyncio
from contextlib import aclosing, nullcontext
from functools import partial
from typing import Final, NamedTuple

from aisle.backends.provider import RemoteObject
from aisle.errors import ObjectNotFound, SourceThrottled, SourceUnreachable, Unsupported
from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import (
    LARGE_BYTES,
    WORKERS_DEFAULT,
    WORKERS_MAX,
    BulkTools,
    destination_bucket,
    is_chosen,
    prefix_of,
    relay_of,
    source_bucket,
    work_through,
)
from aisle.jobs.pruning import Confirm, Pruning
from aisle.jobs.remote_names import RemoteNames
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import BulkRecord
from aisle.model.names import display, parse_object_key
from aisle.model.record import Record
from aisle.rules.remote_metadata import agree, is_same, known_digests
from aisle.rules.selection import name_of_copy
from aisle.target.copying import Place
from aisle.target.relaying import Relay

_ATTEMPTS_MAX: Final = 4
_FIRST_PAUSE_S: Final = 0.2
_PAUSE_S_MAX: Final = 10.0


class Copying:
    """Copies objects into a bucket, be it their own under other names."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Copy what is left.

        Raises Unsupported for a destination that cannot be written to, and what a provider raises when a
        bucket cannot be listed.
        """
        tools, record = self._tools, self._record
        source, settings = source_bucket(tools, record), record.copying
        # A rehearsal needs no destination.
        to = source if settings.dry_run else destination_bucket(tools, record)
        relay = relay_of(tools)
        if not settings.dry_run:
            _check_writable(relay, to)
        is_listed = source.remote is not None and not (settings.only_present or is_chosen(record))
        names = None
        if is_listed and source.remote is not None:
            names = RemoteNames(relay.remote.provider(source), source.remote.name)
        confirm = partial(_confirm_source, tools, record)
        copy = EachCopy(Ends(relay, source, to, confirm, names), record, tally).copy
        # Where one end is elsewhere, small objects wait for it, not for the processor.
        workers = WORKERS_MAX if source.remote or to.remote else WORKERS_DEFAULT
        if names is None:
            await work_through(tools, record, tally, copy, workers_default=workers)
        else:
            async with aclosing(names.batches(prefix_of(record), after=tally.after)) as batches:
                await work_through(tools, record, tally, copy, batches=batches, workers_default=workers)
        if settings.synchronize and not (settings.dry_run or is_chosen(record)):
            await Pruning(relay, source, to, prefix=prefix_of(record), confirm=confirm).run(tally)


class Ends(NamedTuple):
    """From where to where, and how."""

    relay: Relay
    source: BucketInfo
    to: BucketInfo
    confirm: Confirm
    names: RemoteNames | None = None
    """What the source lists, where the names are taken from that."""

    def held(self, key: bytes) -> Record | None:
        """What is here of an object of the source."""
        return _held(self.relay, self.source, key)

    def held_copy(self, name: bytes) -> Record | None:
        """What is here of an object of the destination."""
        return _held(self.relay, self.to, name)

    def listed(self, key: bytes) -> RemoteObject | None:
        """What the source has listed of an object."""
        return self.names.told.get(key) if self.names else None

    def known(self, key: bytes) -> Record | RemoteObject | None:
        """What is known of an object of the source without asking."""
        return self.listed(key) or self.held(key)

    async def told(self, key: bytes) -> RemoteObject:
        """What the source tells of an object. Raises ObjectNotFound, and what a provider raises."""
        listed = self.listed(key)
        # A listing that tells sizes only does not tell what has changed.
        if listed is not None and (listed.etag or listed.version or listed.digests):
            return listed
        return await self.relay.remote.head(self.source, key)


class EachCopy:
    """Copies the objects of one job."""

    def __init__(self, ends: Ends, record: BulkRecord, tally: BulkTally) -> None:
        self._ends = ends
        self._record = record
        self._tally = tally
        self._few = asyncio.Semaphore(max(record.workers, WORKERS_DEFAULT))
        """Held while a large object is copied."""

    async def copy(self, key: bytes) -> int | None:
        """Copy one object; its size, or None where there was nothing to do. Raises as `Relay.copy`."""
        ends, settings = self._ends, self._record.copying
        name = name_of_copy(parse_object_key(key), prepend=settings.prepend, extensions=settings.extensions)
        parse_object_key(name)
        try:
            if settings.dry_run:
                return await self._size(key)
            if self._tally.is_resumed and (size := self._copied_before(key, name)) is not None:
                return size
            if await self._is_done(key, name):
                return None
            async with self._few if self._may_be_large(key) else nullcontext():
                return await self._copy(Place(ends.source, key), Place(ends.to, name))
        except ObjectNotFound:
            if settings.synchronize and not settings.dry_run and is_chosen(self._record):
                await self._remove(name)
                return None
            raise

    async def _copy(self, source: Place, to: Place) -> int:
        """Copy an object, again where its write at another source may succeed later; its size."""
        relay, pause_s = self._ends.relay, _FIRST_PAUSE_S
        for _ in range(_ATTEMPTS_MAX - 1):
            try:
                return (await relay.copy(source, to, latest=self._wants_latest)).size
            except (SourceThrottled, SourceUnreachable) as error:
                if to.bucket.remote is None:
                    raise  # reads have been repeated already
                await asyncio.sleep(min(max(pause_s, error.retry_after_s or 0.0), _PAUSE_S_MAX))
                pause_s *= 2
        return (await relay.copy(source, to, latest=self._wants_latest)).size

    @property
    def _wants_latest(self) -> bool:
        return self._record.copying.latest or self._record.copying.synchronize

    def _may_be_large(self, key: bytes) -> bool:
        known = self._ends.known(key)
        return known is None or known.size >= LARGE_BYTES

    async def _size(self, key: bytes) -> int:
        ends = self._ends
        held = ends.held(key)
        if held is not None:
            return held.size
        if ends.source.remote is None:
            raise ObjectNotFound(display(ends.source.bucket, key))
        listed = ends.listed(key)
        return listed.size if listed else (await ends.told(key)).size

    async def _is_done(self, key: bytes, name: bytes) -> bool:
        """Whether the destination has the object as it is to be."""
        ends = self._ends
        source, to = ends.source, ends.to
        if source.number == to.number and name == key:
            return True  # itself
        held, copy = ends.held(key), ends.held_copy(name)
        if source.number == to.number and held is not None and held.written_ns >= self._record.started_ns:
            return source.remote is None  # what this job has made
        if copy is None:
            return False
        if to.remote is not None:
            return await self._is_done_elsewhere(key, name, copy)
        if source.remote is not None:
            if held is not None and not self._wants_latest:
                return _is_same_here(copy, held)
            return is_same(copy.attributes, copy.size, await ends.told(key))
        return self._record.copying.synchronize and held is not None and _is_same_here(copy, held)

    async def _is_done_elsewhere(self, key: bytes, name: bytes, copy: Record) -> bool:
        """The same for a remote destination, of which `copy` is here: it may have changed there since."""
        if not self._wants_latest:
            return False
        ends = self._ends
        held = ends.held(key)
        if ends.source.remote is None:
            if held is None:
                return False
            size, digests = held.size, known_digests(held.attributes)
        else:
            about = await ends.told(key)
            size, digests = about.size, dict(about.digests)
        if size != copy.size or not agree(known_digests(copy.attributes), digests):
            return False
        try:
            return await ends.relay.remote.is_current(ends.to, name, copy)
        except ObjectNotFound:
            return False

    def _copied_before(self, key: bytes, name: bytes) -> int | None:
        """The size of the copy, if this job made it before its process was killed."""
        ends = self._ends
        copy = ends.held_copy(name)
        if copy is None or ends.to.remote is not None or copy.written_ns < self._record.started_ns:
            return None
        source = ends.known(key)
        return copy.size if source is None or source.size == copy.size else None

    async def _remove(self, name: bytes) -> None:
        """The source has no such object: neither shall the destination, unless the source is gone itself."""
        ends = self._ends
        await ends.confirm()
        if await ends.relay.remove(Place(ends.to, name)) is not None:
            self._tally.removed += 1


async def _confirm_source(tools: BulkTools, record: BulkRecord) -> None:
    """Raise BucketNotFound unless the source of a job is still there, or what a provider raises."""
    source = source_bucket(tools, record)
    if source.remote is not None:
        await tools.provider_of(source).head_bucket(source.remote.name)


def _held(relay: Relay, bucket: BucketInfo, key: bytes) -> Record | None:
    held = relay.remote.engine.look_up(Place(bucket, key).name)
    return held.record if held else None


def _is_same_here(copy: Record, held: Record) -> bool:
    """Whether two objects that are here have the same bytes, as far as their digests tell."""
    return copy.size == held.size and agree(known_digests(copy.attributes), known_digests(held.attributes))


def _check_writable(relay: Relay, to: BucketInfo) -> None:
    """Raise Unsupported for a destination that nothing can be written to."""
    if to.remote is not None and not relay.remote.provider(to).capabilities.writes:
        raise Unsupported(f"{to.bucket.cname} is read-only: nothing can be copied into it")
