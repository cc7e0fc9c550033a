"""Prefetching: objects of a remote bucket are fetched before anybody asks for them.

What is here already stays, unless the job wants what the source has now. What a source lists is compared
with what is here by the listing alone; only names that were given are asked for one by one. Large ones
may be read in parallel ranges; the download of one such object (a "blob") is a job of its own.
"""

import asyncio
from contextlib import aclosing
from typing import Final

import msgspec

from aisle.backends.parallel import CHUNK_BYTES, WORKERS, ParallelReads, Ranges
from aisle.backends.provider import BackendProvider
from aisle.errors import NotRemoteBucket, SourceFailed, Unavailable
from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import (
    LARGE_BYTES,
    WORKERS_DEFAULT,
    WORKERS_MAX,
    BulkTools,
    is_chosen,
    prefix_of,
    source_bucket,
    work_through,
)
from aisle.jobs.remote_names import RemoteNames
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import BulkRecord
from aisle.model.names import ObjectName, parse_object_key
from aisle.model.record import Record
from aisle.rules.remote_metadata import is_same
from aisle.storage.engine import Held
from aisle.target.cold import Fetch, unkept
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects


class PrefetchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How objects are prefetched; kept in the `details` of the job's record."""

    latest: bool = False
    """Fetch again what the source has in another version than the one here."""
    is_flat: bool = False
    """Leave out names that have a slash behind the prefix."""
    blob_bytes: int = 0
    """Objects from this size on are read in parallel ranges; 0 for none."""
    chunk_bytes: int = CHUNK_BYTES
    """Bytes of such a range."""
    blob_workers: int = WORKERS
    """Ranges of one object that are read at a time."""


encode_settings: Final = msgspec.msgpack.Encoder().encode
_decode_settings = msgspec.msgpack.Decoder(PrefetchSettings).decode


class Prefetching:
    """Fetches objects of a remote bucket that are not here."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record
        self._settings = _decode_settings(record.details) if record.details else PrefetchSettings()

    async def run(self, tally: BulkTally) -> None:
        """Fetch what is left.

        Raises NotRemoteBucket where the bucket has nothing behind it any more, and what its provider
        raises when it cannot be listed.
        """
        tools, record = self._tools, self._record
        bucket = source_bucket(tools, record)
        if bucket.remote is None:
            raise NotRemoteBucket(bucket.bucket.cname, action=record.kind)
        names = RemoteNames(tools.provider_of(bucket), bucket.remote.name)
        provider = self._provider(bucket, names)
        remote = RemoteObjects(TargetObjects(tools.engine), lambda _: provider)
        filling = Filling(
            remote,
            bucket,
            names,
            wants_latest=self._settings.latest,
            large_max=max(record.workers, WORKERS_DEFAULT),
        )
        tally.under_way = filling.received

        async def fill(key: bytes) -> int | None:
            try:
                return await filling.fill(key)
            except (SourceFailed, Unavailable):
                source_bucket(tools, record)  # nothing can be kept in a bucket that was evicted meanwhile
                raise

        try:
            if is_chosen(record):
                await work_through(tools, record, tally, fill, workers_default=WORKERS_MAX)
                return
            delimiter = "/" if self._settings.is_flat else ""
            batches = names.batches(prefix_of(record), after=tally.after, delimiter=delimiter)
            async with aclosing(batches):
                await work_through(tools, record, tally, fill, batches=batches, workers_default=WORKERS_MAX)
        finally:
            # Who stops a job does not want the rest of its large objects either.
            await remote.cold.stop()

    def _provider(self, bucket: BucketInfo, names: RemoteNames) -> BackendProvider:
        """The provider of the bucket, as this job reads it."""
        provider, settings = self._tools.provider_of(bucket), self._settings
        if not settings.blob_bytes:
            return provider

        def size_of(key: str) -> int | None:
            listed = names.told.get(key.encode())
            return listed.size if listed else None

        ranges = Ranges(settings.blob_bytes, settings.chunk_bytes, settings.blob_workers)
        return ParallelReads(provider, ranges, size_of=size_of)


class Filling:
    """Fetches objects of one bucket."""

    def __init__(
        self,
        remote: RemoteObjects,
        bucket: BucketInfo,
        names: RemoteNames,
        *,
        wants_latest: bool,
        large_max: int,
    ) -> None:
        """`names` is what the source lists, if it is asked; of large objects `large_max` come at a time."""
        self._remote = remote
        self._engine = remote.engine
        self._bucket = bucket
        self._wants_latest = wants_latest or bucket.properties.versioning.validate_warm_get
        self._names = names
        self._fetches: set[Fetch] = set()
        self._large = asyncio.Semaphore(large_max)

    def received(self) -> int:
        """Bytes that have come of objects which are not whole yet."""
        return sum(fetch.received for fetch in self._fetches)

    async def fill(self, key: bytes) -> int | None:
        """Fetch an object that is not here, or not as its source has it; its size, or None.

        Raises ObjectNotFound, OutOfSpace, Unavailable where it came and was not kept, and what a provider
        raises.
        """
        name = ObjectName(self._bucket.number, parse_object_key(key))
        held = self._engine.look_up(name)
        if held is not None and not (self._wants_latest and await self._is_outdated(key, held.record)):
            return None
        told = self._names.told.get(key)
        if told is not None and told.size < LARGE_BYTES:
            replaces = held.record if held else None
            return self._settled(
                await self._remote.cold.bring(self._bucket, key, replaces=replaces), key, held
            )
        async with self._large:
            return await self._fetch(key, held)

    async def _fetch(self, key: bytes, held: Held | None) -> int | None:
        fetch = self._remote.cold.begin(self._bucket, key, replaces=held.record if held else None)
        self._fetches.add(fetch)
        try:
            # Others may follow it: being stopped must not look to them as if it had ended.
            await asyncio.shield(fetch.ended)
        finally:
            self._fetches.discard(fetch)
        return self._settled(fetch, key, held)

    def _settled(self, fetch: Fetch, key: bytes, held: Held | None) -> int | None:
        """The size of what a fetch has kept here, None if somebody else was faster. Raises Unavailable."""
        record = fetch.ended.result()
        if record is not None:
            return record.size
        present = self._engine.look_up(ObjectName(self._bucket.number, key))
        if present is None or (held is not None and present.record.generation == held.record.generation):
            raise unkept(fetch)
        return None  # somebody else was faster

    async def _is_outdated(self, key: bytes, record: Record) -> bool:
        """Whether the source has an object in another version. Raises ObjectNotFound if it has none."""
        told = self._names.told.get(key)
        if told is not None and (told.etag or told.version or told.digests):
            return not is_same(record.attributes, record.size, told)
        return not await self._remote.is_current(self._bucket, key, record)
