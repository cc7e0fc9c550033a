"""The parts of an upload, one after the other, as the source of an object or of its digest."""

from collections.abc import AsyncIterator, Sequence
from typing import Final

from aisle.errors import CorruptObject, InvalidPart
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenPayload, Part, Upload, UploadStore
from aisle.storage.hashing import NamedDigests
from aisle.target.stored_source import StoredSource

PART_DIGEST: Final = "crc32c"
"""The digest that these parts are kept with, and that they are verified against when they are read."""


class PartsSource:
    """The bytes of parts in the order given, read piece by piece; one part is open at a time.

    Reading raises InvalidPart for a part that is gone, and CorruptObject for one that is not what was
    stored. `close` releases the part that is open.
    """

    def __init__(self, engine: UploadStore, upload: Upload, parts: Sequence[Part]) -> None:
        self.length: int | None = sum(part.size for part in parts)
        self._engine = engine
        self._upload = upload
        self._left = list(reversed(parts))
        self._open: OpenPayload | None = None
        self._source: StoredSource | None = None
        self._digests = NamedDigests()

    def buffered(self) -> bytes | None:
        """Never: parts lie in files."""
        return None

    async def read(self) -> bytes:
        """The next bytes, `b""` at the end."""
        while True:
            if self._source is not None:
                data = await self._source.read()
                if data:
                    self._digests.update([data])
                    return data
                self._pass()
            if not self._left:
                return b""
            self._open_next()

    async def chunks(self) -> AsyncIterator[bytes]:
        """All bytes, for whoever iterates over them. Raises as `read` does."""
        while data := await self.read():
            yield data

    def close(self) -> None:
        """Release what is open; harmless when done before."""
        if self._open is not None:
            self._open.close()
        self._open = self._source = None

    def _open_next(self) -> None:
        part = self._left[-1]
        self._open = self._engine.open_part(self._upload.id, part.number)
        if self._open is None:
            raise InvalidPart(f"part {part.number} of upload {self._upload.id} is gone")
        self._source = StoredSource(self._open, Span(0, part.size))
        self._digests = NamedDigests([PART_DIGEST])

    def _pass(self) -> None:
        """The part that is open has ended: it must be the one that was stored."""
        part = self._left.pop()
        kept = part.attributes.digests.get(PART_DIGEST)
        if kept is not None and kept != self._digests.hex(PART_DIGEST):
            raise CorruptObject(f"part {part.number} of upload {self._upload.id} is not what was stored")
        self.close()
