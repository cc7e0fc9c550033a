"""Objects of remote buckets that are not here yet: fetched once, for all who ask meanwhile.

A fetch fills a draft and lets any number of readers follow: the latest bytes from memory, earlier ones
from the draft's file. What its source names as digest is checked before any reader gets the last byte,
so nobody has the whole of a wrong object; it is kept only when it is whole and right. The fetch goes on
when its readers leave, because the next epoch will want the object.
"""

import asyncio
import logging
import os
from asyncio import Future
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from typing import Final

from aisle.backends.provider import BackendProvider, RemoteObject
from aisle.errors import (
    AisleError,
    ConditionFailed,
    NotFound,
    ObjectNotFound,
    OutOfSpace,
    SourceFailed,
    SourceUnreachable,
)
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import ABSENT, Condition, Record
from aisle.rules.remote_metadata import attributes_of, cheapest_digest, digests_to_compute
from aisle.storage.engine import Draft
from aisle.target.filling import undisturbed
from aisle.target.objects import TargetEngine
from aisle.target.passage import Passage
from aisle.target.room import cache_room

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""How much of a large object stays in memory for those who follow closely."""
_READ_BYTES: Final = 1024 * 1024
_TOGETHER: Final = 16
"""How many objects are fetched at once for one reader of many."""

_log = logging.getLogger(__name__)

ProviderOf = Callable[[BucketInfo], BackendProvider]


class Fetch:
    """An object on its way in. `about` is known once `opened` is done."""

    def __init__(self, name: str) -> None:
        self.name = name
        loop = asyncio.get_running_loop()
        self.opened: Future[RemoteObject] = loop.create_future()
        self.ended: Future[Record | None] = loop.create_future()
        """Done when nothing more happens: with the record, or None if it was not kept. Raises what the
        fetch failed with."""
        self.is_wanted = True
        """Whether it is to be kept: not if the object was written or deleted meanwhile."""
        self.received = 0
        self._draft: Draft | None = None
        self._offsets: list[int] = []
        self._chunks: list[bytes] = []
        self._is_checked = False
        self._error: AisleError | None = None
        self._waiting: list[Future[None]] = []
        self._fd = -1
        self._readers = 0
        # Nobody may ever ask for them.
        self.opened.add_done_callback(_seen)
        self.ended.add_done_callback(_seen)

    @property
    def about(self) -> RemoteObject:
        """What the source tells about the object."""
        return self.opened.result()

    def begin(self, about: RemoteObject, draft: Draft) -> None:
        """The source has answered."""
        self._draft = draft
        if not self.opened.done():
            self.opened.set_result(about)

    def take(self, chunk: bytes) -> None:
        """The next bytes have come."""
        self._offsets.append(self.received)
        self._chunks.append(chunk)
        self.received += len(chunk)
        self._trim()
        self._tell()

    def _trim(self) -> None:
        """Let go of what lies in the file, but for the latest bytes."""
        assert self._draft is not None
        filed, gone = self._draft.filed, 0
        while (
            gone + 1 < len(self._offsets)
            and self.received - self._offsets[gone + 1] >= WINDOW_BYTES
            and self._offsets[gone + 1] <= filed
        ):
            gone += 1
        if not gone:
            return
        if self._fd < 0:
            self._fd = os.open(self._draft.path, os.O_RDONLY | os.O_CLOEXEC)
        del self._offsets[:gone], self._chunks[:gone]

    def check(self) -> None:
        """All bytes are here and are the right ones."""
        self._is_checked = True
        self._tell()

    def end(self, record: Record | None) -> None:
        """Nothing more happens."""
        if not self.ended.done():
            self.ended.set_result(record)
        self._close_file()

    def fail(self, error: AisleError) -> None:
        """What has not been read yet will not come."""
        self._error = error
        if not self.opened.done():
            self.opened.set_exception(error)
        if not self.ended.done():
            self.ended.set_exception(error)
        self._tell()
        self._close_file()

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _news(self) -> None:
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, as they come in.

        Raises what the fetch fails with, always before the object's last byte.
        """
        size = self.about.size
        position, end = start, size if end is None else end
        self._readers += 1
        try:
            while position < end or (end == size and not self._is_checked):
                if self._error is not None:
                    raise self._error
                chunk = await self._at(position, end) if position < min(self.received, end) else b""
                if not chunk or (position + len(chunk) == size and not self._is_checked):
                    await self._news()
                    continue
                position += len(chunk)
                yield chunk
        finally:
            self._readers -= 1
            self._close_file()

    async def _at(self, position: int, end: int) -> bytes:
        """Some bytes at a place that has been received."""
        if position < self._offsets[0]:
            count = min(_READ_BYTES, self._offsets[0] - position, end - position)
            chunk = await asyncio.to_thread(os.pread, self._fd, count, position)
            if not chunk:
                raise SourceFailed(f"{self.name}: its draft is shorter than what was received")
            return chunk
        number = bisect_right(self._offsets, position) - 1
        chunk, behind = self._chunks[number], position - self._offsets[number]
        wanted = end - position
        return chunk if not behind and len(chunk) <= wanted else chunk[behind : behind + wanted]

    async def whole(self) -> bytes:
        """All bytes at once, for small objects. Raises what the fetch fails with."""
        async with aclosing(self.read()) as chunks:  # type: ignore[type-var]
            return b"".join([chunk async for chunk in chunks])

    def _close_file(self) -> None:
        if self._fd >= 0 and not self._readers and self.ended.done():
            os.close(self._fd)
            self._fd = -1


class ColdReads:
    """The fetches of one process."""

    def __init__(self, engine: TargetEngine, provider_of: ProviderOf) -> None:
        self._engine = engine
        self._provider_of = provider_of
        self._room = cache_room()
        self._running: dict[ObjectName, Fetch] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def running(self, bucket: BucketInfo, key: bytes) -> Fetch | None:
        """The fetch of an object, if there is one."""
        return self._running.get(ObjectName(bucket.number, key))

    def begin(self, bucket: BucketInfo, key: bytes, *, replaces: Record | None = None) -> Fetch:
        """The fetch of an object, started if need be; it replaces this record, or none."""
        name = ObjectName(bucket.number, key)
        fetch = self._running.get(name)
        if fetch is None:
            fetch = self._running[name] = Fetch(display(bucket.bucket, key))
            condition = Condition(generation=replaces.generation) if replaces else ABSENT
            task = asyncio.create_task(self._run(fetch, bucket, name, condition))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
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
        """Wait until an object is here. Raises what a provider raises, OutOfSpace."""
        if self._engine.look_up(ObjectName(bucket.number, key)) is None:
            await asyncio.shield(self.begin(bucket, key).ended)

    async def fill_all(self, wanted: Sequence[tuple[BucketInfo, bytes]]) -> None:
        """Wait until objects are here, some at a time; what is not at its source is left out.

        All are of buckets with a remote one behind them. Raises what a provider raises, OutOfSpace.
        """
        missing = [
            item
            for item in dict.fromkeys((bucket.number, key) for bucket, key in wanted)
            if self._engine.look_up(ObjectName(*item)) is None
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
        fetch = self._running.pop(ObjectName(bucket.number, key), None)
        if fetch is not None:
            fetch.is_wanted = False

    async def stop(self) -> None:
        """End all fetches, keeping nothing of what has not come in; who follows them is told."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, fetch: Fetch, bucket: BucketInfo, name: ObjectName, condition: Condition) -> None:
        try:
            fetch.end(await self._fetched(fetch, bucket, name, condition))
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

    async def _fetched(
        self, fetch: Fetch, bucket: BucketInfo, name: ObjectName, condition: Condition
    ) -> Record | None:
        remote = bucket.remote
        assert remote is not None
        opened = await self._provider_of(bucket).get(remote.name, name.key.decode())
        about = opened.about
        kinds = digests_to_compute(about, bucket.properties.checksum.type)
        draft = self._engine.draft(name, size=about.size, digests=kinds, sync=bucket.payload_sync)
        handed_over = False
        try:
            self._hold_room(fetch, name, about.size)
            fetch.begin(about, draft)
            await _pour(fetch, opened.chunks, draft)
            computed = {kind: draft.digest(kind) for kind in kinds}
            _compare(fetch, computed)
            fetch.check()
            if not fetch.is_wanted:
                return None
            handed_over = True
            attributes = attributes_of(about, remote.provider, computed)
            committing = self._engine.commit(
                name, draft, attributes, condition=condition, written_ns=about.modified_ns
            )
            return await undisturbed(committing)
        except (ConditionFailed, NotFound):
            if not handed_over:
                raise
            return None  # it was written meanwhile, or its bucket is gone: what is there now counts
        except AisleError as error:
            if not handed_over:
                raise
            # Its readers have what they asked for.
            _log.warning("%s was read and could not be kept: %s", fetch.name, error)
            return None
        finally:
            if not handed_over:
                draft.abort()
            if self._room is not None:
                self._room.release(fetch)
            closing = getattr(opened.chunks, "aclose", None)
            if closing is not None:
                with suppress(AisleError):
                    await closing()


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
    if fetch.received != fetch.about.size:
        raise SourceUnreachable(
            f"{fetch.name}: its source sent {fetch.received} bytes, announced were {fetch.about.size}"
        )
    pending = draft.finish()
    if pending is not None:
        await pending


def _compare(fetch: Fetch, computed: dict[str, str]) -> None:
    """Raise SourceFailed unless the bytes are those that the source has announced."""
    kind = cheapest_digest(fetch.about.digests)
    if kind and computed[kind] != fetch.about.digests[kind].lower():
        raise SourceFailed(
            f"{fetch.name}: BAD DATA CHECKSUM: {kind}({fetch.about.digests[kind]} != {computed[kind]})"
        )


def _seen(future: "Future[RemoteObject] | Future[Record | None]") -> None:
    """A failure that nobody asks for is no news for the log."""
    if not future.cancelled():
        future.exception()
