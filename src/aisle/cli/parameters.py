"""What arguments and options mean: locations, sizes, durations; and the options that many share."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from aisle.cli.locations import Location, parse_bucket_location, parse_location
from aisle.cli.output import UNITS, printable, use_units
from aisle.errors import BadRequest
from aisle.model.names import Bucket

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

C = TypeVar("C", bound=Callable[..., object])

_SIZE = re.compile(r"(\d{1,19})(?:\.(\d{1,19}))?\s*([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_SIZE_MAX = 2**63 - 1
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|d|h|m|s)")
_DURATION_S = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_DURATION_MAX_S = 36_500 * 86_400.0  # a century: what the system's own timers can still count

# Beyond this many, requests of one command wait for each other in the node.
CONNECTIONS_DEFAULT = 8
CONNECTIONS_MAX = 64


class BucketType(click.ParamType[Bucket]):
    """A bucket: `ais://data` or `data`."""

    name = "bucket"

    def convert(
        self, value: str | Bucket, param: click.Parameter | None, ctx: click.Context | None
    ) -> Bucket:
        """Parse it, or end with a usage error."""
        if isinstance(value, Bucket):
            return value
        try:
            return parse_bucket_location(value)
        except BadRequest as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """The buckets that there are."""
        del param
        from aisle.cli.completing import buckets

        return buckets(ctx, incomplete, inside=False)


class LocationType(click.ParamType[Location]):
    """A bucket with or without something behind it: `ais://data/train/`; an object if `whole`."""

    name = "location"

    def __init__(self, *, is_object: bool = False) -> None:
        self._is_object = is_object

    def convert(
        self, value: str | Location, param: click.Parameter | None, ctx: click.Context | None
    ) -> Location:
        """Parse it, or end with a usage error."""
        if isinstance(value, Location):
            return value
        try:
            location = parse_location(value)
            if location.path:
                _ = location.key
        except BadRequest as error:
            self.fail(str(error), param, ctx)
        if self._is_object and not location.path:
            self.fail(f'"{value}" names a bucket; an object is {location.bucket.cname}/NAME', param, ctx)
        return location

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem[str]]":
        """The buckets that there are, and their objects."""
        return complete_location(ctx, param, incomplete)


class SizeType(click.ParamType[int]):
    """A size in bytes: `4096`, `64KiB`, `1.5G`; units count in steps of 1,024."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it, or end with a usage error."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(value.strip())
        if not match:
            self.fail(f'"{value}" is not a size such as 4096, 64KiB or 1.5GiB', param, ctx)
        whole, part, unit = match[1], match[2] or "", match[3].lower()
        # Exact, which a float is not: from 2**53 on it leaves out bytes.
        size: int = (int(whole + part) << 10 * " kmgtp".index(unit or " ")) // 10 ** len(part)
        if size > _SIZE_MAX:
            self.fail(f'"{value}" is more than any size can be', param, ctx)
        return size


class DurationType(click.ParamType[float]):
    """A time span in seconds: `30`, `30s`, `1h30m`, `500ms`."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it, or end with a usage error."""
        if isinstance(value, int | float):
            return float(value)
        text = f"{value}s" if re.fullmatch(r"\d+(\.\d+)?", value) else value
        parts = _DURATION_PART.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f'"{value}" is not a time span such as 30s, 5m or 1h30m', param, ctx)
        span_s = sum(float(number) * _DURATION_S[unit] for number, unit in parts)
        if span_s > _DURATION_MAX_S:
            self.fail(f'"{value}" is more than a century', param, ctx)
        return span_s


def complete_location(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """The buckets that there are, and their objects."""
    del param
    from aisle.cli.completing import buckets

    return buckets(ctx, incomplete, inside=True)


BUCKET = BucketType()
LOCATION = LocationType()
OBJECT = LocationType(is_object=True)
SIZE = SizeType()
DURATION = DurationType()


def json_option(command: C) -> C:
    """`--json`: one JSON document instead of text."""
    return click.option("--json", "-j", "as_json", is_flag=True, help="Print one JSON document.")(command)


def yes_option(command: C) -> C:
    """`--yes`: ask nothing."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(command)


def no_headers_option(command: C) -> C:
    """`--no-headers`: tables without their first line."""
    return click.option("--no-headers", "-H", is_flag=True, help="Print no column names.")(command)


def connections_option(command: C) -> C:
    """`--connections`: how many transfers run at the same time."""
    return click.option(
        "--connections",
        "--num-workers",
        "--conc",
        "connections",
        type=click.IntRange(1, CONNECTIONS_MAX),
        default=CONNECTIONS_DEFAULT,
        show_default=True,
        help="Transfers at the same time.",
    )(command)


def units_option(command: C) -> C:
    """`--units`: how sizes are written in tables."""
    return click.option(
        "--units",
        type=click.Choice(list(UNITS)),
        default="iec",
        show_default=True,
        expose_value=False,
        callback=lambda _ctx, _param, value: use_units(value),
        help="Sizes in steps of 1,024 (iec) or 1,000 (si), or in bytes (raw).",
    )(command)


def dry_run_option(command: C) -> C:
    """`--dry-run`: say what would be done."""
    return click.option("--dry-run", "-n", is_flag=True, help="Only tell what would be done.")(command)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; ends the command unless the answer is yes."""
    import sys

    if yes:
        return
    question = printable(question)
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nobody is there to answer: add --yes.")
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as error:
        # Click says the same of "no" and of Ctrl-C, which here ends a command as anywhere else.
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
