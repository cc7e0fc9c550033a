"""A page cache that is full, as on any machine that has served files for a while.

A virtual machine's free pages may belong to its host again (free page reporting): the first touch of each
then costs a trip to the host. Writing a file into such memory took 1.7 s/GiB of processor time on a machine
where it takes 0.25 s/GiB otherwise, and it hit whoever happened to be given those pages.
"""

import os
from pathlib import Path

_FREE_MAX_BYTES = 1024**3
"""The kernel takes pages of the cache when less is free: these cost nothing to touch."""
_SLICE_BYTES = 64 * 1024**2


class Ballast:
    """A file without blocks: reading it fills the page cache with clean pages, the first that go again."""

    def __init__(self, folder: Path) -> None:
        self._size = _memory_bytes("MemTotal")  # so that once around fills it, whoever ends meanwhile
        self._at = 0
        self._file = os.open(folder / "ballast", os.O_RDWR | os.O_CREAT)
        os.truncate(self._file, self._size)
        self._slice = bytearray(_SLICE_BYTES)
        self._is_in_vain = False

    def fill(self) -> None:
        """Read on until little memory is free, at most once around; nothing once that did not help.

        A file system in memory keeps no pages of holes, and a container's limit may keep the cache small.
        """
        if self._is_in_vain:
            return
        for _ in range(0, self._size, _SLICE_BYTES):
            if _memory_bytes("MemFree") <= _FREE_MAX_BYTES:
                return
            os.preadv(self._file, [self._slice], self._at)
            self._at = (self._at + _SLICE_BYTES) % self._size
        self._is_in_vain = _memory_bytes("MemFree") > _FREE_MAX_BYTES

    def close(self) -> None:
        """Give the memory back."""
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(self._file)


def _memory_bytes(name: str) -> int:
    """A line of /proc/meminfo."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return 0
