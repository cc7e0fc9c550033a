"""The node's log as clients may read it.

All processes of a node write their lines into one file beside their sockets, which is put aside when it
has grown and replaced by a new one; see node/log.py. Standard error has the same lines.
"""

import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from aisle.errors import BadRequest

LOG_NAME: Final = "log"
"""The file that is written to; older ones are `log.1`, `log.2`, …"""
LOG_BYTES_MAX: Final = 4 * 1024 * 1024
"""A larger file is put aside."""
LOG_FILES_MAX: Final = 4

_RANKS: Final = {b"DEBUG": 0, b"INFO": 1, b"WARNING": 2, b"ERROR": 3, b"CRITICAL": 3}
_SEVERITIES: Final = {"": 0, "i": 0, "w": 2, "e": 3}


class LogFiles:
    """The log files in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def current(self, severity: str, offset: int) -> bytes:
        """The lines of the newest file from a byte offset on, of at least that severity.

        `severity` is `info`, `warning` or `error`; its first letter counts. Raises BadRequest for
        another one, and for an offset beyond the end.
        """
        content = _read(self._folder / LOG_NAME)
        if offset > len(content):
            raise BadRequest(f"log offset {offset} is beyond the size {len(content)}: log likely rotated")
        return b"".join(_selected(content[offset:].splitlines(keepends=True), _rank(severity)))

    def archive(self, severity: str) -> bytes:
        """All files, as a compressed tar archive. Raises BadRequest for an unknown severity."""
        # Every process writes the log; only one that is asked for all of it packs it.
        import tarfile

        rank = _rank(severity)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for path in log_paths(self._folder):
                content = b"".join(_selected(_read(path).splitlines(keepends=True), rank))
                if content:
                    member = tarfile.TarInfo(path.name)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        return packed.getvalue()


def log_paths(folder: Path) -> list[Path]:
    """The log files, the newest first, whether they exist or not."""
    return [folder / LOG_NAME, *(folder / f"{LOG_NAME}.{age}" for age in range(1, LOG_FILES_MAX))]


def _rank(severity: str) -> int:
    rank = _SEVERITIES.get(severity[:1].lower())
    if rank is None:
        raise BadRequest(f'invalid log severity "{severity[:80]}" (expecting info, warning or error)')
    return rank


def _selected(lines: Iterable[bytes], rank: int) -> Iterator[bytes]:
    """Lines from a rank on; what follows a line without a level of its own belongs to it."""
    shown = rank == 0
    for line in lines:
        words = line.split(b" ", 2)
        own = _RANKS.get(words[1]) if len(words) > 2 else None
        if own is not None:
            shown = own >= rank
        if shown:
            yield line


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
