"""What lies in a mountpath's folder, and the conditions under which a node may use it.

    MOUNTPATH/
      .aisle.json   format, line of LMDB, ids, the set of mountpaths this one belongs to
      .lock         held by the node that uses the mountpath
      index/        LMDB: records, small payloads (tables.py)
      volatile/     LMDB without sync: access times; lost without harm
      data/ab/cd/   payload files, named by generation
      drafts/INC/   payloads being written, by the incarnation of the writing process
      lists/        items of download jobs (jobs/list_files.py), in the first mountpath
      manifests/    what became of them (jobs/manifest.py), in the first mountpath

The set of mountpaths is recorded in each of them, with a version; the highest one counts. A known
mountpath that is not there is a start error, because starting without it would look like lost objects.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import lmdb
import msgspec

from aisle.errors import FormatUnsupported, MountpathMissing, StartError
from aisle.storage import tables, volatile
from aisle.storage.filesystem import boot_id, refuse_network
from aisle.storage.generation import INCARNATION_BYTES
from aisle.storage.sync import FULL

FORMAT = 1
"""The format of data folders that this version writes. A newer one is refused."""
INCARNATIONS_RESERVED = 256

_DESCRIPTION = ".aisle.json"
_INCARNATION = ".incarnation"
_FOREIGN_ALLOWED = {".lock", "lost+found", f"{_DESCRIPTION}.new"}
_INDEX_REMEDY = (
    "`ais storage restore` puts a copy back, `ais storage fsck --repair` rebuilds what the payload files tell"
)
_JOINING = 0
"""The `set_version` of a mountpath that has an id, and is in no set yet."""


class Mountpath(NamedTuple):
    """A folder that holds objects, and its id, by which placement ranks it."""

    id: str
    path: Path


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """The content of `.aisle.json`. `members` is the set of mountpaths, id to path, at `set_version`."""

    format: int
    lmdb: int
    features: list[str] = []
    mountpath: str
    node: str
    set_version: int
    members: dict[str, str]


class Prepared(NamedTuple):
    """Mountpaths that are ready for use, in the order of their ids, which numbers them everywhere."""

    node: str
    mountpaths: tuple[Mountpath, ...]


def describe(path: Path) -> Description | None:
    """What the folder says about itself, None if nothing.

    Raises FormatUnsupported for a newer format or another line of LMDB.
    """
    try:
        raw = (path / _DESCRIPTION).read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = int(json.loads(raw)["format"])
        if found != FORMAT:
            raise FormatUnsupported(
                f"{path} has data format {found}, this version reads format {FORMAT}: "
                f"use a {'newer' if found > FORMAT else 'matching'} version of Aisle"
            )
        description = msgspec.json.decode(raw, type=Description)
    except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise FormatUnsupported(f"{path / _DESCRIPTION} is damaged: {error}") from error
    if description.lmdb != tables.LMDB_LINE or description.features:
        raise FormatUnsupported(
            f"{path} uses features that this version does not know: LMDB line {description.lmdb}, "
            f"{description.features}"
        )
    return description


def open_mountpaths(paths: Sequence[Path]) -> tuple[Mountpath, ...]:
    """Mountpaths that were prepared before, in the order of their ids.

    Raises MountpathMissing and FormatUnsupported.
    """
    found = []
    for path in paths:
        description = describe(path)
        if description is None:
            raise MountpathMissing(f"{path} holds no Aisle data: no {_DESCRIPTION} there")
        found.append(Mountpath(description.mountpath, path))
    return tuple(sorted(found))


def prepare(
    paths: Sequence[Path], *, new_node_id: Callable[[], str], accept_missing: bool = False
) -> Prepared:
    """Make the folders ready, new ones too, and record the set of mountpaths if it changed.

    The caller holds the lock of each (see filesystem.lock_mountpath). Raises StartError and its kinds.
    """
    described = {path.resolve(): describe(path) for path in paths}
    if len(described) != len(paths):
        raise StartError("a mountpath is named twice")
    for path, description in described.items():
        refuse_network(path)
        if description is None:
            _refuse_foreign(path)
        elif description.set_version != _JOINING:
            _require_content(path)
    known = [description for description in described.values() if description]
    latest = max(known, key=lambda description: description.set_version, default=None)
    node = _one_node(described, latest) if latest else new_node_id()
    members = _new_members(described, latest, accept_missing=accept_missing)
    version = (latest.set_version if latest else 0) + (latest is None or members != latest.members)
    # A new folder says whose it is before anything else lies in it, and before any other counts on it:
    # the next start then takes up one that broke off.
    for ident, text in members.items():
        if described[Path(text)] is None:
            _write(Path(text), _description(ident, node, _JOINING, {}))
    for ident, text in members.items():
        path = Path(text)
        _make_folders(path)
        wanted = _description(ident, node, version, members)
        if described[path] != wanted:
            _write(path, wanted)
    return Prepared(node, tuple(sorted(Mountpath(ident, Path(text)) for ident, text in members.items())))


def _description(ident: str, node: str, set_version: int, members: dict[str, str]) -> Description:
    return Description(
        format=FORMAT,
        lmdb=tables.LMDB_LINE,
        mountpath=ident,
        node=node,
        set_version=set_version,
        members=members,
    )


def _write(path: Path, description: Description) -> None:
    write_durably(path / _DESCRIPTION, msgspec.json.format(msgspec.json.encode(description)) + b"\n")


def _one_node(described: dict[Path, Description | None], latest: Description) -> str:
    seen: dict[str, Path] = {}
    for path, description in described.items():
        if description is None:
            continue
        if description.node != latest.node:
            raise StartError(f"{path} belongs to another node ({description.node}, not {latest.node})")
        if description.mountpath in seen:
            raise StartError(
                f"{path} and {seen[description.mountpath]} are copies of one mountpath "
                f"({description.mountpath}): keep one"
            )
        seen[description.mountpath] = path
        if description.set_version != _JOINING and description.mountpath not in latest.members:
            raise StartError(
                f"{path} (mountpath {description.mountpath}) was left out of this node earlier, so it may "
                f"hold outdated objects: empty the folder to use it again"
            )
    return latest.node


def _new_members(
    described: dict[Path, Description | None], latest: Description | None, *, accept_missing: bool
) -> dict[str, str]:
    members = {
        description.mountpath if description else secrets.token_hex(8): str(path)
        for path, description in described.items()
    }
    missing = (
        {ident: path for ident, path in latest.members.items() if ident not in members} if latest else {}
    )
    if missing and not accept_missing:
        named = ", ".join(f"{path} (mountpath {ident})" for ident, path in sorted(missing.items()))
        raise MountpathMissing(
            f"missing or empty: {named}. Mount it and start again, or start with --accept-missing to go on "
            f"without the objects it held"
        )
    return dict(sorted(members.items()))


def _refuse_foreign(path: Path) -> None:
    strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in _FOREIGN_ALLOWED)
    if strangers:
        raise StartError(
            f"{path} is not empty and holds no Aisle data (found {strangers[0]!r}): choose an empty folder"
        )


def _require_content(path: Path) -> None:
    """Raise StartError for a mountpath in use that has lost a part of what it held.

    What is missing would be made anew, empty, and all objects were gone without a word.
    """
    if not tables.has_index(path):
        raise StartError(f"the index of mountpath {path} is missing: {_INDEX_REMEDY}")
    if not (path / "data").is_dir():
        raise StartError(
            f"the payload files of mountpath {path} are missing (there is no folder `data`): put them back, "
            f"or make an empty folder of that name to go on without the objects that they were"
        )


def _make_folders(path: Path) -> None:
    for name in ("index", "data", "drafts"):
        (path / name).mkdir(mode=0o750, parents=True, exist_ok=True)
    # Readers open these read-only, which needs the tables to exist.
    try:
        tables.open_index(path, writable=True, map_size_bytes=1 << 30).close()
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError) as error:
        raise StartError(f"the index of mountpath {path} is damaged ({error}): {_INDEX_REMEDY}") from error
    _make_volatile(path)
    FULL.sync_folder(str(path))
    FULL.sync_folder(str(path.parent))


def holds_buckets(paths: Sequence[Path]) -> bool:
    """Whether the index of any of these prepared mountpaths knows a bucket."""
    for path in paths:
        index = tables.open_index(path, writable=False, map_size_bytes=0)
        try:
            with index.environment.begin() as transaction:
                if transaction.stat(index.buckets)["entries"]:
                    return True
        finally:
            index.close()
    return False


def _make_volatile(path: Path) -> None:
    folder = path / "volatile"
    marker = folder / "boot"
    # Without syncs, this environment is only whole while the machine that wrote it stays up.
    is_whole = marker.exists() and marker.read_bytes() == boot_id().encode()
    if is_whole:
        try:
            volatile.open_volatile(path, writable=True).close()
        except lmdb.Error:
            is_whole = False
    if not is_whole:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o750)
        marker.write_text(boot_id())
        volatile.open_volatile(path, writable=True).close()


def write_durably(path: Path, content: bytes) -> None:
    """Replace a small file in one step that survives a power cut."""
    temporary = path.with_name(f"{path.name}.new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    FULL.sync_folder(str(path.parent))


class Incarnations:
    """Hands out incarnations: 4 bytes for each process, never the same again on these mountpaths.

    Only the supervisor has one. Numbers are recorded in blocks, so that a start costs one write.
    """

    def __init__(self, mountpaths: Sequence[Mountpath]) -> None:
        self._files = [mountpath.path / _INCARNATION for mountpath in mountpaths]
        self._next = max(map(_read_number, self._files))
        self._reserved = self._next

    def new(self) -> bytes:
        """The next incarnation."""
        if self._next == self._reserved:
            self._reserved += INCARNATIONS_RESERVED
            for file in self._files:
                _record_number(file, self._reserved)
        self._next += 1
        return self._next.to_bytes(INCARNATION_BYTES, "big")


def _record_number(file: Path, number: int) -> None:
    """Replace the number durably, within the block that the file has: a full disk has no other."""
    line = b"%-31d\n" % number
    if not _read_number(file):
        write_durably(file, line)
        return
    # Shorter than a sector, so a power cut leaves the whole old number or the whole new one.
    fd = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.pwrite(fd, line, 0)
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_number(file: Path) -> int:
    """The number in a file; 0 if it is lost, as generations are salted against that (see generation.py)."""
    try:
        return int(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return 0
