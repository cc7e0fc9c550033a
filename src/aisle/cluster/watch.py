"""Watching documents by comparing snapshots: what is new since the last look.

Stores that cannot push changes are looked at when they are told to (a doorbell) and at an interval.
A look that finds the revision unchanged costs well below a microsecond, so the interval is short.
"""

from collections.abc import Callable
from typing import NamedTuple

from aisle.cluster.store import Change, Document

POLL_INTERVAL_S = 0.25
"""How late a change arrives when no doorbell rings."""


class Dated(NamedTuple):
    """A document and the change that wrote it: a key removed and created again has another one."""

    document: Document
    sequence: int


def differences(before: dict[str, Dated], after: dict[str, Dated]) -> list[Change]:
    """What happened between two snapshots, in order of the changes; removals come first."""
    gone = [Change(key, None) for key in before if key not in after]
    written = [
        dated for key, dated in after.items() if key not in before or before[key].sequence != dated.sequence
    ]
    written.sort(key=lambda dated: dated.sequence)
    return gone + [Change(dated.document.key, dated.document) for dated in written]


class PollingWatch:
    """An endless iterator over changes; the first snapshot is taken when it is made."""

    def __init__(
        self,
        revision: Callable[[], int],
        snapshot: Callable[[], dict[str, Dated]],
        *,
        interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        # The supervisor uses stores too, never watches, and starts faster without an event loop.
        import asyncio

        self._revision = revision
        self._snapshot = snapshot
        self._interval_s = interval_s
        self._seen_revision = revision()
        self._seen = snapshot()
        self._pending: list[Change] = []
        self._rung = asyncio.Event()

    def wake(self) -> None:
        """Look now; called from the loop's own thread."""
        self._rung.set()

    def __aiter__(self) -> "PollingWatch":
        return self

    async def __anext__(self) -> Change:
        """The next change, however long it takes."""
        while not self._pending:
            self._rung.clear()
            self._look()
            if not self._pending:
                await self._rest()
        return self._pending.pop(0)

    def _look(self) -> None:
        # The revision is read before the documents: a change in between is looked at twice.
        revision = self._revision()
        if revision != self._seen_revision:
            after = self._snapshot()
            self._pending = differences(self._seen, after)
            self._seen, self._seen_revision = after, revision

    async def _rest(self) -> None:
        import asyncio

        try:
            async with asyncio.timeout(self._interval_s):
                await self._rung.wait()
        except TimeoutError:
            pass
