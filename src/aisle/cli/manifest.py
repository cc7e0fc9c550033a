"""`ais job manifest`: what a download stored, from where, in which version, as a file to keep."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import click

from aisle.cli import output
from aisle.cli.session import Session, pass_session
from aisle.client.download_jobs import DownloadJobs
from aisle.errors import Unsupported
from aisle.model.extras import how_to_install

_ROWS = 10_000
_PART_SUFFIX = ".part"


@click.command("manifest", short_help="Write what a download stored, from where and in which version.")
@click.argument("words", nargs=-1, required=True, metavar="[download] JOB")
@click.option(
    "--json", "form", flag_value="json", default="json", help="JSON lines, one a file (the default)."
)
@click.option("--parquet", "form", flag_value="parquet", help="Parquet; needs --output, or a pipe.")
@click.option(
    "--output",
    "-o",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write into this file instead of standard output.",
)
@pass_session
def manifest(session: Session, *, words: tuple[str, ...], form: str, path: Path | None) -> None:
    """Write what a download stored: object, source, revision, size, checksum and time, one row a file.

    It can be kept to tell later what a model was trained on. A job that goes on has what is done so far.
    """
    job_id = words[-1]
    if len(words) > 2 or (len(words) == 2 and words[0] != "download"):
        raise click.UsageError("name one job")
    if form == "parquet":
        _check_parquet(path)
    session.client.download(job_id, only_active=True)  # whether there is such a job
    lines = DownloadJobs(session.client).manifest(job_id, missing=_warn)
    with _opened(path) as file:
        if form == "parquet":
            _write_parquet(lines, file)
        else:
            for line in lines:
                file.write(line + b"\n")


def _warn(lines: int) -> None:
    output.warn(f"{output.count_text(lines, 'line')} could not be written when the node's disk was full")


@contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    """Where to write; a file appears whole or not at all."""
    if path is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = path.with_name(path.name + _PART_SUFFIX)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _check_parquet(path: Path | None) -> None:
    """Raises Unsupported without the library; a usage error where it would fill a terminal."""
    if path is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not for terminals: name a file with --output")
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise Unsupported(f"Parquet needs a further library: {how_to_install('parquet')}") from error


def _write_parquet(lines: Iterator[bytes], file: BinaryIO) -> None:
    import msgspec
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema(
        [
            ("item", pyarrow.int64()),
            ("object", pyarrow.string()),
            ("source", pyarrow.string()),
            ("result", pyarrow.string()),
            ("size", pyarrow.int64()),
            ("checksum", pyarrow.string()),
            ("expected", pyarrow.string()),
            ("etag", pyarrow.string()),
            ("revision", pyarrow.string()),
            ("modified", pyarrow.string()),
            ("time", pyarrow.timestamp("us", tz="UTC")),
            ("error", pyarrow.string()),
            ("member", pyarrow.string()),
        ]
    )
    decode = msgspec.json.Decoder(dict[str, object]).decode
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        told = (decode(line) for line in lines if line)
        while some := list(islice(told, _ROWS)):
            rows = [row | {"time": msgspec.convert(row["time"], datetime)} for row in some]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema=schema))
