"""A request body as its handler reads it: a bounded queue between the socket and the handler.

The connection puts bytes in, the handler takes them out. What lies between counts against the
worker's budget of buffered body bytes; the connection stops reading from the peer while a body
holds more than its share.
"""

from asyncio import AbstractEventLoop, Future
from collections import deque
from typing import Final, Protocol

from aisle.errors import AisleError, BodyTooLarge

_SMALL_BYTES: Final = 2048


class BodyOwner(Protocol):
    """The connection, as its body sees it."""

    def body_wanted(self) -> None:
        """The handler waits for bytes: let the peer send them."""

    def body_changed(self, delta: int) -> None:
        """The queue grew or shrank by that many bytes."""


class IncomingBody:
    """A body that is arriving; implements `BodyStream`. One reader at a time."""

    __slots__ = (
        "_chunks",
        "_error",
        "_keeps_all",
        "_loop",
        "_owner",
        "_waiter",
        "complete",
        "held",
        "length",
    )

    length: int | None

    def __init__(self, owner: BodyOwner, loop: AbstractEventLoop, length: int | None) -> None:
        self.length = length
        self.held = 0
        """Bytes that arrived and were not taken yet."""
        self.complete = False
        """All bytes have arrived."""
        self._owner = owner
        self._loop = loop
        self._chunks: deque[bytes] = deque()
        self._waiter: Future[None] | None = None
        self._error: AisleError | None = None
        self._keeps_all = False

    # The connection's side ------------------------------------------------------------------------

    def feed(self, chunk: bytes) -> None:
        """Bytes arrived."""
        chunks = self._chunks
        if chunks and len(chunk) < _SMALL_BYTES and len(chunks[-1]) < _SMALL_BYTES:
            # A peer that sends single bytes would otherwise cost an object for each.
            chunks[-1] += chunk
        else:
            chunks.append(chunk)
        self.held += len(chunk)
        self._owner.body_changed(len(chunk))
        self._wake()

    def finish(self) -> None:
        """All bytes have arrived."""
        self.complete = True
        self._wake()

    def fail(self, error: AisleError) -> None:
        """No more can be read: what was not taken yet is dropped, and readers get `error`.

        A reader that has taken the whole body is not affected.
        """
        if self._error is None and (self.held or not self.complete):
            self._error = error
            self._drop()
            self._wake()

    def _drop(self) -> None:
        self._chunks.clear()
        if self.held:
            freed, self.held = self.held, 0
            self._owner.body_changed(-freed)

    @property
    def wants_more(self) -> bool:
        """A reader collects the whole body: it needs more than the usual share at once."""
        return self._keeps_all and self._waiter is not None

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # The handler's side ---------------------------------------------------------------------------

    async def read(self) -> bytes:
        """See `BodyStream.read`."""
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.complete:
                return b""
            await self._arrival()
        chunk = self._chunks.popleft()
        self.held -= len(chunk)
        self._owner.body_changed(-len(chunk))
        return chunk

    async def read_all(self, limit: int) -> bytes:
        """See `BodyStream.read_all`."""
        # The pieces stay in the queue until all are here, so that the worker's budget counts them.
        self._keeps_all = True
        while True:
            if self._error is not None:
                raise self._error
            if self.held > limit or (self.length or 0) > limit:
                raise BodyTooLarge(limit)
            if self.complete:
                return self._take_all()
            await self._arrival()

    def buffered(self) -> bytes | None:
        """See `BodyStream.buffered`."""
        return self._take_all() if self.complete and self._error is None else None

    def _take_all(self) -> bytes:
        chunks = self._chunks
        whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._drop()
        return whole

    async def _arrival(self) -> None:
        assert self._waiter is None, "a request body has one reader at a time"
        self._waiter = self._loop.create_future()
        self._owner.body_wanted()
        try:
            await self._waiter
        finally:
            self._waiter = None


class WholeBody:
    """A small body that came together with its head; implements `BodyStream`.

    It goes to its handler at once, so it never counts as held.
    """

    __slots__ = ("_data", "length")

    length: int | None

    def __init__(self, data: bytes) -> None:
        self.length = len(data)
        self._data = data

    async def read(self) -> bytes:
        """See `BodyStream.read`."""
        return self.buffered()

    async def read_all(self, limit: int) -> bytes:
        """See `BodyStream.read_all`."""
        if len(self._data) > limit:
            raise BodyTooLarge(limit)
        return self.buffered()

    def buffered(self) -> bytes:
        """See `BodyStream.buffered`."""
        data, self._data = self._data, b""
        return data
