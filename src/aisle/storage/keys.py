"""Keys of the index: bucket and name in exact byte order, however long the name.

A key is the bucket's number (8 bytes big-endian, below 2**63) and the name. LMDB takes keys of at most
511 bytes, so a longer name is a chain of chunks. The first 480 bytes and one marker byte make a key
whose value is a *chain*: 8 bytes with the top bit set, which no bucket has. What is left of the name
lies under that chain by the same rule. Only names that begin with the same 480 bytes lie behind a
marker, and it sorts between those 480 bytes as a name of their own and everything greater: a scan
that descends where it meets a marker goes in exact order.
"""

import struct
from collections.abc import Callable
from typing import TypeAlias

import lmdb

from aisle.model.names import ObjectName

CHUNK_BYTES = 480
SPACE_BYTES = 8
"""The length of what a key begins with: a bucket's number or a chain."""
DIRECT_BYTES_MAX = SPACE_BYTES + CHUNK_BYTES
MARKED_BYTES = DIRECT_BYTES_MAX + 1
"""The length of a marker's key; no other key is that long."""
CHAIN_BIT = 1 << 63
MARKER = b"\x00"
"""What follows the 480 bytes of a marker's key."""

_pack = struct.Struct(">Q").pack

ReadTransaction: TypeAlias = "lmdb.Transaction[bytes]"


def pack_bucket(bucket: int) -> bytes:
    """What all keys of a bucket begin with."""
    assert 0 <= bucket < CHAIN_BIT
    return _pack(bucket)


def pack(name: ObjectName) -> bytes:
    """A name as one run of bytes; an index key itself if it is at most DIRECT_BYTES_MAX long."""
    return _pack(name.bucket) + name.key


def unpack(packed: bytes) -> ObjectName:
    """The name that `pack` packed."""
    return ObjectName(int.from_bytes(packed[:SPACE_BYTES], "big"), packed[SPACE_BYTES:])


def find(transaction: "lmdb.Transaction[bytes]", table: "lmdb._Database", packed: bytes) -> bytes | None:
    """The index key of a packed name, or None if there is surely no entry for it."""
    while len(packed) > DIRECT_BYTES_MAX:
        chain = transaction.get(packed[:DIRECT_BYTES_MAX] + MARKER, db=table)
        if chain is None:
            return None
        packed = chain + packed[DIRECT_BYTES_MAX:]
    return packed


def find_or_make(
    transaction: "lmdb.Transaction[bytes]",
    table: "lmdb._Database",
    packed: bytes,
    new_chain: Callable[[], int],
) -> bytes:
    """The index key for a packed name; chains that it needs are made."""
    while len(packed) > DIRECT_BYTES_MAX:
        marker = packed[:DIRECT_BYTES_MAX] + MARKER
        chain = transaction.get(marker, db=table)
        if chain is None:
            chain = _pack(CHAIN_BIT | new_chain())
            transaction.put(marker, chain, db=table)
        packed = chain + packed[DIRECT_BYTES_MAX:]
    return packed


def prune(transaction: "lmdb.Transaction[bytes]", table: "lmdb._Database", packed: bytes) -> None:
    """Remove the chains of a packed name whose entry was deleted, as far as they are empty now."""
    links: list[tuple[bytes, bytes]] = []
    while len(packed) > DIRECT_BYTES_MAX:
        marker = packed[:DIRECT_BYTES_MAX] + MARKER
        chain = transaction.get(marker, db=table)
        if chain is None:
            break
        links.append((marker, chain))
        packed = chain + packed[DIRECT_BYTES_MAX:]
    with transaction.cursor(table) as cursor:
        for marker, chain in reversed(links):
            if cursor.set_range(chain) and cursor.key()[:SPACE_BYTES] == chain:
                return
            transaction.delete(marker, db=table)
