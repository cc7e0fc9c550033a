"""Copies of objects within the node: no byte passes a client.

A copy is a write of its own: it has its own generation and payload file, so that neither object depends
on the other, and each mountpath's files describe themselves. What is read is checked on the way
against the checksum that the source carries; a damaged source is never copied.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from aisle.errors import (
    BucketNotFound,
    ConditionFailed,
    CorruptObject,
    NotFound,
    ObjectNotFound,
    TooBusy,
)
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import ANY, COUNTED, INLINE_BYTES_MAX, Attributes, Condition, Record
from aisle.model.unwritten import unmarked
from aisle.rules.ranges import Span
from aisle.storage.engine import Stored
from aisle.storage.hashing import DIGEST_KINDS, hex_digest
from aisle.target.filling import fill, undisturbed
from aisle.target.objects import TargetEngine
from aisle.target.stored_source import StoredSource

_MOVE_ATTEMPTS_MAX: Final = 20


class Place(NamedTuple):
    """An object's place: its bucket and its name."""

    bucket: BucketInfo
    key: bytes

    @property
    def name(self) -> ObjectName:
        """What storage knows it by."""
        return ObjectName(self.bucket.number, self.key)

    def __str__(self) -> str:
        return display(self.bucket.bucket, self.key)


class CopyTerms(NamedTuple):
    """What a copy is to be, beside the same bytes."""

    attributes: Callable[[Record], Attributes] = lambda source: source.attributes
    """The attributes of the copy, from the source's record; may raise to refuse it. Checksum and version
    are the destination bucket's own."""
    digests: tuple[str, ...] = ()
    """Digests by name that the copy shall carry beside its checksum, such as `md5`."""
    condition: Callable[[Record | None], Condition] | None = None
    """What must hold of the object that is replaced, decided from its record; may raise."""


AS_IT_IS: Final = CopyTerms()


class Copier:
    """Copies objects from place to place."""

    def __init__(self, engine: TargetEngine) -> None:
        self._engine = engine

    async def copy(self, source: Place, to: Place, terms: CopyTerms = AS_IT_IS) -> Record:
        """Make the object at `source` also that at `to`; the record of the copy.

        Raises ObjectNotFound, BucketNotFound if the destination's bucket is gone by now, CorruptObject
        for a source that is not what was stored, ConditionFailed, OutOfSpace, Unavailable, and what the
        terms raise. Nothing is changed then.
        """
        stored = self._engine.open(source.name)
        if stored is None:
            raise ObjectNotFound(str(source))
        try:
            inline = stored.inline
            if inline is not None and len(inline) <= INLINE_BYTES_MAX:
                return await self._put_small(stored.record, inline, to, terms)
            return await self._put_large(stored, source, to, terms)
        except NotFound as error:
            if isinstance(error, ObjectNotFound):
                raise
            raise BucketNotFound(to.bucket.bucket.cname) from error
        finally:
            stored.close()

    async def move(self, source: Place, to: Place) -> Record:
        """Copy an object, then remove it from where it was; the record of the copy.

        Readers find it in one place or in both, never in neither. Raises as `copy` does, and TooBusy for a
        source that others keep writing.
        """
        for _ in range(_MOVE_ATTEMPTS_MAX):
            held = self._engine.look_up(source.name)
            if held is None:
                raise ObjectNotFound(str(source))
            copy = await self.copy(source, to)
            try:
                same = Condition(generation=held.record.generation)
                await self._engine.remove(source.name, condition=same)
            except ConditionFailed:
                continue  # written again meanwhile: what is there now is to be moved
            return copy
        raise TooBusy(f"{source} is being written by others: try again")

    async def _put_small(self, source: Record, payload: bytes, to: Place, terms: CopyTerms) -> Record:
        # The engine has verified these bytes as it read them: the source's own checksum still holds.
        own, told = _own_kind(to.bucket), source.attributes
        computed = {kind: hex_digest(kind, payload) for kind in terms.digests}
        if own:
            is_known = told.checksum_type == own and told.checksum_value
            computed[own] = told.checksum_value if is_known else hex_digest(own, payload)
        attributes, condition = self._settled(source, to, terms, computed)
        return await self._engine.put_small(to.name, payload, attributes, condition=condition)

    async def _put_large(self, stored: Stored, source: Place, to: Place, terms: CopyTerms) -> Record:
        record = stored.record
        told = record.attributes
        kinds = dict.fromkeys((*filter(None, (_own_kind(to.bucket),)), *terms.digests))
        if told.checksum_value and told.checksum_type in DIGEST_KINDS:
            kinds[told.checksum_type] = None
        draft = self._engine.draft(
            to.name, size=record.size, digests=tuple(kinds), sync=to.bucket.payload_sync
        )
        handed_over = False
        try:
            await fill(draft, StoredSource(stored, Span(0, record.size)))
            computed = {kind: draft.digest(kind) for kind in kinds}
            found = computed.get(told.checksum_type, told.checksum_value)
            if draft.size != record.size or (told.checksum_value and found != told.checksum_value):
                raise CorruptObject(f"{source} is not what was stored: it was not copied")
            attributes, condition = self._settled(record, to, terms, computed)
            # From here on the draft is the engine's, whatever becomes of the commit.
            handed_over = True
            return await undisturbed(self._engine.commit(to.name, draft, attributes, condition=condition))
        finally:
            if not handed_over:
                draft.abort()

    def _settled(
        self, source: Record, to: Place, terms: CopyTerms, computed: dict[str, str]
    ) -> tuple[Attributes, Condition]:
        """What the copy is committed with."""
        own = _own_kind(to.bucket)
        condition = ANY
        if terms.condition:
            held = self._engine.look_up(to.name)
            condition = terms.condition(held.record if held else None)
        wanted = terms.attributes(source)
        attributes = msgspec.structs.replace(
            unmarked(wanted),
            checksum_type=own,
            checksum_value=computed[own] if own else "",
            digests={**wanted.digests, **{kind: computed[kind] for kind in terms.digests}},
            upload="",
            version=COUNTED if to.bucket.properties.versioning.enabled else "",
        )
        return attributes, condition


def _own_kind(bucket: BucketInfo) -> str:
    """The checksum that a bucket's objects carry, empty for none."""
    kind = bucket.properties.checksum.type
    return kind if kind != "none" else ""
