"""A download job while it goes: bars on a terminal, else a line now and then.

Both go to standard error, and both tell failures when they happen. rich is imported only when there
is a terminal to draw on.
"""

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import click

from aisle.cli.download_advice import advice
from aisle.cli.output import count_text, note, printable, size_text, span_text
from aisle.cli.pace import Pace
from aisle.client.downloads import DownloadJob, Failure, Task

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_LINK = re.compile(r": failed to download \S+: ")
LINES_KEPT = 4
"""Lines of a terminal that bars leave free: for the shell's prompt, and what was told before."""


class View(Protocol):
    """What shows a job."""

    def show(self, job: DownloadJob) -> None:
        """Show its present state."""

    def failed(self, failures: Sequence[Failure]) -> None:
        """Tell of files that could not be had."""

    def say(self, text: str) -> None:
        """Tell something beside the state, once."""

    def stop(self) -> None:
        """Leave the last state where it is; harmless when done before."""


class NoView:
    """Shows nothing but what is said."""

    def show(self, job: DownloadJob) -> None:
        """Show nothing."""

    def failed(self, failures: Sequence[Failure]) -> None:
        """Tell nothing: the end of the job does."""

    def say(self, text: str) -> None:
        """Tell it."""
        note(text)

    def stop(self) -> None:
        """Nothing is left."""


class LineView:
    """Lines, at most one in `interval_s`, and one at the end."""

    def __init__(self, *, interval_s: float, now_s: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._now_s = now_s
        self._pace = Pace()
        self._last_s = -interval_s
        self._last = ""
        self._last_reason = ""

    def show(self, job: DownloadJob) -> None:
        """Print the state if it is new, and the time has come."""
        now_s = self._now_s()
        self._pace.update(job, now_s)
        line = state_text(job, self._pace)
        if line != self._last and (now_s - self._last_s >= self._interval_s or not job.is_running):
            self._last, self._last_s = line, now_s
            note(f"{job.id}: {line}")
            self._tell_trouble(job)

    def failed(self, failures: Sequence[Failure]) -> None:
        """Print each."""
        for failure in failures:
            note(failure_text(failure))

    def say(self, text: str) -> None:
        """Print it."""
        note(text)

    def stop(self) -> None:
        """Nothing is left."""

    def _tell_trouble(self, job: DownloadJob) -> None:
        """Print why files wait, unless that has just been said of others."""
        reason = _shortened(job.trouble).partition(": ")[2] if job.retrying else ""
        if reason and reason != self._last_reason:
            for line in trouble_lines(job):
                note(line)
        self._last_reason = reason


class BarView:
    """A bar for the job, and below it a line for each file under way, as many as there is room for."""

    def __init__(self, *, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._pace = Pace()
        self._live: Live | None = None

    def show(self, job: DownloadJob) -> None:
        """Draw the state."""
        self._pace.update(job, self._now_s())
        live = self._started()
        rows = max(1, live.console.size.height - LINES_KEPT)
        live.update(bars(job, self._pace, rows=rows), refresh=True)

    def failed(self, failures: Sequence[Failure]) -> None:
        """Print each above the bars."""
        for failure in failures:
            self.say(failure_text(failure))

    def say(self, text: str) -> None:
        """Print it above the bars."""
        from rich.text import Text

        self._started().console.print(Text.from_ansi(text))

    def stop(self) -> None:
        """Stop drawing."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _started(self) -> "Live":
        if self._live is None:
            from rich.live import Live

            self._live = Live(console=_console(), auto_refresh=False)
            self._live.start()
        return self._live


def view_for(*, progress: bool, interval_s: float, now_s: Callable[[], float]) -> View:
    """What shows a job here."""
    if not progress:
        return NoView()
    return BarView(now_s=now_s) if sys.stderr.isatty() else LineView(interval_s=interval_s, now_s=now_s)


def failure_text(failure: Failure) -> str:
    """A failure in one line."""
    return f"{click.style('failed', fg='red')} {printable(f'{failure.name}: {failure.error}')}"


def state_text(job: DownloadJob, pace: Pace) -> str:
    """How a job stands, in one line: `45/141 files, 1.20GiB/4.00GiB (30%), 35.20MiB/s, ETA 1m20s`."""
    words = [f"{_count(job)} files"]
    if pace.bytes:
        words.append(_volume(pace.bytes, job.total_bytes))
    if pace.share is not None:
        words[-1] += f" ({pace.share:.0%})"
    if job.errors:
        words.append(f"{job.errors:,} failed")
    if job.retrying:
        words.append(f"{job.retrying:,} to be tried again")
    if job.state == "paused":
        words.append("paused")
    elif job.is_running:
        words += [_speed(pace.bytes_per_second)] if pace.bytes_per_second else []
        words += [f"ETA {span_text(round(pace.remaining_s))}"] if pace.remaining_s is not None else []
    return ", ".join(words)


def bars(job: DownloadJob, pace: Pace, *, rows: int) -> "RenderableType":
    """The same as a table with bars, of at most `rows` lines."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=16)
    table.add_column(ratio=1, min_width=8)
    for _ in range(4):
        table.add_column(justify="right", no_wrap=True)
    running = pace.remaining_s is not None and job.is_running
    table.add_row(
        Text(_title(job)),
        ProgressBar(total=1.0, completed=pace.share or 0.0, pulse=pace.share is None and job.is_running),
        "" if pace.share is None else f"{pace.share:.0%}",
        _volume(pace.bytes, job.total_bytes) if pace.bytes else "",
        _speed(pace.bytes_per_second) if pace.bytes_per_second and job.is_running else "",
        f"ETA {span_text(round(pace.remaining_s))}" if running and pace.remaining_s is not None else "",
    )
    tasks = job.current_tasks if job.is_running else []
    room = max(0, rows - 1 - bool(job.retrying))
    shown = tasks if len(tasks) <= room else tasks[: max(0, room - 1)]
    for task in shown:
        done = min(1.0, task.downloaded / task.total) if task.total else None
        rate = pace.file_rate(task.name)
        table.add_row(
            Text(f"  {printable(task.name)}"),
            ProgressBar(total=1.0, completed=done or 0.0, pulse=done is None),
            "" if done is None else f"{done:.0%}",
            _volume(task.downloaded, task.total or -1),
            _speed(rate) if rate else "",
            f"ETA {span_text(round((task.total - task.downloaded) / rate))}" if rate and task.total else "",
        )
    if len(shown) < len(tasks) and room:
        table.add_row(Text(f"  … and {len(tasks) - len(shown):,} more"))
    if not job.retrying or rows < 2:
        return table
    return Group(table, Text(trouble_text(job), no_wrap=True, overflow="ellipsis", style="yellow"))


def trouble_text(job: DownloadJob) -> str:
    """What waits for another attempt, and why."""
    return f"{count_text(job.retrying, 'file')} to be tried again: {printable(_shortened(job.trouble))}"


def trouble_lines(job: DownloadJob) -> list[str]:
    """The same, and what helps; empty when nothing waits."""
    if not job.retrying:
        return []
    return [trouble_text(job), *(f"  {text}" for text in advice([Failure(name="", error=job.trouble)]))]


def _shortened(trouble: str) -> str:
    """A reason without the link, whose file is named in front of it."""
    return _LINK.sub(": ", trouble, count=1)


def _title(job: DownloadJob) -> str:
    words = [f"Files downloaded {_count(job)}"]
    words += [f"{job.errors:,} failed"] if job.errors else []
    words += ["paused"] if job.state == "paused" else []
    return ", ".join(words)


def task_text(task: Task) -> str:
    """A file that is under way, in one line."""
    size = _volume(task.downloaded, task.total or -1)
    return f"{printable(task.name)}: {size}" + (
        f" ({100 * task.downloaded / task.total:.2f}%)" if task.total else ""
    )


def _count(job: DownloadJob) -> str:
    done = job.done + job.errors
    if job.total < 0:  # a folder is walked through: there are more than were found so far
        return f"{done:,}/{job.scheduled:,}+" if job.scheduled else f"{done:,}"
    return f"{done:,}/{job.total:,}"


def _volume(count: int, total: int) -> str:
    return f"{size_text(count)}/{size_text(total)}" if total > 0 else size_text(count)


def _speed(bytes_per_second: float) -> str:
    return f"{size_text(int(bytes_per_second))}/s"


def _console() -> "Console":
    from rich.console import Console

    return Console(stderr=True, highlight=False)
