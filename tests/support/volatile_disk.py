"""A disk with a write cache that forgets: a file served by FUSE, cut at any single write. Needs root.

Run as a program it mounts itself over a regular file, which then holds the disk's image and can carry
a loop device. Every write request and every flush of that device arrives here one by one. A cut
happens in the middle of whatever is going on: the disk freezes after the n-th write from now, and the
copy holds what was flushed plus a random part of what was written since, as a real cache leaves it.

    python volatile_disk.py TARGET IMAGE     TARGET: an empty file to mount over; IMAGE: first content

On standard input: `cut N SEED PATH` (answers `cut FLUSHED UNFLUSHED KEPT`, the disk stays frozen),
`thaw` (answers `thawed`). Protocol facts: linux/fuse.h, version 7.31.
"""

import ctypes
import errno
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

_IN_HEADER = struct.Struct("<IIQQIIIHH")  # length, opcode, unique, node, uid, gid, pid, extension, padding
_OUT_HEADER = struct.Struct("<IiQ")
_READ_IN = struct.Struct("<QQIIQII")  # handle, offset, size, flags, lock owner, open flags, padding
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_WRITE_BYTES_MAX = 1024 * 1024
_REQUEST_BYTES_MAX = _WRITE_BYTES_MAX + 64 * 1024
_FLAGS = 1 << 5 | 1 << 22  # FUSE_BIG_WRITES, FUSE_MAX_PAGES
_SECTOR_BYTES = 512
_QUIET_S = 0.5  # a cut that waits for writes which never come happens then

_FORGET, _GETATTR, _SETATTR, _OPEN, _READ, _WRITE, _STATFS = 2, 3, 4, 14, 15, 16, 17
_RELEASE, _FSYNC, _FLUSH, _INIT, _INTERRUPT, _DESTROY, _BATCH_FORGET = 18, 20, 25, 26, 36, 38, 42
_SILENT = {_FORGET, _INTERRUPT, _BATCH_FORGET}


class VolatileDisk:
    """The disk: `current` is what is read back, `flushed` what a power cut surely leaves."""

    def __init__(self, image: Path) -> None:
        flushed = image.with_suffix(".flushed")
        _copy_sparse(image, flushed)
        self._current = os.open(image, os.O_RDWR)
        self._flushed = os.open(flushed, os.O_RDWR)
        flushed.unlink()
        self._cached: list[tuple[int, bytes]] = []
        self._flushes = 0
        self.size = os.fstat(self._current).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Bytes as last written."""
        return os.pread(self._current, size, offset)

    def write(self, offset: int, data: bytes) -> None:
        """Take data into the cache."""
        os.pwrite(self._current, data, offset)
        self._cached.append((offset, data))

    def flush(self) -> None:
        """Everything written so far is now safe."""
        for offset, data in self._cached:
            os.pwrite(self._flushed, data, offset)
        self._cached.clear()
        self._flushes += 1

    def cut(self, path: Path, dice: random.Random) -> tuple[int, int, int]:
        """Write what a power cut leaves; (flushes so far, writes in the cache, of them kept whole)."""
        _copy_sparse(Path(f"/proc/{os.getpid()}/fd/{self._flushed}"), path)
        kept = 0
        share = dice.choice((0.0, 0.2, 0.5, 0.8, 1.0))
        with path.open("r+b") as copy:
            for offset, data in self._cached:
                if dice.random() < share:
                    kept += 1
                    copy.seek(offset)
                    copy.write(data)
                elif dice.random() < share:  # in part: sectors are whole, their order is not known
                    for start in range(0, len(data), _SECTOR_BYTES):
                        if dice.random() < 0.5:
                            copy.seek(offset + start)
                            copy.write(data[start : start + _SECTOR_BYTES])
        return self._flushes, len(self._cached), kept


def _copy_sparse(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--dereference", "--sparse=always", source, target], check=True)


class FuseFile:
    """Answers the kernel's requests for the one file there is."""

    def __init__(self, disk: VolatileDisk, target: Path) -> None:
        self.disk = disk
        self.writes = 0
        self.fd = os.open("/dev/fuse", os.O_RDWR)
        libc = ctypes.CDLL(None, use_errno=True)
        options = f"fd={self.fd},rootmode=100000,user_id=0,group_id=0,allow_other,max_read={_WRITE_BYTES_MAX}"
        if libc.mount(b"volatile", os.fsencode(target), b"fuse", 6, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), "mount of a FUSE file")
        self._answers: dict[int, Callable[[bytes], bytes]] = {
            _INIT: self._init,
            _GETATTR: self._attributes,
            _SETATTR: self._attributes,
            _OPEN: lambda _: struct.pack("<QII", 1, 0, 0),
            _READ: self._read,
            _WRITE: self._write,
            _STATFS: lambda _: bytes(80),
            _RELEASE: lambda _: b"",
            _FLUSH: lambda _: b"",
            _DESTROY: lambda _: b"",
            _FSYNC: self._fsync,
        }

    def serve_one(self) -> bool:
        """Answer one request; False when the file is unmounted."""
        try:
            request = os.read(self.fd, _REQUEST_BYTES_MAX)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):  # an interrupted request
                return True
            if error.errno == errno.ENODEV:
                return False
            raise
        opcode, unique = _IN_HEADER.unpack_from(request)[1:3]
        if opcode in _SILENT:
            return True
        answer = self._answers.get(opcode)
        body = answer(request[_IN_HEADER.size :]) if answer else b""
        status = 0 if answer else -errno.ENOSYS
        try:
            os.write(self.fd, _OUT_HEADER.pack(_OUT_HEADER.size + len(body), status, unique) + body)
        except FileNotFoundError:  # the asker was killed meanwhile
            pass
        return True

    def _init(self, body: bytes) -> bytes:
        readahead = struct.unpack_from("<I", body, 8)[0]
        fields = (7, 31, readahead, _FLAGS, 16, 12, _WRITE_BYTES_MAX, 1, _WRITE_BYTES_MAX // 4096, 0)
        return struct.pack("<IIIIHHIIHH", *fields) + bytes(32)

    def _attributes(self, _: bytes) -> bytes:
        size, mode = self.disk.size, 0o100600
        blocks = size // 512
        times = (0,) * 3
        attributes = _ATTRIBUTES.pack(1, size, blocks, *times, *times, mode, 1, 0, 0, 0, 4096, 0)
        return struct.pack("<QII", 3600, 0, 0) + attributes

    def _read(self, body: bytes) -> bytes:
        _, offset, size, *_ = _READ_IN.unpack_from(body)
        return self.disk.read(offset, size)

    def _write(self, body: bytes) -> bytes:
        _, offset, size, *_ = _READ_IN.unpack_from(body)
        self.disk.write(offset, body[_READ_IN.size : _READ_IN.size + size])
        self.writes += 1
        return struct.pack("<II", size, 0)

    def _fsync(self, _: bytes) -> bytes:
        self.disk.flush()
        return b""


def main() -> None:
    """Serve until the file is unmounted."""
    target, image = Path(sys.argv[1]), Path(sys.argv[2])
    disk = VolatileDisk(image)
    file = FuseFile(disk, target)
    print("mounted", flush=True)
    while True:
        ready = select.select([file.fd, sys.stdin], [], [])[0]
        if file.fd in ready and not file.serve_one():
            return
        if sys.stdin in ready:
            words = sys.stdin.readline().split(maxsplit=3)
            if not words:
                return
            _serve_until_cut(file, int(words[1]))
            result = disk.cut(Path(words[3].rstrip("\n")), random.Random(words[2]))
            print("cut", *result, flush=True)
            assert sys.stdin.readline() == "thaw\n"
            print("thawed", flush=True)


def _serve_until_cut(file: FuseFile, writes: int) -> None:
    """Go on for so many writes, or until there are none for a while."""
    last, deadline = file.writes + writes, time.monotonic() + _QUIET_S
    while file.writes < last and time.monotonic() < deadline:
        if select.select([file.fd], [], [], 0.05)[0]:
            file.serve_one()


if __name__ == "__main__":
    main()
