"""Reading a stored payload once more before it is sent: buckets with `checksum.validate_warm_get`.

Small payloads are verified by every read of the index; those in files are not, because that would read
each of them twice. A bucket can ask for it.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import xxhash

from aisle.errors import CorruptObject
from aisle.model.record import Files, Segment
from aisle.storage.engine import OpenSegment, Stored
from aisle.storage.hashing import NamedDigests

_READ_BYTES: Final = 1024 * 1024


class FileSpan(Protocol):
    """A span of an open file."""

    @property
    def fd(self) -> int:
        """The open file descriptor."""

    @property
    def offset(self) -> int:
        """Where it begins, bytes."""

    @property
    def length(self) -> int:
        """How many bytes it has."""


async def verify(stored: Stored, where: str) -> None:
    """Read all of an opened payload and compare it with its record's checksums.

    Raises CorruptObject, which names `where`, and closes the payload then, as when it is cancelled.
    """
    try:
        payload = stored.record.payload
        if not isinstance(payload, Files):
            return
        if not await asyncio.to_thread(_are_whole, list(stored.segments), payload.segments):
            raise CorruptObject(f"{where}: the stored bytes are not those that were written")
    except BaseException:
        # When this is cancelled, the thread may go on reading a descriptor that is another file's by
        # then: it reads at offsets of its own, and nobody asks for its verdict any more.
        stored.close()
        raise


async def digest_of(kind: str, spans: Sequence[FileSpan | bytes], stored: Stored) -> str:
    """The digest of some bytes of an opened payload, lower-case hex.

    Raises CorruptObject for a file that has become too short; the payload is closed then, as when this
    is cancelled.
    """
    try:
        if all(isinstance(span, bytes) for span in spans):
            return _digest_of(kind, spans)
        return await asyncio.to_thread(_digest_of, kind, list(spans))
    except BaseException:
        stored.close()
        raise


def _digest_of(kind: str, spans: Sequence[FileSpan | bytes]) -> str:
    digests = NamedDigests([kind])
    for span in spans:
        digests.update([span] if isinstance(span, bytes) else _chunks(span))
    return digests.hex(kind)


def _chunks(span: FileSpan) -> Iterator[bytes]:
    done = 0
    while done < span.length:
        chunk = os.pread(span.fd, min(_READ_BYTES, span.length - done), span.offset + done)
        if not chunk:
            raise CorruptObject("a payload file is shorter than its record says")
        yield chunk
        done += len(chunk)


def _are_whole(opened: Sequence[OpenSegment], expected: Sequence[Segment]) -> bool:
    return len(opened) == len(expected) and all(map(_is_whole, opened, expected))


def _is_whole(opened: OpenSegment, expected: Segment) -> bool:
    digest = xxhash.xxh3_64()
    try:
        for chunk in _chunks(opened):
            digest.update(chunk)
    except CorruptObject:
        return False
    return digest.digest() == expected.xxh3
