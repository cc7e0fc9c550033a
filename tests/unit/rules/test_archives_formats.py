"""Tar and zip byte by byte, with the standard library as the judge."""

import io
import random
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.rules.archives import ArchiveFormat, ArchiveInvalid
from aisle.rules.archives_tar import END, TarFile, padding, tar_files, tar_header, tar_header_size
from aisle.rules.archives_writing import new_archive
from aisle.rules.archives_zip import (
    DEFLATED,
    LOCAL_BYTES,
    STORED,
    ZipWriting,
    zip_data_offset,
    zip_directory,
    zip_files,
)

FILES = {
    "a.txt": b"hello",
    "empty": b"",
    "folder/" + "n" * 95 + ".bin": bytes(range(256)) * 9,
    "ünï/😀": b"x" * 512,
    "deep/" * 60 + "end": b"y" * 513,
}


def reading(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, length: data[offset : offset + length]


def written(format_: ArchiveFormat, files: dict[str, bytes]) -> bytes:
    writing = new_archive(format_)
    pieces = []
    for name, content in files.items():
        pieces.append(writing.begin(name, len(content), 1_700_000_000))
        half = len(content) // 2
        pieces += [writing.data(content[:half]), writing.data(content[half:]), writing.end()]
    return b"".join((*pieces, writing.close()))


def walked(data: bytes) -> tuple[dict[str, bytes], int]:
    files = tar_files(reading(data), size=len(data))
    found = {}
    while True:
        try:
            file: TarFile = next(files)
        except StopIteration as done:
            return found, done.value
        found[file.name] = data[file.offset : file.offset + file.size]


def library_tar(format_: int, files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=format_) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "a.txt"
        tar.addfile(link)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), 1.5
            tar.addfile(info, io.BytesIO(content))
    return target.getvalue()


def test_python_reads_what_is_written_as_tar() -> None:
    data = written(ArchiveFormat.TAR, FILES)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]
        assert tar.getmembers()[0].mtime == 1_700_000_000
    assert found == FILES
    assert data.endswith(END)
    assert walked(data)[0] == FILES


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes_as_tar_is_read(format_: int) -> None:
    files = {
        name: content for name, content in FILES.items() if format_ != tarfile.USTAR_FORMAT or len(name) < 200
    }
    data = library_tar(format_, files)
    found, end = walked(data)
    assert found == files
    assert not data[end:].strip(b"\0")


@pytest.mark.parametrize("name", [*FILES, "x" * 100, "x" * 101, "é"])
@pytest.mark.parametrize("size", [0, 5, 9 * 1024**3])
def test_the_size_of_a_header_is_known_beforehand(name: str, size: int) -> None:
    assert tar_header_size(name, size) == len(tar_header(name, size, 1))


def test_sizes_beyond_the_octal_field_are_written_and_read() -> None:
    header = tar_header("large", 9 * 1024**3, 0)
    with tarfile.open(fileobj=io.BytesIO(header + END), mode="r|") as tar:
        assert tar.firstmember is not None
        assert tar.firstmember.size == 9 * 1024**3
    assert next(tar_files(reading(header + END))).size == 9 * 1024**3


def test_a_tar_without_an_end_mark_is_read_to_its_end() -> None:
    data = tar_header("a", 3, 0) + b"abc" + padding(3)
    assert walked(data) == ({"a": b"abc"}, len(data))


ANY_NAME = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=150)


@given(st.dictionaries(ANY_NAME, st.binary(max_size=2000), max_size=6))
def test_tars_of_any_names_come_back(files: dict[str, bytes]) -> None:
    files = {name.strip("/") or "x": content for name, content in files.items()}
    assert walked(written(ArchiveFormat.TAR, files))[0] == files


def test_damaged_tars_say_so() -> None:
    data = written(ArchiveFormat.TAR, FILES)
    for damaged in (
        data[:100],
        data[:514],
        b"\x01" + data[1:],
        b"this is no archive " * 100,
        b"",
    ):
        with pytest.raises(ArchiveInvalid):
            walked(damaged)


@pytest.mark.parametrize("kind", [b"0", b"x", b"g", b"L"])
def test_a_tar_with_a_negative_size_is_damaged_and_has_an_end(kind: bytes) -> None:
    # Taken as it stands, what follows the header is the header itself, for ever.
    block = bytearray(tar_header("a", 0, 0))
    block[124:136], block[156:157], block[148:156] = b"-0000001000\0", kind, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    reads = iter(range(100))

    def read(offset: int, length: int) -> bytes:
        next(reads)  # ends a walk that would not
        return bytes(block[offset : offset + length])

    with pytest.raises(ArchiveInvalid, match="negative number"):
        list(tar_files(read))


def test_no_damage_to_a_tar_surprises() -> None:
    data = bytearray(library_tar(tarfile.PAX_FORMAT, FILES))
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            walked(bytes(damaged[: chance.randrange(1, len(damaged))]))
        except ArchiveInvalid:
            refused += 1
    assert refused > 100


def test_python_reads_what_is_written_as_zip() -> None:
    with zipfile.ZipFile(io.BytesIO(written(ArchiveFormat.ZIP, FILES))) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == FILES
        assert archive.infolist()[0].date_time == (2023, 11, 14, 22, 13, 20)


def library_zip(method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.mkdir("folder")
        for name, content in FILES.items():
            archive.writestr(name, content)
        archive.comment = b"PK\5\6 is not the end"
    return target.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_directory_of_a_zip_is_read(method: int) -> None:
    data = library_zip(method).replace(b"PK\5\6 is not", b"PK-5-6 is not")
    read = reading(data)
    files = list(zip_files(read, zip_directory(read, len(data))))
    assert [(file.name, file.size) for file in files] == [
        (name, len(content)) for name, content in FILES.items()
    ]
    for file in files:
        if method == zipfile.ZIP_STORED:
            assert file.method == STORED
            start = zip_data_offset(file.local, read(file.local, LOCAL_BYTES))
            assert data[start : start + file.size] == FILES[file.name]
        elif file.size:
            assert file.method == DEFLATED


@pytest.mark.parametrize(("told", "name"), [(b"\x8d.txt", "\u20ac.txt"), (b"other", "\u00ec.txt")])
def test_a_name_that_a_zip_tells_in_unicode_too_is_taken_from_there(told: bytes, name: str) -> None:
    text = "\u20ac.txt".encode()
    extra = (
        b"\x55\x54\5\0" + bytes(5) + struct.pack("<HHBL", 0x7075, 5 + len(text), 1, zlib.crc32(told)) + text
    )
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        info = zipfile.ZipInfo("X.txt")
        info.extra = extra
        archive.writestr(info, b"x")
    data = target.getvalue().replace(b"X.txt", b"\x8d.txt")
    read = reading(data)
    assert [file.name for file in zip_files(read, zip_directory(read, len(data)))] == [name]


@pytest.mark.parametrize(("system", "name"), [(3, "\u00e9.txt"), (19, "\u00e9.txt"), (0, "\u251c\u2310.txt")])
def test_names_of_unix_are_utf8_also_where_that_is_not_told(system: int, name: str) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        info = zipfile.ZipInfo("XY.txt")
        info.create_system = system
        archive.writestr(info, b"x")
    data = target.getvalue().replace(b"XY.txt", "\u00e9.txt".encode())
    read = reading(data)
    assert [file.name for file in zip_files(read, zip_directory(read, len(data)))] == [name]


def test_a_zip_can_be_appended_to() -> None:
    data = library_zip(zipfile.ZIP_DEFLATED).replace(b"PK\5\6 is not", b"PK-5-6 is not")
    read = reading(data)
    directory = zip_directory(read, len(data))
    writing = ZipWriting(
        offset=directory.offset, directory=read(directory.offset, directory.size), count=directory.entries
    )
    more = [
        writing.begin("more", 4, (2024, 1, 2, 3, 4, 5)),
        writing.data(b"data"),
        writing.end(),
        writing.close(),
    ]
    with zipfile.ZipFile(io.BytesIO(data[: directory.offset] + b"".join(more))) as archive:
        assert archive.testzip() is None
        assert archive.read("more") == b"data"
        assert archive.namelist() == ["folder/", *FILES, "more"]


def test_zips_with_very_many_files_use_the_wide_records() -> None:
    writing, pieces = ZipWriting(), []
    for number in range(70_000):
        pieces += [writing.begin(f"{number}", 0, (2024, 1, 2, 3, 4, 5)), writing.end()]
    data = b"".join((*pieces, writing.close()))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert len(archive.namelist()) == 70_000
    assert zip_directory(reading(data), len(data)).entries == 70_000


def test_offsets_beyond_32_bits_are_written_and_read() -> None:
    writing = ZipWriting(offset=5 * 1024**3)
    local = writing.begin("a", 5 * 1024**3, (2024, 1, 2, 3, 4, 5)) + writing.data(b"abc") + writing.end()
    end = writing.close()
    before = 5 * 1024**3

    def read(offset: int, length: int) -> bytes:
        gap = max(0, min(length, before - offset))
        return bytes(gap) + reading(local + end)(offset + gap - before, length - gap)

    size = 5 * 1024**3 + len(local) + len(end)
    [file] = zip_files(read, zip_directory(read, size))
    assert (file.local, file.size) == (5 * 1024**3, 3)


def test_damaged_zips_say_so() -> None:
    data = written(ArchiveFormat.ZIP, FILES)
    for damaged in (b"", b"hello", data[:-30], data[10:], data[:-22] + b"PK\5\6" + bytes(18)):
        with pytest.raises(ArchiveInvalid):
            zip_directory(reading(damaged), len(damaged))


def test_no_damage_to_a_zip_surprises() -> None:
    data = library_zip(zipfile.ZIP_DEFLATED).replace(b"PK\5\6 is not", b"PK-5-6 is not")
    chance = random.Random(7)
    refused = 0
    for _ in range(400):
        damaged = bytearray(data)
        for _ in range(3):
            damaged[-chance.randrange(1, 700)] = chance.randrange(256)
        read = reading(bytes(damaged))
        try:
            list(zip_files(read, zip_directory(read, len(damaged))))
        except ArchiveInvalid:
            refused += 1
    assert refused > 100
