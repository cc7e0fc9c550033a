"""Folders of nodes that are at work: what is in them may go while one looks."""

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(*folders: Path) -> Iterator[Path]:
    """All regular files below folders. What vanishes meanwhile is passed over, unlike by `Path.rglob`."""
    for folder in folders:
        for path, _, names in os.walk(folder):
            for name in names:
                file = Path(path, name)
                if file.is_file():  # and no socket
                    yield file
