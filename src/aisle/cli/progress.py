"""Live progress on standard error. rich is imported only when there is something to see."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FIRST_SHOWN_AFTER_S = 0.5  # what is done sooner needs no bar, nor the time to import one


def is_live() -> bool:
    """Whether somebody is watching standard error."""
    return sys.stderr.isatty()


class TransferBar:
    """Bytes (and files) that have passed; threads may share it. It shows itself after a while."""

    def __init__(self, description: str, *, total_bytes: int | None, shown: bool) -> None:
        self._description = description
        self._total_bytes = total_bytes
        self._shown = shown
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self.bytes = 0
        self.files = 0

    def advance(self, count: int) -> None:
        """Count bytes; a negative count takes back what must be sent again."""
        self._change(count, 0)

    def finish_file(self) -> None:
        """Count a file."""
        self._change(0, 1)

    def _change(self, count: int, files: int) -> None:
        with self._lock:
            self.bytes += count
            self.files += files
            if not self._shown:
                return
            if self._progress is None:
                if time.monotonic() - self._began_s < FIRST_SHOWN_AFTER_S:
                    return
                self._progress = _bytes_progress()
                self._task = self._progress.add_task(self._description, total=self._total_bytes)
                self._progress.start()
            assert self._task is not None
            label = (
                f"{self._description} ({self.files:,} files)"
                if self._total_bytes is None
                else self._description
            )
            self._progress.update(self._task, completed=self.bytes, description=label)

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()


@contextmanager
def transfer(
    description: str, *, total_bytes: int | None = None, shown: bool = True
) -> Iterator[TransferBar]:
    """A bar for as long as the block runs; only on a terminal."""
    bar = TransferBar(description, total_bytes=total_bytes, shown=shown and is_live())
    try:
        yield bar
    finally:
        bar.stop()


def _bytes_progress() -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
