"""The manifest's file: what is valid in it, whatever happened to the process that wrote it."""

import os
from pathlib import Path

import pytest

from aisle.jobs.manifest import FOLDER, Manifest, ManifestEntry, ManifestFolder
from aisle.model.job import FinishedItem
from aisle.model.record import Attributes, Inline, Record
from aisle.rules.download_plan import Item

WRITTEN_NS = 1_700_000_000_123_456_789


def item(number: int, **more: object) -> Item:
    return Item(number, b"folder/o%d" % number, f"http://h/o{number}?token=secret", **more)  # type: ignore[arg-type]


def record(size: int = 3, **custom: str) -> Record:
    attributes = Attributes(checksum_type="xxhash2", checksum_value="ab12", custom=custom)
    return Record(size, WRITTEN_NS, attributes, b"g" * 16, 1, Inline(1, b""))


def flushed(manifest: Manifest) -> int:
    """Write what waits; how much of the file is valid then."""
    lines = manifest.waiting()
    manifest.write(lines)
    manifest.written(lines)
    return lines.end


def entries(folder: ManifestFolder, valid: int) -> list[ManifestEntry]:
    found = folder.open("dnl-1", valid)
    try:
        return list(found.entries())
    finally:
        found.close()


def test_an_entry_tells_where_an_object_came_from_and_what_it_is(tmp_path: Path) -> None:
    folder = ManifestFolder([tmp_path])
    manifest = folder.start("dnl-1", 0)
    told = {"ETag": "e1", "version": "7", "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}
    manifest.stored(item(0, checksum="sha256:cd"), record(**told), "updated")
    manifest.failed(1, FinishedItem("o1", 0, -1, 1, WRITTEN_NS), link="http://u:p@h/o1", error="status 500")
    stored, failed = entries(folder, flushed(manifest))
    assert (stored.item, stored.object, stored.source) == (0, "folder/o0", "http://h/o0?token=...")
    assert (stored.result, stored.size, stored.checksum, stored.expected) == (
        "updated",
        3,
        "xxhash2:ab12",
        "sha256:cd",
    )
    assert (stored.etag, stored.revision, stored.modified) == ("e1", "7", told["Last-Modified"])
    assert stored.time.isoformat() == "2023-11-14T22:13:20.123457+00:00"
    assert (failed.item, failed.result, failed.size, failed.error) == (1, "failed", -1, "status 500")
    assert failed.source == "http://h/o1"
    manifest.close()


def test_what_lies_behind_the_valid_part_is_never_read_and_cut_off(tmp_path: Path) -> None:
    folder = ManifestFolder([tmp_path])
    killed = folder.start("dnl-1", 0)
    killed.stored(item(0), record())
    valid = flushed(killed)
    killed.stored(item(1), record())
    flushed(killed)  # and was killed before the progress told so
    killed.close()
    assert [entry.item for entry in entries(folder, valid)] == [0]
    again = folder.start("dnl-1", valid)
    again.stored(item(2), record())
    valid = flushed(again)
    again.close()
    assert [entry.item for entry in entries(folder, valid)] == [0, 2]
    assert os.stat(tmp_path / FOLDER / "dnl-1").st_size == valid


def test_lines_that_could_not_be_written_wait_for_the_next_time(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("a file in the way")
    folder = ManifestFolder([tmp_path])
    manifest = folder.start("dnl-1", 0)
    manifest.stored(item(0), record())
    with pytest.raises(OSError):
        manifest.write(manifest.waiting())
    (tmp_path / FOLDER).unlink()
    manifest.stored(item(1), record())
    assert [entry.item for entry in entries(folder, flushed(manifest))] == [0, 1]
    assert manifest.waiting().data == b""
    manifest.close()


def test_what_comes_while_lines_are_written_is_kept_for_later(tmp_path: Path) -> None:
    folder = ManifestFolder([tmp_path])
    manifest = folder.start("dnl-1", 0)
    manifest.stored(item(0), record())
    lines = manifest.waiting()
    manifest.stored(item(1), record())
    manifest.write(lines)
    manifest.written(lines)
    assert [entry.item for entry in entries(folder, lines.end)] == [0]
    assert [entry.item for entry in entries(folder, flushed(manifest))] == [0, 1]
    manifest.close()


def test_a_lost_file_leaves_no_zeros(tmp_path: Path) -> None:
    folder = ManifestFolder([tmp_path])
    manifest = folder.start("dnl-1", 600_000)
    manifest.stored(item(9), record())
    valid = flushed(manifest)
    manifest.close()
    assert b"\0" not in (tmp_path / FOLDER / "dnl-1").read_bytes()
    assert [entry.item for entry in entries(folder, valid)] == [9]


def test_long_manifests_are_read_a_piece_at_a_time(tmp_path: Path) -> None:
    folder = ManifestFolder([tmp_path])
    manifest = folder.start("dnl-1", 0)
    for number in range(5_000):
        manifest.stored(item(number), record())
    valid = flushed(manifest)
    manifest.close()
    assert valid > 4 * 256 * 1024 // 2
    assert [entry.item for entry in entries(folder, valid)] == list(range(5_000))


def test_too_much_that_waits_is_told(tmp_path: Path) -> None:
    manifest = ManifestFolder([tmp_path]).start("dnl-1", 0)
    error = "e" * 1_000_000
    for number in range(9):
        assert manifest.is_full == (number == 9)
        manifest.failed(number, FinishedItem("o", 0, -1, 1, 1), link="http://h/", error=error)
    assert manifest.is_full
    flushed(manifest)
    assert not manifest.is_full
    manifest.close()


def test_manifests_are_found_on_any_mountpath_and_forgotten(tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    before = ManifestFolder([second, first])
    manifest = before.start("dnl-1", 0)
    manifest.stored(item(0), record())
    valid = flushed(manifest)
    manifest.close()
    after = ManifestFolder([first, second])
    assert len(entries(after, valid)) == 1
    after.remove("dnl-1")
    after.remove("dnl-1")
    assert entries(before, valid) == []
