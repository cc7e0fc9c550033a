"""Local files that objects are read into.

A file appears whole or not at all: its bytes go to a temporary file beside it, which takes its name at
the end. Names from a bucket never lead out of the folder that the user gave.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from aisle.errors import BadRequest

TEMPORARY_PREFIX = ".ais-get-"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` when the block ends well, and vanishes otherwise.

    What is no regular file (a pipe, `/dev/null`) is written as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb", buffering=0) as special:
            yield special
        return
    # A link's target is replaced, not the link.
    path = path.resolve()
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with open(handle, "wb", buffering=0) as file:
            yield file
            os.fchmod(handle, _permissions(path))
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _permissions(path: Path) -> int:
    """Those of the file that is replaced, or of any new file."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def path_below(folder: Path, name: str) -> Path:
    """The file that an object's name means below `folder`.

    Raises BadRequest for a name that is no file's: one that leads out of the folder, is absolute,
    ends with a slash, or has parts that only an object can have (`a//b`).
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise BadRequest("the name cannot be a file's")
    path = folder.joinpath(*parts)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise BadRequest("a link here leads out of the folder")
    return path
