"""The kinds of bulk jobs, and how the work of each is done."""

from collections.abc import Callable, Mapping
from typing import Final

from aisle.errors import ObjectNotFound
from aisle.gateway.renaming import rename_bucket
from aisle.jobs.archiving import Archiving
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.jobs.bulk_work import (
    BulkTools,
    BulkWork,
    destination_bucket,
    source_bucket,
    work_through,
)
from aisle.jobs.evicting import Evicting
from aisle.jobs.making_room import MakingRoom
from aisle.jobs.prefetching import Prefetching
from aisle.jobs.promoting import Promoting
from aisle.model.bulk import (
    ARCHIVE,
    COPY_BUCKET,
    COPY_OBJECTS,
    DELETE_OBJECTS,
    EVICT_OBJECTS,
    EVICTION,
    MOVE_BUCKET,
    PREFETCH,
    PROMOTE,
    BulkRecord,
)
from aisle.model.names import ObjectName, display
from aisle.rules.selection import name_of_copy
from aisle.target.copying import Copier, Place
from aisle.target.objects import TargetObjects


class Copying:
    """Copies objects into a bucket, be it their own under other names."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Copy what is left."""
        tools, record = self._tools, self._record
        source, settings = source_bucket(tools, record), record.copying
        # A rehearsal needs no destination.
        to = source if settings.dry_run else destination_bucket(tools, record)
        copier = Copier(tools.engine)

        async def copy(key: bytes) -> int | None:
            held = tools.engine.look_up(ObjectName(source.number, key))
            if held is None:
                raise ObjectNotFound(display(source.bucket, key))
            size = held.record.size
            if settings.dry_run:
                return size
            name = name_of_copy(key, prepend=settings.prepend, extensions=settings.extensions)
            if to.number == source.number and (name == key or held.record.written_ns >= record.started_ns):
                return None  # itself, or what this job has made
            if tally.is_resumed and self._is_there(to.number, name, size):
                return size
            return (await copier.copy(Place(source, key), Place(to, name))).size

        await work_through(tools, record, tally, copy)

    def _is_there(self, number: int, name: bytes, size: int) -> bool:
        """Whether this job made the copy before its process was killed."""
        there = self._tools.engine.look_up(ObjectName(number, name))
        return (
            there is not None
            and there.record.written_ns >= self._record.started_ns
            and there.record.size == size
        )


class Deleting:
    """Deletes objects."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Delete what is left."""
        tools, record = self._tools, self._record
        bucket = source_bucket(tools, record)
        objects = TargetObjects(tools.engine)

        async def delete(key: bytes) -> int | None:
            held = tools.engine.look_up(ObjectName(bucket.number, key))
            if held is None:
                if tally.is_resumed and not tally.batches:
                    return 0  # most likely deleted by this job, before its process was killed
                raise ObjectNotFound(display(bucket.bucket, key))
            await objects.remove(bucket, key)
            return held.record.size

        # A name that is gone does not tell who deleted it: the place is kept with every batch.
        await work_through(tools, record, tally, delete, keeps_batches=True)


class Renaming:
    """Gives a bucket another name."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Rename it; a bucket that has its new name already is done."""
        record, counts = self._record, BatchCounts()
        assert record.bucket is not None
        assert record.to_bucket is not None
        await rename_bucket(self._tools.store, record.bucket, record.to_bucket, number=record.number)
        found = self._tools.engine.counts(record.number)
        counts.objects, counts.bytes = found.objects, found.bytes
        tally.add(counts, visited=found.objects, after=b"")


MakeWork = Callable[[BulkTools, BulkRecord], BulkWork]

KINDS: Final[Mapping[str, MakeWork]] = {
    ARCHIVE: Archiving,
    COPY_BUCKET: Copying,
    COPY_OBJECTS: Copying,
    DELETE_OBJECTS: Deleting,
    EVICT_OBJECTS: Evicting,
    EVICTION: MakingRoom,
    MOVE_BUCKET: Renaming,
    PREFETCH: Prefetching,
    PROMOTE: Promoting,
}
"""What the job worker can do; every kind that a board accepts is here."""
