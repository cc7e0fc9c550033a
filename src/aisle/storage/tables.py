"""The index of one mountpath: an LMDB environment and its tables.

Only the committer opens it for writing. LMDB forbids a second opening of the same environment within
one process, so whoever holds one shares it.
"""

import resource
from pathlib import Path

import lmdb

from aisle.storage.sync import FULL, Durability

LMDB_LINE = 0
"""The line of LMDB (0 is 0.9); see docs/decisions/0001-lmdb-line.md."""
READERS_MAX = 2048
PAGE_BYTES = 4096
PIECE_BYTES = 4080
"""A piece of a small payload fills one page, so that any free page fits."""

_TIME_BYTES = 8
_MAP_BYTES_MIN = 64 * 1024 * 1024

# All tables exist from format 1 on, also those that nothing uses yet.
TABLES = ("objects", "versions", "small", "uploads", "parts", "removed", "buckets", "state", "unsynced")


def time_to_unlink(time_ns: int) -> bytes:
    """What the keys of `removed` begin with; they are in order of the time."""
    return time_ns.to_bytes(_TIME_BYTES, "big")


def removed_generation(key: bytes) -> bytes:
    """The generation whose payload file a key of `removed` tells to unlink."""
    return key[_TIME_BYTES:]


class IndexTables:
    """An open index. Table attributes are LMDB's handles."""

    def __init__(self, environment: lmdb.Environment, *, create: bool) -> None:
        self.environment = environment
        handles = {name: environment.open_db(name.encode(), create=create) for name in TABLES}
        self.objects = handles["objects"]
        """Packed name (see keys.py) -> record of the current generation."""
        self.versions = handles["versions"]
        """Packed name, sequence -> older versions and delete markers."""
        self.small = handles["small"]
        """Generation, piece number (1 byte) -> bytes of a small payload."""
        self.uploads = handles["uploads"]
        """Upload id -> upload."""
        self.parts = handles["parts"]
        """Upload id, `/`, part number (4 bytes) -> part."""
        self.removed = handles["removed"]
        """Time to unlink (8 bytes, nanoseconds), generation -> nothing."""
        self.buckets = handles["buckets"]
        """Bucket number (8 bytes) -> open or closing, counts."""
        self.state = handles["state"]
        """The committer's own: sequence, chains, last answers, mountpath set."""
        self.unsynced = handles["unsynced"]
        """Packed name's index key -> nothing, where the payload file was not synced."""

    def close(self) -> None:
        """Release the environment; no call may follow."""
        self.environment.close()


def has_index(mountpath: Path) -> bool:
    """Whether there is an index. LMDB takes an empty file for a new one; a written one never is empty."""
    try:
        return (mountpath / "index" / "data.mdb").stat().st_size > 0
    except FileNotFoundError:
        return False


def open_index(
    mountpath: Path, *, writable: bool, map_size_bytes: int, durability: Durability = FULL
) -> IndexTables:
    """Open a mountpath's index. Writing needs the mountpath's lock, and creates what is missing."""
    environment = lmdb.open(
        str(mountpath / "index"),
        map_size=map_bytes(map_size_bytes),
        readonly=not writable,
        create=writable,
        sync=durability.index_sync,
        metasync=durability.index_sync,
        readahead=False,  # a store is larger than memory: neighbours of a page are not wanted
        max_readers=READERS_MAX,
        max_dbs=len(TABLES),
        max_spare_txns=4,
        lib_version=LMDB_LINE,
    )
    return IndexTables(environment, create=writable)


def map_bytes(wanted: int) -> int:
    """The map's size: what is wanted, or an eighth of the address space if that is limited."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(min(wanted, soft // 8), _MAP_BYTES_MIN)
