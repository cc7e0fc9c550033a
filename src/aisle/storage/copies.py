"""Copies of the index: compacting it, keeping copies on other disks, and putting one back.

A copy of a mountpath's index lies in a folder of its own, named by the mountpath's id, with a description:

    FOLDER/MOUNTPATH-ID/data.mdb      a compacted LMDB file
    FOLDER/MOUNTPATH-ID/copy.json     which index, when, how long, its XXH3-128

Both are replaced by renames, the description last, so a copy that broke off is never taken for a whole one.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import lmdb
import msgspec
import xxhash

from aisle.errors import CorruptObject, StartError
from aisle.storage import layout
from aisle.storage.filesystem import locked
from aisle.storage.layout import Mountpath, open_mountpaths, write_durably
from aisle.storage.sync import FULL
from aisle.storage.tables import LMDB_LINE, open_index

COPIES = "copies"
"""The folder of a mountpath that holds copies of the indexes of others."""

_DATA = "data.mdb"
_ABOUT = "copy.json"
_METADATA = "metadata"
_READ_BYTES = 4 * 1024 * 1024


class About(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a copy."""

    format: int
    lmdb: int
    node: str
    mountpath: str
    made_ns: int
    bytes: int
    xxh3: str
    """XXH3-128 of the file, lower-case hex."""


def compact(paths: Sequence[Path]) -> list[tuple[Path, int, int]]:
    """Rewrite each index without its free pages; the bytes before and after, by mountpath.

    Raises MountpathLocked while a node uses them, OSError if there is no room for the new file.
    """
    done = []
    with locked(paths):
        for mountpath in open_mountpaths(paths):
            current = mountpath.path / "index" / _DATA
            before = current.stat().st_size
            _copy_index(mountpath, current.with_suffix(".new"))
            os.rename(current.with_suffix(".new"), current)
            FULL.sync_folder(str(current.parent))
            done.append((mountpath.path, before, current.stat().st_size))
    return done


def backup(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Copy the index of each mountpath, and the cluster metadata beside it, into a folder.

    Where the copies are. Raises MountpathLocked while a node uses them, OSError.
    """
    with locked(paths):
        copies = []
        for mountpath in open_mountpaths(paths):
            copies.append(copy_index(mountpath, folder))
            if (mountpath.path / _METADATA / _DATA).exists():
                target = copies[-1] / f"{_METADATA}.mdb"
                _copy_environment(mountpath.path / _METADATA, target.with_suffix(".new"))
                os.rename(target.with_suffix(".new"), target)
                FULL.sync_folder(str(copies[-1]))
    return copies


def _exists(metadata: Path) -> bool:
    return (metadata / _DATA).exists()


def restore(
    paths: Sequence[Path], folder: Path, *, is_metadata: Callable[[Path], bool] = _exists
) -> list[Path]:
    """Put copies of the indexes back; those that were there go to quarantine. Which mountpaths.

    Cluster metadata is put back where there is none, and everywhere if `is_metadata` says of no folder that
    it holds some of use: mountpaths keep several copies of it, and the next start takes the best one.

    What was written since the copy is not in it: a check with repair takes up what payload files tell.
    Raises MountpathLocked, StartError for a folder without copies of these mountpaths, CorruptObject for
    a damaged one; nothing is changed then.
    """
    with locked(paths):
        found = {}
        for mountpath in open_mountpaths(paths):
            copy = folder / mountpath.id
            if not (copy / _ABOUT).exists():
                raise StartError(f"{folder} has no copy of the index of {mountpath.path} ({mountpath.id})")
            verify_copy(copy)
            found[mountpath] = copy
        keeps_metadata = any(is_metadata(mountpath.path / _METADATA) for mountpath in found)
        for mountpath, copy in found.items():
            _set_aside(mountpath, "index")
            install_copy(copy, mountpath)
            metadata = mountpath.path / _METADATA
            if (copy / f"{_METADATA}.mdb").exists() and not (keeps_metadata and _exists(metadata)):
                _set_aside(mountpath, _METADATA)
                _install(copy / f"{_METADATA}.mdb", metadata / _DATA)
    return [mountpath.path for mountpath in found]


def _set_aside(mountpath: Mountpath, name: str) -> None:
    """Move a folder of a mountpath to its quarantine, and make an empty one in its place."""
    folder = mountpath.path / name
    if folder.exists():
        aside = mountpath.path / "quarantine" / f"{name}-{time.time_ns()}"
        aside.parent.mkdir(mode=0o750, exist_ok=True)
        os.rename(folder, aside)
    folder.mkdir(mode=0o750)


def copies_of(mountpath: Mountpath, mountpaths: Sequence[Mountpath]) -> list[Path]:
    """Whole copies of a mountpath's index that other mountpaths keep, the newest last."""
    found = []
    for other in mountpaths:
        folder = other.path / COPIES / mountpath.id
        try:
            found.append((verify_copy(folder).made_ns, folder))
        except (OSError, CorruptObject, msgspec.MsgspecError):
            continue
    return [folder for _, folder in sorted(found)]


def copy_index(mountpath: Mountpath, folder: Path, *, environment: lmdb.Environment | None = None) -> Path:
    """Copy a mountpath's index into `folder`; where the copy is.

    `environment` is its open index if this process has it open. May take long; holds a read transaction.
    """
    target = folder / mountpath.id
    target.mkdir(mode=0o750, parents=True, exist_ok=True)
    fresh = target / f"{_DATA}.new"
    if environment is None:
        _copy_index(mountpath, fresh)
    else:
        _copy_environment_to(environment, fresh)
    about = About(
        format=layout.FORMAT,
        lmdb=LMDB_LINE,
        node=_node(mountpath),
        mountpath=mountpath.id,
        made_ns=time.time_ns(),
        bytes=fresh.stat().st_size,
        xxh3=_digest(fresh),
    )
    (target / _ABOUT).unlink(missing_ok=True)
    os.rename(fresh, target / _DATA)
    write_durably(target / _ABOUT, msgspec.json.encode(about) + b"\n")
    return target


def verify_copy(folder: Path) -> About:
    """The description of a copy that is whole. Raises OSError, CorruptObject and msgspec.MsgspecError."""
    about = msgspec.json.decode((folder / _ABOUT).read_bytes(), type=About)
    data = folder / _DATA
    if data.stat().st_size != about.bytes or _digest(data) != about.xxh3:
        raise CorruptObject(f"{data} is not what was written")
    if (about.format, about.lmdb) != (layout.FORMAT, LMDB_LINE):
        raise CorruptObject(f"{data} has another format")
    return about


def install_copy(folder: Path, mountpath: Mountpath) -> None:
    """Make a copy the index of its mountpath, whose index folder is empty."""
    _install(folder / _DATA, mountpath.path / "index" / _DATA)


def _install(file: Path, target: Path) -> None:
    with file.open("rb") as source, target.with_suffix(".new").open("wb") as copy:
        for chunk in _chunks(source.fileno()):
            copy.write(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    os.rename(target.with_suffix(".new"), target)
    for path in (target.parent, target.parent.parent):
        FULL.sync_folder(str(path))


def _node(mountpath: Mountpath) -> str:
    description = layout.describe(mountpath.path)
    assert description is not None
    return description.node


def _copy_index(mountpath: Mountpath, target: Path) -> None:
    tables = open_index(mountpath.path, writable=False, map_size_bytes=0)
    try:
        _copy_environment_to(tables.environment, target)
    finally:
        tables.close()


def _copy_environment(folder: Path, target: Path) -> None:
    environment = lmdb.open(str(folder), readonly=True, create=False, lib_version=LMDB_LINE, max_dbs=16)
    try:
        _copy_environment_to(environment, target)
    finally:
        environment.close()


def _copy_environment_to(environment: lmdb.Environment, target: Path) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        environment.copyfd(fd, compact=True)
        os.fsync(fd)
    finally:
        os.close(fd)


def _digest(path: Path) -> str:
    digest = xxhash.xxh3_128()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for chunk in _chunks(fd):
            digest.update(chunk)
    finally:
        os.close(fd)
    return digest.hexdigest()


def _chunks(fd: int) -> Iterator[bytes]:
    offset = 0
    while chunk := os.pread(fd, _READ_BYTES, offset):
        yield chunk
        offset += len(chunk)
