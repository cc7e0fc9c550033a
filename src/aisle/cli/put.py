"""`ais put`: files, folders and standard input become objects.

Each file's checksum is computed before it is sent, so that the node keeps nothing that was damaged on
the way. From a pipe it is computed on the way and compared with what the node computed.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import click

from aisle.cli import output
from aisle.cli.locations import Location, encoded, object_uri
from aisle.cli.outcome import Failures
from aisle.cli.parallel import in_parallel
from aisle.cli.parameters import (
    LOCATION,
    complete_location,
    connections_option,
    dry_run_option,
    json_option,
)
from aisle.cli.patterns import matched, pattern_of
from aisle.cli.progress import TransferBar, transfer
from aisle.cli.session import Session, pass_session
from aisle.cli.sources import STANDARD_INPUT, Source, content_type_of, plan
from aisle.client.bodies import BLOCK_BYTES, Body
from aisle.client.checksums import DEFAULT_KIND, Checksum, Hasher, hasher
from aisle.client.node import Client, Inside
from aisle.errors import AisleError, ChecksumMismatch
from aisle.model.names import Bucket, display, parse_object_key

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

WHOLE_BYTES_MAX = 4 * 1024 * 1024  # up to here a file is read once, beyond it is read twice


def complete_file(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem[str]]":
    """Files; where a bucket begins to be named, buckets and their objects."""
    from click.shell_completion import CompletionItem

    if "://" in incomplete:
        return complete_location(ctx, param, incomplete)
    return [CompletionItem(incomplete, type="file")]


class Sent(NamedTuple):
    """What was written; `size` is in bytes."""

    size: int
    checksum: Checksum


@click.command("put", short_help="Write files, folders or standard input into a bucket.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...", shell_complete=complete_file)
@click.argument("destination", type=LOCATION, metavar="BUCKET[/NAME]")
@click.option("--recursive", "-r", is_flag=True, help="Write all files below each folder.")
@click.option("--name", help="The object's name, exactly as given (one source).")
@click.option("--content-type", help="Media type; by default what the name's ending promises.")
@click.option("--archpath", default="", help="Put the file under this name into BUCKET/ARCHIVE.")
@click.option("--append", is_flag=True, help="With --archpath: the archive is there, and grows.")
@click.option("--progress", is_flag=True, help="Show how it goes, as is done on a terminal anyway.")
@dry_run_option
@connections_option
@json_option
@pass_session
def put(
    session: Session,
    *,
    sources: tuple[str, ...],
    destination: Location,
    recursive: bool,
    name: str | None,
    content_type: str | None,
    archpath: str,
    append: bool,
    progress: bool,
    dry_run: bool,
    connections: int,
    as_json: bool,
) -> None:
    """Write files, folders (-r) or standard input (-) into a bucket.

    A NAME that ends with a slash is a folder for the files; --name gives one that ends so exactly. A
    SOURCE in quotes may be a template, "shard-{0000..0099}.tar", or a pattern, "*.jpg".
    """
    del progress
    if archpath or append:
        others = recursive or name is not None or content_type or dry_run or len(sources) > 1
        _into_archive(
            session, sources[0], destination, archpath, append=append, as_json=as_json, others=bool(others)
        )
        return
    if name is not None:
        if len(sources) > 1 or destination.path or os.path.isdir(sources[0]):
            raise click.UsageError("--name takes one file, and a destination that is only a bucket")
        destination = Location(destination.bucket, name)
    if STANDARD_INPUT in sources and (len(sources) > 1 or not destination.path):
        raise click.UsageError("standard input is one object: ais put - BUCKET/NAME")
    putting = Putting(session, destination.bucket, content_type, as_json=as_json)
    pattern = pattern_of(sources[0]) if len(sources) == 1 and name is None else None
    if dry_run:
        if STANDARD_INPUT in sources:
            raise click.UsageError("--dry-run reads nothing, and standard input must be read")
        exactly = iter([Source(sources[0], encoded(name))]) if name is not None else None
        putting.tell_only(
            exactly
            or (matched(pattern, destination) if pattern else plan(sources, destination, recursive=recursive))
        )
    elif STANDARD_INPUT in sources:
        putting.standard_input(destination.key)
    elif pattern:
        putting.many(matched(pattern, destination), threads=connections)
    elif len(sources) == 1 and not os.path.isdir(sources[0]):
        exact = Source(sources[0], encoded(name)) if name is not None else None
        putting.one(exact or next(plan(sources, destination, recursive=False)))
    else:
        find_total = partial(_size_of_all, sources)
        putting.many(
            plan(sources, destination, recursive=recursive), threads=connections, find_total=find_total
        )


def _into_archive(
    session: Session,
    source: str,
    archive: Location,
    archpath: str,
    *,
    append: bool,
    as_json: bool,
    others: bool,
) -> None:
    """What `ais archive put` does; `others` tells whether options were given that go with no archive."""
    from pathlib import Path

    from aisle.cli.archive import put_into

    if others or source == STANDARD_INPUT or not archive.path:
        raise click.UsageError("--archpath takes one file, an archive of a bucket, and --append")
    put_into(session, Path(source), archive, Inside(archpath, appends="1" if append else ""), as_json=as_json)


class Putting:
    """Writes into one bucket, and tells about it."""

    def __init__(self, session: Session, bucket: Bucket, content_type: str | None, *, as_json: bool) -> None:
        self._session = session
        self._bucket = bucket
        self._content_type = content_type
        self._as_json = as_json

    @property
    def _client(self) -> Client:
        return self._session.client

    def tell_only(self, sources: Iterator[Source]) -> None:
        """Tell what would be written."""
        failures = Failures("read")
        count = total = 0
        with output.maybe_json_list(
            "objects", {"bucket": self._bucket.cname, "dry_run": True}, wanted=self._as_json
        ) as told:
            for source in sources:
                try:
                    parse_object_key(source.key)
                    size = os.path.getsize(source.path)
                except (AisleError, OSError) as error:
                    failures.add(source.path, error)
                    continue
                count, total = count + 1, total + size
                if told is not None:
                    told.add({"source": source.path, "name": os.fsdecode(source.key), "size": size})
                else:
                    click.echo(f"[dry run] {self._line(source.path, source.key)}")
            if told is not None:
                told.tail["failed"] = failures.told
        if not self._as_json:
            click.echo(f"[dry run] {output.count_text(count, 'file')} ({output.size_text(total)})")
        failures.end()

    def one(self, source: Source) -> None:
        """Write one file."""
        size = os.path.getsize(source.path)
        with transfer(f"PUT {output.printable(source.path)}", total_bytes=size) as bar:
            sent = self._file(bar, source)
        self._tell(source.path, source.key, sent)

    def standard_input(self, key: bytes) -> None:
        """Write what comes from standard input."""
        source = sys.stdin.buffer
        digest = hasher(DEFAULT_KIND)
        assert digest is not None
        with transfer("PUT standard input") as bar:
            body = Body(_Observed(source, bar, digest))
            told = self._client.put(self._bucket, key, body, content_type=self._kind(key))
            sent = Sent(bar.bytes, Checksum(DEFAULT_KIND, digest.hexdigest()))
        if told and told.kind == DEFAULT_KIND and told != sent.checksum:
            name = display(self._bucket, key)
            raise ChecksumMismatch(told.kind, announced=sent.checksum.value, received=told.value, name=name)
        self._tell(STANDARD_INPUT, key, sent)

    def many(
        self, sources: Iterator[Source], *, threads: int, find_total: Callable[[], int] | None = None
    ) -> None:
        """Write many files, some at a time. One that fails does not stop the others."""
        failures = Failures("write")
        count = 0
        with (
            transfer(f"PUT => {self._bucket.cname}", find_total=find_total) as bar,
            output.maybe_json_list("objects", {"bucket": self._bucket.cname}, wanted=self._as_json) as told,
        ):
            for outcome in in_parallel(sources, partial(self._file, bar), threads=threads):
                source = outcome.item
                if outcome.error is not None:
                    failures.add(source.path, outcome.error)
                    continue
                count += 1
                bar.finish_file()
                if told is not None:
                    told.add(_sent_json(source.path, source.key, outcome.result))
            if told is not None:
                told.tail["failed"] = failures.told
        if not self._as_json:
            size = output.size_text(bar.bytes)
            click.echo(f"PUT {output.count_text(count, 'file')} ({size}) => {self._bucket.cname}")
        failures.end()

    def _file(self, bar: TransferBar, source: Source) -> Sent:
        parse_object_key(source.key)
        digest = hasher(DEFAULT_KIND)
        assert digest is not None
        with open(source.path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size <= WHOLE_BYTES_MAX:
                data = file.read()
                digest.update(data)
                body, size = Body(data), len(data)
            else:
                _hash(file, digest)
                file.seek(0)
                body = Body(_Observed(file, bar), length=size)
            checksum = Checksum(DEFAULT_KIND, digest.hexdigest())
            kind = self._kind(source.key)
            self._client.put(self._bucket, source.key, body, checksum=checksum, content_type=kind)
        if body.whole is not None:
            bar.advance(size)
        return Sent(size, checksum)

    def _kind(self, key: bytes) -> str:
        if self._content_type is not None:
            return self._content_type
        return content_type_of(key.decode(errors="replace"))

    def _tell(self, path: str, key: bytes, sent: Sent) -> None:
        if self._as_json:
            objects = [_sent_json(path, key, sent)]
            output.print_json({"bucket": self._bucket.cname, "objects": objects, "failed": []})
        else:
            click.echo(self._line(path, key))

    def _line(self, path: str, key: bytes) -> str:
        uri = object_uri(self._bucket, os.fsdecode(key))
        return f'PUT "{output.printable(path)}" => {output.printable(uri)}'


def _size_of_all(paths: Iterable[str]) -> int:
    """How many bytes files, and the files in folders, have."""
    total = 0
    for path in paths:
        if not os.path.isdir(path):
            total += os.path.getsize(path)
            continue
        for folder, _, names in os.walk(path):
            files = (os.path.join(folder, name) for name in names)
            total += sum(os.path.getsize(file) for file in files if os.path.isfile(file))
    return total


class _Observed:
    """A file that tells what is read from it."""

    def __init__(self, file: BinaryIO, bar: TransferBar, digest: Hasher | None = None) -> None:
        self._file = file
        self._bar = bar
        self._digest = digest

    def read(self, size: int, /) -> bytes:
        block = self._file.read(size)
        self._bar.advance(len(block))
        if self._digest is not None:
            self._digest.update(block)
        return block

    def seekable(self) -> bool:
        # What was hashed on the way cannot be hashed again.
        return self._digest is None and self._file.seekable()

    def seek(self, offset: int, /) -> int:
        self._bar.advance(offset - self._file.tell())
        return self._file.seek(offset)

    def tell(self) -> int:
        return self._file.tell()


def _hash(file: BinaryIO, digest: Hasher) -> None:
    buffer = memoryview(bytearray(BLOCK_BYTES))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]
        digest.update(buffer[:count])


def _sent_json(path: str, key: bytes, sent: Sent) -> dict[str, object]:
    return {
        "source": path,
        "name": os.fsdecode(key),
        "size": sent.size,
        "checksum": {"type": sent.checksum.kind, "value": sent.checksum.value},
    }
