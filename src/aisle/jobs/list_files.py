"""The lists of download jobs, each a file that is written once and then read by number.

    "AISLIST1"
    block         MessagePack array of up to BLOCK_ITEMS items (key, link, checksum, size, error)
    …
    index         for each block: its offset and the XXH3 of its bytes, 8 bytes each, little-endian
    tail          items, blocks, offset of the index, XXH3 of the index; then "AISLIST1" again

A block is decoded when one of its items is asked for, so a list of millions costs as much memory as one
of a hundred. Files appear whole and durable, or not at all.
"""

import errno
import itertools
import os
import secrets
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from aisle.errors import AisleError, CorruptObject, OutOfSpace
from aisle.rules.download_list import ListedItem
from aisle.rules.download_names import public_link
from aisle.rules.download_plan import Item
from aisle.storage.sync import FULL, Durability

BLOCK_ITEMS: Final = 64
FOLDER: Final = "lists"
"""Where lists lie in a mountpath."""
DRAFT_SUFFIX: Final = ".new"
"""Behind the name of a list that is being written."""

_MAGIC: Final = b"AISLIST1"
_ENTRY: Final = struct.Struct("<2Q")
_TAIL: Final = struct.Struct("<4Q8s")
_WRITE_BYTES: Final = 1024 * 1024
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[ListedItem]).decode


class ListDraft:
    """A list that is being written. What it costs to call `write` and `publish` is for a thread."""

    def __init__(self, path: Path, durability: Durability) -> None:
        """Raises OutOfSpace."""
        self._path = path
        self._draft_path = path.with_name(path.name + DRAFT_SUFFIX)
        self._durability = durability
        self._items: list[ListedItem] = []
        self._buffer = bytearray(_MAGIC)
        self._index = bytearray()
        self._offset = 0  # of the buffer in the file
        self.count = 0
        self._fd = _checked_open(self._draft_path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)

    def add(self, items: Sequence[ListedItem]) -> bool:
        """Append items; whether so much waits that `write` is due."""
        self.count += len(items)
        waiting = self._items
        waiting.extend(items)
        whole = len(waiting) - len(waiting) % BLOCK_ITEMS
        for start in range(0, whole, BLOCK_ITEMS):
            self._add_block(waiting[start : start + BLOCK_ITEMS])
        del waiting[:whole]
        return len(self._buffer) >= _WRITE_BYTES

    def write(self) -> None:
        """Hand what waits to the operating system. Raises OutOfSpace."""
        buffer, self._buffer = self._buffer, bytearray()
        self._offset += len(buffer)
        view = memoryview(buffer)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _disk_error(error) from error

    def publish(self) -> None:
        """Make the list durable under its name. Raises OutOfSpace, and nothing is left then."""
        try:
            if self._items:
                self._add_block(self._items)
            index_offset = self._offset + len(self._buffer)
            blocks = len(self._index) // _ENTRY.size
            tail = _TAIL.pack(self.count, blocks, index_offset, xxh3_64_intdigest(bytes(self._index)), _MAGIC)
            self._buffer += self._index + tail
            self.write()
            self._durability.sync_payload(self._fd)
            os.rename(self._draft_path, self._path)
            self._durability.sync_folder(str(self._path.parent))
        except OSError as error:
            self.abort()
            raise _disk_error(error) from error
        except OutOfSpace:
            self.abort()
            raise
        self._close()

    def abort(self) -> None:
        """Leave nothing; harmless after `publish`."""
        if self._fd >= 0:
            self._draft_path.unlink(missing_ok=True)
            self._close()

    def _close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _add_block(self, items: Sequence[ListedItem]) -> None:
        block = _encode(items)
        self._index += _ENTRY.pack(self._offset + len(self._buffer), xxh3_64_intdigest(block))
        self._buffer += block


class ListFile:
    """A written list, to be read by number; an ItemSource. Raises CorruptObject for a damaged one."""

    def __init__(self, path: Path) -> None:
        """Raises CorruptObject also when there is none."""
        self._name = path.name
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CorruptObject(
                f"the list {path.name} of the job cannot be read: {error.strerror}"
            ) from error
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        self._first = 0
        self._block: Sequence[ListedItem] = ()

    def _open(self) -> None:
        size = os.fstat(self._fd).st_size
        data = self._pread(_TAIL.size, max(0, size - _TAIL.size))
        if len(data) < _TAIL.size:
            raise self._damaged()
        self.total, blocks, offset, checksum, magic = _TAIL.unpack(data)
        if magic != _MAGIC or offset + blocks * _ENTRY.size + _TAIL.size != size:
            raise self._damaged()
        self._index = self._pread(blocks * _ENTRY.size, offset)
        if xxh3_64_intdigest(self._index) != checksum:
            raise self._damaged()
        self._blocks_end = offset
        self._blocks = blocks

    def item(self, number: int) -> Item:
        """The item of a number below `total`."""
        key, link, checksum, size, error = self._listed(number)
        if error:
            raise AisleError(error)
        return Item(number, key, link, checksum, size)

    def label(self, number: int) -> str:
        """What to call an item that cannot be had."""
        try:
            listed = self._listed(number)
            if listed.error and listed.key:
                return listed.key.decode("utf-8", "backslashreplace")
            return public_link(listed.link)
        except CorruptObject:
            return f"item {number + 1}"

    def items(self) -> Iterator[ListedItem]:
        """All items in order."""
        return itertools.chain.from_iterable(map(self._read_block, range(self._blocks)))

    def close(self) -> None:
        """Close the file; harmless when done before."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            self.close()

    def _listed(self, number: int) -> ListedItem:
        at = number - self._first
        if not 0 <= at < len(self._block):
            self._block = self._read_block(number // BLOCK_ITEMS)
            self._first = number - number % BLOCK_ITEMS
            at = number - self._first
        if at >= len(self._block):
            raise self._damaged()
        return self._block[at]

    def _read_block(self, block: int) -> Sequence[ListedItem]:
        start, checksum = _ENTRY.unpack_from(self._index, block * _ENTRY.size)
        if block + 1 < self._blocks:
            end = _ENTRY.unpack_from(self._index, (block + 1) * _ENTRY.size)[0]
        else:
            end = self._blocks_end
        data = self._pread(end - start, start)
        if xxh3_64_intdigest(data) != checksum:
            raise self._damaged()
        return _decode(data)

    def _pread(self, length: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            raise CorruptObject(
                f"the list {self._name} of the job cannot be read: {error.strerror}"
            ) from error

    def _damaged(self) -> CorruptObject:
        return CorruptObject(f"the list {self._name} of the job is damaged")


class ListStore:
    """The lists of a node, in a folder of each mountpath. New ones are written into the first."""

    def __init__(self, folders: Sequence[Path], durability: Durability = FULL) -> None:
        self._folders = tuple(folders)
        self._durability = durability

    @classmethod
    def in_mountpaths(cls, mountpaths: Iterable[str]) -> "ListStore":
        """Those of a node with these mountpaths."""
        return cls([Path(path) / FOLDER for path in mountpaths])

    def new(self, name: str) -> ListDraft:
        """A list to be written under a name; what a process that died left of it is replaced.

        Raises OutOfSpace.
        """
        folder = self._folders[0]
        if not folder.is_dir():
            try:
                folder.mkdir(mode=0o750, exist_ok=True)
                self._durability.sync_folder(str(folder.parent))
            except OSError as error:
                raise _disk_error(error) from error
        (folder / (name + DRAFT_SUFFIX)).unlink(missing_ok=True)
        return ListDraft(folder / name, self._durability)

    def open(self, name: str) -> ListFile:
        """A list that was written. Raises CorruptObject when it is missing or damaged."""
        return ListFile(self._path(name))

    def exists(self, name: str) -> bool:
        """Whether a list was written."""
        return self._path(name).exists()

    def remove(self, name: str) -> None:
        """Forget a list; harmless when there is none. Whoever has it open may go on reading."""
        if name:
            self._path(name).unlink(missing_ok=True)

    def ages(self, now_s: float) -> dict[str, float]:
        """The seconds since each list, or what is left of a draft of one, was written last."""
        found: dict[str, float] = {}
        for folder in self._folders:
            try:
                with os.scandir(folder) as entries:
                    found |= {entry.name: now_s - entry.stat().st_mtime for entry in entries}
            except FileNotFoundError:
                pass  # no list yet, or one that goes just now: the next look sees the others
        return found

    def _path(self, name: str) -> Path:
        paths = [folder / name for folder in self._folders]
        # Mountpaths are ordered by their ids: a new one may come before that of the list.
        return next((path for path in paths[1:] if path.exists()), paths[0])


def new_list_name() -> str:
    """A name that no list has."""
    return secrets.token_hex(12)


def write_list(folder: ListStore, name: str, items: Iterable[ListedItem]) -> int:
    """Write a whole list; the number of its items. Raises OutOfSpace, and nothing is left then."""
    draft = folder.new(name)
    try:
        remaining = iter(items)
        while chunk := list(itertools.islice(remaining, BLOCK_ITEMS * 16)):
            if draft.add(chunk):
                draft.write()
        draft.publish()
    finally:
        draft.abort()
    return draft.count


def _checked_open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags, 0o640)
    except OSError as error:
        raise _disk_error(error) from error


def _disk_error(error: OSError) -> OutOfSpace:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutOfSpace(f"no space left for the list of a download job: {error.strerror}")
    return OutOfSpace(f"the list of a download job cannot be written: {error.strerror}")
