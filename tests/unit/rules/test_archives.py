"""What archives are, what their members are called, and which of them are meant."""

import pytest

from aisle.errors import BadRequest
from aisle.rules.archives import (
    ArchiveFormat,
    format_of_bytes,
    format_of_name,
    is_archive_name,
    member_filter,
    parse_format,
    parse_member_name,
    webdataset_key,
    writable_format,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tar", ArchiveFormat.TAR),
        ("a.tgz", ArchiveFormat.TGZ),
        ("a.tar.gz", ArchiveFormat.TGZ),
        ("a.tar.lz4", ArchiveFormat.TAR_LZ4),
        ("a.zip", ArchiveFormat.ZIP),
        ("a.gz", None),
        ("tar", None),
        ("a.tar/b", None),
    ],
)
def test_a_name_promises_a_format(name: str, expected: ArchiveFormat | None) -> None:
    assert format_of_name(name.encode()) is expected
    assert is_archive_name(name.encode()) == (expected is not None)


def test_first_bytes_tell_the_format() -> None:
    assert format_of_bytes(bytes(257) + b"ustar\x0000") is ArchiveFormat.TAR
    assert format_of_bytes(b"\x1f\x8b\x08") is ArchiveFormat.TGZ
    assert format_of_bytes(b"\x04\x22\x4d\x18") is ArchiveFormat.TAR_LZ4
    assert format_of_bytes(b"PK\x05\x06") is ArchiveFormat.ZIP
    assert format_of_bytes(b"hello") is None


@pytest.mark.parametrize("text", [".tar.gz", "tgz", "application/gzip", "APPLICATION/X-GZIP", " .tgz "])
def test_clients_name_a_format_in_several_ways(text: str) -> None:
    assert parse_format(text) is ArchiveFormat.TGZ


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(BadRequest, match=r"\.rar"):
        parse_format(".rar")
    with pytest.raises(BadRequest, match="not the name of an archive"):
        writable_format(b"shard", "")
    assert writable_format(b"shard", ".zip") is ArchiveFormat.ZIP


@pytest.mark.parametrize("name", ["a", "a/b.txt", ".hidden", "a..b/c", "ü/x"])
def test_names_of_files_can_be_written(name: str) -> None:
    assert parse_member_name(name) == name
    assert parse_member_name("/" + name) == name


@pytest.mark.parametrize("name", ["", "/", "../a", "a/../b", "a/..", "a/", "//a", "a\0b", "./a", "x" * 5000])
def test_names_that_lead_elsewhere_cannot(name: str) -> None:
    with pytest.raises(BadRequest):
        parse_member_name(name)


NAMES = ["a/file3.txt", "a/file3.cls", "a/file30.txt", "b/file3.seg.png"]


@pytest.mark.parametrize(
    ("mode", "pattern", "expected"),
    [
        ("prefix", "a/", NAMES[:3]),
        ("", "a/file3.", NAMES[:2]),
        ("*", "b", NAMES[3:]),
        ("suffix", ".txt", [NAMES[0], NAMES[2]]),
        ("substr", "30", [NAMES[2]]),
        ("wdskey", "a/file3", NAMES[:2]),
        ("wdskey", "b/file3", NAMES[3:]),
        ("regexp", r"file\d\.(txt|cls)$", NAMES[:2]),
        ("regexp", "", NAMES),
        ("prefix", "none", []),
    ],
)
def test_modes_select_members(mode: str, pattern: str, expected: list[str]) -> None:
    match = member_filter(mode, pattern)
    assert [name for name in NAMES if match(name)] == expected


@pytest.mark.parametrize(("mode", "pattern"), [("nonsense", "a"), ("regexp", "("), ("prefix", "x" * 2000)])
def test_wishes_that_cannot_be_met_are_refused(mode: str, pattern: str) -> None:
    with pytest.raises(BadRequest):
        member_filter(mode, pattern)


def test_a_webdataset_key_keeps_the_folder() -> None:
    assert webdataset_key("train/v1.2/0001.seg.png") == "train/v1.2/0001"
