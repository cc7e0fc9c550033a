"""Reading archives: what is in them, and its bytes. All of this waits for disks: call it in threads.

A plain tar, and zip, are read where a member lies. What is compressed as a whole is unpacked from its
beginning, a bounded piece at a time.
"""

import os
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, Final, NamedTuple, Protocol

from aisle.errors import CorruptObject, Unsupported
from aisle.rules.archives import ArchiveFormat, ArchiveInvalid, same_member
from aisle.rules.archives_tar import ReadAt, tar_files
from aisle.rules.archives_zip import (
    DEFLATED,
    LOCAL_BYTES,
    STORED,
    ZipDirectory,
    ZipFile,
    zip_data_offset,
    zip_directory,
    zip_files,
)
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenPayload

PIECE_BYTES: Final = 256 * 1024
_WINDOW_BYTES: Final = 64 * 1024
_NEAR_BYTES: Final = 16 * 1024
_HEADER_BYTES: Final = 1024
_UNPACKED_BYTES: Final = 1024 * 1024
_GZIP_WINDOW: Final = 31
_DEFLATE_WINDOW: Final = -15


class Interrupted(Exception):
    """Whoever wanted to know has gone."""


class Member(NamedTuple):
    """A file in an archive. `offset` counts in the unpacked tar, or is where zip keeps its header."""

    name: str
    size: int
    offset: int
    packed_size: int = 0
    method: int = STORED
    crc: int = 0


class ArchiveIndex:
    """What is in an archive: its files in its order; of files with one name the last, as tar unpacks them."""

    def __init__(
        self, format_: ArchiveFormat, members: Sequence[Member], *, end: int, directory: ZipDirectory | None
    ) -> None:
        self.format = format_
        last = {same_member(member.name): member for member in members}
        self.members = tuple(members) if len(last) == len(members) else tuple(last.values())
        self._by_name = last
        self.end = end
        """Where a further file would begin, in the unpacked tar or in the zip."""
        self.directory = directory

    @cached_property
    def in_order(self) -> tuple[Member, ...]:
        """The files in byte order of their names; made once, which takes 1 µs a file."""
        return tuple(sorted(self.members, key=_name_bytes))

    def find(self, name: str) -> Member | None:
        """The file of a name, with or without a slash before it."""
        return self._by_name.get(same_member(name))


def _name_bytes(member: Member) -> bytes:
    return member.name.encode("utf-8", "surrogateescape")


class PayloadBytes:
    """A payload as one run of bytes."""

    def __init__(self, payload: OpenPayload, size: int) -> None:
        self.size = size
        self._inline = payload.inline
        self._segments = payload.segments
        self._starts = [0, *accumulate(segment.length for segment in payload.segments)]
        self._is_stopped = False

    def stop(self) -> None:
        """End whatever reads in another thread."""
        self._is_stopped = True

    def read(self, offset: int, length: int) -> bytes:
        """Bytes at an offset, fewer only at the end. Raises CorruptObject, Interrupted."""
        if self._is_stopped:
            raise Interrupted
        if self._inline is not None:
            return self._inline[offset : offset + length]
        length = min(length, self.size - offset)
        pieces = []
        while length > 0:
            number = bisect_right(self._starts, offset) - 1
            fd, begin, span = self._segments[number]
            skipped = offset - self._starts[number]
            try:
                data = os.pread(fd, min(length, span - skipped), begin + skipped)
            except OSError as error:
                raise CorruptObject(f"a payload file cannot be read: {error.strerror}") from error
            if not data:
                raise CorruptObject("a payload file is shorter than its record says")
            pieces.append(data)
            offset += len(data)
            length -= len(data)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def windowed(self) -> ReadAt:
        """The same for small reads at rising offsets, which then need few system calls."""
        if self._inline is not None:
            return self.read
        start, window = 0, b""

        def read(offset: int, length: int) -> bytes:
            nonlocal start, window
            if not start <= offset <= offset + length <= start + len(window):
                # Headers that are far apart are fetched one by one, others many at a time.
                is_near = offset - start - len(window) < _NEAR_BYTES
                window = self.read(offset, max(length, _WINDOW_BYTES if is_near else _HEADER_BYTES))
                start = offset
            return window[offset - start : offset - start + length]

        return read

    def pieces(self, span: Span) -> Iterator[bytes]:
        """A span, piece by piece."""
        for start in range(0, span.length, PIECE_BYTES):
            yield self.read(span.start + start, min(PIECE_BYTES, span.length - start))


class _Unpacking(Protocol):
    """One compressed stream being unpacked, a bounded piece at a time."""

    is_hungry: bool
    is_over: bool
    rest: bytes
    """What follows the stream, once it is over."""

    def unpack(self, data: bytes) -> bytes:
        """What further data become; with none, more of what was given before."""


class _Gzip:
    def __init__(self) -> None:
        self._stream = zlib.decompressobj(_GZIP_WINDOW)
        self._left = b""
        self.is_hungry, self.is_over, self.rest = True, False, b""

    def unpack(self, data: bytes) -> bytes:
        unpacked = self._stream.decompress(self._left + data, _UNPACKED_BYTES)
        self._left = self._stream.unconsumed_tail
        self.is_hungry = not self._left and len(unpacked) < _UNPACKED_BYTES
        self.is_over, self.rest = self._stream.eof, self._stream.unused_data
        return unpacked


class _Lz4:
    def __init__(self) -> None:
        from lz4.frame import LZ4FrameDecompressor

        self._stream: Any = LZ4FrameDecompressor()
        self.is_hungry, self.is_over, self.rest = True, False, b""

    def unpack(self, data: bytes) -> bytes:
        unpacked: bytes = self._stream.decompress(data, max_length=_UNPACKED_BYTES)
        self.is_hungry, self.is_over = self._stream.needs_input, self._stream.eof
        self.rest = self._stream.unused_data or b""
        return unpacked


class Unpacked:
    """A compressed tar, unpacked from front to back: offsets may only rise."""

    def __init__(self, packed: PayloadBytes, format_: ArchiveFormat) -> None:
        self._packed = packed
        self._make: Callable[[], _Unpacking] = _Gzip if format_ is ArchiveFormat.TGZ else _Lz4
        self._unpacking: _Unpacking = self._make()
        self._is_between = True
        self._waiting = b""
        self._position = 0
        self.offset = 0
        """Of the first unpacked byte that is still here."""
        self._here = b""

    def read(self, offset: int, length: int) -> bytes:
        """Unpacked bytes, fewer only at the end. Raises ArchiveInvalid, CorruptObject, Interrupted."""
        assert offset >= self.offset
        while True:
            begin, here = offset - self.offset, self._here
            if begin + length <= len(here):
                return here[begin : begin + length]
            more = self._more()
            if not more:
                return here[begin:]
            # What lies before the wanted bytes is not needed any more.
            kept = min(begin, len(here))
            self.offset, self._here = self.offset + kept, here[kept:] + more

    def _more(self) -> bytes:
        """The next unpacked bytes, empty at the end."""
        while True:
            data = b""
            if self._unpacking.is_hungry:
                data, self._waiting = self._waiting or self._packed_bytes(), b""
                if self._is_between and not data.strip(b"\0"):
                    if not data:
                        return b""
                    continue
                if not data:
                    raise ArchiveInvalid("the archive is cut off: its compressed data end early")
            try:
                unpacked = self._unpacking.unpack(data)
            except (zlib.error, RuntimeError) as error:
                raise ArchiveInvalid(f"damaged archive: it cannot be unpacked: {error}") from error
            self._is_between = self._unpacking.is_over
            if self._is_between:
                self._waiting = self._unpacking.rest
                self._unpacking = self._make()
            if unpacked:
                return unpacked

    def _packed_bytes(self) -> bytes:
        data = self._packed.read(self._position, PIECE_BYTES)
        self._position += len(data)
        return data


def index_archive(format_: ArchiveFormat, payload: PayloadBytes, *, files_only: bool = False) -> ArchiveIndex:
    """What is in an archive. Raises ArchiveInvalid, CorruptObject, Interrupted.

    With `files_only`, an archive is invalid that has links, devices or encrypted files in it.
    """
    if format_ is ArchiveFormat.ZIP:
        directory = zip_directory(payload.read, payload.size)
        if files_only:
            _refuse_special(zip_files(payload.read, directory))
        members = [
            Member(file.name, file.size, file.local, file.packed_size, file.method, file.crc)
            # An encrypted file is listed; reading it fails as any method does that we do not know.
            if not file.is_encrypted
            else Member(file.name, file.size, file.local, file.packed_size, -1, file.crc)
            for file in zip_files(payload.read, directory)
        ]
        return ArchiveIndex(format_, members, end=directory.offset, directory=directory)
    if format_ is ArchiveFormat.TAR:
        files = tar_files(payload.windowed(), size=payload.size, files_only=files_only)
    else:
        files = tar_files(Unpacked(payload, format_).read, files_only=files_only)
    members = []
    while True:
        try:
            file = next(files)
        except StopIteration as done:
            return ArchiveIndex(format_, members, end=done.value, directory=None)
        members.append(Member(file.name, file.size, file.offset))


def _refuse_special(files: Iterator[ZipFile]) -> None:
    for file in files:
        if file.is_special or file.is_encrypted:
            kind = "encrypted" if file.is_encrypted else "a link or a device"
            raise ArchiveInvalid(f'"{file.name[:200]}" is {kind}')
        if file.method not in (STORED, DEFLATED):
            raise _unknown_method(file.name)


def _unknown_method(name: str) -> Unsupported:
    return Unsupported(f"{name}: only stored and deflated files of a zip archive can be read")


class Contents:
    """The bytes of an archive's members, for one reader. Members are read fastest in the archive's order."""

    def __init__(self, index: ArchiveIndex, payload: PayloadBytes) -> None:
        self._index = index
        self._payload = payload
        self._unpacked: Unpacked | None = None

    def span(self, member: Member) -> Span | None:
        """Where the payload has a member's very bytes; None if they must be unpacked.

        Raises ArchiveInvalid, CorruptObject.
        """
        if self._index.format is ArchiveFormat.TAR:
            return Span(member.offset, member.size)
        if self._index.format is ArchiveFormat.ZIP and member.method == STORED:
            header = self._payload.read(member.offset, LOCAL_BYTES)
            return Span(zip_data_offset(member.offset, header), member.size)
        return None

    def pieces(self, member: Member, part: Span | None = None) -> Iterator[bytes]:
        """A member's bytes, or a part of them. Whoever takes all of a zip's member has its checksum compared.

        Raises ArchiveInvalid, CorruptObject, Interrupted, and Unsupported for a way of packing or
        encryption that we do not know.
        """
        is_compared = part is None and self._index.format is ArchiveFormat.ZIP
        part = part or Span(0, member.size)
        span = self.span(member)
        if span is not None:
            pieces = self._payload.pieces(Span(span.start + part.start, part.length))
            yield from _compared(member, pieces) if is_compared else pieces
        elif self._index.format is ArchiveFormat.ZIP:
            yield from _cut(self._inflated(member), part)
        else:
            yield from self._unpacked_bytes(Span(member.offset + part.start, part.length))

    def before_end(self) -> Iterator[bytes]:
        """All that comes before the place where a further file would begin: unpacked tar, or zip as it is."""
        span = Span(0, self._index.end)
        if self._index.format in (ArchiveFormat.TAR, ArchiveFormat.ZIP):
            return self._payload.pieces(span)
        return self._unpacked_bytes(span)

    def directory_bytes(self) -> bytes:
        """The directory of a zip, without what marks its end."""
        directory = self._index.directory
        assert directory is not None
        return self._payload.read(directory.offset, directory.size)

    def _unpacked_bytes(self, span: Span) -> Iterator[bytes]:
        if self._unpacked is None or self._unpacked.offset > span.start:
            self._unpacked = Unpacked(self._payload, self._index.format)
        for start in range(0, span.length, PIECE_BYTES):
            wanted = min(PIECE_BYTES, span.length - start)
            piece = self._unpacked.read(span.start + start, wanted)
            if len(piece) < wanted:
                raise ArchiveInvalid("the archive is cut off: it ends inside a file")
            yield piece

    def _inflated(self, member: Member) -> Iterator[bytes]:
        if member.method != DEFLATED:
            raise _unknown_method(member.name)
        header = self._payload.read(member.offset, LOCAL_BYTES)
        begin = zip_data_offset(member.offset, header)
        stream = zlib.decompressobj(_DEFLATE_WINDOW)
        size, crc = 0, 0
        for packed in self._payload.pieces(Span(begin, member.packed_size)):
            data = packed
            while True:
                try:
                    piece = stream.decompress(data, PIECE_BYTES)
                except zlib.error as error:
                    raise ArchiveInvalid(f"damaged archive: {member.name}: {error}") from error
                data = stream.unconsumed_tail
                size, crc = size + len(piece), zlib.crc32(piece, crc)
                if piece and size <= member.size:
                    yield piece
                if size > member.size or (not data and len(piece) < PIECE_BYTES):
                    break
        if size != member.size or crc != member.crc:
            raise ArchiveInvalid(f"damaged archive: {member.name} is not what was packed")


def _compared(member: Member, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """All of a member that is stored as it is. Raises ArchiveInvalid for other bytes than were packed."""
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
        yield piece
    if crc != member.crc:
        raise ArchiveInvalid(f"damaged archive: {member.name} is not what was packed")


def _cut(pieces: Iterator[bytes], part: Span) -> Iterator[bytes]:
    """A part of a run of pieces; all of them are read, so that their checksum is compared."""
    skip, left = part
    for piece in pieces:
        wanted = piece[skip : skip + left] if left else b""
        skip = max(0, skip - len(piece))
        left -= len(wanted)
        if wanted:
            yield wanted
