"""What commands print: tables, JSON, sizes and messages.

Results go to standard output, everything else to standard error. Tables are plain text, written page
by page, so that a listing of a million names needs neither memory nor a wait. With `--json` a command
prints exactly one JSON document, and only when it succeeds does that document end.
"""

import json
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

import click

UNITS: Mapping[str, tuple[int, tuple[str, ...]]] = {
    "iec": (1024, ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")),
    "si": (1000, ("B", "KB", "MB", "GB", "TB", "PB", "EB")),
    "raw": (0, ()),
}
"""Steps from one unit to the next, and the units; without a step sizes are plain numbers of bytes."""
_units = UNITS["iec"]
GAP = "  "
_UNSAFE = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def use_units(name: str) -> None:
    """How sizes are written from now on: a name of `UNITS`."""
    global _units
    _units = UNITS[name]


def size_text(size: int) -> str:
    """A size for people: `12B`, `2.86MiB`; or as was asked for."""
    step, names = _units
    if size < step or not step:
        return f"{size}B" if step else str(size)
    value, unit = float(size), 0
    while value >= step and unit < len(names) - 1:
        value, unit = value / step, unit + 1
    return f"{value:.2f}{names[unit]}"


def span_text(seconds: float) -> str:
    """A time span for people, in its two largest units: `3m50s`, `64d23h`, `1.25s`, `12ms`."""
    if seconds < 60:
        return f"{seconds:.3g}s" if seconds >= 1 or not seconds else f"{seconds * 1000:.3g}ms"
    parts: list[str] = []
    left = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])


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
    # Marks stand above, below or around the character before them.
    marks = sum(unicodedata.category(character) in ("Mn", "Me") for character in text)
    return len(text) + wide - marks


class Table:
    """Aligned columns, written page by page; columns only ever grow."""

    def __init__(self, columns: Sequence[str], *, headers: bool = True, as_written: bool = False) -> None:
        """Names of columns are shown in upper case, but for what stands in parentheses; or `as_written`."""
        self._columns = [column if as_written else _heading(column) for column in columns]
        self._widths = [len(column) for column in self._columns] if headers else [0] * len(columns)
        self._pending_header = headers

    def add(self, rows: Iterable[Sequence[str]]) -> None:
        """Print rows."""
        columns = list(zip(*rows, strict=True))
        if not columns:
            return
        if self._pending_header:
            self._pending_header = False
            columns = [(head, *cells) for head, cells in zip(self._columns, columns, strict=True)]
        last = [printable(cell) for cell in columns[-1]]
        padded = [self._padded(index, cells) for index, cells in enumerate(columns[:-1])]
        lines = map(GAP.join, zip(*padded, last, strict=True))
        click.echo("\n".join([line.rstrip() for line in lines] if padded else lines))

    def _padded(self, index: int, cells: Sequence[str]) -> list[str]:
        """A column's cells, all of the same width."""
        together = "".join(cells)
        if not together.isprintable():
            cells = [printable(cell) for cell in cells]
        if together.isascii():
            size = self._widths[index] = max(self._widths[index], *map(len, cells))
            return [cell.ljust(size) for cell in cells]
        size = self._widths[index] = max(self._widths[index], *map(width, cells))
        return [cell + " " * (size - width(cell)) for cell in cells]


def _heading(column: str) -> str:
    name, parenthesis, rest = column.partition("(")
    return f"{name.upper()}{parenthesis}{rest}"


def print_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(_safe(json.dumps(document, ensure_ascii=not _is_utf8(), indent=2)))


def print_json_line(document: object) -> None:
    """Print one JSON document of several in a line of its own, for whoever reads while it goes on."""
    click.echo(_compact(document))
    sys.stdout.flush()


class JsonList:
    """One JSON document with a list that is written while it grows.

        with JsonList("objects", {"bucket": "ais://data"}) as objects:
            objects.add({"name": "a"})

    prints `{"bucket":"ais://data","objects":[{"name":"a"}]}`. `tail` adds members behind the list.
    When the block ends with an exception the document stays open: nobody takes it for whole.
    """

    def __init__(self, member: str, head: Mapping[str, object] | None = None) -> None:
        self.tail: dict[str, object] = {}
        self._is_empty = True
        self._write: Callable[[str], object] = sys.stdout.write
        self._write(f"{{{''.join(f'{text},' for text in _members(head or {}))}{_compact(member)}:[")

    def add(self, *items: object) -> None:
        """Append items."""
        if items:
            self._write("\n" if self._is_empty else ",\n")
            self._write(",\n".join(map(_compact, items)) if not _is_utf8() else _json_lines(items))
            self._is_empty = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            members = "".join(f",{text}" for text in _members(self.tail))
            self._write(("" if self._is_empty else "\n") + f"]{members}}}\n")


def _members(values: Mapping[str, object]) -> list[str]:
    return [f"{_compact(key)}:{_compact(value)}" for key, value in values.items()]


def _json_lines(items: Sequence[object]) -> str:
    """Items separated by commas and line breaks, one page of a listing in one call."""
    import msgspec

    # Line breaks inside strings are written as escapes.
    return _safe(msgspec.json.Encoder().encode_lines(items).decode().rstrip("\n").replace("\n", ",\n"))


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
    return _safe(json.dumps(value, ensure_ascii=not _is_utf8(), separators=(",", ":")))


def _safe(text: str) -> str:
    """JSON text with escapes for what JSON allows raw and a terminal acts upon.

    Those are the second set of control characters, DEL, and marks that turn the direction of text.
    """
    if text.isascii() and "\x7f" not in text:
        return text
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


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
