"""Prefetching: objects of a remote bucket are fetched before anybody asks for them.

What is here already stays, unless the job wants what the source has now. What a source lists is compared
with what is here by the listing alone; only names that were given are asked for one by one.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from aisle.errors import NotRemoteBucket, SourceFailed
from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import BATCH_OBJECTS, Batch, BulkTools, source_bucket, work_through
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import SELECTED_NAMES, SELECTED_PREFIX, SELECTED_TEMPLATE, BulkRecord
from aisle.model.names import ObjectName, display, parse_object_key
from aisle.model.record import Record
from aisle.rules.remote_metadata import Told, is_same
from aisle.target.objects import TargetObjects
from aisle.target.remote_objects import RemoteObjects

_PAGE_OBJECTS: Final = 1_000
"""How many names a source is asked for at once: what S3 gives at most."""


class PrefetchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How objects are prefetched; kept in the `details` of the job's record."""

    latest: bool = False
    """Fetch again what the source has in another version than the one here."""
    is_flat: bool = False
    """Leave out names that have a slash behind the prefix."""


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
        remote = RemoteObjects(TargetObjects(tools.engine), tools.provider_of)
        filling = Filling(remote, bucket, wants_latest=self._settings.latest)

        async def fill(key: bytes) -> int | None:
            try:
                return await filling.fill(key)
            except SourceFailed:
                source_bucket(tools, record)  # nothing can be kept in a bucket that was evicted meanwhile
                raise

        try:
            if record.selection.by in (SELECTED_NAMES, SELECTED_TEMPLATE):
                await work_through(tools, record, tally, fill)
                return
            prefix = record.selection.text if record.selection.by == SELECTED_PREFIX else ""
            delimiter = "/" if self._settings.is_flat else ""
            async with aclosing(filling.listed(prefix, tally, delimiter=delimiter)) as batches:
                await work_through(tools, record, tally, fill, batches=batches)
        finally:
            # Who stops a job does not want the rest of its large objects either.
            await remote.cold.stop()


class Filling:
    """Fetches objects of one bucket."""

    def __init__(self, remote: RemoteObjects, bucket: BucketInfo, *, wants_latest: bool) -> None:
        self._remote = remote
        self._engine = remote.engine
        self._bucket = bucket
        self._wants_latest = wants_latest or bucket.properties.versioning.validate_warm_get
        self._told: dict[bytes, Told] = {}
        """What the source has listed of the present batch."""

    async def listed(self, prefix: str, tally: BulkTally, *, delimiter: str = "") -> AsyncGenerator[Batch]:
        """The names that the source lists behind the job's place. Raises what a provider raises."""
        remote = self._bucket.remote
        assert remote is not None
        provider = self._remote.provider(self._bucket)
        token, after = "", tally.after.decode()
        while True:
            page = await provider.list_objects(
                remote.name,
                prefix=prefix,
                token=token,
                after="" if token else after,
                limit=_PAGE_OBJECTS,
                delimiter=delimiter,
            )
            for start in range(0, len(page.objects), BATCH_OBJECTS):
                told = page.objects[start : start + BATCH_OBJECTS]
                self._told = {about.key.encode(): about for about in told}
                keys = list(self._told)
                yield Batch(keys, keys[-1])
            token = page.token
            if not token:
                return

    async def fill(self, key: bytes) -> int | None:
        """Fetch an object that is not here, or not as its source has it; its size, or None.

        Raises ObjectNotFound, OutOfSpace, and what a provider raises.
        """
        name = ObjectName(self._bucket.number, parse_object_key(key))
        held = self._engine.look_up(name)
        if held is not None and not (self._wants_latest and await self._is_outdated(key, held.record)):
            return None
        fetch = self._remote.cold.begin(self._bucket, key, replaces=held.record if held else None)
        # Others may follow it: being stopped must not look to them as if it had ended.
        record = await asyncio.shield(fetch.ended)
        if record is not None:
            return record.size
        if held is None and fetch.is_wanted and self._engine.look_up(name) is None:
            raise SourceFailed(f"{display(self._bucket.bucket, key)}: it was read and could not be kept")
        return None  # somebody else was faster

    async def _is_outdated(self, key: bytes, record: Record) -> bool:
        """Whether the source has an object in another version. Raises ObjectNotFound if it has none."""
        told = self._told.get(key)
        if told is not None and (told.etag or told.version or told.digests):
            return not is_same(record.attributes, record.size, told)
        return not await self._remote.is_current(self._bucket, key, record)
