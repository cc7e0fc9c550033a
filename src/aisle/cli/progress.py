"""Live progress on standard error. rich is imported only when there is something to see."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aisle.cli.output import count_text

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
        self._counts_files = total_bytes is None
        self._total_bytes = total_bytes
        self._shown = shown
        self._began_s = time.monotonic()
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self.bytes = 0
        self.files = 0

    @property
    def is_shown(self) -> bool:
        """Whether somebody would see it."""
        return self._shown

    def expect(self, total_bytes: int) -> None:
        """Tell how much it will be, as soon as that is known."""
        with self._lock:
            self._total_bytes = total_bytes
            if self._progress is not None and self._task is not None:
                self._progress.update(self._task, total=total_bytes)

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
            label = self._description
            if self._counts_files:
                label += f" ({count_text(self.files, 'file')})"
            self._progress.update(self._task, completed=self.bytes, description=label)

    def stop(self) -> None:
        """Take the bar away."""
        if self._progress is not None:
            self._progress.stop()


@contextmanager
def transfer(
    description: str,
    *,
    total_bytes: int | None = None,
    find_total: Callable[[], int] | None = None,
    shown: bool = True,
) -> Iterator[TransferBar]:
    """A bar for as long as the block runs; only on a terminal.

    `find_total` finds out how much it will be, meanwhile; what it raises leaves that open.
    """
    bar = TransferBar(description, total_bytes=total_bytes, shown=shown and is_live())
    if find_total is not None and bar.is_shown:
        threading.Thread(target=_find, args=(bar, find_total), daemon=True).start()
    try:
        yield bar
    finally:
        bar.stop()


def _find(bar: TransferBar, find_total: Callable[[], int]) -> None:
    from aisle.errors import AisleError

    try:
        bar.expect(find_total())
    except (AisleError, OSError):
        # It is only for the bar: what is wrong is told where the work is done.
        pass


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
