"""A large object of a provider, over as many connections as pay, into parts that outlive the process.

Each connection asks for a range of the version that was seen first. What one of them has not brought when it
fails, the others go on with; when the last one fails, all that came waits for the next attempt.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

from aisle.backends.provider import BackendProvider, RemoteObject, RemoteRead, close_chunks
from aisle.errors import AisleError, NotFound, SourceChanged, SourceFailed, SourceUnreachable
from aisle.jobs.item_owner import ItemOwner
from aisle.jobs.large import LargeObject, Source
from aisle.jobs.piece import Piece
from aisle.jobs.streams import Demand
from aisle.rules.download_plan import Item

Chunks = AsyncIterator[bytes]


class Told(NamedTuple):
    """What a provider tells of an object; see large.Answer."""

    etag: str
    announced: Mapping[str, str]

    @property
    def validator(self) -> str:
        """What only this version has."""
        return self.etag

    def digests(self) -> Mapping[str, str]:
        """The digests that the bytes must have, by kind."""
        return self.announced


class Origin(NamedTuple):
    """Where the bytes are."""

    provider: BackendProvider
    bucket: str
    about: RemoteObject
    """What was seen first: all bytes are of this version."""


class ProviderParts:
    """The object, over all attempts of its item.

    `spared` is told of every connection that ends while others go on, with why if it failed.
    """

    def __init__(self, owner: ItemOwner, item: Item, spared: Callable[[AisleError | None], None]) -> None:
        self.large = LargeObject(
            owner.destination,
            Source(item.key, item.link, owner.id),
            owner.budget,
            part_bytes=owner.part_bytes,
            broken=self._storing_broke,
        )
        self.connections = 0
        """How many there are as far as the owner knows."""
        self._owner = owner
        self._spared = spared
        self._origin: Origin | None = None
        self._demand: Demand | None = None
        self._running: dict[asyncio.Task[None], Piece] = {}
        self._over: asyncio.Future[None] | None = None
        self._opened: Chunks | None = None  # what the first connection takes
        self._broken: Exception | None = None
        self._is_alone = False  # a further connection was sent what this one brings

    def is_of(self, about: RemoteObject) -> bool:
        """Whether what is here is of this version of the object."""
        return (self.large.total, self.large.etag) == (about.size, about.etag)

    async def fetch(self, origin: Origin, opened: Chunks | None = None) -> None:
        """Bring all that is missing; `opened` are all bytes of an object of which nothing is here.

        Raises what the last connection failed with, SourceChanged for another version, and what storing
        raised. What has come stays, for another call.
        """
        if self._broken is not None:
            raise self._broken
        if self.large.is_whole:
            return  # an attempt ended between its last byte and storing them
        loop = asyncio.get_running_loop()
        self._origin, self._opened = origin, opened
        self._over, self.connections = loop.create_future(), 1
        self._demand = Demand(self.large, self._owner, loop.time())
        try:
            self._start(origin.about.size)
            await self._over
        finally:
            self.stop()
            if self._opened is not None:
                await close_chunks(self._opened)
            self._over = self._demand = None
            while self.connections > 1:
                self._spare(None)
            self.connections = 0

    def stop(self) -> None:
        """Break all connections off; nobody is told."""
        running, self._running = self._running, {}
        for task, piece in running.items():
            task.cancel()
            self._put_back(piece)
            self._owner.spawn(ended(task))

    def wants_more(self, now_s: float) -> bool:
        """Whether the object would come faster over one more connection."""
        demand, running = self._demand, len(self._running)
        if demand is None or not running or self._is_alone:
            return False
        return demand.wants_more(now_s, running)

    def start_more(self) -> None:
        """Use one more connection; only after `wants_more` has said so."""
        assert self._demand is not None
        self.connections += 1
        self._start(self._demand.claim_bytes())

    def _start(self, length: int) -> None:
        piece = self.large.next_piece(length)
        assert piece is not None, "asked for although there was nothing left"
        piece.begin()
        task = asyncio.create_task(self._bring(piece))
        self._running[task] = piece
        task.add_done_callback(self._ended)

    async def _bring(self, piece: Piece) -> None:
        """Take the bytes of a piece. Raises what a provider raises, SourceChanged for what is gone."""
        try:
            await self._take(piece)
        except NotFound as error:
            raise SourceChanged(f"its source has removed it: {error}") from error

    async def _take(self, piece: Piece) -> None:
        chunks, self._opened = self._opened, None
        if chunks is None:
            chunks = (await self._asked(piece)).chunks
        owner, loop, room = self._owner, asyncio.get_running_loop(), asyncio.Event()
        try:
            async for chunk in chunks:
                if owner.throttle is not None:
                    wait_s = owner.throttle.reserve(len(chunk), loop.time())
                    if wait_s > 0:
                        await asyncio.sleep(wait_s)
                while not piece.offer(chunk, room.set):
                    await room.wait()
                    room.clear()
                owner.bytes_received += len(chunk)
                if piece.is_full:
                    return
        finally:
            await close_chunks(chunks)
        raise SourceUnreachable(f"its source ended {piece.claim.left if piece.claim else 0} bytes too early")

    async def _asked(self, piece: Piece) -> RemoteRead:
        origin, claim = self._origin, piece.claim
        assert origin is not None
        assert claim is not None
        about = origin.about
        opened = await origin.provider.get(
            origin.bucket, about.key, offset=claim.position, length=claim.left, etag=about.etag
        )
        if claim.position and not opened.keeps_ranges and len(self._running) > 1:
            self._is_alone = True
            await close_chunks(opened.chunks)
            raise SourceFailed("its source gives no parts of objects")
        return opened

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A connection has brought its bytes, or failed."""
        piece = self._running.pop(task, None)
        error = None if task.cancelled() else task.exception()  # asked for, also where nobody wants to know
        if piece is None or task.cancelled():
            return
        is_full = self._put_back(piece)
        over, demand = self._over, self._demand
        if over is None or demand is None or over.done():
            return
        if is_full:
            error = None
        elif not isinstance(error, SourceFailed) or isinstance(error, SourceChanged):
            over.set_exception(error or AssertionError("a connection ended before its bytes did"))
            return
        if self._running:
            if error is not None:
                demand.refused(len(self._running))
            self._spare(error)
        elif error is not None:
            over.set_exception(error)
        elif self.large.is_whole:
            over.set_result(None)
        else:
            self._start(demand.claim_bytes())

    def _put_back(self, piece: Piece) -> bool:
        """Nobody brings bytes of a piece any more; whether all have come."""
        if piece.is_full:
            self.large.finish(piece)
            return True
        self.large.park(piece)
        return False

    def _spare(self, error: AisleError | None) -> None:
        self.connections -= 1
        self._spared(error)

    def _storing_broke(self, error: Exception) -> None:
        self._broken = error
        if self._over is not None and not self._over.done():
            self._over.set_exception(error)


async def ended(task: asyncio.Task[None]) -> None:
    """Wait for the end of a task that was cancelled."""
    await asyncio.wait([task])
