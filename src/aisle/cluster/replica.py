"""One copy of the metadata store: a small LMDB environment in a mountpath's `metadata/` folder.

Besides the documents it holds three kinds of bookkeeping, whose keys start with NUL so that no
document can have them: the head, and for each area the sequence of its last change.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import lmdb

from aisle.cluster.documents import (
    EMPTY,
    Damaged,
    Head,
    area_of,
    decode_document,
    decode_head,
    encode_document,
    encode_head,
)
from aisle.cluster.store import Document
from aisle.cluster.watch import Dated

FOLDER = "metadata"
MAP_SIZE_BYTES = 1024**3
# Every process of a node reads with a handful of threads; the slots of dead ones are cleared at each open.
_READERS_MAX = 512
# LMDB needs free pages to change anything, a removal too: this many bytes are kept allocated and free
# from the beginning, so that buckets can be destroyed when the disk is full.
_SPARE_BYTES = 1024 * 1024

_HEAD_KEY = b"\0head"
_AREA_KEY = b"\0area/%b"
_SPARE_KEY = b"\0spare"
_FIRST_DOCUMENT_KEY = b"\1"


class Snapshot:
    """One transaction on a replica: a consistent view, and the changes made in it."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: lmdb.Transaction) -> None:
        self._transaction = transaction

    def head(self) -> Head:
        """Where the replica stands; raises Damaged."""
        stored = self._get(_HEAD_KEY)
        return EMPTY if stored is None else decode_head(stored)

    def area_sequence(self, area: str) -> int:
        """The sequence of the last change in an area."""
        return int.from_bytes(self._get(_AREA_KEY % area.encode()) or b"", "big")

    def load(self, key: str) -> Dated | None:
        """The document under a key; raises Damaged."""
        stored = self._get(key.encode())
        return None if stored is None else decode_document(key, stored)

    def stored(self, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        """Keys and stored forms of all documents below a prefix, in order."""
        wanted = prefix.encode()
        for key, stored in self._from(wanted or _FIRST_DOCUMENT_KEY):
            if not key.startswith(wanted):
                return
            yield key.decode(), stored

    def change(self, key: str, document: Document | None, head: Head) -> None:
        """Write or remove one document; the replica then stands at `head`."""
        encoded = key.encode()
        if document is None:
            self._transaction.delete(encoded)
        else:
            self._transaction.put(encoded, encode_document(Dated(document, head.sequence)))
        self._transaction.put(_AREA_KEY % area_of(key).encode(), head.sequence.to_bytes(8, "big"))
        self._transaction.put(_HEAD_KEY, encode_head(head))

    def restore(self, dated: Dated) -> None:
        """Put back a document as another replica holds it; the head stays."""
        self._transaction.put(dated.document.key.encode(), encode_document(dated))

    def become(self, source: "Snapshot") -> None:
        """Hold exactly what `source` holds."""
        with self._transaction.cursor() as cursor:
            found = cursor.first()
            while found:
                found = cursor.delete()
        for key, stored in source.everything():
            self._transaction.put(key, stored)

    def everything(self) -> Iterator[tuple[bytes, bytes]]:
        """All keys and stored forms, bookkeeping included."""
        return self._from(b"\0")

    def allocate_spare(self) -> None:
        """Make the file grow by the spare bytes; `free_spare` in a later transaction gives them back."""
        self._transaction.put(_SPARE_KEY, bytes(_SPARE_BYTES))

    def free_spare(self) -> None:
        """Turn the spare bytes into free pages."""
        self._transaction.delete(_SPARE_KEY)

    def _get(self, key: bytes) -> bytes | None:
        # Transactions are opened without `buffers`: what they return are copies.
        return cast("bytes | None", self._transaction.get(key))

    def _from(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        with self._transaction.cursor() as cursor:
            if cursor.set_range(key):
                yield from cast("Iterator[tuple[bytes, bytes]]", cursor)


class Replica:
    """An open environment. LMDB allows a process to open each only once."""

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        """Open the replica in `folder`; raises lmdb.Error if it cannot be opened.

        Only the supervisor creates, before any other process looks.
        """
        self.folder = folder
        is_new = create and not (folder / "data.mdb").exists()
        self._environment = lmdb.open(
            str(folder),
            map_size=MAP_SIZE_BYTES,
            max_readers=_READERS_MAX,
            lib_version=0,
            create=create,
            mode=0o600,
            readahead=False,
        )
        self._begin = self._environment.begin
        self._environment.reader_check()
        if is_new:
            with self.writing() as snapshot:
                snapshot.allocate_spare()
            with self.writing() as snapshot:
                snapshot.free_spare()
            _sync_folder(folder)
            _sync_folder(folder.parent)

    def transaction_id(self) -> int:
        """The number of the last committed transaction; grows with every change."""
        transaction = self._begin()
        number: int = transaction.id()
        transaction.abort()
        return number

    @contextmanager
    def reading(self) -> Iterator[Snapshot]:
        """A consistent view. Keep it short: old pages cannot be used again meanwhile."""
        with self._begin() as transaction:
            yield Snapshot(transaction)

    @contextmanager
    def writing(self) -> Iterator[Snapshot]:
        """The only writing transaction among all processes; durable when the block has ended.

        An exception within the block undoes everything.
        """
        with self._begin(write=True) as transaction:
            yield Snapshot(transaction)

    def close(self) -> None:
        """Close the environment; harmless when it was closed before."""
        self._environment.close()


def damaged_keys(snapshot: Snapshot) -> list[str]:
    """Keys of the documents whose checksums are wrong."""
    wrong = []
    for key, stored in snapshot.stored():
        try:
            decode_document(key, stored)
        except Damaged:
            wrong.append(key)
    return wrong


def is_of_use(folder: Path) -> bool:
    """Whether a replica of a stopped node can be read, holds something, and nothing of it is damaged."""
    try:
        replica = Replica(folder)
        try:
            with replica.reading() as snapshot:
                return snapshot.head() != EMPTY and not damaged_keys(snapshot)
        finally:
            replica.close()
    except (lmdb.Error, Damaged):
        return False


def _sync_folder(folder: Path) -> None:
    # LMDB syncs its files, never the folder that names them.
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
