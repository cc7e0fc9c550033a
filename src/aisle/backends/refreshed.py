"""What is asked for in threads and remembered for a while, such as credentials: tokens end, files change."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, TypeVar, cast

from aisle.transfer.resolving import in_own_thread

REFRESH_S: Final = 30.0

Value = TypeVar("Value")


class Refreshed(Generic[Value]):
    """A value that is asked for again when it is older than `REFRESH_S`; belongs to one event loop."""

    def __init__(self, ask: Callable[[], Value]) -> None:
        """`ask` may block: it is called in a thread, never twice at a time; nobody's end waits for it."""
        self._ask = ask
        self._kept: Value | None = None
        self._asked_s = -REFRESH_S
        self._asking: asyncio.Future[Value] | None = None

    async def current(self) -> Value:
        """The value as it is now. Raises what `ask` raises, to all who waited; it is then asked again."""
        if monotonic() - self._asked_s < REFRESH_S:
            return cast("Value", self._kept)  # None may be a value too
        if self._asking is None or self._asking.done():
            self._asking = in_own_thread(self._ask)
            self._asking.add_done_callback(self._keep)
        return await asyncio.shield(self._asking)

    def _keep(self, asked: "asyncio.Future[Value]") -> None:
        if not asked.cancelled() and asked.exception() is None:
            self._kept, self._asked_s = asked.result(), monotonic()
