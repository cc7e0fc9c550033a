"""The disk under the measurement: its flush time, and two things that would distort results."""

import fcntl
import os
import struct
import time
from pathlib import Path

from bench.measure import percentile

_FLUSHES = 200
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS of linux/fs.h
_TOP_DIRECTORY = 0x00020000  # FS_TOPDIR_FL


def flush_ms(folder: Path) -> tuple[float, float]:
    """Median and p99 of `fdatasync` after 4 KiB were appended to a file in `folder`, milliseconds."""
    times = []
    path = folder / "flush"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(_FLUSHES):
            os.write(descriptor, b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(descriptor)
            times.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(descriptor)
        path.unlink()
    return percentile(times, 0.5), percentile(times, 0.99)


def spread(folder: Path) -> None:
    """Ask the file system to place new folders in `folder` apart from each other (`chattr +T`).

    An ext4 without a journal does not reuse an inode for minutes after its file was removed, and
    looks at each such inode again for every file that is created near them: creating 10,000 files
    took 0.4 s in a fresh place and up to 3.3 s where others had just been removed. A peer that keeps
    objects in files would pay for the turn before. Other file systems ignore or refuse the flag.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, struct.pack("l", 0)))[0]
        fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _TOP_DIRECTORY))
    except OSError:
        pass  # not ext4: nothing to spread
    finally:
        os.close(descriptor)


def forget(file: Path) -> None:
    """Drop a file's clean pages from the page cache; nothing may have it mapped."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
