"""Objects of remote buckets that are read and not kept, because there is no room for them.

Each reader has its own way to the source. As with what is kept, nobody gets the last bytes of an object
before the digest that its source names is compared.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from typing import Final

from aisle.backends.provider import RemoteObject, RemoteRead, close_chunks
from aisle.errors import AisleError, SourceFailed, SourceUnreachable
from aisle.rules.remote_metadata import cheapest_digest
from aisle.storage.hashing import NamedDigests

_HASHED_AT_ONCE_BYTES: Final = 256 * 1024
"""Larger chunks are hashed in a thread, so that others get their turn."""


class Passage:
    """One object on its way through; it can be read once."""

    def __init__(self, opened: RemoteRead, name: str) -> None:
        """`name` is what errors call it."""
        self.about: RemoteObject = opened.about
        self.name = name
        self._chunks = opened.chunks
        self._kind = cheapest_digest(opened.about.digests)
        self._digests = NamedDigests((self._kind,) if self._kind else ())

    async def read(self, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`, as they come in.

        Raises what the source fails with, always before the object's last byte.
        """
        size = self.about.size
        end = size if end is None else end
        position, held = 0, b""
        try:
            async for chunk in self._chunks:
                if held:
                    yield held
                # What comes last is held back until it is known to be right.
                held = chunk[max(0, start - position) : max(0, end - position)]
                position += len(chunk)
                if position > size or position >= end < size:
                    break
                await self._hash(chunk)
            if end == size or position < end:
                self._require_whole(position)
            if held:
                yield held
        finally:
            await self.close()

    spans = read
    """As those of a `Fetch`: of this nothing lies in a file."""

    async def whole(self) -> bytes:
        """All bytes at once, for small objects. Raises what the source fails with."""
        async with aclosing(self.read()) as chunks:  # type: ignore[type-var]
            return b"".join([chunk async for chunk in chunks])

    async def _hash(self, chunk: bytes) -> None:
        if len(chunk) < _HASHED_AT_ONCE_BYTES:
            self._digests.update((chunk,))
        elif self._kind:
            await asyncio.to_thread(self._digests.update, (chunk,))

    def _require_whole(self, received: int) -> None:
        """Raise SourceUnreachable and SourceFailed unless this is what the source has announced."""
        about = self.about
        if received != about.size:
            raise SourceUnreachable(
                f"{self.name}: its source sent {received} bytes, announced were {about.size}"
            )
        wanted = about.digests.get(self._kind, "").lower()
        if self._kind and self._digests.hex(self._kind) != wanted:
            computed = self._digests.hex(self._kind)
            raise SourceFailed(f"{self.name}: BAD DATA CHECKSUM: {self._kind}({wanted} != {computed})")

    async def close(self) -> None:
        """Give the connection back."""
        with suppress(AisleError):
            await close_chunks(self._chunks)
