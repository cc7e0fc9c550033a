"""Objects of remote buckets: read through what is here, written through to their source.

What is here is a copy. A write is acknowledged when its source has it, and only then takes the place
of the copy; if the copy cannot be kept, it goes. Nothing here knows which provider there is.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from aisle.backends.provider import ALWAYS, BackendProvider, RemoteObject, WriteCondition
from aisle.errors import AisleError, NotFound, ObjectNotFound, Unsupported
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Attributes, Condition, Inline, Record
from aisle.rules.remote_metadata import attributes_of, is_same, user_metadata
from aisle.storage.engine import Draft
from aisle.target.cold import ColdReads, ProviderOf
from aisle.target.objects import ByteSource, Incoming, TargetObjects


class RemoteObjects:
    """The objects of buckets that have a remote one behind them."""

    def __init__(self, objects: TargetObjects, provider_of: ProviderOf) -> None:
        self._objects = objects
        self.engine = objects.engine
        self._provider_of = provider_of
        self.cold = ColdReads(objects.engine, provider_of)

    def provider(self, bucket: BucketInfo) -> BackendProvider:
        """The provider of a bucket. Raises Unsupported."""
        return self._provider_of(bucket)

    async def head(self, bucket: BucketInfo, key: bytes) -> RemoteObject:
        """What the source tells about an object now. Raises ObjectNotFound and what a provider raises."""
        try:
            return await self._provider_of(bucket).head(_remote_name(bucket), key.decode())
        except ObjectNotFound as error:
            raise ObjectNotFound(display(bucket.bucket, key)) from error

    async def is_current(self, bucket: BucketInfo, key: bytes, record: Record) -> bool:
        """Whether what is here is what the source has now.

        What the source has no more is removed here if the bucket is to be synchronized. Raises
        ObjectNotFound if it is not there any more, and what a provider raises.
        """
        try:
            about = await self.head(bucket, key)
        except ObjectNotFound:
            if bucket.properties.versioning.synchronize:
                await self._drop(bucket, key)
            raise
        return is_same(record.attributes, record.size, about)

    def record_of(self, bucket: BucketInfo, about: RemoteObject) -> Record:
        """What would be kept of an object that is not here, for telling about it."""
        remote = bucket.remote
        assert remote is not None
        attributes = attributes_of(about, remote.provider, {})
        return Record(about.size, about.modified_ns, attributes, b"", 0, Inline(0, b""))

    async def put(self, bucket: BucketInfo, key: bytes, source: ByteSource, incoming: Incoming) -> Record:
        """Write an object to its source and keep it here.

        Raises as `TargetObjects.put` does, what a provider raises, and Unsupported where it cannot
        write, or not on conditions.
        """
        only_if = await self.condition(bucket, key, incoming.condition)
        unconditional = incoming._replace(condition=None)
        async with self.replacing(bucket, key) as sending:

            async def through(draft: Draft, attributes: Attributes) -> tuple[Attributes, int]:
                return await sending.send(draft.content(), draft.size, attributes, only_if=only_if)

            record = await self._objects.put(bucket, key, source, unconditional, through=through)
            sending.is_kept = True
        return record

    @asynccontextmanager
    async def replacing(self, bucket: BucketInfo, key: bytes) -> AsyncGenerator["Sending"]:
        """A write to the source of a bucket; set `is_kept` once the same is kept here.

        If it is not, what is kept here of an older version goes. Raises Unsupported for what is read-only.
        """
        sending = Sending(bucket, key, self.writable(bucket), lambda: self.cold.forget(bucket, key))
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
        """Remove an object at its source and here; harmless when there is none.

        Raises what a provider raises, Unsupported where it cannot write.
        """
        await self.writable(bucket).delete(_remote_name(bucket), key.decode())
        await self._drop(bucket, key)

    async def remove_all(self, bucket: BucketInfo, keys: Sequence[bytes]) -> list[AisleError | None]:
        """Remove objects: for each, None or why it may still be there."""
        outcomes: list[AisleError | None] = []
        for key in keys:
            try:
                await self.remove(bucket, key)
                outcomes.append(None)
            except AisleError as error:
                outcomes.append(error)
        return outcomes

    async def evict(self, bucket: BucketInfo, key: bytes) -> bool:
        """Drop what is kept of an object here; whether anything was."""
        return await self._drop(bucket, key)

    async def _drop(self, bucket: BucketInfo, key: bytes) -> bool:
        self.cold.forget(bucket, key)
        try:
            return await self.engine.remove(ObjectName(bucket.number, key), lasts=True)
        except NotFound:
            return False


class Sending:
    """One write to the source of a bucket."""

    def __init__(
        self, bucket: BucketInfo, key: bytes, provider: BackendProvider, forget: Callable[[], None]
    ) -> None:
        """`forget` is called once the source has it: what is on its way in is out of date."""
        self.is_sent = False
        """Whether the source may have it by now."""
        self.is_kept = False
        """Whether it is kept here, too; for its caller to say."""
        self._bucket = bucket
        self._key = key
        self._provider = provider
        self._forget = forget

    async def send(
        self,
        content: AsyncIterator[bytes],
        size: int,
        attributes: Attributes,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> tuple[Attributes, int]:
        """Write the object to its source: what is kept with it here then, and its time, 0 for now.

        Raises what a provider and `content` raise.
        """
        digests = {kind: value for kind, value in attributes.digests.items() if value and "-" not in value}
        if attributes.checksum_type:
            digests[attributes.checksum_type] = attributes.checksum_value
        about = RemoteObject(
            self._key.decode(),
            size,
            digests=digests,
            custom=user_metadata(attributes),
            content_type=attributes.content_type,
        )
        self.is_sent = True
        written = await self._provider.put(
            _remote_name(self._bucket), about.key, content, about, only_if=only_if
        )
        self._forget()
        return merged(self._bucket, attributes, written), written.modified_ns


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


def _remote_name(bucket: BucketInfo) -> str:
    remote = bucket.remote
    assert remote is not None
    return remote.name
