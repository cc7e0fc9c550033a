"""What can be said about any download: how the job goes about it, and how it is watched.

A source of downloads that brings options of its own keeps them in a NamedTuple like these, and
`taken` finds them among all that were given.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

from aisle.cli.parameters import DURATION, SIZE, json_option, units_option
from aisle.client.downloads import DownloadRequest

C = TypeVar("C", bound=Callable[..., object])
T = TypeVar("T", bound=tuple[Any, ...])

LINE_INTERVAL_S = 2.0


class JobOptions(NamedTuple):
    """How the node shall go about it."""

    description: str
    download_timeout: float
    connections: int | None
    bytes_per_hour: int
    header: tuple[tuple[str, str], ...]
    priority: int
    extract: bool
    sync: bool

    def request(self, **what: Any) -> DownloadRequest:
        """A request for something, with these options."""
        headers: dict[str, list[str]] = {}
        for name, value in self.header:
            headers.setdefault(name, []).append(value)
        return DownloadRequest(
            description=self.description,
            timeout_s=self.download_timeout,
            connections_max=self.connections or 0,
            bytes_per_hour_max=self.bytes_per_hour,
            headers=headers,
            priority=self.priority,
            extract=self.extract,
            **what,
        )


class WatchOptions(NamedTuple):
    """What the command does while the node works."""

    progress: bool
    wait: bool
    timeout: float | None
    progress_interval: float
    dry_run: bool
    as_json: bool

    @property
    def waits(self) -> bool:
        """Whether the command stays until the job ends."""
        return self.wait or self.progress


class HeaderType(click.ParamType[tuple[tuple[str, str], ...]]):
    """A header field, `Name: value`; or `@FILE`, which has one on each line."""

    name = "header"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[str, str], ...]:
        """Parse it, or end with a usage error."""
        if not isinstance(value, str):
            return tuple(value)
        lines = [value]
        if value.startswith("@"):
            try:
                with open(value[1:], encoding="utf-8") as file:
                    lines = [line for line in file.read().splitlines() if line.strip()]
            except (OSError, UnicodeDecodeError) as error:
                self.fail(f"{value[1:]} cannot be read: {error}", param, ctx)
        return tuple(self._field(line, param, ctx) for line in lines)

    def _field(self, line: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            # What it is may be secret: it is not shown.
            self.fail("a header field is written 'Name: value'", param, ctx)
        return name.strip(), value.strip()


def _flattened(
    _ctx: click.Context, _param: click.Parameter, values: tuple[tuple[tuple[str, str], ...], ...]
) -> tuple[tuple[str, str], ...]:
    return tuple(field for fields in values for field in fields)


interval_option = click.option(
    *("--progress-interval", "--refresh", "progress_interval"),
    type=DURATION,
    default=LINE_INTERVAL_S,
    show_default="2s",
    help="Time between lines of progress, where there is no terminal.",
)
_JOB_OPTIONS = (
    click.option("--description", "--desc", default="", help="What the job is for."),
    click.option("--download-timeout", type=DURATION, default=0.0, help="Time for one file, in one attempt."),
    click.option(
        *("--max-conns", "--conns", "--limit-connections", "connections"),
        type=click.IntRange(0),
        default=None,
        help="Files at the same time, for each target.",
    ),
    click.option(
        *("--limit-bytes-per-hour", "--limit-bph", "bytes_per_hour"),
        type=SIZE,
        default=0,
        help="Bytes per hour, for the cluster.",
    ),
    click.option(
        *("--header", "--headers", "-H", "header"),
        type=HeaderType(),
        multiple=True,
        callback=_flattened,
        metavar="'NAME: VALUE'",
        help="Send this to the servers of the links, and to no others; @FILE reads fields from a file.",
    ),
    click.option(
        "--extract",
        is_flag=True,
        help="Unpack archives (tar, tgz, zip): each file in them becomes an object.",
    ),
    click.option("--priority", type=int, default=0, help="Jobs with a higher one go first."),
    click.option(
        "--sync",
        "--synchronize",
        "sync",
        is_flag=True,
        help="Of remote buckets: remove what is no longer there.",
    ),
)
_WATCH_OPTIONS = (
    click.option("--progress", is_flag=True, help="Wait, and show how it goes."),
    click.option("--wait", is_flag=True, help="Wait until all files are there."),
    click.option(
        "--timeout",
        type=DURATION,
        help="With --wait or --progress: wait at most this long; the job goes on. Else --download-timeout.",
    ),
    interval_option,
    click.option(
        "--dry-run", "-n", is_flag=True, help="Only tell what would be fetched, and how much that is."
    ),
    units_option,
    json_option,
)


def job_options(command: C) -> C:
    """Give a command the options of `JobOptions`."""
    for option in reversed(_JOB_OPTIONS):
        command = option(command)
    return command


def watch_options(command: C) -> C:
    """Give a command the options of `WatchOptions`."""
    for option in reversed(_WATCH_OPTIONS):
        command = option(command)
    return command


def taken(given: dict[str, Any], kind: type[T]) -> T:
    """The options of one kind, taken out of all that were given."""
    return kind(*(given.pop(name) for name in kind._fields))  # type: ignore[attr-defined]
