"""Undoing the content encoding of an answer, and noticing when it ends too early.

libcurl undoes encodings too, but takes what breaks off in the middle of the compressed data for a whole body.
What is not known here is left to it.
"""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Final

PIECE_BYTES: Final = 64 * 1024
"""Unpacked bytes come in pieces of at most so many, however small they were packed."""
_STAGES_MAX: Final = 5
_GZIP: Final = frozenset({"gzip", "x-gzip"})
_GZIP_BITS, _ZLIB_BITS, _RAW_BITS = 31, 15, -15


class Decoding:
    """The body of one answer. Raises zlib.error for data that cannot be unpacked."""

    def __init__(self, codings: Sequence[str]) -> None:
        """`codings` in the order in which they were applied; see `known_codings`."""
        stages = (_Stage(_GZIP_BITS) if coding in _GZIP else _Deflate() for coding in reversed(codings))
        self._stages = list(stages)
        self._pieces: Iterator[bytes] = iter(())  # what the bytes up to `_begun` become
        self._piece: bytes | None = None  # one that was not taken
        self._begun = 0

    @property
    def is_whole(self) -> bool:
        """Whether the data have come to their end."""
        return all(stage.is_over for stage in self._stages)

    def tell(self, data: bytes, take: Callable[[bytes], int]) -> int:
        """Hand on what the next bytes become, piece by piece; 0, or what `take` answered if not that.

        What it answered so to comes again: then this must be called with the same bytes, behind which there
        may be more by now.
        """
        while True:
            if self._piece is None:
                self._piece = next(self._pieces, None)
            if self._piece is not None:
                if answer := take(self._piece):
                    return answer
                self._piece = None
            elif self._begun < len(data):
                self._pieces = _through(self._stages, data[self._begun :])
                self._begun = len(data)
            else:
                self._begun = 0
                return 0


def known_codings(content_encoding: str) -> list[str] | None:
    """The codings that a `Content-Encoding` names, without those that change nothing.

    None if one of them is not known here.
    """
    named = [coding.strip().lower() for coding in content_encoding.split(",")]
    codings = [coding for coding in named if coding not in ("", "identity")]
    is_known = len(codings) <= _STAGES_MAX and all(name in _GZIP or name == "deflate" for name in codings)
    return codings if is_known else None


class _Stage:
    """One coding being undone; in gzip there may be several members, one behind the other."""

    def __init__(self, bits: int) -> None:
        self._stream = zlib.decompressobj(bits)
        self._bits = bits

    @property
    def is_over(self) -> bool:
        """Whether the data have come to their end."""
        return self._stream.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """What the next bytes become."""
        while True:
            piece = self._unpacked(data)
            data = self._stream.unconsumed_tail
            if piece:
                yield piece
            if self._stream.eof:
                data = self._stream.unused_data.lstrip(b"\0")
                if not data:
                    return
                if self._bits != _GZIP_BITS:
                    raise zlib.error("more follows the compressed data")
                self._stream = zlib.decompressobj(self._bits)
            elif not data and len(piece) < PIECE_BYTES:
                return

    def _unpacked(self, data: bytes) -> bytes:
        return self._stream.decompress(data, PIECE_BYTES)


class _Deflate(_Stage):
    """By RFC 9110 in zlib's format; some servers send the data alone."""

    def __init__(self) -> None:
        super().__init__(_ZLIB_BITS)
        self._is_first = True

    def _unpacked(self, data: bytes) -> bytes:
        is_first, self._is_first = self._is_first, self._is_first and not data
        try:
            return super()._unpacked(data)
        except zlib.error:
            if not is_first:
                raise
            self._stream = zlib.decompressobj(_RAW_BITS)
            return super()._unpacked(data)


def _through(stages: Sequence[_Stage], data: bytes) -> Iterator[bytes]:
    if not stages:
        yield data
        return
    for piece in stages[0].pieces(data):
        yield from _through(stages[1:], piece)
