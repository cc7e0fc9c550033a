"""`ais evict`: what a node keeps of remote buckets goes, and their sources keep it."""

import click

from aisle.cli import output
from aisle.cli.follow import Watching, follow_begun
from aisle.cli.locations import Location
from aisle.cli.parameters import LOCATION, json_option
from aisle.cli.session import Session, pass_session
from aisle.cli.transfer import selection
from aisle.client.eviction import evict_bucket, evict_selected
from aisle.client.jobs import Jobs, Selected
from aisle.errors import BadRequest
from aisle.model.names import Bucket


@click.command("evict", short_help="Drop what is kept of a remote bucket.")
@click.argument("location", type=LOCATION, metavar="BUCKET[/NAME]")
@click.option("--prefix", help="Only objects whose names start with this text.")
@click.option("--list", "listed", help="These objects: names with commas between them.")
@click.option("--template", help='Those of a template: "shard-{0000..0099}.tar".')
@click.option("--keep-md", is_flag=True, help="Of a whole bucket: keep its properties.")
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@json_option
@pass_session
def evict(
    session: Session,
    *,
    location: Location,
    prefix: str | None,
    listed: str | None,
    template: str | None,
    keep_md: bool,
    wait: bool,
    as_json: bool,
) -> None:
    """Drop what is kept of a remote bucket, or of some of its objects; their source keeps them."""
    bucket = location.bucket
    _check_remote(session, bucket)
    chosen = [text for text in (prefix, listed, template, location.path or None) if text is not None]
    if len(chosen) > 1:
        raise click.UsageError("a name behind the bucket, --prefix, --list and --template exclude each other")
    if not chosen:
        evict_bucket(session.client, bucket, keeps_properties=keep_md)
        if as_json:
            output.print_json({"evicted": bucket.cname, "metadata_preserved": keep_md})
        else:
            click.echo(f"Evicted bucket {bucket.cname}{' (metadata preserved)' if keep_md else ''}")
        return
    if keep_md:
        raise click.UsageError("--keep-md is for whole buckets")
    if prefix is not None:
        selected, what = Selected(template=prefix), f'evict "{prefix}"'
    elif location.path:
        selected, what = Selected(names=[location.path]), f"[{location.path}] evict"
    else:
        selected = selection(listed, template)
        what = f'evict "{template}"' if template else f"[{listed}] evict"
    _run(session, bucket, selected, what, wait=wait, as_json=as_json)


def _run(
    session: Session, bucket: Bucket, selected: Selected, what: str, *, wait: bool, as_json: bool
) -> None:
    job_id = evict_selected(session.client, bucket, selected)
    begun = f"evict-objects[{job_id}]: {what} from {bucket.cname}"
    follow_begun(Jobs(session.client), job_id, begun, Watching(wait, False, None, as_json))


def _check_remote(session: Session, bucket: Bucket) -> None:
    """Raise BadRequest for a bucket that nothing stands behind: its objects are nowhere else."""
    if bucket.is_remote:
        return
    backend = session.client.bucket_properties(bucket).get("backend_bck")
    if not (isinstance(backend, dict) and backend.get("name")):
        raise BadRequest(
            "evicting objects from AIS buckets (ie., buckets with no remote backends) is not allowed; "
            "to remove them: ais rm, ais rmb"
        )
