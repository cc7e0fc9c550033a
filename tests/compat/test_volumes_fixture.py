"""The simulated power cut must lose what was not synced and keep what was: else it proves nothing."""

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import volumes

pytestmark = pytest.mark.root

WRITER = """
import os, sys, lmdb
root, sync = sys.argv[1], sys.argv[2] == "sync"
index = lmdb.open(root + "/index", map_size=1 << 26, sync=sync)
for number in range(50):
    payload = os.open(f"{root}/file{number}", os.O_CREAT | os.O_WRONLY)
    os.write(payload, b"x" * 100_000)
    if sync:
        os.fsync(payload)
    os.close(payload)
    with index.begin(write=True) as txn:
        txn.put(b"%d" % number, b"y" * 3000)
print("written", flush=True)
sys.stdin.read()
"""

READER = """
import sys, lmdb, os
root = sys.argv[1]
paths = [f"{root}/file{number}" for number in range(50)]
files = sum(os.path.exists(path) and os.path.getsize(path) == 100_000 for path in paths)
try:
    with lmdb.open(root + "/index", map_size=1 << 26).begin() as txn:
        entries = txn.stat()["entries"]
except lmdb.Error:
    entries = 0
print(files, entries)
"""


@pytest.fixture(scope="module")
def disks() -> Iterator[Path]:
    reason = volumes.missing_for_loop_images()
    if reason:
        pytest.skip(f"power cut: {reason}")
    with volumes.disk_folder() as folder:
        yield folder


def survivors(disks: Path, mode: str) -> tuple[int, int]:
    """Files and index entries, of 50 each, that are there after a power cut."""
    image = volumes.new_image(disks / mode, size_bytes=64 * 1024 * 1024)
    with tempfile.TemporaryDirectory(prefix="aisle-volume-") as folder:
        root = Path(folder)
        with (
            volumes.mounted(image, root / "before") as volume,
            subprocess.Popen(
                [sys.executable, "-c", WRITER, volume.root, mode],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as writer,
        ):
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"written\n"
            volume.cut(disks / "copy")
            writer.communicate()
        with volumes.mounted(disks / "copy", root / "after") as volume:
            files, entries = volumes.run(sys.executable, "-c", READER, volume.root).split()
        assert volumes.check_file_system(disks / "copy") == ""
    return int(files), int(entries)


def test_what_was_synced_survives_the_cut(disks: Path) -> None:
    assert survivors(disks, "sync") == (50, 50)


def test_what_was_not_synced_is_lost(disks: Path) -> None:
    files, entries = survivors(disks, "no-sync")
    assert files == 0
    assert entries < 50


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse")
def test_a_volatile_disk_forgets_what_was_not_flushed(disks: Path, tmp_path: Path) -> None:
    image = volumes.new_image(disks / "volatile", size_bytes=64 * 1024 * 1024)
    with volumes.volatile_mounted(image, tmp_path / "before") as volume:
        with (volume.root / "synced").open("wb") as file:
            file.write(b"s" * 300_000)
            file.flush()
            os.fsync(file.fileno())
        # Written back but not flushed: a disk without a cache would hold it.
        fd = os.open(volume.root / "synced", os.O_RDWR)
        os.pwrite(fd, b"n" * 4096, 0)
        libc = ctypes.CDLL(None)
        assert libc.sync_file_range(fd, ctypes.c_long(0), ctypes.c_long(4096), 7) == 0
        os.close(fd)
        seen = {}
        for number in range(20):
            copy = disks / f"cut-{number}"
            result = volume.cut(copy, after_writes=0, seed=str(number))
            volume.thaw()
            assert result.flushes > 0
            with volumes.mounted(copy, tmp_path / "after") as after:
                content = (after.root / "synced").read_bytes()
            assert content[4096:] == b"s" * (300_000 - 4096)
            seen[content[:1]] = result.cached
        assert seen.keys() == {b"s", b"n"}
        assert min(seen.values()) > 0


def test_a_full_tmpfs_says_so(tmp_path: Path) -> None:
    with volumes.tmpfs(tmp_path / "full", size_bytes=1024 * 1024) as root:
        with pytest.raises(OSError, match="No space left"), open(root / "file", "wb") as file:
            file.write(b"x" * 2 * 1024 * 1024)
        assert os.statvfs(root).f_bavail == 0
    assert not os.path.ismount(tmp_path / "full")
