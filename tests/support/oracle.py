"""What a store may show: the memory of a test about its own writes.

Each name has one writer at a time. A write that was answered must be there; one whose answer never
came may be there or not, at any later moment until the store was quiet and looked at (`settle`). A
read may show any state that was possible at some moment while it ran.
"""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from support.content import describe, payload


class Operation(NamedTuple):
    """One write of a name: `size` in bytes, or None for a deletion. Sequence 0 is "never written"."""

    sequence: int
    size: int | None


class Moment(NamedTuple):
    """What was possible when a read began, and how many operations had begun by then."""

    possible: frozenset[Operation]
    begun: int


NEVER_WRITTEN = Operation(0, None)


class Violation(AssertionError):
    """The store showed what it must not: a lost, torn, or resurrected object."""


@dataclass
class _History:
    operations: list[Operation] = field(default_factory=lambda: [NEVER_WRITTEN])
    acknowledged: Operation = NEVER_WRITTEN
    open: set[Operation] = field(default_factory=set)

    def possible(self) -> frozenset[Operation]:
        return frozenset({self.acknowledged, *self.open})


class Oracle:
    """The histories of all names; every method may be called from any thread."""

    def __init__(self) -> None:
        self._histories: dict[str, _History] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Every name that was ever written to, in byte order."""
        with self._lock:
            return sorted(self._histories, key=str.encode)

    def begin(self, name: str, size: int | None) -> Operation:
        """The next write of `name` is about to be sent: from now on it may show."""
        with self._lock:
            history = self._histories.setdefault(name, _History())
            operation = Operation(len(history.operations), size)
            history.operations.append(operation)
            history.open.add(operation)
            return operation

    def acknowledge(self, name: str, operation: Operation) -> None:
        """The write was answered with success. Earlier unanswered ones may still arrive late."""
        with self._lock:
            history = self._histories[name]
            history.open.discard(operation)
            history.acknowledged = operation

    def refuse(self, name: str, operation: Operation) -> None:
        """The write was refused for certain: it must never show."""
        with self._lock:
            self._histories[name].open.discard(operation)

    def moment(self, name: str) -> Moment:
        """What is possible now; taken before a read is sent and given to `check` afterwards."""
        with self._lock:
            history = self._histories.get(name, _History())
            return Moment(history.possible(), len(history.operations))

    def possible(self, name: str, since: Moment | None = None) -> frozenset[Operation]:
        """What may be seen now, or by a read that began at `since`."""
        with self._lock:
            history = self._histories.get(name, _History())
            if since is None:
                return history.possible()
            return since.possible | frozenset(history.operations[since.begun :])

    def check(self, name: str, body: bytes | None, since: Moment | None = None) -> Operation:
        """The operation that explains what a read showed (None: no such object).

        Raises Violation when no possible one does.
        """
        possible = self.possible(name, since)
        for operation in sorted(possible, reverse=True):
            if _explains(name, operation, body):
                return operation
        seen = "no object" if body is None else describe(body)
        raise Violation(f"{name!r}: found {seen}; possible were {sorted(possible)}")

    def settle(self, name: str, body: bytes | None) -> None:
        """The store is quiet and shows this: nothing else is possible any more. Raises Violation."""
        operation = self.check(name, body)
        with self._lock:
            history = self._histories[name]
            history.acknowledged = operation
            history.open.clear()

    def deletion_found_nothing(self, name: str, before: Moment) -> None:
        """A deletion was answered "no such object". Raises Violation if there had to be one before it."""
        if all(operation.size is not None for operation in before.possible):
            raise Violation(f"{name!r}: nothing to delete; possible were {sorted(before.possible)}")

    def check_listing(self, listed: Iterable[tuple[str, int]], since: dict[str, Moment]) -> int:
        """Check a whole listing against the moments taken before it began; the number of entries.

        Order is that of the names' bytes, no name comes twice, each has a possible size, and none
        that had to be there is missing. Raises Violation.
        """
        sizes: dict[str, int] = {}
        previous = b""
        for name, size in listed:
            if name.encode() <= previous:
                raise Violation(f"listing: {name!r} follows {previous!r}")
            previous = name.encode()
            sizes[name] = size
        for name in sorted(since.keys() | sizes.keys()):
            possible = self.possible(name, since.get(name, Moment(frozenset({NEVER_WRITTEN}), 0)))
            if sizes.get(name) not in {operation.size for operation in possible}:
                raise Violation(f"listing: {name!r} has size {sizes.get(name)}; possible {sorted(possible)}")
        return len(sizes)

    def moments(self) -> dict[str, Moment]:
        """`moment` of every name."""
        return {name: self.moment(name) for name in self.names()}

    def totals(self) -> tuple[int, int]:
        """Objects and payload bytes once everything is settled."""
        sizes = []
        for name in self.names():
            (operation,) = self.possible(name)
            if operation.size is not None:
                sizes.append(operation.size)
        return len(sizes), sum(sizes)


def _explains(name: str, operation: Operation, body: bytes | None) -> bool:
    if operation.size is None or body is None:
        return operation.size is None and body is None
    return len(body) == operation.size and body == payload(name, operation.sequence, operation.size)
