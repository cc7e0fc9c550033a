"""What is asked for in threads and remembered for a while, such as credentials: tokens end, files change."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, TypeVar, cast

REFRESH_S: Final = 30.0

Value = TypeVar("Value")


class Refreshed(Generic[Value]):
    """A value that is asked for again when it is older than `REFRESH_S`; belongs to one event loop."""

    def __init__(self, ask: Callable[[], Value]) -> None:
        """`ask` may block: it is called in a thread, never twice at a time."""
        self._ask = ask
        self._kept: Value | None = None
        self._asked_s = -REFRESH_S
        self._asking = asyncio.Lock()

    async def current(self) -> Value:
        """The value as it is now. Raises what `ask` raises, which is then asked again the next time."""
        if monotonic() - self._asked_s >= REFRESH_S:
            async with self._asking:
                if monotonic() - self._asked_s >= REFRESH_S:
                    self._kept = await asyncio.to_thread(self._ask)
                    self._asked_s = monotonic()
        return cast("Value", self._kept)  # None may be a value too
