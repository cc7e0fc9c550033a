"""Live progress on standard error. rich is imported only when there is something to see."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aisle.cli.output import printable, size_text

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from aisle.client.downloads import DownloadJob

FIRST_SHOWN_AFTER_S = 0.5  # what is done sooner needs no bar, nor the time to import one
LINE_INTERVAL_S = 2.0  # where there is no terminal
BARS_MAX = 8


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


class DownloadView:
    """A download job as it goes: bars on a terminal, else a line now and then."""

    def __init__(self, *, live: bool) -> None:
        self._live = live
        self._progress: Progress | None = None
        self._files: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last_line_s = 0.0
        self._last_line = ""

    def show(self, job: "DownloadJob") -> None:
        """Show the present state."""
        if self._live:
            self._show_bars(job)
            return
        line = f"{job.done + job.errors:,}/{job.total:,} files" if job.total >= 0 else f"{job.done:,} files"
        now_s = time.monotonic()
        if line != self._last_line and (now_s - self._last_line_s >= LINE_INTERVAL_S or not job.is_running):
            self._last_line, self._last_line_s = line, now_s
            sys.stderr.write(f"{job.id}: {line}\n")

    def stop(self) -> None:
        """Leave the last state on the screen."""
        if self._progress is not None:
            self._progress.stop()

    def _show_bars(self, job: "DownloadJob") -> None:
        if self._progress is None:
            self._progress = _files_progress()
            self._files = self._progress.add_task("Files downloaded", total=None, count="")
            self._progress.start()
        assert self._files is not None
        done = job.done + job.errors
        total = job.total if job.total >= 0 else None
        count = f"{done:,}/{total:,}" if total is not None else f"{done:,}"
        count += f"  {size_text(job.bytes)}" if job.bytes else ""
        count += f"  {size_text(job.rate)}/s" if job.rate else ""
        self._progress.update(self._files, completed=done, total=total, count=count)
        running = {task.name: task for task in job.current_tasks[:BARS_MAX]} if job.is_running else {}
        for name in self._tasks.keys() - running.keys():
            self._progress.remove_task(self._tasks.pop(name))
        for name, task in running.items():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(printable(name), total=None, count="")
            size = size_text(task.downloaded) + (f"/{size_text(task.total)}" if task.total else "")
            self._progress.update(
                self._tasks[name], completed=task.downloaded, total=task.total or None, count=size
            )


def _files_progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
