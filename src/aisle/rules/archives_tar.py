"""Tar, byte by byte: headers are written by hand, and read wherever they lie in the archive.

Written are POSIX headers (ustar), with a PAX record where a name or a size does not fit. Read are also
those of GNU tar and the old ones from before POSIX. Only regular files count as members; links, folders
and sparse files are passed over.
"""

from collections.abc import Callable, Generator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from aisle.rules.archives import ArchiveInvalid

BLOCK_BYTES: Final = 512
END: Final = bytes(2 * BLOCK_BYTES)
"""What an archive ends with."""
MEMBERS_MAX: Final = 1_000_000

_ZEROS: Final = bytes(BLOCK_BYTES)
_NAME_BYTES_MAX: Final = 100
_OCTAL_SIZE_MAX: Final = 8**11 - 1
_EXTENSION_BYTES_MAX: Final = 1024 * 1024
_REGULAR: Final = b"07\0"
_ABOUT_NEXT: Final = b"xgLK"
_SPARSE: Final = b"S"
_FOLDER: Final = b"5"
_OTHER: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    _SPARSE: "a sparse file",
}
_WITHOUT_DATA: Final = b"123456"
# Mode, user and group; then type, link, magic and the rest, which are the same for every member.
_OWNER: Final = b"0000644\0" + 2 * b"0000000\0"
_REST: Final = (bytes(100) + b"ustar\x0000" + bytes(64) + 2 * b"0000000\0").ljust(355, b"\0")
_BASE_SUM: Final = sum(_OWNER) + sum(_REST) + 8 * ord(" ")

ReadAt = Callable[[int, int], bytes]
"""Reads bytes at an offset: as many as asked for, fewer only at the end."""


class TarFile(NamedTuple):
    """A regular file in an archive: its name, and where its bytes are."""

    name: str
    offset: int
    size: int


def padding(size: int) -> bytes:
    """What follows a member's bytes up to the next header."""
    return _ZEROS[: -size % BLOCK_BYTES]


def tar_header_size(name: str, size: int) -> int:
    """How many bytes `tar_header` makes."""
    if len(name) <= _NAME_BYTES_MAX and size <= _OCTAL_SIZE_MAX and name.isascii():
        return BLOCK_BYTES
    return len(tar_header(name, size, 0))


def tar_header(name: str, size: int, modified_s: int) -> bytes:
    """The header of a regular file; its size in bytes, its time in Unix seconds."""
    encoded = name.encode("utf-8", "surrogateescape")
    if len(encoded) <= _NAME_BYTES_MAX and size <= _OCTAL_SIZE_MAX and name.isascii():
        return _header(encoded, size, modified_s, b"0")
    records = {}
    if len(encoded) > _NAME_BYTES_MAX or not name.isascii():
        records["path"] = encoded
    if size > _OCTAL_SIZE_MAX:
        records["size"] = str(size).encode()
    extension = b"".join(_record(key.encode(), value) for key, value in records.items())
    shown_size = 0 if "size" in records else size
    return b"".join(
        (
            _header(b"PaxHeaders/record", len(extension), modified_s, b"x"),
            extension,
            padding(len(extension)),
            _header(encoded[:_NAME_BYTES_MAX], shown_size, modified_s, b"0"),
        )
    )


def _header(name: bytes, size: int, modified_s: int, kind: bytes) -> bytes:
    numbers, their_sum = _numbers(size, modified_s)
    total = _BASE_SUM + sum(name) + their_sum + kind[0]
    return b"%b%b%b%06o\0 %b%b" % (name.ljust(_NAME_BYTES_MAX, b"\0"), _OWNER, numbers, total, kind, _REST)


@lru_cache(4096)
def _numbers(size: int, modified_s: int) -> tuple[bytes, int]:
    """The two fields, and the sum of their bytes; members of one archive often have the same."""
    fields = b"%011o\0%011o\0" % (size, max(0, min(modified_s, _OCTAL_SIZE_MAX)))
    return fields, sum(fields)


def _record(key: bytes, value: bytes) -> bytes:
    """A PAX record: its own length in decimal, key and value."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def tar_files(
    read: ReadAt, *, size: int | None = None, files_only: bool = False
) -> Generator[TarFile, None, int]:
    """The regular files of an archive, in its order; returns where its end mark is, or should be.

    `read` is asked for ever higher offsets. With the archive's `size` in bytes, members that reach
    beyond it are found. Raises ArchiveInvalid; with `files_only` also for what is neither a regular file
    nor a folder, which is passed over otherwise.
    """
    offset, count = 0, 0
    named: dict[str, bytes] = {}
    while True:
        block = read(offset, BLOCK_BYTES)
        if block == _ZEROS or (not block and offset):
            return offset  # without an end mark too: as lenient as tar itself
        if len(block) < BLOCK_BYTES:
            raise ArchiveInvalid(f"not a tar archive, or cut off: no header at byte {offset}")
        header = _parse(block, offset)
        offset += BLOCK_BYTES
        if header.kind in _ABOUT_NEXT:
            if header.kind in b"xL":
                named |= _extension(read, offset, header)
            offset = _behind(offset, header.size)
            continue
        if header.kind == _SPARSE:
            offset = _behind_sparse_map(read, block, offset)
        length = 0 if header.kind in _WITHOUT_DATA else _size(named, header)
        if size is not None and offset + length > size:
            raise ArchiveInvalid(f"the tar archive is cut off: it ends inside a file at byte {offset}")
        name = named.get("path", header.name).decode("utf-8", "replace")
        if header.kind in _REGULAR and "sparse" not in named and not name.endswith("/"):
            count += 1
            if count > MEMBERS_MAX:
                raise ArchiveInvalid(f"the archive has more than {MEMBERS_MAX} files")
            yield TarFile(name, offset, length)
        elif files_only and header.kind != _FOLDER and not name.endswith("/"):
            kind = _SPARSE if "sparse" in named else header.kind
            raise ArchiveInvalid(f'"{name[:200]}" is {_OTHER.get(kind, "a file of a special kind")}')
        if size is None and length and not read(offset + length - 1, 1):
            raise ArchiveInvalid(f"the tar archive is cut off: it ends inside a file at byte {offset}")
        offset, named = _behind(offset, length), {}


class _Header(NamedTuple):
    name: bytes
    size: int
    kind: bytes


def _parse(block: bytes, offset: int) -> _Header:
    total = sum(block[:148]) + 8 * ord(" ") + sum(block[156:])
    if _number(block[148:156], offset) != total:
        raise ArchiveInvalid(f"not a tar archive, or damaged: wrong header checksum at byte {offset}")
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].partition(b"\0")[0]
        name = prefix + b"/" + name if prefix else name
    return _Header(name, _number(block[124:136], offset), block[156:157])


def _number(field: bytes, offset: int) -> int:
    """Octal digits, or base 256 where the highest bit is set. Raises ArchiveInvalid."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ~(0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            raise ArchiveInvalid(f"damaged tar archive: negative number at byte {offset}")
        return value
    digits = field.partition(b"\0")[0].strip()
    if digits.startswith(b"-"):  # a member that ends before it begins would be read again and again
        raise ArchiveInvalid(f"damaged tar archive: negative number at byte {offset}")
    try:
        return int(digits or b"0", 8)
    except ValueError as error:
        raise ArchiveInvalid(f"not a tar archive, or damaged: no number at byte {offset}") from error


def _extension(read: ReadAt, offset: int, header: _Header) -> Mapping[str, bytes]:
    """What a header says about the next one: of GNU's long name, or of PAX."""
    if header.size > _EXTENSION_BYTES_MAX:
        raise ArchiveInvalid(f"damaged tar archive: an extension of {header.size} bytes at byte {offset}")
    data = read(offset, header.size)
    if len(data) < header.size:
        raise ArchiveInvalid(f"the tar archive is cut off at byte {offset}")
    if header.kind == b"L":
        return {"path": data.rstrip(b"\0")}
    found: dict[str, bytes] = {}
    while data:
        length, space, _ = data[:24].partition(b" ")
        count = int(length) if space and length.isdigit() else 0
        key, equals, value = data[len(length) + 1 : count - 1].partition(b"=")
        if not count or not equals or data[count - 1 : count] != b"\n":
            raise ArchiveInvalid(f"damaged tar archive: a bad PAX record at byte {offset}")
        if key.startswith(b"GNU.sparse."):
            found["sparse"] = b""
        elif key in (b"path", b"size"):
            found[key.decode()] = value
        data = data[count:]
    return found


def _size(named: Mapping[str, bytes], header: _Header) -> int:
    told = named.get("size")
    if told is None:
        return header.size
    if not told.isdigit() or len(told) > 18:
        raise ArchiveInvalid("damaged tar archive: a PAX size that is no number")
    return int(told)


def _behind_sparse_map(read: ReadAt, block: bytes, offset: int) -> int:
    """Where the data of a GNU sparse file begins: its map may go on in further blocks."""
    goes_on = block[482]
    while goes_on:
        block = read(offset, BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise ArchiveInvalid(f"the tar archive is cut off at byte {offset}")
        goes_on = block[504]
        offset += BLOCK_BYTES
    return offset


def _behind(offset: int, size: int) -> int:
    return offset + size + -size % BLOCK_BYTES
