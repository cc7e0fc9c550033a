"""Promoting: files of the node's own machine become objects.

Only what lies under folders that the node's owner has set aside can be promoted: whoever may write
objects must not thereby read the machine. Symbolic links are never followed, neither to a file nor on
the way to one.
"""

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from aisle.errors import BadRequest, ConditionFailed, Denied, NotFound, PromoteSourceInvalid
from aisle.model.bucket import BucketInfo
from aisle.model.names import parse_object_key
from aisle.model.record import ABSENT, Condition, Record
from aisle.storage.hashing import NamedDigests
from aisle.target.objects import Incoming, TargetObjects

_READ_BYTES: Final = 1024 * 1024


class PromotedFile(NamedTuple):
    """A file to promote: where it is, and its name below the folder that was asked for."""

    path: Path
    relative: bytes


class FileSource:
    """An open file as the source of an object."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, and PromoteSourceInvalid for what is no file of its own."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        if os.path.realpath(path.parent) != str(path.parent):
            raise PromoteSourceInvalid(f"cannot promote {path}: symbolic links are not followed")
        self._fd = os.open(path, flags)
        found = os.fstat(self._fd)
        if not stat.S_ISREG(found.st_mode):
            self.close()
            raise PromoteSourceInvalid(f"cannot promote {path}: not a regular file")
        self.length: int | None = found.st_size

    def buffered(self) -> bytes | None:
        """Never: files are read in a thread."""
        return None

    async def read(self) -> bytes:
        """The next bytes, `b""` at the end. Raises OSError."""
        return await asyncio.to_thread(os.read, self._fd, _READ_BYTES)

    def close(self) -> None:
        """Close the file; harmless when done before."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def allowed_source(text: str, roots: Sequence[str]) -> tuple[Path, str]:
    """The path that may be promoted, and the root that it lies under.

    Raises PromoteSourceInvalid for any other, and NotFound for one that does not exist.
    """
    path = Path(text)
    if not path.is_absolute() or os.path.normpath(text) != text.rstrip("/") or "\0" in text:
        raise PromoteSourceInvalid(f'invalid promote source "{text[:200]}": expected an absolute path')
    for root in roots:
        real = os.path.realpath(root)
        if path != Path(root) and not path.is_relative_to(root):
            continue
        inside = Path(real) / path.relative_to(root)
        if os.path.realpath(inside) != str(inside):
            raise PromoteSourceInvalid(f"invalid promote source {path}: symbolic links are not followed")
        if not inside.exists():
            raise NotFound(f"promote source {path} does not exist")
        return inside, real
    allowed = " or ".join(roots) or "nowhere: no folder is set aside"
    raise PromoteSourceInvalid(f'invalid promote source "{text[:200]}": must be under {allowed}')


def files_below(folder: Path, *, recursive: bool) -> Iterator[PromotedFile]:
    """The regular files of a folder in byte order of their names; links and special files are left out."""
    yield from _walk(folder, b"", recursive=recursive)


def _walk(folder: Path, prefix: bytes, *, recursive: bool) -> Iterator[PromotedFile]:
    with os.scandir(folder) as entries:
        found = sorted(
            entries, key=lambda entry: os.fsencode(entry.name) + b"/" * entry.is_dir(follow_symlinks=False)
        )
    for entry in found:
        name = prefix + os.fsencode(entry.name)
        if entry.is_file(follow_symlinks=False):
            yield PromotedFile(Path(entry.path), name)
        elif recursive and entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), name + b"/", recursive=True)


async def promote_file(
    objects: TargetObjects, bucket: BucketInfo, key: bytes, path: Path, *, overwrites: bool
) -> Record | None:
    """Make a file an object; None if there is one of that name and it is not to be replaced.

    Raises InvalidName for a name that no object can have, PromoteSourceInvalid, Denied for a file that
    the node may not read, NotFound for one that is gone, and what a put raises.
    """
    parse_object_key(key)

    def absent(present: Record | None) -> Condition:
        if present is not None:
            raise ConditionFailed("the object exists")
        return ABSENT

    try:
        with closing(await asyncio.to_thread(FileSource, path)) as source:
            return await objects.put(bucket, key, source, Incoming(condition=None if overwrites else absent))
    except ConditionFailed:
        return None
    except PermissionError as error:
        raise Denied(f"cannot promote {path}: the node may not read it") from error
    except FileNotFoundError as error:
        raise NotFound(f"promote source {path} does not exist") from error
    except OSError as error:
        raise BadRequest(f"cannot promote {path}: {error.strerror}") from error


async def is_promoted(record: Record, path: Path) -> bool:
    """Whether an object has exactly the bytes of a file; one without a checksum never counts as such."""
    kind, value = record.attributes.checksum_type, record.attributes.checksum_value
    if not value:
        return False
    digests = NamedDigests([kind])
    try:
        with closing(await asyncio.to_thread(FileSource, path)) as source:
            if source.length != record.size:
                return False
            while data := await source.read():
                digests.update([data])
    except (OSError, PromoteSourceInvalid):
        return False
    return digests.hex(kind) == value


async def delete_source(path: Path) -> None:
    """Remove a file that was promoted; one that is gone already is no mistake. Raises Denied."""
    try:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    except OSError as error:
        raise Denied(f"{path} was promoted but cannot be deleted: {error.strerror}") from error
