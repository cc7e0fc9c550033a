"""`ais start KIND`: jobs that the node begins because somebody asks."""

import click

from aisle.cli import output
from aisle.cli.follow import Follow, counts_text, end_with, job_json, summary
from aisle.cli.locations import Location, object_uri
from aisle.cli.parameters import BUCKET, DURATION, LOCATION, json_option
from aisle.cli.session import Session, pass_session
from aisle.client.jobs import Jobs, Promoting
from aisle.model.names import Bucket
from aisle.rules.job_kinds import STARTABLE, canonical_kind, display_name

CLEANUP = "cleanup-store"


@click.command("kind", short_help="Start a job of the node's own.")
@click.argument("kind", metavar="KIND")
@click.argument("bucket", type=BUCKET, required=False, metavar="[BUCKET]")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@json_option
@pass_session
def start(
    session: Session, *, kind: str, bucket: Bucket | None, wait: bool, timeout: float | None, as_json: bool
) -> None:
    """Start a job of the node's own, such as lru or cleanup, for one bucket or for all."""
    begin(session, kind, bucket, wait=wait, timeout_s=timeout, as_json=as_json)


@click.command("cleanup", short_help="Remove what is left of deleted objects.")
@click.argument("bucket", type=BUCKET, required=False, metavar="[BUCKET]")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@json_option
@pass_session
def cleanup(
    session: Session, *, bucket: Bucket | None, wait: bool, timeout: float | None, as_json: bool
) -> None:
    """Remove what is left of deleted objects. A node does so all the time without being asked."""
    begin(session, CLEANUP, bucket, wait=wait, timeout_s=timeout, as_json=as_json)


@click.command("promote", short_help="Make files of the node's machine objects.")
@click.argument("source", metavar="FILE|FOLDER")
@click.argument("to", type=LOCATION, metavar="BUCKET[/NAME]")
@click.option("--recursive", "-r", is_flag=True, help="A folder's files in all folders below it, too.")
@click.option("--overwrite", is_flag=True, help="Replace objects that are there.")
@click.option("--delete-src", is_flag=True, help="Remove each file once it is an object.")
@click.option("--wait", is_flag=True, help="Wait until a folder's files are objects.")
@json_option
@pass_session
def promote(
    session: Session,
    *,
    source: str,
    to: Location,
    recursive: bool,
    overwrite: bool,
    delete_src: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Make files of the node's own machine objects, without sending them anywhere.

    The path is one of the node's machine, in a folder that its setting `promote` names.
    """
    jobs = Jobs(session.client)
    how = Promoting(recursive=recursive, overwrites=overwrite, deletes_sources=delete_src)
    job_id = jobs.promote(source, to.bucket, to.path, how=how)
    uri = object_uri(*to) if to.path else to.bucket.cname
    if not job_id:
        if as_json:
            output.print_json({"promoted": source, "to": uri})
        else:
            click.echo(output.printable(f'promoted "{source}" => {uri}'))
        return
    follow = Follow(jobs, job_id)
    job = follow.until_finished() if wait else follow.for_a_moment()
    if as_json:
        output.print_json(job_json(job))
    elif job.is_running:
        click.echo(output.printable(f'promoting "{source}" => {uri}. Follow it with: ais show job {job_id}'))
    elif not (job.failure or job.aborted):
        click.echo(output.printable(f'promoted "{source}" => {uri}: {counts_text(job)}'))
    end_with(job)


def begin(
    session: Session,
    kind: str,
    bucket: Bucket | None,
    *,
    wait: bool,
    timeout_s: float | None,
    as_json: bool,
) -> None:
    """Start a job, and follow it where that is wanted."""
    canonical = canonical_kind(kind)
    if canonical not in STARTABLE:
        from aisle.cli.lazy import suggestion

        known = sorted(map(display_name, STARTABLE))
        raise click.UsageError(f'a job of the kind "{kind}" cannot be started.{suggestion(kind, known)}')
    jobs = Jobs(session.client)
    job_id = jobs.start(canonical, bucket)
    name = display_name(canonical)
    if not (wait or timeout_s is not None):
        if as_json:
            output.print_json({"id": job_id})
        else:
            click.echo(f"Started {name} job {job_id}. To monitor the progress, run 'ais show job {job_id}'")
        return
    job = Follow(jobs, job_id).until_finished(timeout_s=timeout_s)
    if as_json:
        output.print_json(job_json(job))
    else:
        click.echo(summary(job))
    end_with(job)
