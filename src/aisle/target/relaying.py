"""Copies between any two buckets, wherever their bytes are.

What is here is copied from here. What is not is read straight from its source into the copy, compared with
what the source names as digest, and not kept under its own name. A copy into a remote bucket reaches its
source before it counts, as any write does.
"""

from collections.abc import AsyncIterator

from aisle.backends.provider import RemoteRead, close_chunks
from aisle.errors import ChecksumMismatch, CorruptObject, ObjectNotFound, SourceFailed, SourceUnreachable
from aisle.model.record import Record
from aisle.model.unwritten import is_unwritten
from aisle.rules.remote_metadata import cheapest_digest, copied_custom, user_metadata
from aisle.storage.hashing import DIGEST_KINDS
from aisle.target.copying import AS_IT_IS, Copier, Place
from aisle.target.objects import Incoming, TargetObjects
from aisle.target.remote_copying import RemoteCopier
from aisle.target.remote_objects import RemoteObjects


class RemoteSource:
    """An opened remote object as the source of something that is written. `close` it at the end."""

    def __init__(self, opened: RemoteRead, *, name: str) -> None:
        """`name` is what errors call it."""
        self.about = opened.about
        self.length: int | None = opened.about.size
        self.received = 0
        self._chunks: AsyncIterator[bytes] = opened.chunks
        self._name = name

    def buffered(self) -> bytes | None:
        """Nothing is here before it is read."""
        return None

    async def read(self) -> bytes:
        """The next bytes, `b""` at the end. Raises what a provider raises.

        Raises SourceUnreachable for more or fewer bytes than the source has announced.
        """
        chunk = b""
        async for chunk in self._chunks:
            if chunk:
                break
        self.received += len(chunk)
        if self.received > self.about.size or (not chunk and self.received < self.about.size):
            raise SourceUnreachable(
                f"{self._name}: its source sent {self.received} bytes, announced were {self.about.size}"
            )
        return chunk

    async def close(self) -> None:
        """Give the connection back."""
        await close_chunks(self._chunks)


class Relay:
    """Copies objects from place to place, be they here or elsewhere."""

    def __init__(self, remote: RemoteObjects) -> None:
        self._engine = remote.engine
        self._objects = TargetObjects(remote.engine)
        self._copier = Copier(remote.engine)
        self._outward = RemoteCopier(remote)
        self.remote = remote
        """The objects of remote buckets at either end."""

    async def copy(self, source: Place, to: Place, *, latest: bool = False) -> Record:
        """Make the object at `source` also that at `to`; the record of the copy.

        With `latest` it is what the source of a remote bucket has now, whatever is here of it. Raises
        ObjectNotFound, BucketNotFound, CorruptObject, OutOfSpace, Unavailable, Unsupported for a bucket
        that cannot be written to, and what a provider raises. Nothing is changed here then.
        """
        if source.bucket.remote is None:
            return await self._copy_kept(source, to)
        if await self._is_here(source, latest=latest):
            try:
                return await self._copy_kept(source, to)
            except (ObjectNotFound, CorruptObject):
                pass  # evicted meanwhile, or damaged: its source has it
        return await self._copy_cold(source, to)

    async def remove(self, place: Place) -> int | None:
        """Remove an object, at its source too; its size, or None if there was none.

        At a source nothing tells whether there was one: the size of what is not here is 0. Raises what a
        provider raises, Unavailable.
        """
        held = self._engine.look_up(place.name)
        if place.bucket.remote is not None:
            await self.remote.remove(place.bucket, place.key)
            return held.record.size if held else 0
        if held is None:
            return None
        try:
            await self._objects.remove(place.bucket, place.key)
        except ObjectNotFound:
            return None
        return held.record.size

    async def _is_here(self, source: Place, *, latest: bool) -> bool:
        """Whether what is here is to be copied. Raises ObjectNotFound if the latest version is none."""
        held = self._engine.look_up(source.name)
        if held is None:
            return False
        if is_unwritten(held.record.attributes):
            return True  # newer than what its source has
        if not (latest or source.bucket.properties.versioning.validate_warm_get):
            return True
        return await self.remote.is_current(source.bucket, source.key, held.record)

    async def _copy_kept(self, source: Place, to: Place) -> Record:
        if to.bucket.remote is None:
            return await self._copier.copy(source, to)
        return await self._outward.copy(source, to, AS_IT_IS)

    async def _copy_cold(self, source: Place, to: Place) -> Record:
        behind = source.bucket.remote
        assert behind is not None
        try:
            opened = await self.remote.provider(source.bucket).get(behind.name, source.key.decode())
        except ObjectNotFound as error:
            raise ObjectNotFound(str(source)) from error
        payload = RemoteSource(opened, name=str(source))
        about = opened.about
        kind = cheapest_digest(about.digests)
        incoming = Incoming(content_type=about.content_type, user=user_metadata(about), fields=about.fields)
        incoming = _compared(incoming, kind, about.digests.get(kind, ""))
        try:
            if to.bucket.remote is not None:
                return await self.remote.put(to.bucket, to.key, payload, incoming)
            incoming = incoming._replace(custom=copied_custom(about, behind.provider))
            return await self._objects.put(to.bucket, to.key, payload, incoming)
        except ChecksumMismatch as error:
            raise SourceFailed(f"{source}: {error}") from error
        finally:
            await payload.close()


def _compared(incoming: Incoming, kind: str, value: str) -> Incoming:
    """The same write, whose bytes must have that digest, if it is one that can be computed."""
    if not value or kind not in DIGEST_KINDS:
        return incoming
    return incoming._replace(digests=(kind,), expected=lambda: {kind: value.lower()})
