"""Rates: how long to wait before taking more bytes."""

from typing import Protocol


class Throttle(Protocol):
    """Says how long bytes that have come must wait. Times are seconds of any steady clock."""

    def reserve(self, length: int, now_s: float) -> float:
        """Take `length` bytes; the seconds to wait before using them, 0 for at once."""

    def is_overdrawn(self, now_s: float) -> bool:
        """Whether more bytes would have to wait."""


class TokenBucket:
    """Lets bytes through at a steady rate, with bursts of at most one second's worth.

    Takers reserve: each learns how long to wait for its bytes and is then not asked again, so many
    of them share the rate in the order they came. Times are seconds of any steady clock.
    """

    __slots__ = ("_bytes_per_second", "_free_at_s")

    def __init__(self, bytes_per_second: float) -> None:
        assert bytes_per_second > 0
        self._bytes_per_second = bytes_per_second
        self._free_at_s = 0.0
        """When all bytes let through so far will have been paid for."""

    def reserve(self, length: int, now_s: float) -> float:
        """Take `length` bytes; the seconds to wait before using them, 0 for at once."""
        # What was not used for more than a second is lost.
        start_s = max(self._free_at_s, now_s - 1.0)
        self._free_at_s = start_s + length / self._bytes_per_second
        return max(0.0, self._free_at_s - now_s)

    def is_overdrawn(self, now_s: float) -> bool:
        """Whether more bytes would have to wait."""
        return self._free_at_s > now_s


class _Slowest:
    """Several throttles that all must let the bytes through."""

    __slots__ = ("_throttles",)

    def __init__(self, throttles: tuple[Throttle, ...]) -> None:
        self._throttles = throttles

    def reserve(self, length: int, now_s: float) -> float:
        """Take `length` bytes from each; the longest wait."""
        return max(throttle.reserve(length, now_s) for throttle in self._throttles)

    def is_overdrawn(self, now_s: float) -> bool:
        """Whether more bytes would have to wait."""
        return any(throttle.is_overdrawn(now_s) for throttle in self._throttles)


def together(*throttles: Throttle | None) -> Throttle | None:
    """One throttle for all that are given; None if there are none."""
    given = tuple(throttle for throttle in throttles if throttle is not None)
    return _Slowest(given) if len(given) > 1 else given[0] if given else None
