"""`ais download --list FILE`: lists of downloads as text, CSV, JSONL or Parquet, from files and pipes.

Each line or row becomes an item and is sent on at once, so a list of millions is never held. What is wrong
is told with the place in the file.
"""

import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple, TypeVar
from urllib.parse import quote

import click
import msgspec

from aisle.cli import output
from aisle.cli.download_links import web_address
from aisle.cli.download_options import JobOptions
from aisle.cli.download_order import Order
from aisle.cli.locations import Location
from aisle.errors import BadRequest
from aisle.model.extras import how_to_install
from aisle.rules.download_list import ItemMaker, wire_line
from aisle.rules.download_names import check_link

C = TypeVar("C", bound=Callable[..., object])

STANDARD_INPUT = "-"
FORMATS = ("text", "csv", "tsv", "jsonl", "parquet")
_SUFFIXES = {
    **dict.fromkeys((".txt", ".text", ".lst", ".list", ".urls"), "text"),
    **dict.fromkeys((".jsonl", ".ndjson", ".jl"), "jsonl"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
    ".csv": "csv",
    ".tsv": "tsv",
}
_LINK_COLUMNS = ("link", "url")
_TELLING_COLUMNS = {
    **dict.fromkeys(("name", "key", "filename", "path"), "--name-column"),
    **dict.fromkeys(("checksum", "sha256", "sha512", "sha1", "md5", "crc32c"), "--checksum-column"),
    **dict.fromkeys(("size", "bytes"), "--size-column"),
}
"""Columns that somebody may expect to be used, which they are only where an option says so."""
_DIGESTS_BY_LENGTH = {8: "crc32c", 32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
_BATCH_ROWS = 4096
_FIELD_CHARS_MAX = 1024 * 1024

Row = Mapping[str, object]


class ListOptions(NamedTuple):
    """What can be said about a list. Empty columns are found by their names."""

    list_file: str | None
    list_format: str | None
    url_column: str
    name_column: str
    checksum_column: str
    size_column: str


_OPTIONS = (
    click.option(
        "--list",
        "list_file",
        metavar="FILE",
        help="Links, one a line: text (a name may follow), CSV, JSONL or Parquet; - reads it here.",
    ),
    click.option(
        "--format", "list_format", type=click.Choice(FORMATS), help="Of the list; else its name tells."
    ),
    click.option("--url-column", default="", metavar="NAME", help="The list's column with links."),
    click.option("--name-column", default="", metavar="NAME", help="The column with the objects' names."),
    click.option(
        "--checksum-column", default="", metavar="NAME", help="The column with sha256:…, md5:… or the like."
    ),
    click.option("--size-column", default="", metavar="NAME", help="The column with sizes in bytes."),
)


def list_options(command: C) -> C:
    """Give a command the options of `ListOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def list_order(source: str, destination: Location, options: JobOptions, own: ListOptions) -> Order:
    """What a list asks for; behind a `source` its links are paths below that.

    Ends with a usage error for options that do not fit; the lines raise BadRequest for what is wrong in
    the list.
    """
    assert own.list_file is not None
    chosen = own.list_format or format_of(own.list_file)
    if chosen == "text" and (own.url_column or own.name_column or own.checksum_column or own.size_column):
        raise click.UsageError("a text has no columns: say --format csv, tsv, jsonl or parquet")
    folder = destination.path.strip("/")
    to = f"{destination.bucket.cname}/{folder}/" if folder else destination.bucket.cname
    description = options.description or f"{_shown(own.list_file)} -> {to}"
    request = options._replace(description=description).request(name=destination.path.strip("/"))
    return Order(destination, request, lines=list_lines(own, chosen, web_address(source) if source else ""))


def format_of(path: str) -> str:
    """The format that a file's name tells: text for standard input and for names that tell nothing.

    >>> format_of("links.csv.gz")
    'csv'
    """
    name = path.lower().removesuffix(".gz")
    return next((found for suffix, found in _SUFFIXES.items() if name.endswith(suffix)), "text")


def list_lines(own: ListOptions, chosen: str, base: str = "") -> Iterator[bytes]:
    """The items of a list as lines of JSON, read as they are asked for. Raises BadRequest."""
    path = own.list_file or STANDARD_INPUT
    shown = _shown(path)
    item = ItemMaker().item
    place = ""
    try:
        with _opened(path) as file:
            for place, columns, row in _rows(file, own, chosen):  # noqa: B007 - errors tell it
                yield wire_line(item(*_resolved(columns.fields(row), base)))
    except click.BadParameter as error:
        raise BadRequest(f"{shown}, {place}: {error.message}") from error
    except _Misread as error:
        raise BadRequest(f"{shown}{error}") from error
    except BadRequest as error:
        raise BadRequest(f"{shown}, {place}: {error}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"{shown} is not text in UTF-8, behind {place or 'its beginning'}: {error}"
        ) from error
    except (OSError, EOFError) as error:
        reason = (getattr(error, "strerror", "") or str(error)).lower()
        raise BadRequest(f"{shown} cannot be read: {reason}") from error


class _Misread(Exception):
    """A list that is not what it should be; the text goes on behind its name."""


class _Fields(NamedTuple):
    """One item as a list has it; what is not there is empty, or -1."""

    link: str
    name: str = ""
    checksum: str = ""
    size: int = -1


def _resolved(fields: _Fields, base: str) -> _Fields:
    """The item with a link that the node can fetch: below `base`, if there is one."""
    link = fields.link
    if base and link and "://" not in link:
        return fields._replace(
            link=f"{base.rstrip('/')}/{quote(link.lstrip('/'))}", name=fields.name or link.lstrip("/")
        )
    if link and not link.startswith(("http://", "https://")):
        check_link(link)
        return fields._replace(link=web_address(link))
    return fields


_Rows = Iterator[tuple[str, "_Columns", Row]]
"""Places, as they are told to people, and what stands there."""


def _rows(file: BinaryIO, own: ListOptions, chosen: str) -> _Rows:
    """Raises _Misread."""
    match chosen:
        case "csv" | "tsv":
            return _separated(file, own, "," if chosen == "csv" else "\t")
        case "jsonl":
            return _json_lines(file, own)
        case "parquet":
            return _parquet(file, own)
    return _text(file)


def _text(file: BinaryIO) -> _Rows:
    """Links, each perhaps with a name behind it; empty lines and those that begin with # are passed over."""
    columns = _Columns("link", "name", "", "")
    for number, line in enumerate(io.TextIOWrapper(file, "utf-8-sig"), start=1):
        words = line.strip().split(None, 1)
        if words and not words[0].startswith("#"):
            yield f"line {number}", columns, dict(zip(("link", "name"), words, strict=False))


def _separated(file: BinaryIO, own: ListOptions, separator: str) -> _Rows:
    csv.field_size_limit(_FIELD_CHARS_MAX)
    reader = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=""), delimiter=separator, strict=True)
    try:
        header = next(reader, None)
        if not header:
            raise _Misread(": a first line with the names of the columns is expected")
        columns = _Columns.of(header, own)
        for row in reader:
            if row and len(row) != len(header):
                raise _Misread(
                    f", line {reader.line_num}: {len(row)} columns, while the first line has {len(header)}"
                )
            if row:
                yield f"line {reader.line_num}", columns, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise _Misread(f", line {reader.line_num}: {error}") from error


def _json_lines(file: BinaryIO, own: ListOptions) -> _Rows:
    columns: _Columns | None = None
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _Misread(f", line {number}: {error}") from error
        if not isinstance(row, dict):
            raise _Misread(f', line {number}: expected an object such as {{"link": "https://…"}}')
        columns = columns or _Columns.of_objects(list(row), own)
        yield f"line {number}", columns, row


def _parquet(file: BinaryIO, own: ListOptions) -> _Rows:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise _Misread(f": Parquet needs a further library: {how_to_install('parquet')}") from error
    if not file.seekable():
        raise _Misread(": Parquet is read from its end, so it takes a file and not a pipe")
    number = 0
    try:
        table = ParquetFile(file)
        columns = _Columns.of(table.schema_arrow.names, own)
        for batch in table.iter_batches(_BATCH_ROWS, columns=columns.wanted()):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", columns, row
    except ArrowException as error:
        raise _Misread(f", behind row {number}: {error}") from error


class _Columns(NamedTuple):
    """The names of the columns that are used; empty for none."""

    link: str
    name: str
    checksum: str
    size: str

    @classmethod
    def of(cls, names: Sequence[str], own: ListOptions) -> "_Columns":
        """Those of a table with these columns. Raises _Misread when they are not there."""
        link = own.url_column or _link_column(names)
        chosen = cls(link, own.name_column, own.checksum_column, own.size_column)
        for name in chosen:
            if name and name not in names:
                raise _Misread(f': there is no column "{name}", only {", ".join(names)}')
        chosen._tell_unused(names)
        return chosen

    @classmethod
    def of_objects(cls, names: Sequence[str], own: ListOptions) -> "_Columns":
        """Those of JSON objects, the first of which has these; by themselves they are as in a request."""
        link = own.url_column or ("link" if "link" in names else _link_column(names))
        return cls(
            link, own.name_column or "name", own.checksum_column or "checksum", own.size_column or "size"
        )

    def _tell_unused(self, names: Sequence[str]) -> None:
        taken = {"--name-column": self.name, "--checksum-column": self.checksum, "--size-column": self.size}
        for name in names:
            option = _TELLING_COLUMNS.get(name.lower(), "")
            if name not in self and option and not taken[option]:
                output.note(f'Column "{output.printable(name)}" is not used; to use it: {option} {name}')

    def wanted(self) -> list[str]:
        """The columns that must be read."""
        return list(dict.fromkeys(filter(None, self)))

    def fields(self, row: Row) -> _Fields:
        """What a row says. Raises BadRequest."""
        size = _whole_number(row.get(self.size)) if self.size else -1
        checksum = _spoken_checksum(_text_of(row, self.checksum), self.checksum) if self.checksum else ""
        return _Fields(
            _text_of(row, self.link).strip(), _text_of(row, self.name) if self.name else "", checksum, size
        )


def _link_column(names: Sequence[str]) -> str:
    """The column that has the links, by its name. Raises _Misread when that cannot be told."""
    found = [name for name in names if name.lower() in _LINK_COLUMNS]
    if len(found) == 1:
        return found[0]
    if len(names) == 1:
        return names[0]
    raise _Misread(f": which column has the links? Say --url-column, one of {', '.join(names)}")


def _text_of(row: Row, column: str) -> str:
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadRequest(f'column "{column}": expected text, found {str(value)[:80]}')


def _whole_number(value: object) -> int:
    if value is None or value == "":
        return -1
    try:
        if isinstance(value, float) and not value.is_integer():
            raise ValueError
        number = int(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else -1
    except (ValueError, OverflowError):
        number = -1
    if number < 0:
        raise BadRequest(f'"{str(value)[:80]}" is not a size in bytes')
    return number


def _spoken_checksum(text: str, column: str) -> str:
    """A checksum with its kind, which the column's name or the number of digits may tell instead."""
    text = text.strip()
    if not text or ":" in text:
        return text
    kinds = set(_DIGESTS_BY_LENGTH.values())
    kind = column.lower() if column.lower() in kinds else _DIGESTS_BY_LENGTH.get(len(text), "")
    return f"{kind}:{text}" if kind else text


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """The bytes of a list, unpacked if its name ends in .gz. Raises OSError."""
    if path == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        if path.lower().endswith(".gz"):
            with gzip.open(file) as unpacked:
                yield unpacked  # type: ignore[misc]  # typeshed calls it otherwise, it reads the same
        else:
            yield file


def _shown(path: str) -> str:
    return "standard input" if path == STANDARD_INPUT else path
