"""An object on its way in, and its readers: the latest bytes from memory, earlier ones from a file.

The file is that of the draft which whoever fetches writes, in this process or in another one.
"""

import asyncio
import os
from asyncio import Future
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Final, Protocol
from weakref import finalize

from aisle.backends.provider import RemoteObject
from aisle.errors import AisleError, SourceChanged, SourceFailed
from aisle.model.record import Record
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenSegment, Stored
from aisle.target.stored_source import READ_BYTES, StoredSource

WINDOW_BYTES: Final = 4 * 1024 * 1024
"""How much of a large object stays in memory for those who follow closely."""

_UNFILED_BYTES_MAX: Final = 16 * WINDOW_BYTES
"""What may gather in memory because the file cannot be opened."""


_SPAN_BYTES_MIN: Final = 128 * 1024
"""From here on bytes go from the file to the connection within the system, and not through this process."""
_SPAN_BYTES_MAX: Final = 8 * 1024 * 1024
_STREAMS_MANY: Final = 4
"""From so many readers on they wait for the file."""
_STEP_BYTES_MAX: Final = 4 * 1024 * 1024
"""And for so much of it, but not for more than a small part of the object."""


class Backing(Protocol):
    """Where bytes lie that have left the memory."""

    @property
    def filed(self) -> int:
        """How many bytes, from the first on, lie in the file by now."""

    @property
    def path(self) -> str:
        """The file; empty while there is none."""


class Watcher(Protocol):
    """Who is told what happens to a fetch, at once."""

    def begun(self) -> None:
        """Its source has answered."""

    def taken(self, chunk: bytes) -> None:
        """Bytes have come."""

    def checked(self) -> None:
        """All bytes are there and right."""

    def ended(self, record: Record | None) -> None:
        """It was kept, as this record, or not."""

    def failed(self, error: AisleError) -> None:
        """The rest does not come."""

    def left(self) -> None:
        """Nobody goes on with it here."""


class Fetch:
    """An object on its way in. `about` is known once `opened` is done."""

    def __init__(self, name: str, place: int = 0) -> None:
        self.name = name
        self.place = place
        """Where its claim lies; another place for the same name means that this fetch is out of date."""
        loop = asyncio.get_running_loop()
        self.opened: Future[RemoteObject] = loop.create_future()
        self.ended: Future[Record | None] = loop.create_future()
        """Done when nothing more happens: with the record, or None if it was not kept. Raises what the
        fetch failed with."""
        self.is_wanted = True
        """Whether it is to be kept: not if the object was written or deleted meanwhile."""
        self.refusal: AisleError | None = None
        """Why it could not be kept here though all of it has come."""
        self.is_checked = False
        """Whether all bytes are here and are the right ones."""
        self.received = 0
        self._backing: Backing | None = None
        self._stored: Stored | None = None
        self._offsets: list[int] = []
        self._chunks: list[bytes] = []
        self._error: AisleError | None = None
        self._waiting: list[Future[None]] = []
        self._waiting_for_file: list[Future[None]] = []
        self._told_filed = 0
        self._streams = 0
        self._watchers: list[Watcher] = []
        self._fd = -1
        """The open file that holds what has left the memory; closed when nobody holds the fetch any more."""
        self._filed_by: Backing | None = None
        """Whose file that is."""
        self._files: list[finalize[..., Fetch]] = []
        self._reading = 0
        """Reads from files that are under way."""
        # Nobody may ever ask for them.
        self.opened.add_done_callback(_seen)
        self.ended.add_done_callback(_seen)

    @property
    def about(self) -> RemoteObject:
        """What the source tells about the object."""
        return self.opened.result()

    @property
    def filed(self) -> tuple[int, str]:
        """How many bytes lie in which file by now."""
        # The file's name is that of no other file, ever: who opens it later finds it, or nothing.
        return (self._backing.filed, self._backing.path) if self._backing is not None else (0, "")

    # What its fetcher does

    def begin(self, about: RemoteObject, backing: Backing) -> None:
        """The source has answered. Raises SourceChanged if it has answered before, with something else."""
        if not self.opened.done():
            self._backing = backing
            self.opened.set_result(about)
            for watcher in self._watchers:
                watcher.begun()
            return
        told = self.about
        is_same_version = told.version == about.version or not (told.version and about.version)
        if (told.size, told.etag) != (about.size, about.etag) or not is_same_version:
            raise SourceChanged(f"{self.name} changed while it was read: ask again")
        self._backing = backing

    def take(self, chunk: bytes) -> None:
        """The next bytes have come."""
        self._offsets.append(self.received)
        self._chunks.append(chunk)
        self.received += len(chunk)
        self._trim()
        _wake(self._waiting)
        if self._waiting_for_file and self._backing is not None:
            filed = self._backing.filed
            if not 0 <= filed - self._told_filed < self._step():
                self._told_filed = filed
                _wake(self._waiting_for_file)
        for watcher in self._watchers:
            watcher.taken(chunk)

    def _trim(self) -> None:
        """Let go of what lies in the file, but for the latest bytes."""
        filed = self._backing.filed if self._backing is not None else 0
        gone = 0
        while (
            gone + 1 < len(self._offsets)
            and self.received - self._offsets[gone + 1] >= WINDOW_BYTES
            and self._offsets[gone + 1] <= filed
        ):
            gone += 1
        if not gone:
            return
        try:
            self._open_file()
        except OSError:
            if self.received - self._offsets[0] > _UNFILED_BYTES_MAX:
                raise
            return  # it has ended where it is fetched: the little that still comes stays in memory
        del self._offsets[:gone], self._chunks[:gone]

    def _open_file(self) -> None:
        backing = self._backing
        if backing is not None and self._filed_by is not backing:
            # An earlier one stays open: somebody may be reading it.
            self._fd = os.open(backing.path, os.O_RDONLY | os.O_CLOEXEC)
            self._filed_by = backing
            self._files.append(finalize(self, os.close, self._fd))

    def skip(self, start: int) -> None:
        """What comes before `start` lies in the file only. Raises OSError if that cannot be opened."""
        self._open_file()
        self._offsets, self._chunks = [], []
        self.received = start
        self._tell()

    def serve(self, about: RemoteObject, stored: Stored) -> None:
        """All of it is here already."""
        self.opened.set_result(about)
        for watcher in self._watchers:
            watcher.begun()
        if stored.inline is None:
            self._stored = stored
            self.received = about.size
            finalize(self, stored.close)
        else:
            self.take(stored.inline)
            stored.close()
        self.check()

    def check(self) -> None:
        """All bytes are here and are the right ones."""
        self.is_checked = True
        self._tell()
        for watcher in self._watchers:
            watcher.checked()

    def end(self, record: Record | None) -> None:
        """Nothing more happens."""
        if not self.ended.done():
            self.ended.set_result(record)
            for watcher in self._watchers:
                watcher.ended(record)

    def fail(self, error: AisleError) -> None:
        """What has not been read yet will not come."""
        self._error = error
        self._let_files_go()
        if not self.opened.done():
            self.opened.set_exception(error)
        if not self.ended.done():
            self.ended.set_exception(error)
            for watcher in self._watchers:
                watcher.failed(error)
        self._tell()

    def leave(self) -> None:
        """Nobody goes on with it here; another process may."""
        watchers, self._watchers = self._watchers, []
        for watcher in watchers:
            watcher.left()

    # Its readers

    def watch(self, watcher: Watcher) -> Sequence[bytes]:
        """Tell somebody what happens from now on; the bytes that are in memory, those that came last."""
        self._watchers.append(watcher)
        return tuple(self._chunks)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell somebody no more."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)

    def _tell(self) -> None:
        _wake(self._waiting)
        _wake(self._waiting_for_file)

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
        while position < end or (end == size and not self.is_checked):
            if self._error is not None:
                raise self._error
            chunk = await self._at(position, end) if position < min(self.received, end) else b""
            if not chunk or (position + len(chunk) == size and not self.is_checked):
                await self._news()
                continue
            position += len(chunk)
            yield chunk

    async def spans(self, start: int = 0, end: int | None = None) -> AsyncGenerator[bytes | OpenSegment]:
        """As `read`, with spans of the file, open until the next is asked for, for who lags behind.

        Where many read at once all of them lag behind on purpose: bytes that each is sent in small pieces
        as they come in cost far more than those which the system takes from the file.
        """
        size = self.about.size
        position, end = start, size if end is None else end
        self._streams += 1
        try:
            while position < end or (end == size and not self.is_checked):
                if self._error is not None:
                    raise self._error
                # The last byte waits.
                limit = end if self.is_checked else min(end, size - 1)
                filed = min(self._in_file(), limit)
                if filed - position >= min(self._step(), max(limit - position, _SPAN_BYTES_MIN)):
                    span = OpenSegment(self._fd, position, min(filed - position, _SPAN_BYTES_MAX))
                    self._reading += 1
                    try:
                        yield span
                    finally:
                        self._reading -= 1
                        self._let_files_go()
                    position += span.length
                elif self._is_worth_waiting(end - position):
                    await self._filing()
                else:
                    chunk = await self._at(position, end) if position < min(self.received, end) else b""
                    if not chunk or (position + len(chunk) == size and not self.is_checked):
                        await self._news()
                        continue
                    position += len(chunk)
                    yield chunk
        finally:
            self._streams -= 1

    def _is_worth_waiting(self, left: int) -> bool:
        """Whether a reader of `left` more bytes should wait until there are some in the file."""
        backing = self._backing
        if self.is_checked or backing is None or self._streams < _STREAMS_MANY or left <= _SPAN_BYTES_MIN:
            return False
        return self._fd >= 0 or backing.filed < _SPAN_BYTES_MIN

    def _step(self) -> int:
        """How much must be in the file before a reader is sent more of it."""
        if self.is_checked or self._streams < _STREAMS_MANY:
            return _SPAN_BYTES_MIN
        return max(_SPAN_BYTES_MIN, min(_STEP_BYTES_MAX, self.about.size // 32))

    async def _filing(self) -> None:
        """Wait until there is more in the file."""
        future = asyncio.get_running_loop().create_future()
        self._waiting_for_file.append(future)
        await future

    def _in_file(self) -> int:
        """How many bytes, from the first on, are in the open file."""
        backing = self._backing
        left = self._offsets[0] if self._offsets else self.received
        if self._stored is not None:
            return 0
        if backing is not None and backing.filed >= max(left, _SPAN_BYTES_MIN):
            with suppress(OSError):
                self._open_file()
                return backing.filed
        return left if self._fd >= 0 else 0

    async def so_far(self, end: int) -> AsyncIterator[bytes]:
        """The bytes up to `end`, all of which have been received."""
        position = 0
        while position < end:
            chunk = await self._at(position, end)
            position += len(chunk)
            yield chunk

    async def _at(self, position: int, end: int) -> bytes:
        """Some bytes at a place that has been received."""
        if not self._offsets or position < self._offsets[0]:
            behind = self._offsets[0] if self._offsets else self.received
            count = min(READ_BYTES, behind - position, end - position)
            if self._stored is not None:
                return await StoredSource(self._stored, Span(position, count)).read()
            self._reading += 1
            try:
                chunk = await asyncio.to_thread(os.pread, self._fd, count, position)
            finally:
                self._reading -= 1
                self._let_files_go()
            if not chunk:
                raise SourceFailed(f"{self.name}: its draft is shorter than what was received")
            return chunk
        number = bisect_right(self._offsets, position) - 1
        chunk, behind = self._chunks[number], position - self._offsets[number]
        wanted = end - position
        return chunk if not behind and len(chunk) <= wanted else chunk[behind : behind + wanted]

    def _let_files_go(self) -> None:
        """Close the files of what has failed: errors, and with them the fetch, may live for a while."""
        if self._error is not None and not self._reading:
            for close in self._files:
                close()

    async def whole(self) -> bytes:
        """All bytes at once, for small objects. Raises what the fetch fails with."""
        async with aclosing(self.read()) as chunks:  # type: ignore[type-var]
            return b"".join([chunk async for chunk in chunks])


def _wake(waiting: list[Future[None]]) -> None:
    """Let everybody go on who waits, and nobody wait any more."""
    futures = waiting.copy()
    waiting.clear()
    for future in futures:
        if not future.done():
            future.set_result(None)


def _seen(future: "Future[RemoteObject] | Future[Record | None]") -> None:
    """A failure that nobody asks for is no news for the log."""
    if not future.cancelled():
        future.exception()
