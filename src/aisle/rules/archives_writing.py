"""Archives of any format, written front to back: every method returns the bytes that come next."""

import zlib
from datetime import UTC, datetime
from typing import Protocol

from aisle.rules.archives import ArchiveFormat
from aisle.rules.archives_tar import END, padding, tar_header
from aisle.rules.archives_zip import ZipWriting

_GZIP_LEVEL = 1  # a step further costs three times the processor for a tenth of the size
_GZIP_WINDOW = 31


class ArchiveWriting(Protocol):
    """An archive being written. Between `begin` and `end` come exactly as many bytes as announced."""

    def begin(self, name: str, size: int, modified_s: int) -> bytes:
        """A file of `size` bytes; its time is in Unix seconds."""

    def data(self, chunk: bytes) -> bytes:
        """Bytes of the file."""

    def end(self) -> bytes:
        """The file is complete."""

    def close(self) -> bytes:
        """The archive is complete."""


class Compressor(Protocol):
    """What makes a stream smaller."""

    def compress(self, data: bytes, /) -> bytes:
        """What the data become, or a part of it."""

    def flush(self) -> bytes:
        """The rest."""


class TarWriting:
    """A plain tar."""

    def __init__(self) -> None:
        self._size = 0

    def begin(self, name: str, size: int, modified_s: int) -> bytes:
        """A file's header."""
        self._size = size
        return tar_header(name, size, modified_s)

    def data(self, chunk: bytes) -> bytes:
        """The bytes themselves."""
        return chunk

    def end(self) -> bytes:
        """Up to the next header."""
        return padding(self._size)

    def close(self) -> bytes:
        """The end mark."""
        return END


class CompressedTarWriting:
    """A tar through a compressor."""

    def __init__(self, compressor: Compressor, first: bytes = b"") -> None:
        self._tar = TarWriting()
        self._compressor = compressor
        self._first = first

    def begin(self, name: str, size: int, modified_s: int) -> bytes:
        """A file's header, compressed."""
        first, self._first = self._first, b""
        return first + self._compressor.compress(self._tar.begin(name, size, modified_s))

    def data(self, chunk: bytes) -> bytes:
        """The bytes, compressed."""
        first, self._first = self._first, b""
        return first + self._compressor.compress(chunk)

    def end(self) -> bytes:
        """Up to the next header, compressed."""
        return self._compressor.compress(self._tar.end())

    def close(self) -> bytes:
        """The end mark, and what the compressor still holds."""
        first, self._first = self._first, b""
        return first + self._compressor.compress(self._tar.close()) + self._compressor.flush()


class ZippedWriting:
    """A zip archive, of files as they are."""

    def __init__(self, writing: ZipWriting) -> None:
        self._zip = writing

    def begin(self, name: str, size: int, modified_s: int) -> bytes:
        """A file's header."""
        at = datetime.fromtimestamp(max(0, modified_s), UTC)
        return self._zip.begin(name, size, (at.year, at.month, at.day, at.hour, at.minute, at.second))

    def data(self, chunk: bytes) -> bytes:
        """The bytes themselves."""
        return self._zip.data(chunk)

    def end(self) -> bytes:
        """The file's checksum."""
        return self._zip.end()

    def close(self) -> bytes:
        """The directory."""
        return self._zip.close()


def new_archive(format_: ArchiveFormat) -> ArchiveWriting:
    """An archive to be written."""
    if format_ is ArchiveFormat.TAR:
        return TarWriting()
    if format_ is ArchiveFormat.ZIP:
        return ZippedWriting(ZipWriting())
    if format_ is ArchiveFormat.TGZ:
        return CompressedTarWriting(zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_WINDOW))
    from lz4.frame import LZ4FrameCompressor

    compressor = LZ4FrameCompressor(content_checksum=True)
    return CompressedTarWriting(compressor, compressor.begin())
