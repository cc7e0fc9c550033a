"""Some bytes of a large object, on their way from one connection to the disk.

They come in order, through a bounded queue, into drafts. Whether the drafts become parts of an upload,
one after the other, or a single one becomes the object, is for the object to say.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aisle.jobs.inflow import ByteBudget, Inflow
from aisle.rules.download_streams import Claim
from aisle.storage.engine import Draft


class Whole(Protocol):
    """The object that a piece belongs to."""

    def hash(self, offset: int, chunks: Sequence[bytes]) -> Awaitable[None] | None:
        """Take bytes into the object's digests if all before them are; what to await, if anything."""

    def seals(self, size: int, age_s: float) -> bool:
        """Whether a draft of this size, begun so long ago, should become a part now."""

    def part_room(self, size: int) -> int:
        """How many bytes more a draft of this size may take."""

    def new_draft(self, size: int | None) -> Draft:
        """A draft for so many bytes, if that is known."""

    def is_in_parts(self) -> bool:
        """Whether what a piece ends with is a part too."""

    async def commit_part(self, offset: int, draft: Draft) -> None:
        """Make a draft durable as a part."""

    def extend(self, piece: "Piece") -> None:
        """Let a piece go on behind its end, if nobody else has claimed what follows."""

    def piece_broke(self, error: Exception) -> None:
        """The bytes cannot be stored."""


class Piece:
    """Bytes from `claim.start` on. `claim` is None for an object whose length nobody knows."""

    def __init__(self, whole: Whole, claim: Claim | None, budget: ByteBudget) -> None:
        self.claim = claim
        self.reach = claim.end if claim is not None else 0
        """How far the connection would deliver: more than the claim, once that was cut."""
        self.received = 0
        self.held_back = False
        """Set when there was no room for bytes that had come; whoever reads it takes it back."""
        self.draft: Draft | None = None
        self._whole = whole
        self._inflow = Inflow(budget)
        self._offset = self._written = claim.start if claim is not None else 0
        self._began_s = 0.0
        self._abandoned = False
        self._committing: asyncio.Task[None] | None = None
        self._pump: asyncio.Task[None] | None = None

    @property
    def position(self) -> int:
        """Where in the object the next byte belongs."""
        return self.claim.position if self.claim is not None else self.received

    @property
    def is_full(self) -> bool:
        """Whether all bytes of the claim have come."""
        return self.claim is not None and not self.claim.left

    def begin(self) -> None:
        """Bytes will come, for the first time or again."""
        if self._pump is None:
            self._pump = asyncio.get_running_loop().create_task(self._store())

    def offer(self, chunk: bytes, on_room: Callable[[], None]) -> bool:
        """Take the next bytes, or return False and call `on_room` when they may be offered again.

        What lies behind the claim is not taken, and not asked for again: see `is_full`.
        """
        claim = self.claim
        if claim is not None and len(chunk) >= claim.left:
            if self.reach > claim.end:
                self._whole.extend(self)
            if len(chunk) > claim.left:
                chunk = chunk[: claim.left]
        if not self._inflow.offer(chunk, on_room):
            self.held_back = True
            return False
        self.received += len(chunk)
        if claim is not None:
            claim.position += len(chunk)
        return True

    def finish(self) -> None:
        """No more bytes will be offered."""
        self._inflow.end()

    async def stored(self) -> None:
        """Wait until everything is written, after `finish`. Raises what storing raised."""
        if self._pump is not None:
            await self._pump
        await self._part_committed()

    async def abandon(self) -> None:
        """Forget what is not a part."""
        self._abandoned = True
        self._inflow.drop()
        for task in (self._pump, self._committing):
            if task is not None:
                # Not cancelled: a thread may be writing to the draft that is aborted below.
                await asyncio.wait([task])
                if not task.cancelled():
                    task.exception()
        if self.draft is not None:
            self.draft.abort()
            self.draft = None

    async def _store(self) -> None:
        try:
            while (chunks := await self._inflow.take()) is not None:
                await self._write(chunks)
            if self._whole.is_in_parts() and self.draft is not None and not self._abandoned:
                await self._seal()
        except Exception as error:
            self._inflow.drop()
            self._whole.piece_broke(error)
            raise

    async def _write(self, chunks: Sequence[bytes]) -> None:
        hashing = self._whole.hash(self._written, chunks)
        self._written += sum(map(len, chunks))
        try:
            for chunk in chunks:
                draft = self.draft or self._new_draft()
                if len(chunk) >= self._whole.part_room(draft.size):
                    await self._write_across(memoryview(chunk))
                elif (pending := draft.write(chunk)) is not None:
                    await pending
        finally:
            if hashing is not None:
                await hashing
        draft_age_s = asyncio.get_running_loop().time() - self._began_s
        if self.draft is not None and self._whole.seals(self.draft.size, draft_age_s):
            await self._seal()

    async def _write_across(self, view: memoryview) -> None:
        """Write a chunk that fills the part, and what is left of it to the next."""
        while view:
            draft = self.draft or self._new_draft()
            taken = view[: self._whole.part_room(draft.size)]
            await done(draft.write(taken))
            view = view[len(taken) :]
            if not self._whole.part_room(draft.size):
                await self._seal()

    def _new_draft(self) -> Draft:
        left = self.claim.end - self._offset if self.claim is not None else None
        self._began_s = asyncio.get_running_loop().time()
        self.draft = self._whole.new_draft(left)
        return self.draft

    async def _seal(self) -> None:
        """Let the draft become a part, while the next one fills."""
        await self._part_committed()
        draft, self.draft = self.draft, None
        assert draft is not None
        offset, self._offset = self._offset, self._offset + draft.size
        self._committing = asyncio.get_running_loop().create_task(self._whole.commit_part(offset, draft))

    async def _part_committed(self) -> None:
        committing, self._committing = self._committing, None
        if committing is not None:
            await committing


async def done(pending: Awaitable[None] | None) -> None:
    """Await what is to be awaited, if anything."""
    if pending is not None:
        await pending
