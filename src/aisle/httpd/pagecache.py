"""Whether bytes of a file can be had without waiting for a disk, and fetching them where not.

`preadv(RWF_NOWAIT)` reads only what the page cache holds. Some file systems cannot tell: tmpfs
never waits, so it is read in the loop; the others (overlayfs) are read in a thread.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Final

_RWF_NOWAIT: Final[int] = getattr(os, "RWF_NOWAIT", 0)
_MEMORY_TYPES: Final = frozenset({"tmpfs", "ramfs"})
_CANNOT_ASK: Final = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_PROBE: Final = bytearray(1)


class PageCache:
    """What one process knows about the file systems it reads from."""

    __slots__ = ("_asks", "_in_memory")

    def __init__(self) -> None:
        # Device number -> whether it can be asked; and whether it lives in memory if it cannot.
        self._asks: dict[int, bool] = {}
        self._in_memory: dict[int, bool] = {}

    def holds(self, fd: int, offset: int, device: int) -> bool:
        """Whether the byte at `offset` is at hand; what follows it is then likely to be, too."""
        if not self._asks.get(device, bool(_RWF_NOWAIT)):
            return self._in_memory.get(device, False)
        try:
            return os.preadv(fd, [_PROBE], offset, _RWF_NOWAIT) == 1
        except BlockingIOError:
            return False
        except OSError as error:
            return self._cannot_ask(error, device)

    def read_into(self, block: bytearray | memoryview, fd: int, offset: int) -> bool:
        """Fill `block` if all its bytes are at hand; whether they were. Ask `holds` before."""
        try:
            return os.preadv(fd, [block], offset, _RWF_NOWAIT) == len(block)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _CANNOT_ASK:
                raise
        # What cannot be asked lives in memory, or was just fetched.
        return os.preadv(fd, [block], offset) == len(block)

    def _cannot_ask(self, error: OSError, device: int) -> bool:
        if error.errno not in _CANNOT_ASK:
            raise error
        self._asks[device] = False
        in_memory = self._in_memory[device] = device in _memory_devices()
        return in_memory


def _memory_devices() -> set[int]:
    """Device numbers of mounted file systems that live in memory."""
    if sys.platform != "linux":
        return set()
    devices = set()
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
        fields = line.split(" ")
        kind = fields[fields.index("-") + 1]
        if kind in _MEMORY_TYPES:
            major, minor = fields[2].split(":")
            devices.add(os.makedev(int(major), int(minor)))
    return devices


def fetch(fd: int, offset: int, count: int) -> None:
    """Bring a span into the page cache, and let the kernel begin with what follows. Blocks."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, offset, 2 * count, os.POSIX_FADV_WILLNEED)
    block = bytearray(min(count, 256 * 1024))
    end = offset + count
    while offset < end:
        read = os.preadv(fd, [memoryview(block)[: end - offset]], offset)
        if not read:
            return
        offset += read


def read_block(fd: int, offset: int, count: int) -> bytes:
    """Up to `count` bytes, fewer only at the end of the file. Blocks."""
    block = os.pread(fd, count, offset)
    while len(block) < count:
        more = os.pread(fd, count - len(block), offset + len(block))
        if not more:
            break
        block += more
    return block
