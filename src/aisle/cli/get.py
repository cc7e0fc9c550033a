"""`ais get`: objects become files, or go to standard output.

What was read whole is compared with the checksum that the node announced before the file appears.
"""

import errno
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO, NamedTuple

import click

from aisle.cli import output
from aisle.cli.locations import Location, encoded
from aisle.cli.outcome import Failures
from aisle.cli.parallel import in_parallel
from aisle.cli.parameters import (
    SIZE,
    confirm,
    connections_option,
    dry_run_option,
    json_option,
    yes_option,
)
from aisle.cli.patterns import names_of_list, names_of_template
from aisle.cli.progress import TransferBar, transfer
from aisle.cli.session import Session, pass_session
from aisle.cli.targets import Unfinished, path_below, whole_file
from aisle.cli.web_datasets import SourceType, WebAddress
from aisle.client.listing import FLAG_NAME_ONLY
from aisle.client.node import WHOLE, Client, Inside, Reading
from aisle.errors import BadRequest
from aisle.model.names import Bucket

STANDARD_OUTPUT = "-"
ARCHIVE_MODES = ("regexp", "prefix", "suffix", "substr", "wdskey")


class Fetched(NamedTuple):
    """An object that became a file; `size` is in bytes."""

    name: str
    path: Path
    size: int


@click.command("get", short_help="Read an object, a range of it, or all below a prefix.")
@click.argument("source", type=SourceType(), metavar="BUCKET/NAME")
@click.argument("destination", default="", metavar="[FILE|FOLDER|-]")
@click.option("--recursive", "-r", is_flag=True, help="Read all objects that start with NAME into a folder.")
@click.option("--prefix", help="The same for names that start with this text.")
@click.option("--list", "listed", help="Read these objects: names with commas between them.")
@click.option("--template", help='Read the objects of a template: "shard-{0000..0099}.tar".')
@click.option("--progress", is_flag=True, help="Show how it goes, as is done on a terminal anyway.")
@dry_run_option
@click.option("--offset", type=SIZE, help="Start at this byte.")
@click.option("--length", type=SIZE, help="Read at most this many bytes.")
@click.option("--archpath", default="", help="Read this file out of an archive.")
@click.option("--archregx", default="", help="Read all files of an archive that match, as a tar.")
@click.option(
    "--archmode", type=click.Choice(ARCHIVE_MODES), default="regexp", help="How --archregx selects files."
)
@click.option("--archmime", default="", help="The archive's format, where its name does not tell: .tar, …")
@yes_option
@connections_option
@json_option
@pass_session
def get(
    session: Session,
    *,
    source: Location | WebAddress,
    destination: str,
    recursive: bool,
    prefix: str | None,
    listed: str | None,
    template: str | None,
    progress: bool,
    dry_run: bool,
    offset: int | None,
    length: int | None,
    archpath: str,
    archregx: str,
    archmode: str,
    archmime: str,
    yes: bool,
    connections: int,
    as_json: bool,
) -> None:
    """Read an object into a file (by default of the same name, here) or to standard output (-).

    With -r, --prefix, --list or --template, many objects become files below a folder. --yes replaces
    files. Of an archive, --archpath reads one file, and --archregx a tar of those that match.
    """
    del progress
    if isinstance(source, WebAddress):
        source = source.location(session.client)
    ranged = offset is not None or length is not None
    wanted = Inside(archpath, archregx, archmode if archregx else "", archmime)
    many = _many(session.client, source, recursive=recursive, selected=(prefix, listed, template))
    if many:
        if ranged or wanted != WHOLE or destination == STANDARD_OUTPUT:
            raise click.UsageError("-r, --prefix, --list and --template read whole objects into a folder")
        fetching = Fetching(session.client, source.bucket, many, Path(destination or "."))
        if dry_run:
            fetching.tell_only(as_json=as_json)
        else:
            fetching.run(threads=connections, replace=yes, as_json=as_json)
        return
    if dry_run:
        raise click.UsageError("--dry-run goes with -r, --prefix, --list and --template")
    if not source.path:
        raise click.UsageError(
            f"{source.bucket.cname} is a bucket: name an object, or add -r to read all of them"
        )
    if length == 0:
        raise click.UsageError("--length is at least 1")
    if (archpath and archregx) or (ranged and wanted != WHOLE):
        raise click.UsageError("--archpath, --archregx and ranges exclude each other")
    if destination == STANDARD_OUTPUT and as_json:
        raise click.UsageError("--json and the object cannot both go to standard output")
    read_one(session, source, destination, span=(offset, length), inside=wanted, yes=yes, as_json=as_json)


class Many(NamedTuple):
    """Many objects, and how much of their names is not part of the files' names."""

    names: Iterator[str]
    stripped: int
    prefix: str | None = None
    """With which all of them begin, where they are all that do."""


def _many(
    client: Client, source: Location, *, recursive: bool, selected: tuple[str | None, str | None, str | None]
) -> Many | None:
    """What `-r`, or one of `--prefix`, `--list` and `--template` selects; None for one object."""
    prefix, listed, template = selected
    if sum(each is not None for each in selected) > 1:
        raise click.UsageError("--prefix, --list and --template exclude each other")
    if source.path and prefix is not None:
        raise click.UsageError("a prefix is given twice: behind the bucket and with --prefix")
    if source.path and any(each is not None for each in selected):
        raise click.UsageError(f"name only the bucket: {source.bucket.cname}")
    if listed is not None:
        return Many(iter(names_of_list(listed)), 0)
    if template is not None:
        return Many(names_of_template(template), _folder_length(template.partition("{")[0]))
    if not recursive and prefix is None:
        return None
    start = prefix or source.path
    return Many(_names(client, source.bucket, start), _folder_length(start), start)


def _folder_length(prefix: str) -> int:
    """`-r ais://b/train/` and `-r ais://b/train/0` both name files relative to `train/`."""
    return prefix.rfind("/") + 1


def _names(client: Client, bucket: Bucket, prefix: str) -> Iterator[str]:
    for page in client.pages(bucket, prefix=prefix, properties="name", flags=FLAG_NAME_ONLY):
        yield from (entry.name for entry in page.entries or ())


def read_one(
    session: Session,
    source: Location,
    destination: str,
    *,
    span: tuple[int | None, int | None] = (None, None),
    inside: Inside = WHOLE,
    yes: bool,
    as_json: bool,
) -> None:
    """Read one object, a span of it (offset and length), or what is in it, into a file or to `-`."""
    offset, length = span
    opened = partial(session.client.get, source.bucket, source.key, offset=offset or 0, length=length)
    if destination == STANDARD_OUTPUT:
        with opened(inside=inside) as reading:
            _copy(reading, sys.stdout.buffer, None)
        return
    shown = _inner(source, inside)
    path = _target(shown, destination)
    if path.is_file():
        confirm(f'Replace "{path}"?', yes=yes)
    with opened(inside=inside) as reading:
        with (
            transfer(f"GET {output.printable(shown.path)}", total_bytes=reading.size) as bar,
            whole_file(path, Unfinished()) as file,
        ):
            _copy(reading, file, bar)
        ranged = offset is not None or length is not None
        _tell(shown, path, reading, offset=(offset or 0) if ranged else None, as_json=as_json)


def _inner(source: Location, inside: Inside) -> Location:
    """What is read, as it is shown and as it names a file: many files of an archive come as a tar."""
    if inside.member:
        return Location(source.bucket, f"{source.path}/{inside.member.lstrip('/')}")
    if inside.pattern and not source.path.endswith(".tar"):
        return Location(source.bucket, f"{source.path}.tar")
    return source


def _target(source: Location, destination: str) -> Path:
    """The file for one object: as given, or under the object's last part in a folder that must be there."""
    last = source.path.rstrip("/").rpartition("/")[2]
    path = Path(destination or ".")
    if not path.is_dir():
        if destination.endswith("/"):
            # A path forgets its last slash: without this, a file would take the folder's place.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), destination)
        return path
    if last in ("", ".", ".."):
        raise click.UsageError(f'"{source.path}" has no part that can name a file: give a FILE')
    return path / last


def _copy(reading: Reading, file: BinaryIO, bar: TransferBar | None) -> None:
    for block in reading.blocks():
        file.write(block)
        if bar is not None:
            bar.advance(len(block))


def _tell(source: Location, path: Path, reading: Reading, *, offset: int | None, as_json: bool) -> None:
    if as_json:
        fetched = Fetched(source.path, path, reading.size)
        output.print_json({"bucket": source.bucket.cname, "files": [_fetched_json(fetched)], "failed": []})
    elif offset is not None or reading.is_partial:
        where = f"length {reading.size} at offset {offset or 0}"
        click.echo(f"Read range ({where}) as {output.printable(str(path))}")
    else:
        name, size = output.printable(source.path), output.size_text(reading.size)
        click.echo(f"GET {name} from {source.bucket.cname} as {output.printable(str(path))} ({size})")


class Fetching:
    """Reads many objects into a folder."""

    def __init__(self, client: Client, bucket: Bucket, many: Many, folder: Path) -> None:
        self._client = client
        self._bucket = bucket
        self._names, self._stripped, self._prefix = many
        self._folder = folder
        self._unfinished = Unfinished()

    def tell_only(self, *, as_json: bool) -> None:
        """Tell what would be read, and where it would go."""
        failures = Failures("name")
        count = 0
        with output.maybe_json_list(
            "files", {"bucket": self._bucket.cname, "dry_run": True}, wanted=as_json
        ) as told:
            for name in self._names:
                try:
                    path = path_below(self._folder, name[self._stripped :])
                except BadRequest as error:
                    failures.add(name, error)
                    continue
                count += 1
                if told is not None:
                    told.add({"name": name, "path": os.fspath(path)})
                else:
                    line = f"[dry run] GET {name} from {self._bucket.cname} as {path}"
                    click.echo(output.printable(line))
            if told is not None:
                told.tail["failed"] = failures.told
        if not as_json:
            click.echo(f"[dry run] {output.count_text(count, 'object')}")
        failures.end()

    def run(self, *, threads: int, replace: bool, as_json: bool) -> None:
        """Read them, some at a time. One that fails does not stop the others."""
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run(threads, replace=replace, as_json=as_json)
        finally:
            self._unfinished.discard()

    def _run(self, threads: int, *, replace: bool, as_json: bool) -> None:
        failures = Failures("read")
        count = 0
        work = partial(self._fetch, replace=replace)
        find_total = self._size_of_all if self._prefix is not None else None
        with (
            transfer(f"GET {self._bucket.cname}", find_total=find_total) as bar,
            output.maybe_json_list("files", {"bucket": self._bucket.cname}, wanted=as_json) as told,
        ):
            for outcome in in_parallel(self._names, partial(work, bar), threads=threads):
                if outcome.error is not None:
                    failures.add(outcome.item, outcome.error)
                    continue
                count += 1
                bar.finish_file()
                if told is not None:
                    told.add(_fetched_json(outcome.result))
            if told is not None:
                told.tail["failed"] = failures.told
        if not as_json:
            size, where = output.size_text(bar.bytes), output.printable(str(self._folder))
            click.echo(
                f"GET {output.count_text(count, 'object')} ({size}) from {self._bucket.cname} into {where}"
            )
        failures.end()

    def _size_of_all(self) -> int:
        summaries = self._client.summaries(self._bucket, prefix=self._prefix or "")
        return sum(int(each.total.present) for each in summaries)

    def _fetch(self, bar: TransferBar, name: str, *, replace: bool) -> Fetched:
        path = path_below(self._folder, name[self._stripped :])
        if path.exists() and not replace:
            raise BadRequest(f'"{path}" exists: add --yes to replace files')
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._client.get(self._bucket, encoded(name)) as reading,
            whole_file(path, self._unfinished) as file,
        ):
            _copy(reading, file, bar)
        return Fetched(name, path, reading.size)


def _fetched_json(fetched: Fetched) -> dict[str, object]:
    return {"name": fetched.name, "path": os.fspath(fetched.path), "size": fetched.size}
