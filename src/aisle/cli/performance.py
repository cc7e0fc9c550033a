"""`ais show performance`: what the targets have done since they started, or do now."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import click

from aisle.cli import output
from aisle.cli.clusters import found_node
from aisle.cli.parameters import json_option, no_headers_option, units_option
from aisle.cli.repeating import refresh_options, rounds
from aisle.cli.session import Session, pass_session
from aisle.client.cluster import Cluster

SECTIONS = ("counters", "throughput", "latency")
ELSEWHERE = {"capacity": "ais show storage mountpath", "disk": "ais show storage disk"}
NAMES: Mapping[str, str] = {"del": "DELETE", "lst": "LIST", "ren": "RENAME"}
"""Requests that AIStore's tables call otherwise than its counters."""
_TOTAL = ".ns.total"

Counts = Mapping[str, int]


class Reading(NamedTuple):
    """A target's counters at a time."""

    taken_s: float
    counts: Counts


class Span(NamedTuple):
    """What a target did between two readings, or since it started."""

    counts: Counts
    seconds: float
    """How long that took; 0 for all time."""


@click.command("performance", short_help="Show what has been done, how much and how fast.")
@click.argument("words", nargs=-1, metavar="[counters|throughput|latency] [NODE]")
@click.option("--regex", default="", help="Only columns that match; upper and lower case are the same.")
@refresh_options
@units_option
@no_headers_option
@json_option
@pass_session
def show(
    session: Session,
    *,
    words: tuple[str, ...],
    regex: str,
    refresh_s: float | None,
    count: int | None,
    no_headers: bool,
    as_json: bool,
) -> None:
    """Show what the targets have done since they started: how often, how much, how fast.

    With --refresh the first report is of all time and those that follow tell what happened since the
    one before. With --refresh and --json each report is a line.
    """
    sections, named = _parsed(words)
    pattern = _pattern(regex)
    cluster = Cluster(session.client)
    before: dict[str, Reading] = {}
    for number in rounds(refresh_s, count):
        members = cluster.map()
        targets = [found_node(members, named)] if named else list(members.targets.values())
        readings = {
            each.id: Reading(time.monotonic(), cluster.statistics(each.id).tracker) for each in targets
        }
        spans = {name: _span(reading, before.get(name)) for name, reading in readings.items()}
        before = readings
        if as_json:
            document = {"targets": [_told(name, span) for name, span in spans.items()]}
            (output.print_json if refresh_s is None else output.print_json_line)(document)
            continue
        for position, section in enumerate(sections):
            if number or position:
                click.echo()
            _print(section, spans, pattern, headers=not no_headers)


def _parsed(words: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """The sections to show, and the node that is named."""
    first = words[0] if words else ""
    if first in ELSEWHERE:
        raise click.UsageError(f"that is shown by: {ELSEWHERE[first]}")
    sections = (first,) if first in SECTIONS else SECTIONS
    rest = words[1:] if first in SECTIONS else words
    if len(rest) > 1:
        raise click.UsageError("name one node; see them with: ais show cluster")
    return sections, rest[0] if rest else ""


def _pattern(regex: str) -> re.Pattern[str]:
    try:
        return re.compile(regex, re.IGNORECASE)
    except re.error as error:
        raise click.BadParameter(f"{error}", param_hint="--regex") from error


def _span(now: Reading, before: Reading | None) -> Span:
    if before is None:
        return Span(now.counts, 0.0)
    # A node that was restarted in between counts from 0 again.
    changes = {name: value - before.counts.get(name, 0) for name, value in now.counts.items()}
    return Span({name: max(0, value) for name, value in changes.items()}, now.taken_s - before.taken_s)


def _print(section: str, spans: Mapping[str, Span], pattern: re.Pattern[str], *, headers: bool) -> None:
    make = {"counters": _counters, "throughput": _throughput, "latency": _latency}[section]
    rows = {name: make(span) for name, span in spans.items()}
    # A column stands for something that at least one target did.
    found = {name for row in rows.values() for name in row}
    columns = [name for name in sorted(found, key=_place) if pattern.search(name)]
    if headers:
        click.echo(f"{section} {'-' * (25 - len(section))} {datetime.now(UTC):%H:%M:%S.%f}")
    if not found:
        columns = [""]
        rows = {name: {"": "(idle)"} for name in rows}
    output.Table(["TARGET", *columns], headers=headers, as_written=True).add(
        (f"t[{name}]", *(row.get(column, "-") for column in columns)) for name, row in rows.items()
    )


def _place(column: str) -> tuple[bool, str]:
    """Errors stand last."""
    return column.startswith("ERR-"), column


def _counters(span: Span) -> dict[str, str]:
    """How often and how much, as the node counts it."""
    cells = {}
    for name, value in span.counts.items():
        stem, _, unit = name.rpartition(".")
        if value and unit == "n":
            cells[f"{_shown(stem)}(n)"] = str(value)
        elif value and unit == "size":
            cells[f"{_shown(stem)}(size)"] = output.size_text(value)
    return cells


def _throughput(span: Span) -> dict[str, str]:
    """How much, and how much of it at a time; between two reports also for each second."""
    cells = {}
    for stem in ("get", "put"):
        count, size = span.counts.get(f"{stem}.n", 0), span.counts.get(f"{stem}.size", 0)
        if not count:
            continue
        verb = _shown(stem)
        cells[f"{verb}(n)"] = str(count)
        if span.seconds:
            cells[f"{verb}(bw)"] = f"{output.size_text(int(size / span.seconds))}/s"
        cells[f"{verb}(total/avg size)"] = f"{output.size_text(size)} {output.size_text(size // count)}"
    return cells


def _latency(span: Span) -> dict[str, str]:
    """How long one request took on average."""
    cells = {}
    for name, total_ns in span.counts.items():
        stem = name.removesuffix(_TOTAL)
        count = span.counts.get(f"{stem}.n", 0)
        if stem == name or not count:
            continue
        cells[f"{_shown(stem)}(n)"] = str(count)
        cells[f"{_shown(stem)}(t)"] = output.span_text(total_ns / count / 1e9)
    return cells


def _shown(stem: str) -> str:
    """A counter's name as AIStore's tables have it: `del` is `DELETE`, `err.get` is `ERR-GET`."""
    parts = [NAMES.get(part, part.upper()) for part in stem.split(".")]
    return "-".join(parts)


def _told(name: str, span: Span) -> dict[str, object]:
    return {"id": name, "seconds": round(span.seconds, 3) or None, "counts": dict(span.counts)}
