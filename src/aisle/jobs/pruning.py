"""Removing from a copy of a bucket what the bucket itself has not.

Names of both are walked through side by side. A name that the source does not list is removed only when the
source, asked for just that object, says that there is none: a listing that is short, or in another order,
removes nothing. Nor does a source that is gone by then: the job ends.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from aisle.errors import AisleError, BucketNotFound, ObjectNotFound
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.jobs.bulk_work import BATCH_OBJECTS, Batch, together
from aisle.jobs.remote_names import RemoteNames
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName
from aisle.model.unwritten import is_unwritten
from aisle.target.copying import Place
from aisle.target.relaying import Relay

_TOGETHER: Final = 16

Confirm = Callable[[], Awaitable[None]]
"""Finds out whether a source is still there. Raises BucketNotFound, and what a provider raises."""


class Pruning:
    """Makes a copy of a bucket lose what the bucket has lost."""

    def __init__(
        self, relay: Relay, source: BucketInfo, copy: BucketInfo, *, prefix: str, confirm: Confirm
    ) -> None:
        self._confirm = confirm
        self._relay = relay
        self._source = source
        self._copy = copy
        self._prefix = prefix
        self._listed: set[bytes] = set()
        """Names that the source lists, about as far as the copy has been walked through."""
        self._reached: bytes | None = b""
        """The last of them; None when the source has been listed to its end."""

    async def run(self, tally: BulkTally) -> None:
        """Remove what is left; failures of single objects are counted.

        Raises BucketNotFound, and what a provider raises when a bucket cannot be listed or confirmed.
        """
        source = self._source.remote
        if source is None:
            async with aclosing(self._names(self._copy)) as batches:
                await self._walk(batches, None, tally)
            return
        listing = RemoteNames(self._relay.remote.provider(self._source), source.name)
        async with (
            aclosing(self._names(self._copy)) as batches,
            aclosing(listing.batches(self._prefix)) as listed,
        ):
            await self._walk(batches, listed, tally)

    async def _walk(
        self, batches: AsyncGenerator[Batch], listed: AsyncGenerator[Batch] | None, tally: BulkTally
    ) -> None:
        async for batch in batches:
            if listed is not None:
                await self._follow(listed, batch.after)
            suspects = [key for key in batch.keys if key not in self._listed]
            await self._remove(suspects, tally)
            self._listed = {key for key in self._listed if key > batch.after}

    async def _follow(self, listed: AsyncGenerator[Batch], last: bytes) -> None:
        """Read on in the source's listing, as far as the names of the copy reach."""
        while self._reached is not None and self._reached < last:
            batch = await anext(listed, None)
            if batch is None:
                self._reached = None
                return
            self._listed.update(batch.keys)
            self._reached = max(self._reached, batch.after)

    async def _names(self, bucket: BucketInfo) -> AsyncGenerator[Batch]:
        """All names of a bucket below the prefix, in byte order."""
        if bucket.remote is not None:
            listing = RemoteNames(self._relay.remote.provider(bucket), bucket.remote.name)
            async with aclosing(listing.batches(self._prefix)) as batches:
                async for batch in batches:
                    yield batch
            return
        after = b""
        while True:
            page = self._relay.remote.engine.scan(
                bucket.number, prefix=self._prefix.encode(), after=after, limit=BATCH_OBJECTS
            )
            if page.entries:
                after = page.entries[-1].key
                yield Batch([entry.key for entry in page.entries], after)
            if not page.more:
                return
            await asyncio.sleep(0)

    async def _remove(self, suspects: Sequence[bytes], tally: BulkTally) -> None:
        counts = BatchCounts()
        gone: list[bytes] = []

        async def ask(key: bytes) -> None:
            if await self._is_gone(key):
                gone.append(key)

        async def remove(key: bytes) -> None:
            if await self._relay.remove(Place(self._copy, key)) is not None:
                tally.removed += 1

        await _each(suspects, ask, counts)
        if gone:
            # A source that has gone itself has no objects either: that is no reason to remove their copies.
            await self._confirm()
            await _each(gone, remove, counts)
        tally.add(counts, visited=0, after=tally.after)

    async def _is_gone(self, key: bytes) -> bool:
        """Whether the source says that it has no such object. Raises what a provider raises."""
        held = self._relay.remote.engine.look_up(ObjectName(self._source.number, key))
        if self._source.remote is None or (held is not None and is_unwritten(held.record.attributes)):
            return held is None
        try:
            await self._relay.remote.head(self._source, key)
        except ObjectNotFound:
            return True
        return False


async def _each(names: Sequence[bytes], act: Callable[[bytes], Awaitable[None]], counts: BatchCounts) -> None:
    """Act on names, some at a time; what fails is counted. Raises BucketNotFound."""
    keys = iter(names)

    async def take() -> None:
        for key in keys:
            try:
                await act(key)
            except BucketNotFound:
                raise
            except AisleError as error:
                counts.failed(error)

    await together([take() for _ in range(min(_TOGETHER, len(names)))])
