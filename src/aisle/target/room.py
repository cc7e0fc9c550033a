"""Whether there is room to keep what is fetched: below the level `space.out_of_space` and nowhere above.

Fetches of all processes of the node count, also what they have yet to write: each says in shared memory
how much that is before it looks how full the disk is, so that many together do not pass the level either.
What is half written counts in full until it is all there: the level is approached from below.
"""

import time
from collections.abc import Callable
from typing import Final, Protocol

from aisle.errors import OutOfSpace
from aisle.model.names import ObjectName
from aisle.model.record import INLINE_BYTES_MAX
from aisle.rules.eviction import Usage, footprint, share
from aisle.telemetry import COLD_EXPECTED_BYTES, COLD_NOT_KEPT, Telemetry

_PLENTY_BYTES: Final = 4 * 1024 * 1024 * 1024
"""Where so much more than is expected would fit, small objects do not look again for a moment."""
_MOMENT_S: Final = 0.02
"""So short that small objects cannot bring more meanwhile than the slack."""
_SLACK_BYTES: Final = 4 * 1024 * 1024
"""By how much indexes grow at a time, and what else the node writes."""


class FullDisks(Protocol):
    """What is asked about the disks."""

    def mountpath_of(self, name: ObjectName) -> str:
        """Where an object of that name would be put."""

    def usage(self, mountpath: str) -> Usage:
        """How full the file system of a mountpath is. Raises OSError."""

    def reusable(self, mountpath: str) -> int:
        """Bytes of free pages of its index, for small objects. Raises OSError."""


_of_this_process: "CacheRoom | None" = None


def keep_room(room: "CacheRoom") -> None:
    """Have the fetches of this process keep to a room, those that are made from now on."""
    global _of_this_process
    _of_this_process = room


def cache_room() -> "CacheRoom | None":
    """The room that the fetches of this process keep to; None where all is kept that the disks take."""
    return _of_this_process


class Reservation:
    """Room for one object that is being fetched, until it is released."""

    def __init__(self, slots: memoryview, size: int) -> None:
        self._slots = slots
        self._left = size
        slots[COLD_EXPECTED_BYTES] += size

    def release(self) -> None:
        """Nothing more will be written; harmless when done before."""
        self._slots[COLD_EXPECTED_BYTES] -= self._left
        self._left = 0


class CacheRoom:
    """The room of this node, for one process. `full_percent` is the level beyond which nothing is kept."""

    def __init__(
        self,
        disks: FullDisks,
        full_percent: Callable[[], int],
        telemetry: Telemetry,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._disks = disks
        self._full_percent = full_percent
        self._telemetry = telemetry
        self._now_s = now_s
        self._held: dict[object, Reservation] = {}
        self._plenty_until_s: dict[str, float] = {}
        """Until when a mountpath need not be looked at for a small object."""

    def hold(self, fetch: object, name: ObjectName, size: int) -> None:
        """Have room for what a fetch brings, until it is released. Raises OutOfSpace."""
        if size <= INLINE_BYTES_MAX and self._has_plenty(name):
            return  # what small ones have yet to write is far less than the slack
        reserved = self.reserve(name, size)
        if reserved is None:
            raise OutOfSpace(
                f"an object of {size} bytes is not kept: the disk is above the level space.out_of_space "
                f"({self._full_percent()} %); see ais show storage"
            )
        self._held[fetch] = reserved

    def _has_plenty(self, name: ObjectName) -> bool:
        """Whether a moment ago there was so much room that a small object need not look."""
        return self._now_s() < self._plenty_until_s.get(self._disks.mountpath_of(name), 0.0)

    def release(self, fetch: object) -> None:
        """A fetch writes nothing more; harmless when it holds nothing."""
        reserved = self._held.pop(fetch, None)
        if reserved is not None:
            reserved.release()

    def is_full(self, name: ObjectName) -> bool:
        """Whether not even an object of no size would be kept under this name."""
        if self._has_plenty(name):
            return False
        reserved = self.reserve(name, 0)
        if reserved is not None:
            reserved.release()
        return reserved is None

    def check(self, name: ObjectName, size: int) -> None:
        """Raise OutOfSpace if there is no room for `size` more bytes. Nothing is held, and no room is made.

        For what comes in without anybody having said that it may: a request must not make the node evict.
        """
        reserved = self._reserved(name, size)
        if reserved is None:
            raise OutOfSpace(f"no room for {size} more bytes: the disk is above the level space.out_of_space")
        reserved.release()

    def reserve(self, name: ObjectName, size: int) -> Reservation | None:
        """Room for an object of `size` bytes, or None where there is none: then it must not be kept."""
        reserved = self._reserved(name, size)
        if reserved is None:
            self._telemetry.slots[COLD_NOT_KEPT] += 1  # room is made then
        return reserved

    def _reserved(self, name: ObjectName, size: int) -> Reservation | None:
        is_inline = size <= INLINE_BYTES_MAX
        mountpath = self._disks.mountpath_of(name)
        reservation = Reservation(self._telemetry.slots, footprint(size, is_inline=is_inline))
        expected = self._telemetry.current(COLD_EXPECTED_BYTES) + _SLACK_BYTES
        try:
            usage = self._disks.usage(mountpath)
            limit = share(usage.total, self._full_percent())
            if usage.used + expected <= limit:
                if usage.used + expected + _PLENTY_BYTES <= limit:
                    self._plenty_until_s[mountpath] = self._now_s() + _MOMENT_S
                return reservation
            if is_inline and usage.used + expected - self._disks.reusable(mountpath) <= limit:
                return reservation
        except OSError:
            return reservation  # writing will tell what is wrong with the disk
        except BaseException:
            reservation.release()
            raise
        reservation.release()
        return None
