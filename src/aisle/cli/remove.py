"""`ais rm`: objects go."""

from collections.abc import Iterator

import click

from aisle.cli import output
from aisle.cli.follow import Follow, end_with, job_json
from aisle.cli.locations import Location, object_uri
from aisle.cli.outcome import Failures
from aisle.cli.parallel import in_parallel
from aisle.cli.parameters import (
    LOCATION,
    confirm,
    connections_option,
    dry_run_option,
    json_option,
    yes_option,
)
from aisle.cli.patterns import names_of_list, names_of_template
from aisle.cli.session import Session, pass_session
from aisle.cli.transfer import selection
from aisle.client.jobs import Jobs, Selected
from aisle.client.listing import FLAG_NAME_ONLY
from aisle.errors import ObjectNotFound
from aisle.model.names import Bucket


@click.command("rm", short_help="Remove objects.")
@click.argument("locations", type=LOCATION, nargs=-1, required=True, metavar="BUCKET/NAME...")
@click.option("--recursive", "-r", is_flag=True, help="Remove all objects that start with NAME.")
@click.option("--prefix", help="The same for names that start with this text.")
@click.option("--list", "listed", help="These objects of a bucket: names with commas between them.")
@click.option("--template", help='Those of a template: "shard-{0000..0099}.tar".')
@click.option("--progress", is_flag=True, help="With --list and --template: show how it goes.")
@click.option("--wait", is_flag=True, help="Wait until the job has ended, as is done anyway.")
@dry_run_option
@yes_option
@connections_option
@json_option
@pass_session
def rm(
    session: Session,
    *,
    locations: tuple[Location, ...],
    recursive: bool,
    prefix: str | None,
    listed: str | None,
    template: str | None,
    progress: bool,
    wait: bool,
    dry_run: bool,
    yes: bool,
    connections: int,
    as_json: bool,
) -> None:
    """Remove objects.

    With -r or --prefix it removes all objects whose names start so, and asks first. With --list or
    --template a job of the node removes them.
    """
    del wait
    if listed is not None or template is not None:
        if len(locations) > 1 or locations[0].path or recursive or prefix is not None:
            raise click.UsageError("--list and --template take one bucket, and nothing beside it")
        if dry_run:
            _tell_selected(locations[0].bucket, listed, template, as_json=as_json)
            return
        _remove_selected(
            session, locations[0].bucket, selection(listed, template), progress=progress, as_json=as_json
        )
        return
    if prefix is not None:
        if len(locations) > 1 or locations[0].path:
            raise click.UsageError("--prefix takes one bucket: ais rm --prefix PREFIX BUCKET")
        locations = (Location(locations[0].bucket, prefix),)
    removing = Removing(session, locations)
    if recursive or prefix is not None:
        if dry_run:
            tell_only(removing.below(), as_json=as_json)
            return
        if not yes:
            removing.confirm()
        removing.run(removing.below(), threads=connections, many=True, as_json=as_json)
        return
    for location in locations:
        if not location.path:
            hint = f"-r removes all that it holds, `ais rmb {location.bucket.cname}` the bucket too"
            raise click.UsageError(f"{location.bucket.cname} is a bucket: {hint}")
    if dry_run:
        tell_only(iter(locations), as_json=as_json)
        return
    removing.run(iter(locations), threads=connections, many=False, as_json=as_json)


def tell_only(locations: Iterator[Location], *, as_json: bool) -> None:
    """Tell what would be removed."""
    count = 0
    with output.maybe_json_list("removed", {"dry_run": True}, wanted=as_json) as told:
        for location in locations:
            count += 1
            if told is not None:
                told.add(object_uri(*location))
            else:
                bucket, name = location
                click.echo(f'[dry run] delete "{output.printable(name)}" from {bucket.cname}')
        if told is not None:
            told.tail["failed"] = []
    if not as_json:
        click.echo(f"[dry run] {output.count_text(count, 'object')}")


def _tell_selected(bucket: Bucket, listed: str | None, template: str | None, *, as_json: bool) -> None:
    """Tell which names would be removed, whether they are there or not."""
    selection(listed, template)
    names = iter(names_of_list(listed)) if listed is not None else names_of_template(template or "")
    tell_only((Location(bucket, name) for name in names), as_json=as_json)


def _remove_selected(
    session: Session, bucket: Bucket, selected: Selected, *, progress: bool, as_json: bool
) -> None:
    jobs = Jobs(session.client)
    job = Follow(jobs, jobs.delete_selected(bucket, selected)).until_finished(progress=progress)
    if as_json:
        output.print_json(job_json(job))
    else:
        click.echo(f"deleted {output.count_text(job.counts.objects, 'object')}")
    end_with(job)


class Removing:
    """Removes objects, and tells about it."""

    def __init__(self, session: Session, locations: tuple[Location, ...]) -> None:
        self._client = session.client
        self._locations = locations

    def below(self) -> Iterator[Location]:
        """All objects whose names start as the locations say."""
        for bucket, prefix in self._locations:
            for page in self._client.pages(bucket, prefix=prefix, properties="name", flags=FLAG_NAME_ONLY):
                yield from (Location(bucket, entry.name) for entry in page.entries or ())

    def confirm(self) -> None:
        """Ask, telling how many would go."""
        count = sum(1 for _ in self.below())
        where = " and ".join(object_uri(*location) for location in self._locations)
        if count:
            confirm(f"Remove {output.count_text(count, 'object')} below {where}?", yes=False)

    def run(self, locations: Iterator[Location], *, threads: int, many: bool, as_json: bool) -> None:
        """Remove them, some at a time. One that fails does not stop the others."""
        failures = Failures("remove")
        count = 0
        with output.maybe_json_list("removed", wanted=as_json) as told:
            for outcome in in_parallel(locations, self._remove, threads=threads):
                uri = object_uri(*outcome.item)
                # Among many, one that somebody else removed meanwhile is as good as removed.
                if outcome.error is not None and not (many and isinstance(outcome.error, ObjectNotFound)):
                    failures.add(uri, outcome.error)
                    continue
                count += 1
                if told is not None:
                    told.add(uri)
                elif not many:
                    bucket, name = outcome.item
                    click.echo(f'deleted "{output.printable(name)}" from {bucket.cname}')
            if told is not None:
                told.tail["failed"] = failures.told
        if many and not as_json:
            click.echo(f"deleted {output.count_text(count, 'object')}")
        failures.end()

    def _remove(self, location: Location) -> None:
        self._client.remove(location.bucket, location.key)
