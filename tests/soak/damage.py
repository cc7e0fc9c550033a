"""Damage on a copy of a stopped node's folders: what `ais storage fsck` must find, name and mend."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aisle.storage.tables import open_index
from aisle.storage.transaction import decode_bucket, encode_bucket
from support.content import payload
from support.native import NativeClient
from support.node import RunningNode

BUCKET = "damage"
LARGE = [f"large/{number}" for number in range(30)]
SMALL = [f"small/{number}" for number in range(30)]
_SIZES = {**dict.fromkeys(LARGE, 40_000), **dict.fromkeys(SMALL, 6_000)}
_MAP_BYTES = 1 << 30


class Damaged(NamedTuple):
    """What was damaged: the mountpath, and the object if it is one."""

    mountpath: Path
    name: str = ""


class Case(NamedTuple):
    """A kind of damage, how it is done, and what the check calls it.

    `lost` tells of the named object: True if nothing can bring it back.
    """

    what: str
    damage: Callable[[list[Path]], Damaged]
    called: str
    lost: bool


def fill(node: RunningNode) -> None:
    """Store what the cases damage."""
    client = NativeClient(node.host, node.port)
    assert client.create_bucket(BUCKET).status == 200
    for name, size in _SIZES.items():
        assert client.put(BUCKET, name, payload(name, 1, size)).status == 200
    client.close()


def missing_after(node: RunningNode) -> set[str]:
    """Names that are gone; every other one is listed and reads back as stored."""
    client = NativeClient(node.host, node.port)
    listed = {entry.name: entry.size for entry in client.list_all(BUCKET)}
    for name in listed:
        answer = client.get(BUCKET, name)
        assert answer.status == 200, (name, answer)
        assert answer.body == payload(name, 1, _SIZES[name]), name
    for name in _SIZES.keys() - listed.keys():
        assert client.get(BUCKET, name).status == 404
    client.close()
    return _SIZES.keys() - listed.keys()


def _payload_file(mountpaths: list[Path]) -> tuple[Path, Path, str]:
    """A payload file of a large object: its mountpath, itself, and the name its content tells."""
    for mountpath in mountpaths:
        for path in sorted((mountpath / "data").rglob("*")):
            if path.is_file():
                return mountpath, path, _name(path.read_bytes())
    raise AssertionError("no payload file")


def _name(content: bytes) -> str:
    return content.split(b" #", 1)[0].decode()


def flip_byte_in_file(mountpaths: list[Path]) -> Damaged:
    """One bit of a payload file."""
    mountpath, path, name = _payload_file(mountpaths)
    content = bytearray(path.read_bytes())
    content[20_000] ^= 1
    path.write_bytes(content)
    return Damaged(mountpath, name)


def truncate_file(mountpaths: list[Path]) -> Damaged:
    """The end of a payload file."""
    mountpath, path, name = _payload_file(mountpaths)
    with path.open("r+b") as file:
        file.truncate(30_000)
    return Damaged(mountpath, name)


def delete_file(mountpaths: list[Path]) -> Damaged:
    """A payload file."""
    mountpath, path, name = _payload_file(mountpaths)
    path.unlink()
    return Damaged(mountpath, name)


def add_orphan(mountpaths: list[Path]) -> Damaged:
    """A second payload file of an object that is there."""
    mountpath, path, _ = _payload_file(mountpaths)
    shutil.copyfile(path, path.with_name("f" * 8 + path.name[8:]))
    return Damaged(mountpath)


def flip_byte_in_small(mountpaths: list[Path]) -> Damaged:
    """One bit of a small payload, in its second piece."""
    mountpath = mountpaths[0]
    tables = open_index(mountpath, writable=True, map_size_bytes=_MAP_BYTES)
    with tables.environment.begin(write=True, db=tables.small) as transaction:
        cursor = transaction.cursor()
        assert cursor.first()
        name = _name(cursor.value())
        assert cursor.next()
        piece = bytearray(cursor.value())
        piece[100] ^= 1
        cursor.put(cursor.key(), bytes(piece))
    tables.close()
    return Damaged(mountpath, name)


def miscount(mountpaths: list[Path]) -> Damaged:
    """A bucket's number of objects and bytes."""
    mountpath = mountpaths[0]
    tables = open_index(mountpath, writable=True, map_size_bytes=_MAP_BYTES)
    with tables.environment.begin(write=True, db=tables.buckets) as transaction:
        cursor = transaction.cursor()
        while cursor.next():
            state = decode_bucket(cursor.value())
            if state.objects:
                state.objects += 5
                state.bytes -= 1
                cursor.put(cursor.key(), encode_bucket(state))
    tables.close()
    return Damaged(mountpath)


def lose_index(mountpaths: list[Path]) -> Damaged:
    """The whole index of one mountpath."""
    shutil.rmtree(mountpaths[0] / "index")
    return Damaged(mountpaths[0])


def garble_index(mountpaths: list[Path]) -> Damaged:
    """The index file's first pages."""
    with (mountpaths[0] / "index" / "data.mdb").open("r+b") as file:
        file.write(b"\xa5" * 16_384)
    return Damaged(mountpaths[0])


CASES = (
    Case("a flipped byte in a file", flip_byte_in_file, "damaged file", True),
    Case("a flipped byte in a small payload", flip_byte_in_small, "damaged small payload", True),
    Case("a truncated file", truncate_file, "missing file", True),
    Case("a deleted file", delete_file, "missing file", True),
    Case("an orphan", add_orphan, "orphan file", False),
    Case("a wrong counter", miscount, "wrong counts", False),
    Case("a lost index", lose_index, "lost index", False),
    Case("a garbled index", garble_index, "lost index", False),
)
