"""Writes that were passed on, of unknown outcome: what is here stays until its source has been asked.

Whoever can reach the node can send such a write, so it must not empty the cache. The node asks with its own
credentials whether the object is still the one that is here, and goes on asking while it gets no answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from aisle.errors import AisleError, NotYetWritten, ObjectNotFound
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName
from aisle.model.record import Record
from aisle.model.unwritten import is_unwritten
from aisle.target.remote_objects import RemoteObjects

PATIENCE_S: Final = 2.0
"""How long the client of such a write waits for the source to be asked."""
_PENDING_MAX: Final = 100_000
"""Objects per bucket about which there is a question; some 300 bytes each."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


class _Question:
    """Whether one object has changed."""

    __slots__ = ("info", "is_asked")

    def __init__(self, info: BucketInfo) -> None:
        self.info = info
        self.is_asked = asyncio.Event()


class UnsureWrites:
    """The questions of one process; one source is asked one after the other."""

    def __init__(
        self, remote: RemoteObjects, *, pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """`pause` waits for some seconds."""
        self._remote = remote
        self._pause = pause
        self._pending: dict[int, dict[bytes, _Question]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def settle(self, info: BucketInfo, key: bytes) -> None:
        """Have the copy dropped if its source has another one; later, if the source is silent."""
        # What is on its way in may have been read before the write.
        self._remote.cold.forget(info, key)
        pending = self._pending.setdefault(info.number, {})
        if len(pending) >= _PENDING_MAX and key not in pending:
            await self._drop(info, key)
            return
        question = pending[key] = _Question(info)
        if info.number not in self._tasks:
            self._tasks[info.number] = asyncio.create_task(self._ask_all(info.number, pending))
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                await question.is_asked.wait()

    async def _ask_all(self, number: int, pending: dict[bytes, _Question]) -> None:
        pause_s = _FIRST_PAUSE_S
        try:
            while pending:
                key, question = next(iter(pending.items()))
                is_answered = await self._ask(question.info, key)
                question.is_asked.set()
                if pending[key] is not question:
                    continue  # there was another write meanwhile
                del pending[key]
                if is_answered:
                    pause_s = _FIRST_PAUSE_S
                    continue
                pending[key] = question  # behind the others
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        finally:
            del self._tasks[number]
            del self._pending[number]

    async def _ask(self, info: BucketInfo, key: bytes) -> bool:
        """Whether it is known now; the copy is dropped if it is out of date."""
        try:
            held = self._remote.engine.look_up(ObjectName(info.number, key))
            if held is None or is_unwritten(held.record.attributes):
                return True
            if not await self._is_current(info, key, held.record):
                await self._drop(info, key)
        except AisleError:
            return False
        return True

    async def _is_current(self, info: BucketInfo, key: bytes, record: Record) -> bool:
        try:
            return await self._remote.is_current(info, key, record)
        except ObjectNotFound:
            return False

    async def _drop(self, info: BucketInfo, key: bytes) -> None:
        with suppress(NotYetWritten):
            await self._remote.evict(info, key)
