"""What the operating system tells about a folder: its lock, its file system, its free space."""

import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

from aisle.errors import MountpathLocked, StartError

# Their locks and their memory maps do not agree between machines, which LMDB needs.
_NETWORK = {
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.ceph", "fuse.glusterfs", "fuse.s3fs", "smb3"),
    *("fuse.sshfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2", "smbfs"),
}


@cache
def boot_id() -> str:
    """What distinguishes this boot of the machine from others; a constant where nothing tells."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def lock_mountpath(path: Path) -> int:
    """Make the folder if need be and lock it; the lock lives as long as the returned descriptor.

    Children inherit the lock with the descriptor. Raises MountpathLocked with the pid of a process that
    holds it.
    """
    path.mkdir(mode=0o750, parents=True, exist_ok=True)
    fd = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(fd)
        os.close(fd)
        raise MountpathLocked(str(path), pid=holder) from error
    return fd


@contextmanager
def locked(paths: Sequence[Path]) -> Iterator[None]:
    """Hold the locks of mountpaths for the block. Raises MountpathLocked."""
    with ExitStack() as stack:
        for path in paths:
            stack.callback(os.close, lock_mountpath(path))
        yield


def _holder(lock_fd: int) -> int:
    # The pid written by the first holder may be dead while its children live on, so look who has it open.
    wanted = os.fstat(lock_fd)
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            for link in (process / "fd").iterdir():
                found = link.stat()
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return int(process.name)
        except OSError:
            continue  # not ours to look at, or gone meanwhile
    return 0


def filesystem_type(path: Path) -> str:
    """The kind of file system, such as `ext4`; empty where the system does not tell."""
    if sys.platform != "linux":
        return ""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    best = (False, 0, "")
    target = str(path.resolve())
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        _, _, number, _, mounted = fields.split()[:5]
        # On btrfs and overlays the device differs from the mount's: then the longest path counts.
        if target == mounted or target.startswith(mounted.rstrip("/") + "/"):
            best = max(best, (number == wanted, len(mounted), rest.split()[0]))
    return best[2]


def refuse_network(path: Path) -> None:
    """Raise StartError if the folder lies on a network file system."""
    kind = filesystem_type(path)
    if kind in _NETWORK:
        raise StartError(f"{path} is on a network file system ({kind}): use a local disk")


def free_bytes(path: Path) -> int:
    """What ordinary users may still write below the folder."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
