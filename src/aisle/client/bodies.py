"""What a request carries: bytes, or a stream that is never held whole."""

from collections.abc import Iterator
from typing import Protocol

from aisle.errors import BadRequest

BLOCK_BYTES = 1024 * 1024


class Readable(Protocol):
    """A binary stream to send: a file, a pipe, or what looks like one."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, empty at the end."""

    def seekable(self) -> bool:
        """Whether `seek` works."""

    def seek(self, offset: int, /) -> int:
        """Go to an absolute position."""

    def tell(self) -> int:
        """The position."""


class Body:
    """A request's body. `length` is in bytes, or None when it is not known before the end."""

    def __init__(self, content: bytes | Readable = b"", *, length: int | None = None) -> None:
        self._content = content
        self._untouched = True
        self._start = 0
        if isinstance(content, bytes):
            self.length: int | None = len(content)
        else:
            self.length = length
            self._start = content.tell() if content.seekable() else -1

    @property
    def whole(self) -> bytes | None:
        """The body if it is bytes already."""
        return self._content if isinstance(self._content, bytes) else None

    def rewind(self) -> bool:
        """Go back to the beginning; False when that cannot be done."""
        if isinstance(self._content, bytes) or self._untouched:
            return True
        if self._start < 0:
            return False
        self._content.seek(self._start)
        self._untouched = True
        return True

    def blocks(self) -> Iterator[bytes]:
        """The body in blocks, exactly `length` bytes of it where that is known.

        Raises BadRequest if the stream ends before, or cannot be read.
        """
        self._untouched = False
        if isinstance(self._content, bytes):
            yield self._content
            return
        left = self.length
        while left is None or left > 0:
            try:
                block = self._content.read(BLOCK_BYTES if left is None else min(left, BLOCK_BYTES))
            except OSError as error:
                # Not one of the connection, which would be tried again.
                raise BadRequest(
                    f"the input cannot be read: {(error.strerror or str(error)).lower()}"
                ) from error
            if not block:
                break
            left = None if left is None else left - len(block)
            yield block
        if left:
            raise BadRequest(f"the input ended {left} bytes early: did it change while it was sent?")
