"""Small bodies that have come in one round of the network, stored one right after the other.

Doing the same for each of some twenty costs less than doing everything for one after the other, as all that
it takes stays in the processor's caches; and the next requests are on their way meanwhile.
"""

from collections.abc import Callable
from typing import Protocol


class Arrived(Protocol):
    """An item whose body is here."""

    is_over: bool
    """Nobody wants the item any more."""

    def store(self) -> None:
        """Store what has come. Must not raise."""


class Arrivals:
    """Collects what has come until the round is over."""

    def __init__(self, afterwards: Callable[[Callable[[], None]], None]) -> None:
        """`afterwards` calls what it is given when all answers of the round have been told."""
        self._afterwards = afterwards
        self._arrived: list[Arrived] = []

    def add(self, arrived: Arrived) -> None:
        """Have an item stored soon."""
        if not self._arrived:
            self._afterwards(self._store)
        self._arrived.append(arrived)

    def _store(self) -> None:
        arrived, self._arrived = self._arrived, []
        for item in arrived:
            if not item.is_over:
                item.store()
