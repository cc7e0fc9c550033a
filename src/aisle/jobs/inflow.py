"""Bytes on their way from the network to the disk: a bounded queue that cannot be waited for.

The network side offers chunks from callbacks and is told no when there is no room; the storing side
takes blocks of chunks, large enough that waking it pays; the bytes are never copied on the way. What
all queues of a process hold together is bounded too, but each may always hold one block, so that none
starves.
"""

import asyncio
from collections import deque
from collections.abc import Callable

BLOCK_BYTES = 1024 * 1024
_QUEUED_BYTES_MAX = 6 * BLOCK_BYTES


class ByteBudget:
    """How many bytes all queues may hold together."""

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0


class Inflow:
    """One queue: `offer` from the loop's callbacks, `take` from one task."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._chunks: list[bytes] = []
        self._chunk_bytes = 0
        self._blocks: deque[tuple[int, list[bytes]]] = deque()
        self._held_bytes = 0  # everything offered and not yet done with
        self._in_work = 0
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None
        self._on_room: Callable[[], None] | None = None

    def offer(self, chunk: bytes, on_room: Callable[[], None]) -> bool:
        """Queue a chunk, or return False and call `on_room` later, when it may be offered again."""
        budget = self._budget
        if self._held_bytes >= BLOCK_BYTES and (
            self._held_bytes >= _QUEUED_BYTES_MAX or budget.used_bytes >= budget.limit_bytes
        ):
            self._on_room = on_room
            return False
        size = len(chunk)
        self._chunks.append(chunk)
        self._chunk_bytes += size
        self._held_bytes += size
        budget.used_bytes += size
        if self._chunk_bytes >= BLOCK_BYTES:
            self._seal()
        return True

    def end(self) -> None:
        """Nothing more will be offered."""
        self._ended = True
        if self._chunks:
            self._seal()
        self._wake()

    async def take(self) -> list[bytes] | None:
        """The next block's chunks, or None at the end. Asking says that the last ones are done with."""
        if self._in_work:
            self._release(self._in_work)
            self._in_work = 0
        while not self._blocks:
            if self._ended:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        self._in_work, chunks = self._blocks.popleft()
        return chunks

    def drop(self) -> None:
        """Forget everything that is queued."""
        self._ended = True
        self._chunks = []
        self._chunk_bytes = 0
        self._blocks.clear()
        self._budget.used_bytes -= self._held_bytes
        self._held_bytes = self._in_work = 0
        self._on_room = None
        self._wake()

    def _seal(self) -> None:
        self._blocks.append((self._chunk_bytes, self._chunks))
        self._chunks = []
        self._chunk_bytes = 0
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _release(self, size: int) -> None:
        self._held_bytes -= size
        self._budget.used_bytes -= size
        on_room, self._on_room = self._on_room, None
        if on_room is not None:
            on_room()
