"""Walking all names of an index, of whatever bucket."""

from collections.abc import Iterator

import lmdb

from aisle.storage.keys import CHAIN_BIT, DIRECT_BYTES_MAX, MARKED_BYTES, SPACE_BYTES
from aisle.storage.tables import IndexTables

_FIRST_CHAIN = CHAIN_BIT.to_bytes(SPACE_BYTES, "big")


def walk_names(tables: IndexTables, transaction: "lmdb.Transaction[bytes]") -> Iterator[tuple[bytes, bytes]]:
    """Packed names and encoded records, in byte order of the packed names."""
    with transaction.cursor(tables.objects) as cursor:
        for key, value in cursor:
            if key >= _FIRST_CHAIN:
                return
            if len(key) == MARKED_BYTES:
                yield from _walk_chain(tables, transaction, value, key[:DIRECT_BYTES_MAX])
            else:
                yield key, value


def _walk_chain(
    tables: IndexTables, transaction: "lmdb.Transaction[bytes]", chain: bytes, stem: bytes
) -> Iterator[tuple[bytes, bytes]]:
    with transaction.cursor(tables.objects) as cursor:
        if not cursor.set_range(chain):
            return
        for key, value in cursor.iternext():
            if key[:SPACE_BYTES] != chain:
                return
            if len(key) == MARKED_BYTES:
                inner = stem + key[SPACE_BYTES:DIRECT_BYTES_MAX]
                yield from _walk_chain(tables, transaction, value, inner)
            else:
                yield stem + key[SPACE_BYTES:], value
