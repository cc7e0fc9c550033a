"""The trailer of a payload file: what an index rebuilt from files alone needs to know.

It follows the payload, which readers take by the length in the record, so they never see it:

    payload · MessagePack · length of the MessagePack (4 bytes) · its XXH3-64 (8) · magic (8)

It holds the record as written: later changes of attributes live in the index only.
"""

import os
import struct

import msgspec
import xxhash

MAGIC = b"AISLEv1\n"

_END = struct.Struct("<I8s8s")
_MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class Trailer(msgspec.Struct, frozen=True, array_like=True):
    """Which object, or which part of an upload, a payload file was written for."""

    key: bytes
    """The packed name (see keys.py)."""
    size: int
    """The payload's length in bytes."""
    xxh3: bytes
    """XXH3-64 of the payload."""
    record: msgspec.Raw
    """The encoded record, its sequence 0; or the encoded StoredPart of a part."""
    upload: str = ""
    """The upload's id if this is a part."""
    number: int = 0
    """The part's number if this is a part."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Trailer).decode


def encode_trailer(trailer: Trailer) -> bytes:
    """What to append to the payload."""
    message = _encode(trailer)
    return message + _END.pack(len(message), xxhash.xxh3_64_digest(message), MAGIC)


def read_trailer(fd: int) -> Trailer | None:
    """The trailer of an open payload file, or None if it has none that is whole."""
    length = os.fstat(fd).st_size
    if length < _END.size:
        return None
    size, digest, magic = _END.unpack(os.pread(fd, _END.size, length - _END.size))
    if magic != MAGIC or size > min(length - _END.size, _MESSAGE_BYTES_MAX):
        return None
    message = os.pread(fd, size, length - _END.size - size)
    if xxhash.xxh3_64_digest(message) != digest:
        return None
    try:
        trailer = _decode(message)
    except msgspec.MsgspecError:
        return None
    return trailer if trailer.size == length - _END.size - size else None
