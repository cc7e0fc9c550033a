"""The kinds of bulk jobs, and how the work of each is done."""

from collections.abc import Callable, Mapping
from contextlib import aclosing
from typing import Final

from aisle.errors import ObjectNotFound
from aisle.gateway.renaming import rename_bucket
from aisle.jobs.archiving import Archiving
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.jobs.bulk_work import (
    BulkTools,
    BulkWork,
    is_chosen,
    prefix_of,
    relay_of,
    source_bucket,
    work_through,
)
from aisle.jobs.copying import Copying
from aisle.jobs.evicting import Evicting
from aisle.jobs.making_room import MakingRoom
from aisle.jobs.prefetching import Prefetching
from aisle.jobs.promoting import Promoting
from aisle.jobs.remote_names import RemoteNames
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import (
    ARCHIVE,
    BLOB_DOWNLOAD,
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
from aisle.target.copying import Place
from aisle.target.objects import TargetObjects


class Deleting:
    """Deletes objects."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Delete what is left."""
        tools, record = self._tools, self._record
        bucket = source_bucket(tools, record)
        if bucket.remote is not None:
            await self._delete_elsewhere(bucket, tally)
            return
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

    async def _delete_elsewhere(self, bucket: BucketInfo, tally: BulkTally) -> None:
        """The same of a remote bucket: at the source, and here."""
        tools, record = self._tools, self._record
        relay, remote = relay_of(tools), bucket.remote
        assert remote is not None
        names = RemoteNames(relay.remote.provider(bucket), remote.name)

        async def delete(key: bytes) -> int | None:
            size = await relay.remove(Place(bucket, key))
            listed = names.told.get(key)
            return listed.size if listed else size

        if is_chosen(record):
            await work_through(tools, record, tally, delete)
            return
        async with aclosing(names.batches(prefix_of(record), after=tally.after)) as batches:
            await work_through(tools, record, tally, delete, batches=batches)


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
    BLOB_DOWNLOAD: Prefetching,
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
