"""File systems that a test can fill up or cut the power of: ext4 in a loop image, tmpfs. Needs root.

A cut copies the image file beneath the mounted file system. What a program wrote and never synced
is in that file system's page cache and not in the image, unless the kernel has written it back
meanwhile: exactly what a disk holds after a power cut.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_MIB = 1024 * 1024
_ATTEMPTS_MAX = 50


def run(*command: str | Path) -> str:
    """Run a system program and return what it printed; AssertionError shows why it failed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stdout}{done.stderr}"
    return done.stdout


def missing_for_loop_images() -> str:
    """Why loop images cannot be mounted here, or empty if they can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("mkfs.ext4", "losetup", "mount", "umount"):
        if shutil.which(program) is None:
            return f"needs the program {program}"
    if subprocess.run(["losetup", "--find"], capture_output=True, check=False).returncode != 0:
        return "needs loop devices (losetup finds none)"
    with tempfile.TemporaryDirectory(prefix="aisle-volume-") as folder, disk_folder() as disks:
        try:
            with mounted(new_image(disks / "probe", size_bytes=8 * _MIB), Path(folder)):
                return ""
        except AssertionError as error:
            return f"cannot mount loop images here: {error}"


@contextmanager
def disk_folder() -> Iterator[Path]:
    """A folder for images, in memory where there is room: a cut then costs no disk time."""
    parent = Path("/dev/shm")
    roomy = parent.is_dir() and shutil.disk_usage(parent).free > 4 * 1024 * _MIB
    folder = Path(tempfile.mkdtemp(prefix="aisle-disks-", dir=parent if roomy else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def new_image(path: Path, *, size_bytes: int) -> Path:
    """A fresh ext4 file system in a sparse file, without blocks reserved for root."""
    with path.open("wb") as file:
        file.truncate(size_bytes)
    run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", path)
    return path


class Mounted:
    """A mounted image: `root` is where, `image` the file beneath."""

    def __init__(self, image: Path, root: Path, device: str) -> None:
        self.image = image
        self.root = root
        self.device = device

    def writes_completed(self) -> tuple[int, int]:
        """(completed write requests, requests in flight) of the loop device."""
        fields = Path(f"/sys/block/{Path(self.device).name}/stat").read_text().split()
        return int(fields[4]), int(fields[8])

    def cut(self, copy: Path) -> None:
        """Copy what has reached the disk at one moment, as a power cut now would leave it.

        Whoever writes to the volume should be stopped. The kernel may still write back: a copy is
        kept only if the device did nothing from its beginning to its end.
        """
        for _ in range(_ATTEMPTS_MAX):
            before = self.writes_completed()
            if before[1] == 0:
                run("cp", "--sparse=always", self.image, copy)
                if self.writes_completed() == before:
                    return
            time.sleep(0.02)
        raise AssertionError(f"{self.device} never was quiet for as long as a copy takes")


@contextmanager
def mounted(image: Path, root: Path, *, options: str = "") -> Iterator[Mounted]:
    """Mount an image at the folder `root`; an unfinished journal is replayed, as after a power cut."""
    device = run("losetup", "--find", "--show", image).strip()
    try:
        root.mkdir(parents=True, exist_ok=True)
        run("mount", *(("-o", options) if options else ()), device, root)
        try:
            yield Mounted(image, root, device)
        finally:
            _unmount(root)
    finally:
        run("losetup", "--detach", device)


class CutResult(NamedTuple):
    """What a volatile disk had done when its power was cut."""

    flushes: int
    cached: int
    """Writes that were not flushed yet."""
    kept: int
    """Those of them that the copy holds nevertheless."""


class VolatileMounted:
    """A mounted file system whose disk has a write cache; `root` is where."""

    def __init__(self, root: Path, server: "subprocess.Popen[str]") -> None:
        self.root = root
        self._server = server
        self._frozen = False

    def cut(self, copy: Path, *, after_writes: int, seed: str) -> CutResult:
        """Freeze the disk in the middle of what it does and write what a power cut leaves to `copy`."""
        words = self._ask(f"cut {after_writes} {seed} {copy}")
        self._frozen = True
        return CutResult(*map(int, words[1:]))

    def thaw(self) -> None:
        """Let what waits for the disk go on (and fail to matter): processes can be ended again."""
        if self._frozen:
            self._ask("thaw")
            self._frozen = False

    def _ask(self, command: str) -> list[str]:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(command + "\n")
        self._server.stdin.flush()
        answer = self._server.stdout.readline().split()
        assert answer, "the volatile disk is gone"
        return answer


@contextmanager
def volatile_mounted(image: Path, root: Path, *, options: str = "") -> Iterator[VolatileMounted]:
    """Like `mounted`, on a disk whose writes are safe only once they are flushed."""
    program = Path(__file__).with_name("volatile_disk.py")
    handle, name = tempfile.mkstemp(prefix="aisle-volatile-")
    os.close(handle)
    file = Path(name)
    with subprocess.Popen(
        [sys.executable, program, file, image],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as server:
        volume = VolatileMounted(root, server)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "mounted\n"
            with mounted(file, root, options=options):
                try:
                    yield volume
                finally:
                    volume.thaw()
        finally:
            _unmount(file)
            server.wait(timeout=30)
            file.unlink()


@contextmanager
def tmpfs(root: Path, *, size_bytes: int) -> Iterator[Path]:
    """A tmpfs of that size mounted at the folder `root`."""
    root.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", root)
    try:
        yield root
    finally:
        _unmount(root)


def _unmount(root: Path) -> None:
    # A process killed a moment ago may still be closing its files.
    for _ in range(_ATTEMPTS_MAX):
        if subprocess.run(["umount", root], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.1)
    run("umount", "--lazy", root)
    raise AssertionError(f"{root} was still in use")


def check_file_system(image: Path) -> str:
    """What e2fsck finds in an image that is not mounted, without changing it; empty if it is clean."""
    done = subprocess.run(
        ["e2fsck", "-f", "-n", image], capture_output=True, text=True, check=False, timeout=120
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
