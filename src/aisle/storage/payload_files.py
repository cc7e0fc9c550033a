"""Payload files as a check of the folders finds them."""

import os
from collections.abc import Iterator
from pathlib import Path

from aisle.model.record import Generation
from aisle.storage.trailer import Trailer, read_trailer

_GENERATION_BYTES = 16


def payload_files(mountpath: Path) -> Iterator[Path]:
    """All files below `data`, in order."""
    for folder, folders, names in os.walk(mountpath / "data"):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names))


def generation_of(path: Path) -> Generation | None:
    """The generation that a payload file's name says, None for a stranger's name."""
    try:
        generation = bytes.fromhex(path.name)
    except ValueError:
        return None
    return generation if len(generation) == _GENERATION_BYTES else None


def trailer_of(path: Path) -> Trailer | None:
    """The trailer of a payload file, None if it has none that is whole."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return read_trailer(fd)
    finally:
        os.close(fd)
