"""The objects of a target: opened, put, removed, amended.

The rules that hold for every dialect live here: which checksum an object carries, what a writer
announced is checked before anything becomes visible, versions are counted. Nothing here knows HTTP.
"""

import asyncio
from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotFound,
    ChecksumMismatch,
    ConditionFailed,
    NotFound,
    ObjectNotFound,
    TooBusy,
)
from aisle.model.bucket import CHECKSUM_TYPES, BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import ANY, COUNTED, CUSTOM_BYTES_MAX, Attributes, Condition, Record
from aisle.storage.engine import Draft, EngineLifecycle, Held, SmallWriter, StorageEngine
from aisle.storage.hashing import hex_digest
from aisle.target.filling import fill, undisturbed

_ATTEMPTS_MAX = 20
_NOTHING: Mapping[str, str] = {}


class TargetEngine(StorageEngine, SmallWriter, EngineLifecycle, Protocol):
    """What a target needs of its engine."""


class ByteSource(Protocol):
    """Where a payload comes from; a request's body is one."""

    length: int | None

    async def read(self) -> bytes:
        """The next bytes, or `b""` at the end; raises when the rest will not come."""

    def buffered(self) -> bytes | None:
        """All bytes if they are here already, else None."""


class Incoming(NamedTuple):
    """What a writer says about a payload beside its bytes."""

    content_type: str = ""
    custom: Mapping[str, str] = {}
    checksum_type: str = ""
    checksum_value: str = ""
    condition: Callable[[Record | None], Condition] | None = None
    """What must hold of the object that is there, decided from its record; may raise."""
    user: Mapping[str, str] = _NOTHING
    """S3 user metadata; see Attributes."""
    fields: Mapping[str, str] = _NOTHING
    """Representation headers; see Attributes."""
    digests: Sequence[str] = ()
    """Digests to compute and to keep with the object, beside the bucket's own checksum."""
    expected: Callable[[], Mapping[str, str]] | None = None
    """What digests of those kinds the payload must have; asked once all of it is here. May raise."""


Through = Callable[[Draft, Attributes], Awaitable[tuple[Attributes, int, Condition]]]
"""Writes a finished draft elsewhere too; gives its attributes and the time of the write, 0 for now."""


class TargetObjects:
    """The objects on this target."""

    def __init__(self, engine: TargetEngine) -> None:
        self._engine = engine
        self.engine = engine
        """For the other services over the same objects."""
        # The hot path calls the engine without a frame of ours in between.
        self.open_stored = engine.open

    def look_up(self, bucket: BucketInfo, key: bytes) -> Held:
        """What is held under a name, without its payload. Raises ObjectNotFound."""
        held = self._engine.look_up(ObjectName(bucket.number, key))
        if held is None:
            raise ObjectNotFound(display(bucket.bucket, key))
        return held

    def mountpath(self, bucket: BucketInfo, key: bytes) -> str:
        """The mountpath that holds an object; empty if none does, or none is known."""
        held = self._engine.look_up(ObjectName(bucket.number, key))
        return held.mountpath if held else ""

    def accessed_ns(self, bucket: BucketInfo, key: bytes, record: Record) -> int:
        """When the object was last read or written, Unix nanoseconds."""
        return max(self._engine.accessed_ns(ObjectName(bucket.number, key)), record.written_ns)

    async def put(
        self,
        bucket: BucketInfo,
        key: bytes,
        source: ByteSource,
        incoming: Incoming,
        *,
        through: Through | None = None,
    ) -> Record:
        """Write an object: all of `source`, or nothing.

        `through` is called with what would be committed, and says what is committed in the end, and on
        which condition.

        Raises ChecksumMismatch, BadRequest for a checksum of an unknown type or too much metadata,
        BucketNotFound if the bucket is gone by now, OutOfSpace, Unavailable, ConditionFailed, and
        what the source raises, and `through`.
        """
        name = ObjectName(bucket.number, key)
        kinds = _digests(bucket, incoming)
        if incoming.custom:
            check_custom(incoming.custom)
        draft = self._engine.draft(name, size=source.length, digests=kinds, sync=bucket.payload_sync)
        handed_over = False
        try:
            await fill(draft, source)
            digests = {kind: draft.digest(kind) for kind in kinds}
            attributes, condition = self._checked(bucket, name, incoming, digests)
            written_ns = 0
            if through is not None:
                attributes, written_ns, condition = await through(draft, attributes)
            # From here on the draft is the engine's: only it knows whether a failed commit may be
            # visible after all, and its payload must stay.
            handed_over = True
            return await undisturbed(
                self._engine.commit(name, draft, attributes, condition=condition, written_ns=written_ns)
            )
        except NotFound as error:
            raise BucketNotFound(bucket.bucket.cname) from error
        finally:
            if not handed_over:
                draft.abort()

    def put_small(self, bucket: BucketInfo, key: bytes, payload: bytes, incoming: Incoming) -> Future[Record]:
        """`put` for a payload that is here and has at most INLINE_BYTES_MAX bytes: nothing is waited for.

        Raises like `put`, at once or from the future; ask `outcome` for it.
        """
        name = ObjectName(bucket.number, key)
        digests = {kind: hex_digest(kind, payload) for kind in _digests(bucket, incoming)}
        if incoming.custom:
            check_custom(incoming.custom)
        attributes, condition = self._checked(bucket, name, incoming, digests)
        return self._engine.put_small(name, payload, attributes, condition=condition)

    def outcome(self, bucket: BucketInfo, written: Future[Record]) -> Record:
        """What `put_small` wrote, once its future is done. Raises as `put` does."""
        try:
            return written.result()
        except NotFound as error:
            raise BucketNotFound(bucket.bucket.cname) from error

    def _checked(
        self, bucket: BucketInfo, name: ObjectName, incoming: Incoming, digests: Mapping[str, str]
    ) -> tuple[Attributes, Condition]:
        """What a payload with these digests is committed with. Raises ChecksumMismatch, ConditionFailed."""
        kind, announced = incoming.checksum_type, incoming.checksum_value
        if announced and kind in digests and digests[kind] != announced.lower():
            where = display(bucket.bucket, name.key)
            raise ChecksumMismatch(kind, announced=announced, received=digests[kind], name=where)
        if incoming.expected is not None:
            for kind, wanted in incoming.expected().items():
                if digests[kind] != wanted:
                    where = display(bucket.bucket, name.key)
                    raise ChecksumMismatch(kind, announced=wanted, received=digests[kind], name=where)
        condition = ANY
        if incoming.condition:
            held = self._engine.look_up(name)
            condition = incoming.condition(held.record if held else None)
        own = bucket.properties.checksum.type
        attributes = Attributes(
            checksum_type=own if own != "none" else "",
            checksum_value=digests[own] if own != "none" else "",
            content_type=incoming.content_type,
            custom=dict(incoming.custom),
            user=dict(incoming.user),
            digests={kind: digests[kind] for kind in incoming.digests},
            version=COUNTED if bucket.properties.versioning.enabled else "",
            fields=dict(incoming.fields),
        )
        return attributes, condition

    async def remove(self, bucket: BucketInfo, key: bytes) -> None:
        """Remove an object. Raises ObjectNotFound, BucketNotFound, Unavailable."""
        try:
            existed = await self._engine.remove(ObjectName(bucket.number, key))
        except NotFound as error:
            raise BucketNotFound(bucket.bucket.cname) from error
        if not existed:
            raise ObjectNotFound(display(bucket.bucket, key))

    async def remove_if(
        self, bucket: BucketInfo, key: bytes, condition: Callable[[Record], Condition]
    ) -> None:
        """Remove an object that is as `condition` wants it, which raises if it is not.

        Raises ObjectNotFound, BucketNotFound, TooBusy, Unavailable, and what the condition raises.
        """
        for _ in range(_ATTEMPTS_MAX):
            record = self.look_up(bucket, key).record
            wanted = condition(record)
            try:
                existed = await self._engine.remove(ObjectName(bucket.number, key), condition=wanted)
            except ConditionFailed:
                continue  # written again meanwhile: what is there now is to be judged
            except NotFound as error:
                raise BucketNotFound(bucket.bucket.cname) from error
            if not existed:
                raise ObjectNotFound(display(bucket.bucket, key))
            return
        raise TooBusy(f"{display(bucket.bucket, key)} is being written by others: try again")

    async def remove_all(self, bucket: BucketInfo, keys: Sequence[bytes]) -> list[AisleError | None]:
        """Remove objects together, missing ones too: for each, None or why it may still be there."""
        # Submitted at once, they share the committer's transactions.
        pending = [self._engine.remove(ObjectName(bucket.number, key)) for key in keys]
        outcomes: list[AisleError | None] = []
        for removal in await asyncio.gather(*pending, return_exceptions=True):
            if isinstance(removal, NotFound):
                outcomes.append(BucketNotFound(bucket.bucket.cname))
            elif isinstance(removal, AisleError):
                outcomes.append(removal)
            elif isinstance(removal, BaseException):
                raise removal
            else:
                outcomes.append(None)
        return outcomes

    async def amend(
        self, bucket: BucketInfo, key: bytes, custom: Mapping[str, str], *, replace: bool
    ) -> Record:
        """Add custom metadata to an object, or replace all of it; the payload stays as it is.

        Raises ObjectNotFound, TooBusy, BadRequest for metadata that cannot be.
        """

        def amended(present: Attributes) -> Attributes:
            merged = dict(custom) if replace else {**present.custom, **custom}
            check_custom(merged)
            return msgspec.structs.replace(present, custom=merged)

        return await self.change(bucket, key, amended)

    async def change(
        self, bucket: BucketInfo, key: bytes, changed: Callable[[Attributes], Attributes]
    ) -> Record:
        """Replace an object's attributes by what `changed` makes of them; the payload stays as it is.

        Raises ObjectNotFound, TooBusy, Unavailable, and what `changed` raises.
        """
        for _ in range(_ATTEMPTS_MAX):
            record = self.look_up(bucket, key).record
            attributes = changed(record.attributes)
            same = Condition(generation=record.generation, sequence=record.sequence)
            try:
                return await self._engine.amend(ObjectName(bucket.number, key), attributes, condition=same)
            except ConditionFailed:
                # Written again or amended meanwhile: the metadata is for what is there now.
                continue
        raise TooBusy(f"{display(bucket.bucket, key)} is being written by others: try again")


def check_custom(custom: Mapping[str, str]) -> None:
    """Raise BadRequest for custom metadata that cannot be kept or shown in a header."""
    total = 0
    for key, value in custom.items():
        if not key:
            raise BadRequest("custom metadata: a key is empty")
        if any(character < " " or character == "\x7f" for character in key + value):
            raise BadRequest(f"custom metadata: {key[:80]!r} holds a control character")
        total += len(key.encode()) + len(value.encode())
    if total > CUSTOM_BYTES_MAX:
        raise BadRequest(f"custom metadata has {total} bytes, at most {CUSTOM_BYTES_MAX} are allowed")


def _digests(bucket: BucketInfo, incoming: Incoming) -> tuple[str, ...]:
    """Which digests to compute: the bucket's own, and the one that the writer announced."""
    own, announced = bucket.properties.checksum.type, incoming.checksum_type
    if incoming.digests:
        kept = incoming.digests
        return tuple(kept) if own == "none" or own in kept else (own, *kept)
    if announced and announced not in CHECKSUM_TYPES:
        raise BadRequest(f'invalid checksum type "{announced}" (expecting [{" ".join(CHECKSUM_TYPES)}])')
    kinds = () if own == "none" else (own,)
    is_another = incoming.checksum_value and announced not in ("", "none", own)
    return (*kinds, announced) if is_another else kinds
