"""Zip, byte by byte: its directory at the end is read, and archives are written front to back.

Written members are stored as they are (data for training is compressed already, and what is not
compressed can be read from the middle), with their checksum behind them, as in a stream. Sizes and
offsets beyond 4 GiB, and more than 65,535 members, use the 64-bit records.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from aisle.rules.archives import ArchiveInvalid
from aisle.rules.archives_tar import MEMBERS_MAX, ReadAt

DIRECTORY_BYTES_MAX: Final = 256 * 1024 * 1024
LOCAL_BYTES: Final = 30
STORED, DEFLATED = 0, 8

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_END_MARK, _END64_MARK, _LOCATOR_MARK = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_ENTRY_MARK, _LOCAL_MARK, _DESCRIPTOR_MARK = b"PK\1\2", b"PK\3\4", b"PK\7\10"
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_COMMENT_BYTES_MAX = 0xFFFF
_ENCRYPTED, _DESCRIBED_BEHIND, _UTF8 = 1, 8, 0x800
_UTF8_SYSTEMS = (3, 19)
_ZIP64_EXTRA, _UNICODE_NAME = 1, 0x7075
_VERSION, _VERSION64, _UNIX = 20, 45, 3 << 8
_KIND_BITS, _REGULAR_BITS = 0o170000, 0o100000


class ZipDirectory(NamedTuple):
    """Where an archive's directory lies, in bytes from its start, and how many entries it has."""

    offset: int
    size: int
    entries: int


class ZipFile(NamedTuple):
    """A regular file in an archive."""

    name: str
    local: int
    """Where its local header is."""
    size: int
    packed_size: int
    method: int
    """STORED, DEFLATED, or one that we do not read."""
    crc: int
    is_encrypted: bool
    is_special: bool = False
    """Whether it is a link or a device to those who packed it."""


def zip_directory(read: ReadAt, size: int) -> ZipDirectory:
    """The directory of an archive of `size` bytes. Raises ArchiveInvalid."""
    start = max(0, size - _END.size - _COMMENT_BYTES_MAX)
    tail = read(start, size - start)
    at = tail.rfind(_END_MARK)
    if at < 0 or len(tail) - at < _END.size:
        raise ArchiveInvalid("not a zip archive, or cut off: it has no directory")
    _, _, _, _, count, length, offset, _ = _END.unpack_from(tail, at)
    end = start + at
    if _MAX32 in (length, offset) or count == _MAX16:
        locator = read(end - _LOCATOR.size, _LOCATOR.size) if end >= _LOCATOR.size else b""
        if locator.startswith(_LOCATOR_MARK):
            end = _LOCATOR.unpack(locator)[2]
            record = read(end, _END64.size)
            if len(record) < _END64.size or not record.startswith(_END64_MARK):
                raise ArchiveInvalid("damaged zip archive: its 64-bit directory record is missing")
            *_, count, length, offset = _END64.unpack(record)
    if length > DIRECTORY_BYTES_MAX or count > MEMBERS_MAX:
        raise ArchiveInvalid(f"the archive has more than {MEMBERS_MAX} files")
    if offset + length != end:
        raise ArchiveInvalid("damaged zip archive: its directory is not where it should be")
    return ZipDirectory(offset, length, count)


def zip_files(read: ReadAt, directory: ZipDirectory) -> Iterator[ZipFile]:
    """The regular files of an archive, in the order of its directory. Raises ArchiveInvalid."""
    data = read(directory.offset, directory.size)
    at = 0
    for _ in range(directory.entries):
        if data[at : at + 4] != _ENTRY_MARK or at + _ENTRY.size > len(data):
            raise ArchiveInvalid("damaged zip archive: its directory ends early")
        fields = _ENTRY.unpack_from(data, at)
        flags, method, crc, packed, size = fields[3], fields[4], *fields[7:10]
        name_bytes, extra_bytes, comment_bytes, local = *fields[10:13], fields[16]
        begin = at + _ENTRY.size
        name = data[begin : begin + name_bytes]
        extra = data[begin + name_bytes : begin + name_bytes + extra_bytes]
        at = begin + name_bytes + extra_bytes + comment_bytes
        size, packed, local = _with_extra(extra, size, packed, local)
        if local + LOCAL_BYTES + packed > directory.offset:
            raise ArchiveInvalid("damaged zip archive: a file lies outside of it")
        if not name.endswith(b"/"):
            text = _unicode_name(extra, name) or _decoded(name, flags, fields[1] >> 8)
            kind = fields[15] >> 16 & _KIND_BITS  # of Unix, or nothing
            is_special = kind not in (0, _REGULAR_BITS)
            yield ZipFile(text, local, size, packed, method, crc, bool(flags & _ENCRYPTED), is_special)


def _decoded(name: bytes, flags: int, system: int) -> str:
    """A name, by the encoding that its entry tells; on Unix and the Mac it mostly is UTF-8 and not told."""
    if flags & _UTF8:
        return name.decode("utf-8", "replace")
    try:
        return name.decode("utf-8" if system in _UTF8_SYSTEMS else "cp437")
    except UnicodeDecodeError:
        return name.decode("cp437")


def _unicode_name(extra: bytes, name: bytes) -> str:
    """The name as Info-ZIP tells it in Unicode beside one in some other encoding; empty if it does not."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        told = extra[4 : 4 + length]
        # A tool that knows nothing of it may have changed the name itself since.
        if kind == _UNICODE_NAME and len(told) > 5 and told[1:5] == struct.pack("<L", zlib.crc32(name)):
            return told[5:].decode("utf-8", "replace")
        extra = extra[4 + length :]
    return ""


def _with_extra(extra: bytes, size: int, packed: int, local: int) -> tuple[int, int, int]:
    """The three numbers, taken from the 64-bit record where they did not fit."""
    numbers = [size, packed, local]
    while _MAX32 in numbers and len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == _ZIP64_EXTRA:
            values = [value for (value,) in struct.iter_unpack("<Q", extra[4 : 4 + length // 8 * 8])]
            for index, number in enumerate(numbers):
                if number == _MAX32 and values:
                    numbers[index] = values.pop(0)
            break
        extra = extra[4 + length :]
    return numbers[0], numbers[1], numbers[2]


def zip_data_offset(local: int, header: bytes) -> int:
    """Where the bytes of a file begin whose local header of LOCAL_BYTES is `header`.

    Raises ArchiveInvalid.
    """
    if len(header) < LOCAL_BYTES or not header.startswith(_LOCAL_MARK):
        raise ArchiveInvalid("damaged zip archive: a file has no header")
    fields = _LOCAL.unpack(header)
    return int(local + LOCAL_BYTES + fields[9] + fields[10])


class ZipWriting:
    """An archive being written. Each method returns the bytes that come next."""

    def __init__(self, *, offset: int = 0, directory: bytes = b"", count: int = 0) -> None:
        """To append to an archive, give its directory's offset, bytes and number of entries."""
        self._offset = offset
        self._entries = [directory]
        self._count = count
        self._name = b""
        self._start = self._size = self._crc = self._time = self._date = 0
        self._is_large = False

    def begin(self, name: str, size: int, modified: tuple[int, int, int, int, int, int]) -> bytes:
        """A file of `size` bytes; `modified` is year, month, day, hour, minute, second."""
        year, month, day, hour, minute, second = modified
        self._date = (min(max(year, 1980), 2107) - 1980) << 9 | month << 5 | day
        self._time = hour << 11 | minute << 5 | second // 2
        self._name = name.encode("utf-8", "surrogateescape")
        self._start, self._size, self._crc = self._offset, 0, 0
        self._is_large = size >= _MAX32
        # The 64-bit record tells readers of a stream how wide the sizes behind the file are.
        extra = struct.pack("<HHQQ", _ZIP64_EXTRA, 16, 0, 0) if self._is_large else b""
        version = _VERSION64 if self._is_large else _VERSION
        shown = _MAX32 if self._is_large else 0
        header = _LOCAL.pack(
            *(_LOCAL_MARK, version, _DESCRIBED_BEHIND | _UTF8, STORED, self._time, self._date),
            *(0, shown, shown, len(self._name), len(extra)),
        )
        return self._moved(header + self._name + extra)

    def data(self, chunk: bytes) -> bytes:
        """Bytes of the file."""
        self._crc = zlib.crc32(chunk, self._crc)
        self._size += len(chunk)
        return self._moved(chunk)

    def end(self) -> bytes:
        """The file is complete."""
        layout = "<4sLQQ" if self._is_large else "<4sLLL"
        self._entries.append(self._entry())
        self._count += 1
        return self._moved(struct.pack(layout, _DESCRIPTOR_MARK, self._crc, self._size, self._size))

    def _entry(self) -> bytes:
        numbers = [self._size, self._size, self._start]
        large = [number for number in numbers if number >= _MAX32]
        extra = struct.pack(f"<HH{len(large)}Q", _ZIP64_EXTRA, 8 * len(large), *large) if large else b""
        version = _VERSION64 if large else _VERSION
        size, packed, start = (min(number, _MAX32) for number in numbers)
        entry = _ENTRY.pack(
            *(_ENTRY_MARK, _UNIX | version, version, _DESCRIBED_BEHIND | _UTF8, STORED),
            *(self._time, self._date, self._crc, packed, size),
            *(len(self._name), len(extra), 0, 0, 0, 0o100644 << 16, start),
        )
        return entry + self._name + extra

    def close(self) -> bytes:
        """The directory: the archive is complete."""
        directory = b"".join(self._entries)
        offset, size, count = self._offset, len(directory), self._count
        end64 = b""
        if offset >= _MAX32 or size >= _MAX32 or count >= _MAX16:
            record = (_END64_MARK, _END64.size - 12, _VERSION64, _VERSION64, 0, 0, count, count, size, offset)
            end64 = _END64.pack(*record) + _LOCATOR.pack(_LOCATOR_MARK, 0, offset + size, 1)
        shown = min(count, _MAX16)
        end = _END.pack(_END_MARK, 0, 0, shown, shown, min(size, _MAX32), min(offset, _MAX32), 0)
        return directory + end64 + end

    def _moved(self, written: bytes) -> bytes:
        self._offset += len(written)
        return written
