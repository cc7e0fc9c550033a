"""Objects of remote buckets that are not here yet: fetched once, for all who ask meanwhile.

A fetch fills a draft and lets any number of readers follow, in this process (`fetch.py`) and in the
others of the node (`following.py`). What its source names as digest is checked before any reader gets
the last byte, so nobody has the whole of a wrong object; it is kept only when it is whole and right. The
fetch goes on when its readers leave, because the next epoch will want the object.
"""

import asyncio
import logging
from asyncio import Future
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from aisle.backends.pieces import Whole
from aisle.backends.provider import BackendProvider, RemoteObject, RemoteRead, close_chunks
from aisle.errors import (
    AisleError,
    ConditionFailed,
    CorruptObject,
    NotFound,
    ObjectNotFound,
    OutOfSpace,
    SourceFailed,
    SourceUnreachable,
    Unavailable,
)
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import ABSENT, INLINE_BYTES_MAX, Condition, Record
from aisle.rules.remote_metadata import (
    attributes_of,
    cheapest_digest,
    digests_to_compute,
    known_digests,
    user_metadata,
)
from aisle.storage.engine import Draft
from aisle.storage.hashing import hex_digest
from aisle.target.fetch import WINDOW_BYTES, Fetch
from aisle.target.filling import undisturbed
from aisle.target.following import HolderGone, HolderHangs, shared_fetches
from aisle.target.objects import TargetEngine
from aisle.target.passage import Passage
from aisle.target.room import cache_room

__all__ = ["WINDOW_BYTES", "ColdReads", "Fetch", "ProviderOf", "unkept"]

_TOGETHER: Final = 16
"""How many objects are fetched at once for one reader of many."""
_FILLS_MAX: Final = 4
"""How often an object is fetched that others write or remove meanwhile, so that it is not kept."""
_ATTEMPTS_MAX: Final = 100
"""How often a claim that nobody can be found for is looked at again."""
_PAUSE_S: Final = 0.005
"""Between two looks, longer each time: a process that was killed takes a moment to be gone."""
_PAUSES_MAX: Final = 20

_log = logging.getLogger(__name__)

ProviderOf = Callable[[BucketInfo], BackendProvider]


class _InMemory:
    """A Backing of what is nowhere in a file."""

    filed = 0
    path = ""


_IN_MEMORY: Final = _InMemory()


class ColdReads:
    """The fetches of one process."""

    def __init__(self, engine: TargetEngine, provider_of: ProviderOf) -> None:
        self._engine = engine
        self._provider_of = provider_of
        self._room = cache_room()
        self._shared = shared_fetches()
        self._running: dict[ObjectName, Fetch] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_change: Callable[[BucketInfo], None] = lambda _: None
        """Told of each bucket in which something has changed through this process."""

    def running(self, bucket: BucketInfo, key: bytes) -> Fetch | None:
        """The fetch of an object, if there is one."""
        name = ObjectName(bucket.number, key)
        fetch = self._running.get(name)
        return fetch if fetch is not None and fetch.place == self._place(name) else None

    def _place(self, name: ObjectName) -> int:
        return self._shared.place(name) if self._shared is not None else 0

    def begin(self, bucket: BucketInfo, key: bytes, *, replaces: Record | None = None) -> Fetch:
        """The fetch of an object, started if need be; it replaces this record, or none."""
        name = ObjectName(bucket.number, key)
        fetch = self.running(bucket, key)
        if fetch is None:
            fetch = self._enter(bucket, name)
            task = asyncio.create_task(self._run(fetch, bucket, name, replaces))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return fetch

    def _enter(self, bucket: BucketInfo, name: ObjectName) -> Fetch:
        """A fetch that has yet to run, for others to find."""
        fetch = self._running[name] = Fetch(display(bucket.bucket, name.key), self._place(name))
        return fetch

    async def bring(self, bucket: BucketInfo, key: bytes, *, replaces: Record | None = None) -> Fetch:
        """The fetch of an object when it has ended; it replaces this record, or none.

        Unless it has begun already it is a part of the task that calls, and ends with that: for many small
        objects. Raises what the fetch fails with.
        """
        name = ObjectName(bucket.number, key)
        fetch = self.running(bucket, key)
        if fetch is not None:
            await asyncio.shield(fetch.ended)
            return fetch
        fetch = self._enter(bucket, name)
        await self._run(fetch, bucket, name, replaces)
        fetch.ended.result()
        return fetch

    async def open(
        self, bucket: BucketInfo, key: bytes, *, replaces: Record | None = None
    ) -> Fetch | Passage:
        """The fetch of an object, once its source has answered. Raises what a provider raises.

        Where there is no room to keep the object, it only passes through, for this reader alone.
        """
        if not self.is_full(bucket, key):
            fetch = self.begin(bucket, key, replaces=replaces)
            try:
                await asyncio.shield(fetch.opened)
                return fetch
            except OutOfSpace:
                pass
        remote = bucket.remote
        assert remote is not None
        opened = await self._provider_of(bucket).get(remote.name, key.decode())
        return Passage(opened, display(bucket.bucket, key))

    def is_full(self, bucket: BucketInfo, key: bytes) -> bool:
        """Whether an object would not be kept, however small; not if it is on its way already."""
        name = ObjectName(bucket.number, key)
        return self._room is not None and self.running(bucket, key) is None and self._room.is_full(name)

    def _hold_room(self, fetch: Fetch, name: ObjectName, size: int) -> None:
        """Have room for what a fetch brings. Raises OutOfSpace, but not where its readers have a part."""
        if self._room is not None and not fetch.received:
            self._room.hold(fetch, name, size)

    async def fill(self, bucket: BucketInfo, key: bytes) -> None:
        """Wait until an object is here, to be used.

        Raises what a provider raises, OutOfSpace, Unavailable where it came and was not kept: there is one.
        """
        name = ObjectName(bucket.number, key)
        if self._is_used(name):
            return
        for attempts_left in reversed(range(_FILLS_MAX)):
            fetch = self.begin(bucket, key)
            record = await asyncio.shield(fetch.ended)
            if record is not None or self._engine.look_up(name) is not None:
                return
            if fetch.refusal is not None or not attempts_left:
                raise unkept(fetch)

    def _is_used(self, name: ObjectName) -> bool:
        """Whether an object is here; then its use is noted."""
        is_here = self._engine.look_up(name) is not None
        if is_here:
            self._engine.note_access(name)
        return is_here

    async def fill_all(self, wanted: Sequence[tuple[BucketInfo, bytes]]) -> None:
        """Wait until objects are here, some at a time; what is not at its source is left out.

        All are of buckets with a remote one behind them. Raises what a provider raises, OutOfSpace.
        """
        missing = [
            item
            for item in dict.fromkeys((bucket.number, key) for bucket, key in wanted)
            if not self._is_used(ObjectName(*item))
        ]
        if not missing:
            return
        buckets = {bucket.number: bucket for bucket, _ in wanted}
        names = iter(missing)

        async def fill() -> None:
            for number, key in names:
                with suppress(ObjectNotFound):
                    await self.fill(buckets[number], key)

        await asyncio.gather(*(fill() for _ in range(min(_TOGETHER, len(missing)))))

    def forget(self, bucket: BucketInfo, key: bytes) -> None:
        """What is on its way in is out of date: its readers may finish, and it is not kept."""
        self.on_change(bucket)
        name = ObjectName(bucket.number, key)
        fetch = self._running.pop(name, None)
        if fetch is not None:
            fetch.is_wanted = False
        if self._shared is not None:
            self._shared.outdate(name)

    async def stop(self) -> None:
        """End all fetches, keeping nothing of what has not come in; who follows them is told."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, fetch: Fetch, bucket: BucketInfo, name: ObjectName, replaces: Record | None) -> None:
        try:
            fetch.end(await self._brought(fetch, bucket, name, replaces))
        except AisleError as error:
            fetch.fail(error)
        except asyncio.CancelledError:
            fetch.fail(SourceUnreachable(f"{fetch.name}: the node is stopping"))
            raise
        except Exception as error:  # noqa: BLE001 - a bug must not leave readers waiting
            _log.exception("cold GET of %s failed", fetch.name)
            fetch.fail(SourceFailed(f"{fetch.name}: {error}"))
        finally:
            if self._running.get(name) is fetch:
                del self._running[name]

    async def _brought(
        self, fetch: Fetch, bucket: BucketInfo, name: ObjectName, replaces: Record | None
    ) -> Record | None:
        """Fetch an object, or follow who fetches it, or go on where that one ended."""
        shared = self._shared
        if shared is None or not shared.is_open:
            return await self._fetched(fetch, bucket, name, replaces)
        for attempt in range(_ATTEMPTS_MAX):
            if shared.take(fetch, name):
                try:
                    record = self._found(fetch, name, replaces)
                    return record or await self._fetched(fetch, bucket, name, replaces)
                except asyncio.CancelledError:
                    fetch.leave()
                    raise
                finally:
                    shared.release(fetch)
            received = fetch.received
            try:
                is_kept = await shared.follow(fetch, name)
            except HolderGone:
                if fetch.received == received:
                    await asyncio.sleep(_PAUSE_S * min(attempt + 1, _PAUSES_MAX))
                continue
            except HolderHangs:
                _log.warning("cold GET of %s: the process that fetches it hangs", fetch.name)
                break
            self._check_wanted(fetch, name)
            held = self._engine.look_up(name) if is_kept else None
            return held.record if held is not None else None
        return await self._fetched(fetch, bucket, name, replaces)

    def _check_wanted(self, fetch: Fetch, name: ObjectName) -> None:
        """Find out whether another process has made a fetch out of date."""
        if fetch.place != self._place(name):
            fetch.is_wanted = False

    def _found(self, fetch: Fetch, name: ObjectName, replaces: Record | None) -> Record | None:
        """What another process has kept since this one looked, if anything; the fetch then serves it."""
        held = self._engine.look_up(name)
        if held is None or fetch.opened.done():
            return None
        if replaces is not None and held.record.generation == replaces.generation:
            return None
        with suppress(CorruptObject):
            stored = self._engine.open(name)
            if stored is not None:
                fetch.serve(_told_by(name.key.decode(), stored.record), stored)
                return stored.record
        return None

    async def _fetched(
        self, fetch: Fetch, bucket: BucketInfo, name: ObjectName, replaces: Record | None
    ) -> Record | None:
        remote = bucket.remote
        assert remote is not None
        have = fetch.received
        source = await self._opened(fetch, bucket, remote.name, name.key.decode())
        told, chunks = source.about, source.chunks
        # What a source tells with a part of an object may lack its digests.
        about = fetch.about if have else told
        kinds = digests_to_compute(about, bucket.properties.checksum.type)
        if isinstance(chunks, Whole) and about.size <= INLINE_BYTES_MAX and not have:
            opened = RemoteRead(about, chunks)
            return await self._fetched_whole(fetch, bucket, name, opened, replaces=replaces)
        draft = self._engine.draft(name, size=about.size, digests=kinds, sync=bucket.payload_sync)
        handed_over = False
        try:
            self._hold_room(fetch, name, about.size)
            fetch.begin(told, draft)
            if have:
                await _write(draft, fetch.so_far(have))
            await _pour(fetch, chunks, draft)
            computed = {kind: draft.digest(kind) for kind in kinds}
            condition = self._checked(fetch, name, replaces, computed)
            if condition is None:
                return None
            handed_over = True
            attributes = attributes_of(about, remote.provider, computed)
            commit = partial(self._engine.commit, name, draft, attributes, written_ns=about.modified_ns)
            return await _kept(fetch, partial(commit, condition=condition))
        finally:
            if not handed_over:
                draft.abort()
            if self._room is not None:
                self._room.release(fetch)
            with suppress(AisleError):
                await close_chunks(chunks)

    async def _fetched_whole(
        self,
        fetch: Fetch,
        bucket: BucketInfo,
        name: ObjectName,
        opened: RemoteRead,
        *,
        replaces: Record | None,
    ) -> Record | None:
        """What `_fetched` does, for a small object of which all bytes are here: without a draft."""
        about, chunks = opened.about, opened.chunks
        assert isinstance(chunks, Whole)
        assert bucket.remote is not None
        content = chunks.take()
        try:
            self._hold_room(fetch, name, about.size)
            fetch.begin(about, _IN_MEMORY)
            if content:
                fetch.take(content)
            _require_all(fetch)
            kinds = digests_to_compute(about, bucket.properties.checksum.type)
            computed = {kind: hex_digest(kind, content) for kind in kinds}
            condition = self._checked(fetch, name, replaces, computed)
            if condition is None:
                return None
            attributes = attributes_of(about, bucket.remote.provider, computed)
            put = partial(self._engine.put_small, name, content, attributes, written_ns=about.modified_ns)
            return await _kept(fetch, partial(put, condition=condition))
        finally:
            if self._room is not None:
                self._room.release(fetch)

    def _checked(
        self, fetch: Fetch, name: ObjectName, replaces: Record | None, computed: dict[str, str]
    ) -> Condition | None:
        """On which condition what has come is kept; None if it is out of date. Raises SourceFailed."""
        _compare(fetch, computed)
        fetch.check()
        # Before the last look at whether it is out of date: what is removed behind it is found there,
        # or makes the commit fail.
        since = self._engine.place()
        self._check_wanted(fetch, name)
        if not fetch.is_wanted:
            return None
        return (
            Condition(generation=replaces.generation, since=since)
            if replaces
            else Condition(ABSENT.expect, since=since)
        )

    async def _opened(self, fetch: Fetch, bucket: BucketInfo, remote: str, key: str) -> RemoteRead:
        """An object at its source, opened behind what has been received of it already."""
        provider, have = self._provider_of(bucket), fetch.received
        if not have:
            return await provider.get(remote, key)
        about = fetch.about
        if have == about.size:
            return RemoteRead(about, _nothing())
        if not about.etag or not provider.capabilities.ranges:
            raise SourceUnreachable(f"{fetch.name}: who fetched it has ended, and it cannot be continued")
        return await provider.get(remote, key, offset=have, length=about.size - have, etag=about.etag)


def unkept(fetch: Fetch) -> AisleError:
    """What is told where an object has come and is not here: never that there is none."""
    return fetch.refusal or Unavailable(f"{fetch.name}: it was read and could not be kept: try again")


def _told_by(key: str, record: Record) -> RemoteObject:
    """What the source told about an object, as it is remembered."""
    attributes = record.attributes
    custom = attributes.custom
    return RemoteObject(
        key,
        record.size,
        version=custom.get("version", ""),
        etag=custom.get("ETag", ""),
        modified_ns=record.written_ns,
        digests=known_digests(attributes),
        custom=user_metadata(attributes),
        content_type=attributes.content_type,
        fields=attributes.fields,
    )


async def _nothing() -> AsyncIterator[bytes]:
    for _ in ():
        yield b""


async def _write(draft: Draft, chunks: AsyncIterator[bytes]) -> None:
    async for chunk in chunks:
        pending = draft.write(chunk)
        if pending is not None:
            await pending


async def _pour(fetch: Fetch, chunks: AsyncIterator[bytes], draft: Draft) -> None:
    """Write all that a source gives to readers and draft. Raises SourceUnreachable if that is too little."""
    async for chunk in chunks:
        if not chunk:
            continue
        fetch.take(chunk)
        if fetch.received > fetch.about.size:
            break
        pending = draft.write(chunk)
        if pending is not None:
            await pending
    _require_all(fetch)
    pending = draft.finish()
    if pending is not None:
        await pending


def _require_all(fetch: Fetch) -> None:
    """Raise SourceUnreachable unless as much has come as was announced."""
    if fetch.received != fetch.about.size:
        raise SourceUnreachable(
            f"{fetch.name}: its source sent {fetch.received} bytes, announced were {fetch.about.size}"
        )


async def _kept(fetch: Fetch, commit: Callable[[], Future[Record]]) -> Record | None:
    """Commit what was fetched: its record, or None where that is not to be. Its readers have it anyway."""
    try:
        return await undisturbed(commit())
    except (ConditionFailed, NotFound):
        return None  # it was written meanwhile, or its bucket is gone: what is there now counts
    except AisleError as error:
        _log.warning("%s was read and could not be kept: %s", fetch.name, error)
        fetch.refusal = error
        return None


def _compare(fetch: Fetch, computed: dict[str, str]) -> None:
    """Raise SourceFailed unless the bytes are those that the source has announced."""
    kind = cheapest_digest(fetch.about.digests)
    if kind and computed[kind] != fetch.about.digests[kind].lower():
        raise SourceFailed(
            f"{fetch.name}: BAD DATA CHECKSUM: {kind}({fetch.about.digests[kind]} != {computed[kind]})"
        )
