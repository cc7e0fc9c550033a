"""Room for the index to grow into, so that a full disk never stops deletes.

LMDB writes changed pages to new places, so even a delete needs space. The index file is therefore
allocated ahead of its use. Operations that add are refused when they would use that advance up, unless the
index has enough free pages of its own; those that remove may use it.
"""

import os
from pathlib import Path

from aisle.errors import OutOfSpace
from aisle.storage.tables import PAGE_BYTES, TABLES, IndexTables

KEPT_BYTES = 4 * 1024 * 1024
"""Kept for deletes: some fifty transactions, and each gives back what the one before it replaced."""
STEP_BYTES_MAX = 64 * 1024 * 1024
_STEP_BYTES_MIN = 1024 * 1024


class Headroom:
    """The allocated, unused end of one index file."""

    def __init__(self, mountpath: Path, tables: IndexTables) -> None:
        self._path = mountpath
        self._tables = tables
        self._fd = os.open(mountpath / "index" / "data.mdb", os.O_RDWR | os.O_CLOEXEC)
        self._allocated = self._used()
        try:
            self.require(0)
        except OutOfSpace:
            pass  # the node starts, reads and deletes on a full disk

    def require(self, added_bytes: int) -> None:
        """Check that a group which adds about so many bytes leaves the headroom intact.

        Raises OutOfSpace.
        """
        # Pages of records beside the payload pages, and what half-filled pages waste.
        added = added_bytes * 5 // 4
        used = self._used()
        wanted = used + added + KEPT_BYTES
        if wanted <= self._allocated:
            return
        step = max(_STEP_BYTES_MIN, min(STEP_BYTES_MAX, self._allocated // 16))
        for extra in (step, _STEP_BYTES_MIN, 0):
            if self._allocate(wanted + extra):
                return
        # The disk is full, but pages that were freed can be used again. Not all of them at once: readers
        # may hold some. What is taken from the headroom instead must leave half of it.
        if self._allocated - used >= KEPT_BYTES // 2 and self._free() >= added + KEPT_BYTES:
            return
        raise OutOfSpace(f"no space left on mountpath {self._path}")

    def _allocate(self, end: int) -> bool:
        end = (end + PAGE_BYTES - 1) // PAGE_BYTES * PAGE_BYTES
        if end > self._tables.environment.info()["map_size"]:
            return False
        try:
            os.posix_fallocate(self._fd, self._allocated, end - self._allocated)
        except OSError:
            return False
        self._allocated = end
        return True

    def _used(self) -> int:
        return (self._tables.environment.info()["last_pgno"] + 1) * PAGE_BYTES

    def _free(self) -> int:
        """Bytes of pages below the used end that no table uses."""
        environment = self._tables.environment
        with environment.begin() as transaction:
            stats = [environment.stat()]
            stats += [transaction.stat(getattr(self._tables, name)) for name in TABLES]
        taken = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        return self._used() - taken * PAGE_BYTES

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)
