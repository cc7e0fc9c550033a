"""Opening stored payloads, and making sure that they are what was stored."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import lmdb
import msgspec
import xxhash

from aisle.errors import CorruptObject, TooBusy
from aisle.model.record import Generation, Inline, Record, Segment
from aisle.storage.engine import OpenSegment
from aisle.storage.generation import payload_path
from aisle.storage.transaction import PIECE_SUFFIXES

DAMAGED = "damaged"
"""Stands in place of a record's boot id when its payload was found damaged."""

_HASHED_BYTES = 1024 * 1024
_FIRST, _SECOND, _THIRD = PIECE_SUFFIXES[:3]


class LocalPayload(msgspec.Struct, eq=False):
    """An opened payload of the local engine."""

    inline: bytes | None
    segments: Sequence[OpenSegment]

    def close(self) -> None:
        """Release the files; harmless when done before."""
        segments, self.segments = self.segments, ()
        for segment in segments:
            os.close(segment.fd)


class LocalStored(LocalPayload):
    """An opened object of the local engine."""

    record: Record


class PayloadFileMissing(Exception):
    """A payload file is not there: the object was replaced meanwhile, or is damaged."""


def read_small(
    transaction: "lmdb.Transaction[bytes]", table: "lmdb._Database", generation: Generation, payload: Inline
) -> bytes:
    """A payload from the index, verified. Raises CorruptObject."""
    get, pieces = transaction.get, payload.pieces
    found = get(generation + _FIRST, b"", table)
    if pieces == 3:  # what is read most, objects of 10 KiB, without a loop
        second, third = get(generation + _SECOND, b"", table), get(generation + _THIRD, b"", table)
        found = b"".join((found, second, third))
    elif pieces > 1:
        suffixes = PIECE_SUFFIXES[1:pieces]
        found += b"".join([get(generation + suffix, b"", table) for suffix in suffixes])
    if xxhash.xxh3_64_digest(found) != payload.xxh3:
        raise CorruptObject(f"small payload {generation.hex()} is damaged")
    return found


def segment_digest(path: str, segment: Segment) -> bytes | None:
    """XXH3-64 of a segment's bytes as they are on disk, None if the file is too short. Raises OSError."""
    digest = xxhash.xxh3_64()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        done = 0
        while done < segment.length:
            chunk = os.pread(fd, min(_HASHED_BYTES, segment.length - done), segment.offset + done)
            if not chunk:
                return None
            digest.update(chunk)
            done += len(chunk)
    finally:
        os.close(fd)
    return digest.digest()


def are_whole(mountpath: Path, segments: Sequence[Segment]) -> bool:
    """Whether payload files hold what was stored; reads all of them."""
    try:
        return all(
            segment_digest(f"{mountpath}/{payload_path(segment.generation)}", segment) == segment.xxh3
            for segment in segments
        )
    except OSError:
        return False


def open_segments(mountpath: Path, segments: Sequence[Segment]) -> list[OpenSegment]:
    """Open payload files; each is checked to be long enough.

    Raises PayloadFileMissing, CorruptObject, and TooBusy when this process may open no more files;
    nothing stays open then.
    """
    opened: list[OpenSegment] = []
    try:
        for segment in segments:
            fd = os.open(f"{mountpath}/{payload_path(segment.generation)}", os.O_RDONLY | os.O_CLOEXEC)
            opened.append(OpenSegment(fd, segment.offset, segment.length))
            if os.fstat(fd).st_size < segment.offset + segment.length:
                raise CorruptObject(f"payload file {segment.generation.hex()} is too short")
    except BaseException as error:
        for part in opened:
            os.close(part.fd)
        if isinstance(error, FileNotFoundError):
            raise PayloadFileMissing from error
        if isinstance(error, OSError):
            if error.errno in (errno.EMFILE, errno.ENFILE):
                raise TooBusy("too many files are open: try again later") from error
            raise CorruptObject(f"a payload file cannot be read: {error.strerror}") from error
        raise
    return opened
