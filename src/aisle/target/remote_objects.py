"""Objects of remote buckets: read through what is here, written through to their source.

What is here is a copy. A write is acknowledged when its source has it, and only then takes the place
of the copy; if the copy cannot be kept, it goes. Nothing here knows which provider there is.
"""

from collections.abc import Sequence

import msgspec

from aisle.backends.provider import ALWAYS, BackendProvider, RemoteObject, WriteCondition
from aisle.errors import AisleError, NotFound, ObjectNotFound, Unsupported
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Attributes, Inline, Record
from aisle.rules.remote_metadata import attributes_of, is_same
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
        provider, name = self._provider_of(bucket), _remote_name(bucket)
        if not provider.capabilities.writes:
            raise Unsupported(f"{bucket.bucket.cname} is read-only")
        only_if = await self._condition(bucket, key, incoming)
        unconditional = incoming._replace(condition=None)

        is_sent = False

        async def through(draft: Draft, attributes: Attributes) -> tuple[Attributes, int]:
            nonlocal is_sent
            digests = {kind: value for kind, value in attributes.digests.items() if value}
            if attributes.checksum_type:
                digests[attributes.checksum_type] = attributes.checksum_value
            about = RemoteObject(
                key.decode(),
                draft.size,
                digests=digests,
                custom={**incoming.custom, **incoming.user},
                content_type=incoming.content_type,
            )
            is_sent = True
            written = await provider.put(name, about.key, draft.content(), about, only_if=only_if)
            self.cold.forget(bucket, key)
            return self._merged(bucket, attributes, written), written.modified_ns

        is_kept = False
        try:
            record = await self._objects.put(bucket, key, source, unconditional, through=through)
            is_kept = True
        finally:
            if is_sent and not is_kept:
                # It may have been written there: an older copy must not outlive that.
                await self._drop(bucket, key)
        return record

    async def _condition(self, bucket: BucketInfo, key: bytes, incoming: Incoming) -> WriteCondition:
        """What the source must find for a conditional write. Raises ConditionFailed, Unsupported."""
        if incoming.condition is None:
            return ALWAYS
        if not self._provider_of(bucket).capabilities.conditional_writes:
            raise Unsupported(f"{bucket.bucket.cname}: its provider cannot write on conditions")
        try:
            about = await self.head(bucket, key)
        except ObjectNotFound:
            incoming.condition(None)
            return WriteCondition(is_absent=True)
        incoming.condition(self.record_of(bucket, about))
        return WriteCondition(etag=about.etag)

    def _merged(self, bucket: BucketInfo, own: Attributes, written: RemoteObject) -> Attributes:
        """The attributes of an object that was written through."""
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

    async def remove(self, bucket: BucketInfo, key: bytes) -> None:
        """Remove an object at its source and here; harmless when there is none.

        Raises what a provider raises, Unsupported where it cannot write.
        """
        provider = self._provider_of(bucket)
        if not provider.capabilities.writes:
            raise Unsupported(f"{bucket.bucket.cname} is read-only")
        await provider.delete(_remote_name(bucket), key.decode())
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
            return await self.engine.remove(ObjectName(bucket.number, key))
        except NotFound:
            return False


def _remote_name(bucket: BucketInfo) -> str:
    remote = bucket.remote
    assert remote is not None
    return remote.name
