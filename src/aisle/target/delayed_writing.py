"""Delayed changes on their way to their source: one entry of a queue at a time.

A change is never written over one that the source has seen since (docs/decisions/0020): then it waits, and
is shown, until somebody decides. What a source has may also be our own: an answer that never came, a
process that died. So what is about to be sent is noted first, and what is found is compared with it.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, closing, suppress
from enum import Enum
from typing import Final

import msgspec

from aisle.backends.provider import ALWAYS, RemoteObject, WriteCondition
from aisle.errors import ConditionFailed, CorruptObject, NotFound, ObjectNotFound, SourceFailed
from aisle.model.bucket import BucketInfo
from aisle.model.record import Condition, Record
from aisle.model.unwritten import QueueEntry, Sent, is_unwritten, unmarked
from aisle.rules.ranges import Span
from aisle.rules.remote_metadata import known_digests
from aisle.storage.engine import Stored
from aisle.storage.hashing import NamedDigests, is_digest_kind
from aisle.target.cold import ProviderOf
from aisle.target.copying import Place
from aisle.target.delayed_queue import DelayedQueue, Noted
from aisle.target.objects import TargetEngine
from aisle.target.remote_objects import described, merged, remote_name
from aisle.target.stored_source import StoredSource

GRACE_NS: Final = 60_000_000_000
"""How long an entry without a change stays: one may just be made, or its writer died."""
_SENT_MAX: Final = 16
_ATTEMPTS_MAX: Final = 100
_NOT_IMPLEMENTED: Final = 501
_NS_PER_S: Final = 1_000_000_000

_log = logging.getLogger(__name__)


class Outcome(Enum):
    """What became of an entry."""

    WRITTEN = "written"
    """The source has the change."""
    WAITING = "waiting"
    """Nothing to do yet, or somebody changed it meanwhile: to be looked at again."""
    CONFLICT = "conflict"
    """It waits for somebody to decide."""


class DelayedWriter:
    """Writes changes to their sources. One process per node does so, one object at a time."""

    def __init__(
        self,
        engine: TargetEngine,
        provider_of: ProviderOf,
        queue: DelayedQueue,
        *,
        clock: Callable[[], int],
    ) -> None:
        """`provider_of` gives the sources as they are, without what is delayed."""
        self._engine = engine
        self._provider_of = provider_of
        self._queue = queue
        self._clock = clock

    async def write(self, bucket: BucketInfo, key: bytes) -> Outcome:
        """Take the change of an object to its source. Raises what a provider raises, Unavailable."""
        place, noted = Place(bucket, key), self._queue.find(bucket, key)
        if noted is None:
            return Outcome.WRITTEN
        if noted.entry.conflict:
            return Outcome.CONFLICT
        held = self._engine.look_up(place.name)
        record = held.record if held else None
        if record is not None and is_unwritten(record.attributes):
            is_undone = noted.entry.is_removal and record.generation == noted.entry.generation
            if not is_undone:
                return await self._put(place, noted)
        elif not noted.entry.is_removal:
            return await self._expire(place, noted, record)
        return await self._delete(place, noted, record)

    async def _expire(self, place: Place, noted: Noted, record: Record | None) -> Outcome:
        """Deal with an entry about a change that is not there."""
        if self._clock() - noted.entry.noted_ns < GRACE_NS:
            return Outcome.WAITING
        if noted.entry.replaces_removal and record is None:
            outcome = await self._delete(place, noted, record)  # the write never came
        else:
            dropped = await self._queue.drop(place.bucket, place.key, noted)
            outcome = Outcome.WRITTEN if dropped else Outcome.WAITING
        held = self._engine.look_up(place.name)
        if held is not None and is_unwritten(held.record.attributes):
            # It came after all, and its writer may have found the entry that is gone now.
            await self._queue.settle(place.bucket, place.key, held.record.generation)
            return Outcome.WAITING
        return outcome

    async def _delete(self, place: Place, noted: Noted, record: Record | None) -> Outcome:
        """Remove an object at its source, and what is left of it here."""
        bucket = place.bucket
        provider, name = self._provider_of(bucket), remote_name(bucket)
        found = await self._found(place)
        if found is not None and (conflict := await self._conflict(place, noted.entry, found)):
            return await self._keep_conflict(place, noted, conflict, found)
        if record is not None:
            try:
                await self._engine.remove(place.name, condition=Condition(generation=record.generation))
            except ConditionFailed:
                return Outcome.WAITING
        if found is not None:
            await provider.delete(name, place.key.decode())
        dropped = await self._queue.drop(bucket, place.key, noted)
        return Outcome.WRITTEN if dropped else Outcome.WAITING

    async def _put(self, place: Place, noted: Noted) -> Outcome:
        """Write what is here to its source."""
        stored = self._engine.open(place.name)
        if stored is None:
            return Outcome.WAITING
        with closing(stored):
            if not is_unwritten(stored.record.attributes):
                return Outcome.WAITING
            found = await self._found(place)
            sent = _sent(stored.record)
            if noted.entry.is_removal:
                # It was written after that, and whoever did so has not settled it yet.
                record = stored.record
                entry = msgspec.structs.replace(
                    noted.entry,
                    generation=record.generation,
                    is_removal=False,
                    replaces_removal=True,
                    noted_ns=record.written_ns,
                )
                settled = await self._queue.replace(place.bucket, place.key, noted, entry)
                if settled is None:
                    return Outcome.WAITING
                noted = settled
            if found is not None and sent in noted.entry.sent and await self._is(place, found, sent):
                return await self._finish(place, noted, stored.record, found)
            if found is not None and (conflict := await self._conflict(place, noted.entry, found)):
                return await self._keep_conflict(place, noted, conflict, found)
            attempt: Noted | None = noted
            if sent not in noted.entry.sent:
                attempts = (*noted.entry.sent, sent)[-_SENT_MAX:]
                entry = msgspec.structs.replace(noted.entry, sent=attempts)
                attempt = await self._queue.replace(place.bucket, place.key, noted, entry)
            if attempt is None:
                return Outcome.WAITING
            try:
                written = await self._send(place, stored, found)
            except ConditionFailed:
                return Outcome.WAITING  # it has changed since it was looked at: what it is now is judged anew
            return await self._finish(place, attempt, stored.record, written)

    async def _send(self, place: Place, stored: Stored, found: RemoteObject | None) -> RemoteObject:
        provider, record = self._provider_of(place.bucket), stored.record
        only_if = ALWAYS
        if provider.capabilities.conditional_writes:
            only_if = WriteCondition(etag=found.etag) if found else WriteCondition(is_absent=True)
        about = described(place.key, record.size, record.attributes)
        name = remote_name(place.bucket)
        try:
            async with aclosing(_verified(stored, str(place))) as chunks:
                return await provider.put(name, about.key, chunks, about, only_if=only_if)
        except SourceFailed as error:
            if error.status != _NOT_IMPLEMENTED or only_if == ALWAYS:
                raise
            # It speaks the protocol without conditions of writes: what it had was looked at just now.
            async with aclosing(_verified(stored, str(place))) as chunks:
                return await provider.put(name, about.key, chunks, about)

    async def _finish(self, place: Place, noted: Noted, record: Record, written: RemoteObject) -> Outcome:
        """The source has an object: what is here is a copy of it from now on."""
        if not await self._unmark(place, record, written):
            # Changed again meanwhile, on the ground of what the source has now.
            await self._rebase(place, written)
            return Outcome.WAITING
        if noted.entry.generation != record.generation:
            # Its entry is about a change that is just being made, or whose writer died.
            await self._rebase(place, written)
            return Outcome.WAITING
        dropped = await self._queue.drop(place.bucket, place.key, noted)
        if not dropped:
            await self._rebase(place, written)
        return Outcome.WRITTEN if dropped else Outcome.WAITING

    async def _unmark(self, place: Place, record: Record, written: RemoteObject) -> bool:
        """Tell of an object that its source has it; False if it is changed by others, or was already."""
        for _ in range(_ATTEMPTS_MAX):
            held = self._engine.look_up(place.name)
            if held is None or held.record.generation != record.generation:
                break
            known = held.record
            # Its metadata may have been changed meanwhile, here only.
            attributes = merged(place.bucket, unmarked(known.attributes), written)
            same = Condition(generation=known.generation, sequence=known.sequence)
            try:
                await self._engine.amend(place.name, attributes, condition=same)
            except ConditionFailed:
                continue
            except NotFound:
                break
            return True
        return False

    async def _rebase(self, place: Place, written: RemoteObject) -> None:
        """Keep with the next change of an object what its source has since the one before."""
        while (noted := self._queue.find(place.bucket, place.key)) is not None:
            # What is here was written after the removal; if nothing is, that came later.
            is_removed = noted.entry.replaces_removal and self._engine.look_up(place.name) is None
            entry = msgspec.structs.replace(
                noted.entry, base=written.etag, conflict="", found="", replaces_removal=is_removed
            )
            if await self._queue.replace(place.bucket, place.key, noted, entry) is not None:
                return

    async def _keep_conflict(self, place: Place, noted: Noted, conflict: str, found: RemoteObject) -> Outcome:
        entry = msgspec.structs.replace(noted.entry, conflict=conflict, found=found.etag)
        if await self._queue.replace(place.bucket, place.key, noted, entry) is None:
            return Outcome.WAITING
        _log.warning("%s: %s", place, conflict)
        return Outcome.CONFLICT

    async def _found(self, place: Place) -> RemoteObject | None:
        """What the source has now."""
        try:
            return await self._provider_of(place.bucket).head(remote_name(place.bucket), place.key.decode())
        except ObjectNotFound:
            return None

    async def _conflict(self, place: Place, entry: QueueEntry, found: RemoteObject) -> str:
        """Why a change must not replace what the source has; empty if it may.

        It may replace what it was made on, what we have sent ourselves, and what was there before the change
        was made. Times of sources are whole seconds; what was written in the same one counts as earlier.
        """
        if entry.base and found.etag == entry.base:
            return ""
        is_later = found.modified_ns // _NS_PER_S > entry.noted_ns // _NS_PER_S
        is_other = not found.modified_ns and entry.base and found.etag
        if not (is_later or is_other):
            return ""
        for sent in reversed(entry.sent):
            if await self._is(place, found, sent):
                return ""
        return "its source has another version, written since: write it again, or evict it with force"

    async def _is(self, place: Place, found: RemoteObject, sent: Sent) -> bool:
        """Whether what the source has is what was sent, by its digest, for which it may have to be read."""
        if found.size != sent.size or not sent.kind:
            return False
        told = found.digests.get(sent.kind)
        if told:
            return told.lower() == sent.digest
        if not is_digest_kind(sent.kind):
            return False
        provider = self._provider_of(place.bucket)
        with suppress(ObjectNotFound):
            opened = await provider.get(remote_name(place.bucket), found.key, etag=found.etag)
            digests = NamedDigests([sent.kind])
            async for chunk in opened.chunks:
                digests.update([chunk])
            return digests.hex(sent.kind) == sent.digest
        return False


def _sent(record: Record) -> Sent:
    """What is about to be sent, by the digest that sources are most likely to tell."""
    digests = {kind: value for kind, value in known_digests(record.attributes).items() if "-" not in value}
    kind = next((kind for kind in ("md5", "crc32c", *digests) if kind in digests), "")
    return Sent(record.generation, record.size, kind, digests.get(kind, "").lower())


async def _verified(stored: Stored, where: str) -> AsyncGenerator[bytes, None]:
    """The bytes of an object; the last of them only if all are those that were stored.

    Raises CorruptObject.
    """
    attributes = stored.record.attributes
    kind = attributes.checksum_type if is_digest_kind(attributes.checksum_type) else ""
    digests = NamedDigests([kind] if kind else [])
    source = StoredSource(stored, Span(0, stored.record.size))
    last = b""
    while data := await source.read():
        digests.update([data])
        if last:
            yield last
        last = data
    if kind and digests.hex(kind) != attributes.checksum_value:
        raise CorruptObject(f"{where} is not what was stored: it was not written to its source")
    if last:
        yield last
