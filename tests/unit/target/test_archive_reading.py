"""Archives of every format, found and read in a payload, with the standard library as their maker."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Sequence

import lz4.frame
import pytest

from aisle.errors import Unsupported
from aisle.rules.archives import ArchiveFormat, ArchiveInvalid
from aisle.rules.ranges import Span
from aisle.storage.engine import OpenSegment
from aisle.target.archive_reading import Contents, Interrupted, Member, PayloadBytes, index_archive
from support.archives import tar_of

LARGE = bytes(range(256)) * 5000
FILES = {"a/1.txt": b"one", "a/1.cls": b"", "large.bin": LARGE, "b/2.txt": b"two" * 300}


class Whole:
    """A payload that is here as a whole."""

    def __init__(self, data: bytes) -> None:
        self.inline: bytes | None = data
        self.segments: Sequence[OpenSegment] = ()

    def close(self) -> None:
        pass


def zip_of(files: dict[str, bytes], method: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


TAR = tar_of(FILES)
ARCHIVES = {
    "tar": (ArchiveFormat.TAR, TAR),
    "tgz": (ArchiveFormat.TGZ, gzip.compress(TAR)),
    "tgz in two members, padded": (
        ArchiveFormat.TGZ,
        gzip.compress(TAR[:3000]) + gzip.compress(TAR[3000:]) + bytes(99),
    ),
    "lz4": (ArchiveFormat.TAR_LZ4, lz4.frame.compress(TAR)),
    "lz4 in two frames": (
        ArchiveFormat.TAR_LZ4,
        lz4.frame.compress(TAR[:3000]) + lz4.frame.compress(TAR[3000:]),
    ),
    "zip stored": (ArchiveFormat.ZIP, zip_of(FILES, zipfile.ZIP_STORED)),
    "zip deflated": (ArchiveFormat.ZIP, zip_of(FILES, zipfile.ZIP_DEFLATED)),
}


def opened(format_: ArchiveFormat, data: bytes) -> tuple[Contents, Sequence[Member]]:
    payload = PayloadBytes(Whole(data), len(data))
    index = index_archive(format_, payload)
    return Contents(index, payload), index.members


def read_all(format_: ArchiveFormat, data: bytes) -> dict[str, bytes]:
    contents, members = opened(format_, data)
    return {member.name: b"".join(contents.pieces(member)) for member in members}


@pytest.mark.parametrize("name", ARCHIVES)
def test_every_member_is_found_and_read(name: str) -> None:
    assert read_all(*ARCHIVES[name]) == FILES
    contents, members = opened(*ARCHIVES[name])
    # Against the archive's order it takes longer, and works.
    assert [b"".join(contents.pieces(member)) for member in reversed(members)] == list(FILES.values())[::-1]


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("part", [Span(0, 1), Span(255, 300_000), Span(len(LARGE) - 1, 1)])
def test_a_part_of_a_member_is_read(name: str, part: Span) -> None:
    contents, members = opened(*ARCHIVES[name])
    assert b"".join(contents.pieces(members[2], part)) == LARGE[part.start : part.start + part.length]


@pytest.mark.parametrize("name", ["tgz", "lz4", "zip deflated", "zip stored"])
def test_damage_inside_compressed_data_is_noticed(name: str) -> None:
    format_, data = ARCHIVES[name]
    middle = len(data) // 2
    damaged = data[:middle] + bytes(40) + data[middle + 40 :]
    with pytest.raises(ArchiveInvalid):
        read_all(format_, damaged)


@pytest.mark.parametrize("name", ["tgz", "lz4"])
def test_compressed_data_that_end_early_are_noticed(name: str) -> None:
    format_, data = ARCHIVES[name]
    with pytest.raises(ArchiveInvalid, match="cut off"):
        opened(format_, data[: len(data) // 2])


def test_of_files_with_one_name_the_last_counts() -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, content in (("a", b"old"), ("b", b"b"), ("./a", b"newer")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    payload = PayloadBytes(Whole(target.getvalue()), len(target.getvalue()))
    index = index_archive(ArchiveFormat.TAR, payload)
    assert sorted(member.name for member in index.members) == ["./a", "b"]
    for name in ("a", "/a", "./a"):
        member = index.find(name)
        assert member is not None
        assert member.size == 5
    assert index.find("c") is None


def test_a_bomb_is_unpacked_in_small_pieces() -> None:
    bomb = gzip.compress(tar_of({"zeros": bytes(64 * 1024 * 1024)}))
    contents, [member] = opened(ArchiveFormat.TGZ, bomb)
    assert max(map(len, contents.pieces(member))) <= 256 * 1024


def test_reading_can_be_stopped() -> None:
    payload = PayloadBytes(Whole(TAR), len(TAR))
    payload.stop()
    with pytest.raises(Interrupted):
        index_archive(ArchiveFormat.TAR, payload)


def test_other_ways_of_packing_are_told_apart_from_damage() -> None:
    with pytest.raises(Unsupported, match="deflated"):
        read_all(ArchiveFormat.ZIP, zip_of(FILES, zipfile.ZIP_BZIP2))
