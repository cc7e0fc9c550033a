"""The one place where written bytes are pushed to the disk.

Everything durable goes through a `Durability`. There is one real one, `FULL`; tests pass others that
skip a step, to prove that their power cuts would notice.
"""

import ctypes
import os

_SYNC_FILE_RANGE_WRITE = 2  # <fcntl.h>: start writing dirty pages, wait for nothing


class Durability:
    """How bytes reach the disk. Raises OSError when the disk cannot keep them."""

    index_sync = True
    """Whether LMDB flushes with every commit."""

    def sync_payload(self, fd: int) -> None:
        """Make a payload file's bytes and length durable."""
        # Times and owners may be lost, so fdatasync is enough: it does flush a changed length.
        os.fdatasync(fd)

    def sync_folder(self, path: str) -> None:
        """Make the names in a folder durable."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def start_writeback(self, fd: int, offset: int, length: int) -> None:
        """Let the disk begin with a span, so that the sync at the end has little left to do."""
        if _sync_file_range is not None:
            _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


FULL = Durability()
"""What every node uses."""


def _find_sync_file_range() -> "ctypes._NamedFuncPointer | None":
    # A hint only; where the C library has no such call (macOS), the kernel's own writeback must do.
    function: ctypes._NamedFuncPointer | None = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function


_sync_file_range = _find_sync_file_range()
