"""`ais cat`, `ais show object`, `ais object set-custom`: one object."""

import datetime
import re

import click

from aisle.cli import output
from aisle.cli.get import STANDARD_OUTPUT, read_one
from aisle.cli.locations import Location, object_uri
from aisle.cli.parameters import OBJECT, SIZE, json_option, no_headers_option, units_option
from aisle.cli.session import Session, pass_session
from aisle.client.node import Inside
from aisle.client.objects import ObjectProperties, object_properties, set_custom
from aisle.errors import BadRequest, NotFound, ObjectNotFound

BRIEF = ("atime", "checksum", "name", "size")
ALL = (
    *("atime", "checksum", "chunked", "copies", "custom", "ec", "etag", "last-modified", "location"),
    *("name", "size", "version"),
)
CHECKSUM_SHOWN_MAX = 16
_KEY = re.compile(r"[^\s=,]+")


@click.command("cat", short_help="Write an object to standard output.")
@click.argument("source", type=OBJECT, metavar="BUCKET/NAME")
@click.option("--offset", type=SIZE, help="Start at this byte.")
@click.option("--length", type=SIZE, help="Read at most this many bytes.")
@click.option("--archpath", default="", help="Of an archive, this file.")
@pass_session
def cat(session: Session, *, source: Location, offset: int | None, length: int | None, archpath: str) -> None:
    """Write an object to standard output, byte for byte."""
    if length == 0:
        raise click.UsageError("--length is at least 1")
    if archpath and (offset is not None or length is not None):
        raise click.UsageError("--archpath and ranges exclude each other")
    read_one(
        session,
        source,
        STANDARD_OUTPUT,
        span=(offset, length),
        inside=Inside(archpath),
        yes=False,
        as_json=False,
    )


@click.command("object", short_help="Show what is known of an object.")
@click.argument("source", type=OBJECT, metavar="BUCKET/NAME")
@click.option("--props", default="", help=f"Rows: all, or of {', '.join(ALL)}.")
@click.option("--all", "everything", is_flag=True, help="The same as --props all.")
@click.option("--not-cached", is_flag=True, help="Ask the source of a remote bucket if it is not here.")
@units_option
@no_headers_option
@json_option
@pass_session
def show(
    session: Session,
    *,
    source: Location,
    props: str,
    everything: bool,
    not_cached: bool,
    no_headers: bool,
    as_json: bool,
) -> None:
    """Show what is known of an object: its size, checksum and last access, with --all the rest."""
    wanted = ALL if everything else _wanted(props)
    try:
        found = object_properties(session.client, source.bucket, source.key, asks_source=not_cached)
    except ObjectNotFound as error:
        if source.bucket.is_remote and not not_cached:
            uri = object_uri(*source)
            raise NotFound(
                f"{uri} is not here; to ask its source: ais show object {uri} --not-cached"
            ) from error
        raise
    if as_json:
        # Everything: a script takes what it needs.
        output.print_json(_told(source, found))
        return
    cells = _cells(source, found)
    rows = [(name, cells[name]) for name in wanted if cells[name] or name != "version"]
    output.Table(["property", "value"], headers=not no_headers).add(rows)


@click.command("set-custom", short_help="Set custom properties of an object.")
@click.argument("source", type=OBJECT, metavar="BUCKET/NAME")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.option("--replace", is_flag=True, help="Drop the custom properties that are not named.")
@json_option
@pass_session
def set_custom_properties(
    session: Session, *, source: Location, pairs: tuple[str, ...], replace: bool, as_json: bool
) -> None:
    """Set custom properties of an object, which are of use to nobody but you."""
    values = dict(map(_pair, pairs))
    set_custom(session.client, source.bucket, source.key, values, replace=replace)
    uri = object_uri(*source)
    if as_json:
        output.print_json({"name": uri, "custom": values, "replaced": replace})
    else:
        hint = output.printable(f"(to show updates, run 'ais show object {uri} --props=all')")
        click.echo(f"Custom props successfully updated {hint}.")


def _wanted(props: str) -> tuple[str, ...]:
    names = [name.strip().lower() for name in props.split(",") if name.strip()]
    if names == ["all"]:
        return ALL
    for name in names:
        if name not in ALL:
            from aisle.cli.lazy import suggestion

            raise click.BadParameter(f'"{name}".{suggestion(name, list(ALL))}', param_hint="--props")
    return tuple(names) or BRIEF


def _cells(source: Location, found: ObjectProperties) -> dict[str, str]:
    """The table's cells, in AIStore's words."""
    checksum = "-"
    if found.checksum:
        value = found.checksum.value
        short = f"{value[:CHECKSUM_SHOWN_MAX]}..." if len(value) > CHECKSUM_SHOWN_MAX else value
        checksum = f"{found.checksum.kind}[{short}]"
    custom = " ".join(f"{key}:{value}" for key, value in found.custom.items())
    return {
        "atime": _time(found.accessed_ns, "%d %b %y %H:%M UTC") or "-",
        "checksum": checksum,
        "chunked": f"{found.chunks} chunks" if found.chunks else "-",
        "copies": f"{found.copies} [{found.copy_paths}]",
        "custom": f"[{custom}]" if custom else "-",
        "ec": "-",
        "etag": found.etag,
        "last-modified": found.last_modified,
        "location": found.location,
        "name": object_uri(*source),
        "size": output.size_text(found.size),
        "version": found.version,
    }


def _told(source: Location, found: ObjectProperties) -> dict[str, object]:
    checksum = found.checksum
    return {
        "name": object_uri(*source),
        "size": found.size,
        "checksum": {"type": checksum.kind, "value": checksum.value} if checksum else None,
        "accessed": _time(found.accessed_ns, "%Y-%m-%dT%H:%M:%SZ") or None,
        "modified": found.last_modified,
        "version": found.version,
        "etag": found.etag.strip('"'),
        "custom": dict(found.custom),
        "copies": found.copies,
        "chunks": found.chunks,
        "location": found.location,
    }


def _time(nanoseconds: int, form: str) -> str:
    if not nanoseconds:
        return ""
    return datetime.datetime.fromtimestamp(nanoseconds // 1_000_000_000, datetime.UTC).strftime(form)


def _pair(argument: str) -> tuple[str, str]:
    key, separator, value = argument.partition("=")
    if not separator or not _KEY.fullmatch(key):
        raise BadRequest(f'"{argument}" is not a pair such as label=cat')
    return key, value
