"""Access times: kept without syncs, coarse, lost without harm."""

from pathlib import Path

import lmdb
import xxhash

from aisle.storage.tables import LMDB_LINE, READERS_MAX, map_bytes

_MAP_BYTES = 16 * 1024**3
ENTRIES_MAX = 20_000_000
"""Beyond this the table starts anew: entries of removed objects are not looked for one by one."""


def name_digest(packed: bytes) -> bytes:
    """What access times are kept under: fixed length, whatever the name's."""
    return xxhash.xxh3_128_digest(packed)


class AccessTimes:
    """An open table of access times."""

    def __init__(self, environment: lmdb.Environment) -> None:
        self._environment = environment

    def get_ns(self, packed: bytes) -> int:
        """When the object was last read, Unix nanoseconds, or 0 if not known."""
        with self._environment.begin() as transaction:
            found = transaction.get(name_digest(packed))
        return int.from_bytes(found, "big") if found else 0

    def many_ns(self, packed_names: list[bytes]) -> list[int]:
        """When each of these objects was last used, as `get_ns` tells; from one snapshot."""
        with self._environment.begin() as transaction:
            found = [transaction.get(name_digest(packed)) for packed in packed_names]
        return [int.from_bytes(value, "big") if value else 0 for value in found]

    def touch(self, names: list[bytes], read_ns: int) -> None:
        """Note digests of names as read. May raise lmdb.Error, which harms nothing."""
        when = read_ns.to_bytes(8, "big")
        with self._environment.begin(write=True) as transaction:
            if transaction.stat()["entries"] > ENTRIES_MAX:
                transaction.drop(self._environment.open_db(None, txn=transaction), delete=False)
            with transaction.cursor() as cursor:
                cursor.putmulti([(name, when) for name in names])

    def check_readers(self) -> None:
        """Free the slots of processes that died while they read. Raises lmdb.Error."""
        self._environment.reader_check()

    def close(self) -> None:
        """Release the table."""
        self._environment.close()


def open_volatile(mountpath: Path, *, writable: bool) -> AccessTimes:
    """Open a mountpath's access times."""
    return AccessTimes(
        lmdb.open(
            str(mountpath / "volatile"),
            map_size=map_bytes(_MAP_BYTES),
            readonly=not writable,
            create=writable,
            sync=False,
            metasync=False,
            readahead=False,
            max_readers=READERS_MAX,
            max_spare_txns=2,
            lib_version=LMDB_LINE,
        )
    )
