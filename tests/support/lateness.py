"""How much later than asked for an event loop gets to its work: bounds in time then hold on any machine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_TICK_S = 0.005


class Lateness:
    """Of the running event loop, since its block began."""

    def __init__(self) -> None:
        self.seconds = 0.0
        """The sum of all delays: what takes place in this loop may take that much longer."""

    async def measure(self) -> None:
        """Be woken again and again, and add up how late that is."""
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + _TICK_S
            await asyncio.sleep(_TICK_S)
            # A delay that a timer always has does not count.
            late_s = loop.time() - due_s
            self.seconds += late_s if late_s > _TICK_S else 0.0


@asynccontextmanager
async def measured_lateness() -> AsyncIterator[Lateness]:
    """Measure within the block, which runs in the loop that it is about."""
    lateness = Lateness()
    measuring = asyncio.create_task(lateness.measure())
    try:
        yield lateness
    finally:
        measuring.cancel()
