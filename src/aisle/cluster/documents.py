"""How documents are written on a disk: a header, a checksum over everything, the value.

The stored form of a document is

    version (8 bytes) · sequence (8 bytes) · XXH3-64 (8 bytes) · value

big-endian, the checksum taken over key, version, sequence and value. `sequence` numbers the changes
of the whole store. The store's head holds the last sequence and a stamp, a digest of all changes so
far: two copies with the same head hold the same documents.
"""

import struct
from typing import NamedTuple

import xxhash

from aisle.cluster.store import DOCUMENT_BYTES_MAX, KEY_BYTES_MAX, Document
from aisle.cluster.watch import Dated
from aisle.errors import BadRequest, FormatUnsupported

FORMAT = 1

_HEADER = struct.Struct(">QQ8s")
_CHECKED = struct.Struct(">QQ")
_HEAD = struct.Struct(">BQ8s8s")


class Head(NamedTuple):
    """Where a copy of the store stands. Copies are ordered by it; equal heads mean equal content."""

    sequence: int
    stamp: bytes

    def after(self, key: str, value: bytes | None, version: int) -> "Head":
        """The head behind one more change: of `key` to `value`, or its removal."""
        change = b"%d %b %d " % (version, key.encode(), value is not None) + (value or b"")
        return Head(self.sequence + 1, xxhash.xxh3_64_digest(self.stamp + change))


EMPTY = Head(0, bytes(8))


class Damaged(Exception):
    """Stored bytes that are not what was stored; caught where another copy can be asked."""


def area_of(key: str) -> str:
    """A key's first path element."""
    return key.partition("/")[0]


def check_document(key: str, value: bytes | None) -> None:
    """Raises BadRequest for a key or a value that not every store can hold."""
    if not key or "\0" in key or len(key.encode()) > KEY_BYTES_MAX:
        raise BadRequest(f"metadata key {key[:80]!r} must have 1 to {KEY_BYTES_MAX} bytes and no NUL")
    if value is not None and len(value) > DOCUMENT_BYTES_MAX:
        raise BadRequest(f"{key}: {len(value)} bytes of metadata, at most {DOCUMENT_BYTES_MAX} are allowed")


def encode_document(dated: Dated) -> bytes:
    """The stored form of a document."""
    key, value, version = dated.document
    return _HEADER.pack(version, dated.sequence, _checksum(key, version, dated.sequence, value)) + value


def decode_document(key: str, stored: bytes) -> Dated:
    """The document of a stored form; raises Damaged."""
    if len(stored) < _HEADER.size:
        raise Damaged(key)
    version, sequence, checksum = _HEADER.unpack_from(stored)
    value = stored[_HEADER.size :]
    if checksum != _checksum(key, version, sequence, value):
        raise Damaged(key)
    return Dated(Document(key, value, version), sequence)


def encode_head(head: Head) -> bytes:
    """The stored form of a head."""
    checksum = xxhash.xxh3_64_digest(_CHECKED.pack(FORMAT, head.sequence) + head.stamp)
    return _HEAD.pack(FORMAT, head.sequence, head.stamp, checksum)


def decode_head(stored: bytes) -> Head:
    """The head of a stored form; raises Damaged, and FormatUnsupported for that of a later Aisle."""
    if len(stored) != _HEAD.size:
        raise Damaged("head")
    found, sequence, stamp, checksum = _HEAD.unpack(stored)
    if checksum != xxhash.xxh3_64_digest(_CHECKED.pack(found, sequence) + stamp):
        raise Damaged("head")
    if found != FORMAT:
        raise FormatUnsupported(
            f"cluster metadata has format {found}, this version reads {FORMAT}: update Aisle"
        )
    return Head(sequence, stamp)


def _checksum(key: str, version: int, sequence: int, value: bytes) -> bytes:
    return xxhash.xxh3_64_digest(key.encode() + b"\0" + _CHECKED.pack(version, sequence) + value)
