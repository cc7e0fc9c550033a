"""Objects of remote buckets: read through what is here, written through to their source.

What is here is a copy. A write is acknowledged when its source has it, and only then takes the place
of the copy; if the copy cannot be kept, it goes. Where a bucket delays its writes it is the other way round:
what is here is acknowledged, and an entry in the bucket's queue (`delayed_queue.py`) brings it to its source.
Nothing here knows which provider there is.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import msgspec

from aisle.backends.provider import ALWAYS, BackendProvider, RemoteObject, WriteCondition
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ConditionFailed,
    NotFound,
    NotYetWritten,
    ObjectNotFound,
    OnlyHere,
    TooBusy,
    Unsupported,
)
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import ABSENT, ANY, Attributes, Condition, Inline, Record
from aisle.model.unwritten import is_unwritten, marked
from aisle.rules.eviction import is_only_here
from aisle.rules.remote_metadata import attributes_of, carried, is_same, known_digests, user_metadata
from aisle.storage.engine import Draft
from aisle.target.cold import ColdReads, ProviderOf
from aisle.target.delayed_queue import DelayedQueue
from aisle.target.delayed_view import DelayedViews
from aisle.target.objects import ByteSource, Incoming, TargetObjects

_ATTEMPTS_MAX: Final = 20
_TOGETHER: Final = 16
"""How many objects are removed at once for one request."""

Commit = Callable[[Attributes], Awaitable[Record]]
"""Makes something the object here, with these attributes."""


class RemoteObjects:
    """The objects of buckets that have a remote one behind them."""

    def __init__(
        self, objects: TargetObjects, provider_of: ProviderOf, *, queue: DelayedQueue | None = None
    ) -> None:
        """Without a `queue` of its own it delays no writes of a bucket in which none has been delayed yet."""
        self._objects = objects
        self.engine = objects.engine
        self._queue = queue or DelayedQueue(objects.engine)
        self._provider_of = DelayedViews(objects.engine, provider_of).of
        self.cold = ColdReads(objects.engine, self._provider_of)

    def provider(self, bucket: BucketInfo) -> BackendProvider:
        """The provider of a bucket. Raises Unsupported."""
        return self._provider_of(bucket)

    async def head(self, bucket: BucketInfo, key: bytes) -> RemoteObject:
        """What the source tells about an object now. Raises ObjectNotFound and what a provider raises."""
        try:
            return await self._provider_of(bucket).head(remote_name(bucket), key.decode())
        except ObjectNotFound as error:
            raise ObjectNotFound(display(bucket.bucket, key)) from error

    async def is_current(self, bucket: BucketInfo, key: bytes, record: Record) -> bool:
        """Whether what is here is what the source has now.

        What the source has no more is removed here if the bucket is to be synchronized. Raises
        ObjectNotFound if it is not there any more, and what a provider raises.
        """
        if is_unwritten(record.attributes):
            return True  # it is newer
        try:
            about = await self.head(bucket, key)
        except ObjectNotFound:
            if is_only_here(bucket, record.attributes):
                return True
            if bucket.properties.versioning.synchronize:
                await self._drop(bucket, key, copies_only=True)
            raise
        return is_same(record.attributes, record.size, about)

    def record_of(self, bucket: BucketInfo, about: RemoteObject) -> Record:
        """What would be kept of an object that is not here, for telling about it."""
        remote = bucket.remote
        assert remote is not None
        attributes = attributes_of(about, remote.provider, {})
        return Record(about.size, about.modified_ns, attributes, b"", 0, Inline(0, b""))

    async def put(self, bucket: BucketInfo, key: bytes, source: ByteSource, incoming: Incoming) -> Record:
        """Write an object to its source and keep it here, or the other way round.

        Raises as `TargetObjects.put` does, what a provider raises, Unsupported where it cannot write, or
        not on conditions, and TooBusy for one on a condition while an earlier write is delayed.
        """
        if await self.delays(bucket, key, incoming.condition):
            return await self._put_later(bucket, key, source, incoming)
        only_if = await self.condition(bucket, key, incoming.condition)
        unconditional = incoming._replace(condition=None)
        async with self.replacing(bucket, key) as sending:

            async def through(draft: Draft, attributes: Attributes) -> tuple[Attributes, int, Condition]:
                return await sending.send(draft.content(), draft.size, attributes, only_if=only_if)

            try:
                record = await self._objects.put(bucket, key, source, unconditional, through=through)
                sending.is_kept = True
            except ConditionFailed:
                record = sending.written()
        return record

    async def delays(
        self, bucket: BucketInfo, key: bytes, condition: Callable[[Record | None], Condition] | None
    ) -> bool:
        """Whether a write of an object is to be delayed, once those before it allow to say so.

        Only the source can say whether a condition holds: such a write never is. Raises TooBusy, and
        Unsupported for what is read-only.
        """
        self.writable(bucket)
        if not self._queue.takes(bucket, key):
            return False
        if condition is None:
            return True
        await self._queue.written(bucket, key)
        return False

    async def _put_later(
        self, bucket: BucketInfo, key: bytes, source: ByteSource, incoming: Incoming
    ) -> Record:
        noted = bucket

        async def through(draft: Draft, attributes: Attributes) -> tuple[Attributes, int, Condition]:
            nonlocal noted
            noted = await self._queue.note_write(bucket, key, draft.generation)
            return _delayed(attributes), 0, ANY

        record = await self._objects.put(bucket, key, source, incoming, through=through)
        self.cold.forget(bucket, key)
        await self._queue.settle(noted, key, record.generation)
        return record

    async def commit_later(
        self, bucket: BucketInfo, key: bytes, attributes: Attributes, commit: Commit
    ) -> Record:
        """Make something the object here, and have it written to its source later.

        Raises what `commit` raises, and OutOfSpace, Unavailable.
        """
        noted = await self._queue.note_write(bucket, key, b"")
        record = await commit(_delayed(attributes))
        self.cold.forget(bucket, key)
        await self._queue.settle(noted, key, record.generation)
        return record

    def unless_changed(self, bucket: BucketInfo, key: bytes) -> Condition:
        """The condition that what is here now is still here. Raises TooBusy for a write that is delayed."""
        if self._queue.find(bucket, key) is not None:
            raise TooBusy(
                f"{display(bucket.bucket, key)}: an earlier write is not at its source yet: try again"
            )
        since, held = self.engine.place(), self.engine.look_up(ObjectName(bucket.number, key))
        condition = Condition(generation=held.record.generation) if held else ABSENT
        return condition._replace(since=since)

    @asynccontextmanager
    async def replacing(self, bucket: BucketInfo, key: bytes) -> AsyncGenerator["Sending"]:
        """A write to the source of a bucket; set `is_kept` once the same is kept here.

        If it is not, what is kept here of an older version goes. Raises Unsupported for what is read-only.
        """
        sending = Sending(self, bucket, key)
        try:
            yield sending
        finally:
            if sending.is_sent and not sending.is_kept:
                # It may have been written there: an older copy must not outlive that.
                await self._drop(bucket, key)

    def writable(self, bucket: BucketInfo) -> BackendProvider:
        """The provider of a bucket that can be written to. Raises Unsupported."""
        provider = self._provider_of(bucket)
        if not provider.capabilities.writes:
            raise Unsupported(f"{bucket.bucket.cname} is read-only")
        return provider

    async def condition(
        self, bucket: BucketInfo, key: bytes, wanted: Callable[[Record | None], Condition] | None
    ) -> WriteCondition:
        """What the source must find for a write on a condition, which is asked about what it has now.

        Raises what the condition raises, and Unsupported where the provider has none.
        """
        if wanted is None:
            return ALWAYS
        if not self._provider_of(bucket).capabilities.conditional_writes:
            raise Unsupported(f"{bucket.bucket.cname}: its provider cannot write on conditions")
        try:
            about = await self.head(bucket, key)
        except ObjectNotFound:
            wanted(None)
            return WriteCondition(is_absent=True)
        wanted(self.record_of(bucket, about))
        return WriteCondition(etag=about.etag)

    async def remove(self, bucket: BucketInfo, key: bytes) -> None:
        """Remove an object at its source and here, or the other way round; harmless when there is none.

        Raises what a provider raises, Unsupported where it cannot write, TooBusy.
        """
        provider = self.writable(bucket)
        if self._queue.takes(bucket, key):
            await self._remove_later(bucket, key)
            return
        await provider.delete(remote_name(bucket), key.decode())
        await self._drop(bucket, key)

    async def _remove_later(self, bucket: BucketInfo, key: bytes) -> None:
        name = ObjectName(bucket.number, key)
        for _ in range(_ATTEMPTS_MAX):
            held = self.engine.look_up(name)
            generation = held.record.generation if held else b""
            noted = await self._queue.note_removal(bucket, key, generation)
            self.cold.forget(bucket, key)
            try:
                condition = Condition(generation=generation) if held else ABSENT
                await self.engine.remove(name, condition=condition, lasts=True)
            except ConditionFailed:
                continue  # written meanwhile: that is what is removed then
            except NotFound as error:
                raise BucketNotFound(bucket.bucket.cname) from error
            await self._queue.settle_removal(noted, key, generation)
            return
        raise TooBusy(f"{display(bucket.bucket, key)} is being written by others: try again")

    async def remove_all(self, bucket: BucketInfo, keys: Sequence[bytes]) -> list[AisleError | None]:
        """Remove objects: for each, None or why it may still be there."""
        outcomes: list[AisleError | None] = [None] * len(keys)
        numbers = iter(range(len(keys)))

        async def remove() -> None:
            for number in numbers:
                try:
                    await self.remove(bucket, keys[number])
                except AisleError as error:
                    outcomes[number] = error

        await asyncio.gather(*(remove() for _ in range(min(_TOGETHER, len(keys)))))
        return outcomes

    async def evict(self, bucket: BucketInfo, key: bytes, *, force: bool = False) -> bool:
        """Drop what is kept of an object here; whether anything was.

        With `force` what its source does not have is given up. Raises NotYetWritten and OnlyHere without.
        """
        noted = self._queue.find(bucket, key) if force else None
        is_dropped = await self._drop(bucket, key, force=force, copies_only=not force)
        if noted is not None:
            return await self._queue.drop(bucket, key, noted) or is_dropped
        held = self.engine.look_up(ObjectName(bucket.number, key))
        if held is not None and is_unwritten(held.record.attributes):
            raise NotYetWritten(display(bucket.bucket, key))
        if held is not None and not is_dropped and is_only_here(bucket, held.record.attributes):
            raise OnlyHere(display(bucket.bucket, key))
        return is_dropped

    async def _drop(
        self, bucket: BucketInfo, key: bytes, *, force: bool = False, copies_only: bool = False
    ) -> bool:
        """Drop what is kept of an object here, unless its source has it not; whether anything was.

        With `copies_only` what did not come from there stays.
        """
        self.cold.forget(bucket, key)
        name = ObjectName(bucket.number, key)
        for _ in range(_ATTEMPTS_MAX):
            held = self.engine.look_up(name)
            if held is not None and is_unwritten(held.record.attributes) and not force:
                return False
            if held is not None and copies_only and is_only_here(bucket, held.record.attributes):
                return False
            # Whatever was not looked at may be newer than the source.
            condition = Condition(generation=held.record.generation) if held else ABSENT
            try:
                return await self.engine.remove(name, condition=condition, lasts=True)
            except ConditionFailed:
                continue
            except NotFound:
                return False
        return False


class Sending:
    """One write to the source of a bucket."""

    def __init__(self, remote: RemoteObjects, bucket: BucketInfo, key: bytes) -> None:
        self.is_sent = False
        """Whether the source may have it by now."""
        self.is_kept = False
        """Whether it is kept here, too; for its caller to say."""
        self._remote = remote
        self._bucket = bucket
        self._key = key
        self._provider = remote.writable(bucket)
        self._written: Record | None = None

    async def send(
        self,
        content: AsyncIterator[bytes],
        size: int,
        attributes: Attributes,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> tuple[Attributes, int, Condition]:
        """Write the object to its source: with what it is kept here then, its time, on which condition.

        A time of 0 is now. Of writes and removals that overlap nobody knows which one the source took last:
        what has come here since this one was sent has to stay or go, but must not be replaced. Raises what
        a provider and `content` raise, and TooBusy where an earlier write has not reached the source.
        """
        condition = self._remote.unless_changed(self._bucket, self._key)
        about = described(self._key, size, attributes)
        self.is_sent = True
        written = await self._provider.put(
            remote_name(self._bucket), about.key, content, about, only_if=only_if
        )
        self._remote.cold.forget(self._bucket, self._key)
        kept = merged(self._bucket, attributes, written)
        self._written = Record(size, written.modified_ns, kept, b"", 0, Inline(0, b""))
        return kept, written.modified_ns, condition

    def written(self) -> Record:
        """What the source has taken, and is not kept here. Raises ConditionFailed if it has taken nothing."""
        if self._written is None:
            raise ConditionFailed("the object is not in the required state")
        return self._written


def described(key: bytes, size: int, attributes: Attributes) -> RemoteObject:
    """What a source is told about an object that it gets."""
    digests = {kind: value for kind, value in known_digests(attributes).items() if value and "-" not in value}
    return RemoteObject(
        key.decode(),
        size,
        digests=digests,
        custom=user_metadata(attributes),
        content_type=attributes.content_type,
        fields=carried(attributes.fields),
    )


def _delayed(attributes: Attributes) -> Attributes:
    """The attributes of an object that its source does not have yet, which gives it a version."""
    return marked(msgspec.structs.replace(attributes, version=""))


def merged(bucket: BucketInfo, own: Attributes, written: RemoteObject) -> Attributes:
    """The attributes of an object that its source has, too, as that tells about it."""
    remote = bucket.remote
    assert remote is not None
    told = attributes_of(written, remote.provider, {})
    return msgspec.structs.replace(
        own,
        custom={**own.custom, **told.custom},
        digests={**told.digests, **own.digests},
        version=told.version,
        etag=told.etag,
    )


def remote_name(bucket: BucketInfo) -> str:
    """What the account calls the remote bucket that stands behind one."""
    remote = bucket.remote
    assert remote is not None
    return remote.name
