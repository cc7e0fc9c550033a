"""Bytes that are stored already, as the source of something that is written."""

import asyncio
import os
from typing import Final

from aisle.errors import CorruptObject
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenPayload, OpenSegment

READ_BYTES: Final = 1024 * 1024
"""Read at a time, in a thread."""


class StoredSource:
    """A span of an opened payload, read piece by piece; the payload stays its owner's to close."""

    def __init__(self, payload: OpenPayload, span: Span) -> None:
        self.length: int | None = span.length
        self._inline = None
        self._pieces: list[OpenSegment] = []
        if payload.inline is not None:
            self._inline = payload.inline[span.start : span.start + span.length]
            return
        skipped, left = span
        for segment in payload.segments:
            length = min(left, segment.length - skipped)
            if length > 0:
                self._pieces.append(OpenSegment(segment.fd, segment.offset + skipped, length))
                left -= length
            skipped = max(0, skipped - segment.length)
        self._pieces.reverse()

    def buffered(self) -> bytes | None:
        """All bytes of a small payload, else None."""
        return self._inline

    async def read(self) -> bytes:
        """The next bytes, `b""` at the end. Raises CorruptObject for a file that has become too short."""
        if self._inline is not None:
            whole, self._inline = self._inline, b""
            return whole
        if not self._pieces:
            return b""
        fd, offset, length = self._pieces.pop()
        data = await asyncio.to_thread(os.pread, fd, min(length, READ_BYTES), offset)
        if not data:
            raise CorruptObject("a payload file is shorter than its record says")
        if len(data) < length:
            self._pieces.append(OpenSegment(fd, offset + len(data), length - len(data)))
        return data
