"""Bodies that stream: of a write, cut into parts of which none is ever in memory whole; and of no bytes."""

from collections.abc import AsyncIterator

from aisle.errors import SourceFailed


class Pieces:
    """Chunks, cut where parts end."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    async def next(self, length: int) -> AsyncIterator[bytes]:
        """The next `length` bytes. Raises SourceFailed if there are fewer."""
        while length:
            chunk = self._left or await anext(self._chunks, b"")
            if not chunk:
                raise SourceFailed("a write's body is shorter than it was said to be")
            piece, self._left = chunk[:length], chunk[length:]
            length -= len(piece)
            yield piece

    async def check_end(self) -> None:
        """Raise SourceFailed if there is more."""
        if self._left or await anext(self._chunks, b""):
            raise SourceFailed("a write's body is longer than it was said to be")


class Whole:
    """The chunks of a body that is here already: all in one."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def take(self) -> bytes:
        """All bytes that are left."""
        content, self._content = self._content, b""
        return content

    def __aiter__(self) -> "Whole":
        return self

    async def __anext__(self) -> bytes:
        if content := self.take():
            return content
        raise StopAsyncIteration


async def no_chunks() -> AsyncIterator[bytes]:
    """A body of no bytes."""
    for _ in ():
        yield b""
