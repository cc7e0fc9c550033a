"""Local files that objects are read into.

A file appears whole or not at all: its bytes go to a temporary file beside it, which takes its name at
the end. Names from a bucket never lead out of the folder that the user gave.
"""

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from aisle.errors import BadRequest

TEMPORARY_PREFIX = ".ais-get-"


class Unfinished:
    """Temporary files that threads are writing: when the command ends early, they go with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._paths: set[str] = set()
        self._is_over = False
        # Asked once, before there are threads: reading the mask means changing it for a moment.
        mask = os.umask(0)
        os.umask(mask)
        self._new_file_mode = 0o666 & ~mask

    def create(self, folder: Path) -> tuple[int, str]:
        """A new temporary file: its descriptor and path. Raises FileNotFoundError when it is over."""
        with self._lock:
            if self._is_over:
                raise FileNotFoundError("the command is ending")
            try:
                handle, path = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=folder)
            except OSError as error:
                # Nobody has named the temporary file: what is wrong is the folder.
                error.filename = str(folder)
                raise
            self._paths.add(path)
        return handle, path

    def permissions(self, path: Path) -> int:
        """Those of the file that is replaced, or of any new file."""
        try:
            return path.stat().st_mode & 0o777
        except FileNotFoundError:
            return self._new_file_mode

    def finish(self, path: str, target: Path | None) -> None:
        """Give a temporary file its name, or remove it; nothing happens to one that is gone."""
        with self._lock:
            if path in self._paths:
                self._paths.discard(path)
                if target is None:
                    os.unlink(path)
                else:
                    os.replace(path, target)

    def discard(self) -> None:
        """Remove all that are left; no new one can begin."""
        with self._lock:
            self._is_over = True
            while self._paths:
                os.unlink(self._paths.pop())


@contextmanager
def whole_file(path: Path, unfinished: Unfinished) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` when the block ends well, and vanishes otherwise.

    What is no regular file (a pipe, `/dev/null`) is written as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb", buffering=0) as special:
            yield special
        return
    # A link's target is replaced, not the link.
    path = path.resolve()
    handle, temporary = unfinished.create(path.parent)
    try:
        with open(handle, "wb", buffering=0) as file:
            yield file
            os.fchmod(handle, unfinished.permissions(path))
        unfinished.finish(temporary, path)
    finally:
        unfinished.finish(temporary, None)


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
