"""Waiting for the bell that tells of changed jobs, and not for ever: a ring may be lost."""

import asyncio
from typing import Final

_LOOK_INTERVAL_S: Final = 1.0


async def rung(doorbell: asyncio.Event) -> None:
    """Wait until somebody rings, a second at most; the bell is silent again."""
    try:
        # Not wait_for: it loses a cancellation that comes together with the bell.
        async with asyncio.timeout(_LOOK_INTERVAL_S):
            await doorbell.wait()
    except TimeoutError:
        pass
    doorbell.clear()
