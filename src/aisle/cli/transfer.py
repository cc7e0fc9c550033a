"""`ais cp` and `ais mv`: copies, between buckets of any providers, and renames."""

import click

from aisle.cli import output
from aisle.cli.follow import Follow, counts_text, end_with, job_json
from aisle.cli.locations import Location, encoded, object_uri
from aisle.cli.parameters import LOCATION, json_option
from aisle.cli.patterns import names_of_list
from aisle.cli.session import Session, pass_session
from aisle.client.jobs import Copying, Jobs, NodeJob, Selected
from aisle.client.objects import object_properties

WORKERS_MAX = 64


@click.command("cp", short_help="Copy objects, or a bucket, to any other bucket.")
@click.argument("source", type=LOCATION, metavar="BUCKET[/NAME]")
@click.argument("to", type=LOCATION, metavar="BUCKET[/NAME]")
@click.option("--prefix", help="Only objects whose names start with this text.")
@click.option("--list", "listed", help="Only these objects: names with commas between them.")
@click.option("--template", help='Only the objects of a template: "shard-{0000..0099}.tar".')
@click.option("--prepend", default="", help="Begin the names of the copies with this text.")
@click.option("--sync", is_flag=True, help="Also remove from the destination what the source has not.")
@click.option("--latest", is_flag=True, help="Of a remote bucket: what its source has now, whatever is here.")
@click.option("--cached", is_flag=True, help="Of a remote bucket: only what is here.")
@click.option("--all", "every", is_flag=True, help="Of a remote bucket: all objects, as is done anyway.")
@click.option("--num-workers", "workers", type=click.IntRange(-1, WORKERS_MAX), default=0, help="At a time.")
@click.option("--continue-on-error", is_flag=True, help="Go on when an object cannot be copied.")
@click.option("--dry-run", "-n", is_flag=True, help="Only tell what would be copied.")
@click.option("--wait", is_flag=True, help="Wait until all is copied.")
@click.option("--progress", is_flag=True, help="Wait, and show how it goes.")
@json_option
@pass_session
def cp(
    session: Session,
    *,
    source: Location,
    to: Location,
    prefix: str | None,
    listed: str | None,
    template: str | None,
    prepend: str,
    sync: bool,
    latest: bool,
    cached: bool,
    every: bool,
    workers: int,
    continue_on_error: bool,
    dry_run: bool,
    wait: bool,
    progress: bool,
    as_json: bool,
) -> None:
    """Copy an object, some objects, or a whole bucket.

    No byte passes this command. Either bucket may be a remote one; an own destination that is missing is
    made when many are copied.
    """
    if cached and every:
        raise click.UsageError("--cached and --all exclude each other")
    jobs = Jobs(session.client)
    chosen = [text for text in (prefix, listed, template) if text is not None]
    if len(chosen) > 1:
        raise click.UsageError("--prefix, --list and --template exclude each other")
    if source.path and not chosen:
        if sync:
            raise click.UsageError("--sync is for a bucket, or for many of its objects")
        target = _target(source, to, prepend)
        _copy_one(session, source, target, dry=dry_run, latest=latest, cached=cached, as_json=as_json)
        return
    if source.path:
        raise click.UsageError(f"name only the bucket: {source.bucket.cname}")
    how = Copying(
        prepend=to.path + prepend,
        dry_run=dry_run,
        workers=workers,
        continues_on_error=continue_on_error,
        synchronize=sync,
        latest=latest,
        only_kept=cached,
    )
    if listed is None and template is None:
        job_id = jobs.copy_bucket(source.bucket, to.bucket, prefix=prefix or "", how=how)
    else:
        selected = selection(listed, template)
        job_id = jobs.copy_selected(source.bucket, to.bucket, selected, how=how)
    follow = Follow(jobs, job_id)
    job = follow.until_finished(progress=progress) if wait or progress else follow.for_a_moment()
    if as_json:
        output.print_json(job_json(job))
    else:
        _tell(job, f"{source.bucket.cname} => {object_uri(*to) if to.path else to.bucket.cname}", dry=dry_run)
    end_with(job)


@click.command("mv", short_help="Rename an object or a bucket.")
@click.argument("source", type=LOCATION, metavar="BUCKET[/NAME]")
@click.argument("to", metavar="BUCKET[/NAME]|NAME")
@click.option("--wait", is_flag=True, help="Wait until a bucket is renamed, as is done anyway.")
@json_option
@pass_session
def mv(session: Session, *, source: Location, to: str, wait: bool, as_json: bool) -> None:
    """Rename an object, or move it to another bucket; or rename a bucket.

    An object's new name may be given alone: ais mv ais://data/a b. Another bucket needs its ais://.
    """
    del wait
    jobs = Jobs(session.client)
    if source.path:
        _move_one(jobs, source, to, as_json=as_json)
        return
    target = LOCATION.convert(to, None, None)
    if target.path:
        raise click.UsageError(f'"{to}" names an object, and {source.bucket.cname} is a bucket')
    job_id = jobs.rename_bucket(source.bucket, target.bucket)
    if not as_json:
        click.echo(f"rename-bucket[{job_id}] {source.bucket.cname} => {target.bucket.cname} ...")
    job = Follow(jobs, job_id).until_finished()
    if as_json:
        output.print_json(job_json(job))
    elif not job.failure:
        click.echo("Done.")
    end_with(job)


def selection(listed: str | None, template: str | None) -> Selected:
    """What `--list` or `--template` selects."""
    if listed is not None:
        return Selected(names=names_of_list(listed))
    if not template:
        raise click.UsageError("--template: it is empty")
    return Selected(template=template)


def _copy_one(
    session: Session,
    source: Location,
    target: Location,
    *,
    dry: bool,
    latest: bool,
    cached: bool,
    as_json: bool,
) -> None:
    """Copy an object, or find out whether it is there to be copied."""
    if dry:
        object_properties(session.client, source.bucket, source.key, asks_source=not cached)
    else:
        Jobs(session.client).copy_object(source.bucket, source.key, target.bucket, target.key, latest=latest)
    if as_json:
        told: dict[str, object] = {"dry_run": True} if dry else {}
        output.print_json(told | {"copied": object_uri(*source), "to": object_uri(*target)})
    else:
        line = f"COPY {object_uri(*source)} => {object_uri(*target)}"
        click.echo(output.printable(f"[dry run] {line}" if dry else line))


def _move_one(jobs: Jobs, source: Location, to: str, *, as_json: bool) -> None:
    target = _new_place(source, to)
    if target.bucket == source.bucket:
        jobs.rename_object(source.bucket, source.key, encoded(target.path))
    else:
        jobs.copy_object(source.bucket, source.key, target.bucket, target.key)
        jobs.delete_object(source.bucket, source.key)
    if as_json:
        output.print_json({"moved": object_uri(*source), "to": object_uri(*target)})
    else:
        click.echo(output.printable(f"{object_uri(*source)} => {object_uri(*target)}"))


def _new_place(source: Location, to: str) -> Location:
    """What `to` means: an address, with a scheme or the same bucket in front, or a new name alone."""
    if "://" in to:
        return _target(source, LOCATION.convert(to, None, None))
    same, slash, path = to.partition("/")
    if slash and same == source.bucket.name:
        return _target(source, Location(source.bucket, path))
    return _target(source, Location(source.bucket, to))


def _target(source: Location, to: Location, prepend: str = "") -> Location:
    """Where an object goes: below a bucket under its own name, below `dir/` under its last part."""
    if not to.path:
        return Location(to.bucket, prepend + source.path)
    if to.path.endswith("/"):
        return Location(to.bucket, to.path + prepend + source.path.rstrip("/").rpartition("/")[2])
    if prepend:
        raise click.UsageError(f'--prepend begins names, and "{to.path}" is a whole one')
    return to


def _tell(job: NodeJob, what: str, *, dry: bool) -> None:
    if job.is_running:
        click.echo(f"Copying {what}")
        output.note(f"It goes on in the node. Follow it with: ais show job {job.id} --progress")
    elif not job.aborted:
        begun = f"[dry run] Copying {what}" if dry else f"Copying {what}"
        click.echo(f"{begun} ...Done. {counts_text(job)}")
