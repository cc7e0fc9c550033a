"""`ais archive`: files in archives, and archives of objects."""

import os
from contextlib import closing
from pathlib import Path

import click

from aisle.cli import output
from aisle.cli.follow import Follow, counts_text, end_with, job_json
from aisle.cli.get import STANDARD_OUTPUT, read_one
from aisle.cli.listing import Listing
from aisle.cli.locations import Location, object_uri
from aisle.cli.parameters import LOCATION, OBJECT, json_option, no_headers_option, yes_option
from aisle.cli.session import Session, pass_session
from aisle.cli.transfer import selection
from aisle.client.bodies import Body
from aisle.client.jobs import Jobs, Selected
from aisle.client.listing import FLAG_ARCHIVES
from aisle.client.node import Inside
from aisle.errors import BadRequest
from aisle.rules.archives import is_archive_name

_EXTENSIONS = (".tar.lz4/", ".tar.gz/", ".tar/", ".tgz/", ".zip/")


@click.command("put", short_help="Put a file into an archive.")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE")
@click.argument("archive", type=OBJECT, metavar="BUCKET/ARCHIVE[/NAME]")
@click.option("--archpath", default="", help="The file's name in the archive; by default its own.")
@click.option("--append", is_flag=True, help="The archive is there, and grows.")
@click.option("--append-or-put", is_flag=True, help="The same, or a new one is made.")
@click.option("--archmime", default="", help="The archive's format, where its name does not tell: .tar, …")
@json_option
@pass_session
def put(
    session: Session,
    *,
    source: Path,
    archive: Location,
    archpath: str,
    append: bool,
    append_or_put: bool,
    archmime: str,
    as_json: bool,
) -> None:
    """Put a file into an archive.

    Without --append or --append-or-put the archive is new, and takes the place of one that is there.
    """
    if append and append_or_put:
        raise click.UsageError("--append and --append-or-put exclude each other")
    appends = "1" if append else "2" if append_or_put else ""
    put_into(session, source, archive, Inside(archpath, format=archmime, appends=appends), as_json=as_json)


def put_into(session: Session, source: Path, archive: Location, inside: Inside, *, as_json: bool) -> None:
    """Put a file into an archive, and tell about it; `inside` says under which name and how."""
    archive, inner = split_member(archive)
    if inner and inside.member:
        raise click.UsageError("the name in the archive is given twice")
    name = inside.member or inner or source.name
    inside = inside._replace(member=name)
    with closing(source.open("rb")) as file:
        size = os.fstat(file.fileno()).st_size
        body = Body(file, length=size)
        session.client.put(archive.bucket, archive.key, body, inside=inside)
    if as_json:
        told = {"bucket": archive.bucket.cname, "archive": archive.path, "name": name, "size": size}
        output.print_json(told)
    else:
        verb = "APPEND" if inside.appends == "1" else "PUT"
        where = output.printable(f"{object_uri(*archive)}/{name}")
        click.echo(f'{verb} "{output.printable(str(source))}" => {where}')


@click.command("get", short_help="Read a file out of an archive.")
@click.argument("source", type=OBJECT, metavar="BUCKET/ARCHIVE[/NAME]")
@click.argument("destination", default="", metavar="[FILE|FOLDER|-]")
@click.option("--archpath", default="", help="The file's name in the archive.")
@yes_option
@json_option
@pass_session
def get(
    session: Session, *, source: Location, destination: str, archpath: str, yes: bool, as_json: bool
) -> None:
    """Read a file out of an archive, into a file (by default of its own name, here) or to `-`."""
    # A file of an archive may be an archive itself.
    archive, inner = split_member(source, nested=not archpath)
    if bool(archpath) == bool(inner):
        raise click.UsageError("name one file: behind the archive and a slash, or with --archpath")
    if destination == STANDARD_OUTPUT and as_json:
        raise click.UsageError("--json and the file cannot both go to standard output")
    read_one(session, archive, destination, inside=Inside(archpath or inner), yes=yes, as_json=as_json)


@click.command("ls", short_help="List what is in archives.")
@click.argument("location", type=LOCATION, metavar="BUCKET[/ARCHIVE]")
@no_headers_option
@json_option
@pass_session
def ls(session: Session, *, location: Location, no_headers: bool, as_json: bool) -> None:
    """List the archives of a bucket, or those whose names start so, each with what is in it.

    Objects that are no archives are listed too.
    """
    listing = Listing(session, location, properties=["name", "size"], flags=FLAG_ARCHIVES)
    if as_json:
        listing.print_json()
    else:
        listing.print_table(headers=not no_headers)


@click.command("bucket", short_help="Pack objects into an archive.")
@click.argument("source", type=LOCATION, metavar="BUCKET")
@click.argument("archive", type=OBJECT, metavar="BUCKET/ARCHIVE")
@click.option("--list", "listed", help="Only these objects: names with commas between them.")
@click.option("--template", help='Only the objects of a template: "shard-{0000..0099}.jpg".')
@click.option("--prefix", help="Only objects whose names start with this text.")
@click.option("--append", is_flag=True, help="An archive that is there grows.")
@click.option("--include-src-bck", "with_bucket", is_flag=True, help="Names begin with that of the bucket.")
@click.option("--basename", "basename_only", is_flag=True, help="Names are what follows the last slash.")
@click.option("--continue-on-error", is_flag=True, help="Leave out objects that cannot be packed.")
@click.option("--archmime", default="", help="The archive's format, where its name does not tell: .tar, …")
@click.option("--wait", is_flag=True, help="Wait until the archive is there.")
@json_option
@pass_session
def bucket(
    session: Session,
    *,
    source: Location,
    archive: Location,
    listed: str | None,
    template: str | None,
    prefix: str | None,
    append: bool,
    with_bucket: bool,
    basename_only: bool,
    continue_on_error: bool,
    archmime: str,
    wait: bool,
    as_json: bool,
) -> None:
    """Pack objects of a bucket into an archive, inside the node.

    Without --list, --template or --prefix it packs all of them.
    """
    if source.path:
        raise click.UsageError(f"name only the bucket: {source.bucket.cname}, and choose with --prefix")
    if len([text for text in (listed, template, prefix) if text is not None]) > 1:
        raise click.UsageError("--prefix, --list and --template exclude each other")
    chosen = Selected(template=prefix or "")
    if listed is not None or template is not None:
        chosen = selection(listed, template)
    packing = {
        "isbn": with_bucket,
        "aate": append,
        "bnonly": basename_only,
        "coer": continue_on_error,
        "mime": archmime,
    }
    jobs = Jobs(session.client)
    job_id = jobs.archive_selected(source.bucket, chosen, archive.bucket, archive.path, packing=packing)
    follow = Follow(jobs, job_id)
    job = follow.until_finished() if wait else follow.for_a_moment()
    if as_json:
        output.print_json(job_json(job))
    elif job.is_running:
        click.echo(f"Archiving {source.bucket.cname} => {output.printable(object_uri(*archive))}")
        output.note(f"It goes on in the node. Follow it with: ais show job {job.id} --progress")
    elif not job.failure:
        where = output.printable(object_uri(*archive))
        click.echo(f"Archived {source.bucket.cname} => {where}: {counts_text(job)}")
    end_with(job)


def split_member(location: Location, *, nested: bool = False) -> tuple[Location, str]:
    """An archive and the name behind it: `ais://b/x/s.tar/a/b` is `a/b` in `x/s.tar`.

    What ends as an archive does is one, unless it is `nested`: then `s.tar/t.tar` is `t.tar` in `s.tar`.
    """
    path = location.path
    if not nested and is_archive_name(path.encode("utf-8", "surrogateescape")):
        return location, ""
    found = [(path.find(end) + len(end), end) for end in _EXTENSIONS if end in path]
    if not found:
        return location, ""
    cut = min(found)[0]
    inner = path[cut:]
    if not inner:
        raise BadRequest(f'"{path}" names a folder of an archive')
    return Location(location.bucket, path[: cut - 1]), inner
