"""Reading a stored payload once more before it is sent: buckets with `checksum.validate_warm_get`.

Small payloads are verified by every read of the index; those in files are not, because that would read
each of them twice. A bucket can ask for it.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Final

import xxhash

from aisle.errors import CorruptObject
from aisle.model.record import Files, Segment
from aisle.storage.engine import OpenSegment, Stored

_READ_BYTES: Final = 1024 * 1024


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


def _are_whole(opened: Sequence[OpenSegment], expected: Sequence[Segment]) -> bool:
    return len(opened) == len(expected) and all(map(_is_whole, opened, expected))


def _is_whole(opened: OpenSegment, expected: Segment) -> bool:
    digest = xxhash.xxh3_64()
    done = 0
    while done < opened.length:
        chunk = os.pread(opened.fd, min(_READ_BYTES, opened.length - done), opened.offset + done)
        if not chunk:
            return False
        digest.update(chunk)
        done += len(chunk)
    return digest.digest() == expected.xxh3
