"""What commands print: tables, JSON, sizes and messages.

Results go to standard output, everything else to standard error. Tables are plain text, written page
by page, so that a listing of a million names needs neither memory nor a wait. With `--json` a command
prints exactly one JSON document, and only when it succeeds does that document end.
"""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import click

KIB = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
GAP = "  "


def size_text(size: int) -> str:
    """A size for people: `12B`, `2.86MiB`."""
    if size < KIB:
        return f"{size}B"
    value, unit = float(size), 0
    while value >= KIB and unit < len(_UNITS) - 1:
        value, unit = value / KIB, unit + 1
    return f"{value:.2f}{_UNITS[unit]}"


def count_text(count: int, noun: str) -> str:
    """A count with its noun: `1 object`, `2,000 objects`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def printable(text: str) -> str:
    """Text without what would move the cursor or break the line: names may hold any character."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def width(text: str) -> int:
    """Columns that a terminal needs for printable text."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    marks = sum(bool(unicodedata.combining(character)) for character in text)
    return len(text) + wide - marks


class Table:
    """Aligned columns, written page by page; columns only ever grow."""

    def __init__(self, columns: Sequence[str], *, headers: bool = True) -> None:
        self._columns = [column.upper() for column in columns]
        self._widths = [len(column) for column in self._columns] if headers else [0] * len(columns)
        self._pending_header = headers

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows."""
        cells = [[printable(cell) for cell in row] for row in rows]
        if not cells:
            return
        for row in cells:
            for index, cell in enumerate(row[:-1]):
                self._widths[index] = max(self._widths[index], width(cell))
        if self._pending_header:
            self._pending_header = False
            cells.insert(0, self._columns)
        click.echo("\n".join(self._line(row) for row in cells))

    def _line(self, row: Sequence[str]) -> str:
        padded = [
            cell + " " * (size - width(cell)) for cell, size in zip(row[:-1], self._widths, strict=False)
        ]
        return GAP.join([*padded, row[-1]]).rstrip()


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, ensure_ascii=not _is_utf8(), indent=2))


class JsonList:
    """One JSON document with a list that is written while it grows.

        with JsonList("objects", {"bucket": "ais://data"}) as objects:
            objects.add({"name": "a"})

    prints `{"bucket": "ais://data", "objects": [{"name": "a"}]}`. `tail` adds members behind the
    list. When the block ends with an exception the document stays open: nobody takes it for whole.
    """

    def __init__(self, member: str, head: Mapping[str, object] | None = None) -> None:
        self.tail: dict[str, object] = {}
        self._count = 0
        members = "".join(f"{json.dumps(key)}: {_compact(value)}, " for key, value in (head or {}).items())
        self._write: Callable[[str], object] = sys.stdout.write
        self._write(f"{{{members}{json.dumps(member)}: [")

    def add(self, item: object) -> None:
        """Append an item."""
        self._write((",\n  " if self._count else "\n  ") + _compact(item))
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            members = "".join(f", {json.dumps(key)}: {_compact(value)}" for key, value in self.tail.items())
            self._write(("\n" if self._count else "") + f"]{members}}}\n")


@contextmanager
def maybe_json_list(
    member: str, head: Mapping[str, object] | None = None, *, wanted: bool
) -> Iterator[JsonList | None]:
    """A `JsonList` if JSON is wanted, else None."""
    if not wanted:
        yield None
        return
    with JsonList(member, head) as told:
        yield told


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=not _is_utf8())


def _is_utf8() -> bool:
    return (sys.stdout.encoding or "").lower() in ("utf-8", "utf8")


def warn(message: str) -> None:
    """Print a warning."""
    click.echo(f"{click.style('Warning:', fg='yellow', bold=True)} {message}", err=True)


def note(message: str) -> None:
    """Print what is good to know and is not the result."""
    click.echo(message, err=True)


def fail(message: str, *hints: str) -> None:
    """Print what went wrong, and what to do about it; the caller ends the command."""
    click.echo(f"{click.style('Error:', fg='red', bold=True)} {message}", err=True)
    for hint in hints:
        click.echo(f"  {hint}", err=True)
