"""Memory in which a worker leaves small payloads for the committer, instead of sending them.

Each worker makes its own, and hands it over with its greeting. It is cut into slots of one payload each. A
slot is written before the operation is sent that names it, and used again only when that operation was
answered: the committer may read it at any time in between, also after the worker has died, or after another
committer has taken its place. Where the system has no such memory, or all slots are in use, payloads travel
in their frames.
"""

import fcntl
import mmap
import os
from collections.abc import Iterable
from typing import Final

from aisle.model.record import INLINE_BYTES_MAX

_SLOTS: Final = 512
_SLOT_BYTES: Final = INLINE_BYTES_MAX
PAYLOAD_BYTES_MIN: Final = 1024
"""Smaller ones cost less where they are."""


class SharedPayloads:
    """The worker's end."""

    def __init__(self) -> None:
        """Raises OSError where there can be no such memory."""
        if not hasattr(os, "memfd_create"):
            raise OSError("no memory can be shared here")
        self.fd = os.memfd_create("payloads", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            # Pages come into being when they are written first.
            os.ftruncate(self.fd, _SLOTS * _SLOT_BYTES)
            # To read behind the end of a file kills who does: it never becomes shorter.
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self._view = memoryview(mmap.mmap(self.fd, _SLOTS * _SLOT_BYTES))
        except OSError:
            os.close(self.fd)
            raise
        # The one that was freed last comes first: it is in the processor's cache.
        self._free = list(range(_SLOTS * _SLOT_BYTES, 0, -_SLOT_BYTES))

    def put(self, chunks: Iterable[bytes | memoryview]) -> int:
        """Keep a payload of at most INLINE_BYTES_MAX bytes; its place, or 0 if there is none for it."""
        if not self._free:
            return 0
        place = self._free.pop()
        start = place - _SLOT_BYTES
        for chunk in chunks:
            end = start + len(chunk)
            self._view[start:end] = chunk
            start = end
        return place

    def free(self, place: int) -> None:
        """Nobody will read what is at this place any more."""
        self._free.append(place)

    def close(self) -> None:
        """Let go of it. Whoever has mapped it reads on."""
        os.close(self.fd)


class PayloadReader:
    """The committer's end."""

    def __init__(self, fd: int) -> None:
        """Takes the file over. Raises OSError and ValueError if it cannot be mapped."""
        try:
            self._view = memoryview(mmap.mmap(fd, 0, prot=mmap.PROT_READ))
        finally:
            os.close(fd)

    def at(self, place: int, length: int) -> memoryview:
        """The payload at a place. Raises ValueError if there can be none."""
        start = place - _SLOT_BYTES
        if start < 0 or length > _SLOT_BYTES or place > len(self._view):
            raise ValueError("a payload outside of the shared memory")
        return self._view[start : start + length]
