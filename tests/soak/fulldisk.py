"""Full disks: by payloads, by the index, by somebody else's file.

While a mountpath is full, writes are answered 507, everything acknowledged is read and listed,
deletes work, and so does a restart; when there is space again, writes work again.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support import volumes
from support.content import payload
from support.fsck import assert_clean
from support.load import read
from support.native import NativeClient
from support.node import RunningNode, running_node
from support.oracle import Oracle, Violation

BUCKET = "full"
DISK_BYTES = 64 * 1024 * 1024
RESERVE_BYTES = 8 * 1024 * 1024
CONFIG = f"[storage]\nreserve_bytes = {RESERVE_BYTES}\nunlink_delay_s = 1.0\n"
LARGE_BYTES = 1024 * 1024
SMALL_BYTES = 8 * 1024
FILE_SYSTEMS = ("tmpfs", "ext4")
FILLERS = ("payloads", "index", "foreign")
_WRITES_MAX = 50_000
_REFUSALS_WANTED = 20  # the disk stays full: not one lucky refusal
_RECOVERY_S = 30.0


class Filled(NamedTuple):
    """What one case showed."""

    objects: int
    refusals: int
    recovered_s: float
    """Seconds from space coming back to the first acknowledged write."""

    def describe(self, file_system: str, filler: str) -> str:
        """One line for the log."""
        return (
            f"full disk: {file_system} filled by {filler}: {self.objects} objects kept, "
            f"{self.refusals} writes refused with 507, writable {self.recovered_s:.1f} s after space returned"
        )


@contextmanager
def disk(file_system: str, root: Path, *, size_bytes: int) -> Iterator[Path]:
    """A small file system of that kind mounted at `root`."""
    if file_system == "tmpfs":
        with volumes.tmpfs(root, size_bytes=size_bytes):
            yield root
    else:
        with volumes.disk_folder() as disks:
            image = volumes.new_image(disks / "disk", size_bytes=size_bytes)
            with volumes.mounted(image, root):
                yield root


def fill(file_system: str, filler: str, folder: Path, *, size_bytes: int = DISK_BYTES) -> Filled:
    """One case, from an empty disk to a recovered one."""
    with (
        disk(file_system, folder / "disk", size_bytes=size_bytes) as root,
        running_node([root / "store"], config=CONFIG) as node,
    ):
        case = _Case(node, root)
        case.create_bucket()
        case.write("before", 10, SMALL_BYTES)
        case.write("before-large", 10, LARGE_BYTES)
        if filler == "foreign":
            _fill_with_a_file(root / "foreign")
        size = LARGE_BYTES if filler == "payloads" else SMALL_BYTES
        refusals = case.write_until_refused(size)
        case.verify()
        node.restart()
        case.verify()
        case.assert_full(size)
        case.delete(case.names()[:10])
        case.verify()
        if filler == "foreign":
            (root / "foreign").unlink()
        else:
            case.delete(case.names()[::2])
        recovered_s = case.wait_writable([SMALL_BYTES] if filler == "index" else [LARGE_BYTES, SMALL_BYTES])
        # The files of what was deleted go one after the other.
        case.write("after", 10, SMALL_BYTES, patience_s=30)
        if filler != "index":  # what an index has grown to is room for small objects only
            case.write("after-large", 10, LARGE_BYTES, patience_s=30)
        node.kill("all")
        node.restart()
        objects = case.verify()
        node.stop()
        assert_clean(node.data)
    return Filled(objects, refusals, recovered_s)


def _fill_with_a_file(path: Path) -> None:
    """Somebody else takes every last block."""
    with path.open("wb", buffering=0) as file:
        for size in (1024 * 1024, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        os.fsync(file.fileno())


class _Case:
    def __init__(self, node: RunningNode, root: Path) -> None:
        self._node = node
        self._root = root
        self._oracle = Oracle()

    def _connect(self) -> NativeClient:
        return NativeClient(self._node.host, self._node.port)

    def create_bucket(self) -> None:
        """The bucket that is filled."""
        answer = self._connect().create_bucket(BUCKET)
        assert answer.status == 200, answer

    def names(self) -> list[str]:
        """Objects that are there for certain."""
        return [name for name in self._oracle.names() if self._size(name) is not None]

    def _size(self, name: str) -> int | None:
        (operation,) = self._oracle.possible(name)
        return operation.size

    def _put(self, client: NativeClient, name: str, size: int) -> int:
        operation = self._oracle.begin(name, size)
        answer = client.put(BUCKET, name, payload(name, operation.sequence, size))
        if answer.status == 200:
            self._oracle.acknowledge(name, operation)
        elif answer.status == 507:
            self._oracle.refuse(name, operation)
        else:
            raise Violation(f"PUT {name} of {size} bytes: {answer.status} {answer.body[:300]!r}")
        return answer.status

    def write(self, prefix: str, number: int, size: int, *, patience_s: float = 0.0) -> None:
        """So many objects, all of which must be accepted, if not at once then within `patience_s`."""
        client = self._connect()
        give_up_s = time.monotonic() + patience_s
        for index in range(number):
            while self._put(client, f"{prefix}-{index}", size) != 200:
                assert time.monotonic() < give_up_s, f"{prefix}-{index}: 507"
                time.sleep(0.1)
        client.close()

    def write_until_refused(self, size: int) -> int:
        """Fill the disk; the number of refusals, which come in a row at the end."""
        client = self._connect()
        row = refusals = 0
        for index in range(_WRITES_MAX):
            refused = self._put(client, f"fill/{index:06d}", size) == 507
            refusals += refused
            row = row + 1 if refused else 0
            if row == _REFUSALS_WANTED:
                client.close()
                return refusals
        free = os.statvfs(self._root)
        raise Violation(f"{_WRITES_MAX} writes and never full; {free.f_bavail * free.f_frsize} bytes free")

    def assert_full(self, size: int) -> None:
        """Writes of that size are refused, if not the first then soon."""
        client = self._connect()
        statuses = [self._put(client, f"more/{index:06d}", size) for index in range(_REFUSALS_WANTED)]
        client.close()
        if 507 not in statuses:
            raise Violation(f"the disk was full and now takes {len(statuses)} writes of {size} bytes")

    def delete(self, names: list[str]) -> None:
        """Every deletion must work."""
        client = self._connect()
        for name in names:
            operation = self._oracle.begin(name, None)
            answer = client.delete(BUCKET, name)
            if answer.status != 200:
                raise Violation(f"DELETE {name} on a full disk: {answer.status} {answer.body[:300]!r}")
            self._oracle.acknowledge(name, operation)
        client.close()

    def verify(self) -> int:
        """Everything acknowledged is read and listed, nothing refused shows."""
        client = self._connect()
        for name in self._oracle.names():
            self._oracle.settle(name, read(client, BUCKET, name))
        listed = [(entry.name, entry.size) for entry in client.list_all(BUCKET)]
        client.close()
        return self._oracle.check_listing(listed, self._oracle.moments())

    def wait_writable(self, sizes: Sequence[int]) -> float:
        """Seconds until writes of these sizes are accepted again."""
        began = time.monotonic()
        client = self._connect()
        for size in sizes:
            while self._put(client, "recovery", size) == 507:
                if time.monotonic() - began > _RECOVERY_S:
                    raise Violation(f"still 507, {_RECOVERY_S} s after there is space again")
                time.sleep(0.2)
        client.close()
        return time.monotonic() - began
