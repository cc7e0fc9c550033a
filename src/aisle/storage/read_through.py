"""Reads a whole index once: `python -m aisle.storage.read_through MOUNTPATH`.

A process of its own, because a damaged LMDB file can end the process that reads it.
"""

import os
import sys
from pathlib import Path

import lmdb

from aisle.storage.tables import PAGE_BYTES, TABLES, open_index

UNREADABLE_STATUS = 3


def main(mountpath: Path) -> int:
    """0 if every entry of every table can be read."""
    try:
        tables = open_index(mountpath, writable=False, map_size_bytes=0)
        used = (tables.environment.info()["last_pgno"] + 1) * PAGE_BYTES
        # Reading beyond the file's end would be a bus error.
        if (mountpath / "index" / "data.mdb").stat().st_size < used:
            raise lmdb.CorruptedError("the file is shorter than its index")
        with tables.environment.begin() as transaction:
            for name in TABLES:
                table = getattr(tables, name)
                count = sum(1 for _ in transaction.cursor(table))
                if count != transaction.stat(table)["entries"]:
                    raise lmdb.CorruptedError(f"table {name} has {count} entries, and says otherwise")
        tables.close()
    except (lmdb.Error, OSError) as error:
        print(error, file=sys.stderr)
        return UNREADABLE_STATUS
    return 0


if __name__ == "__main__":
    # No ordinary exit: an environment that failed is not to be closed in an orderly way.
    os._exit(main(Path(sys.argv[1])))
