"""Who of a node's processes fetches which object: claims in a file that all of them share.

A claim is a lock on one byte of the shared file, whose place follows from the object's name. The system
grants it to one process, tells any other whose it is, and takes it back when its process dies, however
that happens; there is nothing to clean up and no lock that anybody waits for.

The file also holds an epoch for each name (some names share one). Whatever makes a fetch out of date, a
write or a removal, changes the epoch, and with it the place of the claim: who asks afterwards finds no
earlier fetch.
"""

import fcntl
import mmap
import os
import struct
import sys
import tempfile
from typing import Final

from xxhash import xxh3_64_intdigest

from aisle.model.names import ObjectName

_EPOCHS: Final = 8192
_FILE_BYTES: Final = 8 * _EPOCHS
_PLACES: Final = (1 << 62) - 1
"""Locks lie behind the epochs as well as in them: a lock is no access."""
_LINUX: Final = sys.platform == "linux"
_FLOCK: Final = struct.Struct("hhqqi" if _LINUX else "qqihh")


def create_shared() -> int:
    """A new shared file without a name; its descriptor, not inheritable."""
    if _LINUX:
        fd = os.memfd_create("aisle-fetches", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix="aisle-fetches-") as file:
            fd = os.dup(file.fileno())
    # Nobody can guess which names share a place.
    os.pwrite(fd, os.urandom(_FILE_BYTES), 0)
    return fd


class Claims:
    """The shared file as one process sees it."""

    def __init__(self, fd: int) -> None:
        """`fd` is the file's; it must stay open, as closing any descriptor of it gives all claims up."""
        self._fd = fd
        self._memory = mmap.mmap(fd, _FILE_BYTES)
        self._epochs = memoryview(self._memory).cast("Q")
        self._held: set[int] = set()

    def place(self, name: ObjectName) -> int:
        """Where the claim for an object lies at present."""
        packed = name.bucket.to_bytes(8, "big") + name.key
        digest = xxh3_64_intdigest(packed)
        return xxh3_64_intdigest(packed, self._epochs[digest % _EPOCHS]) & _PLACES

    def outdate(self, name: ObjectName) -> None:
        """Whoever asks for the object from now on finds no fetch that has begun before."""
        packed = name.bucket.to_bytes(8, "big") + name.key
        # Not counted on: of two processes that count at once, one would undo the other's change.
        self._epochs[xxh3_64_intdigest(packed) % _EPOCHS] = int.from_bytes(os.urandom(8), "big")

    def take(self, place: int) -> bool:
        """Take a claim, unless this or another process has it."""
        if place in self._held:
            return False
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        self._held.add(place)
        return True

    def release(self, place: int) -> None:
        """Give a claim back."""
        self._held.discard(place)
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, place)

    def holder(self, place: int) -> int:
        """The process that has a claim, 0 if none has."""
        if place in self._held:
            return os.getpid()
        if _LINUX:
            asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, place, 1, 0)
            kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, asked))
        else:
            asked = _FLOCK.pack(place, 1, 0, fcntl.F_WRLCK, os.SEEK_SET)
            _, _, pid, kind, _ = _FLOCK.unpack(fcntl.fcntl(self._fd, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else int(pid)

    def close(self) -> None:
        """Give everything up."""
        self._epochs.release()
        self._memory.close()
        os.close(self._fd)
