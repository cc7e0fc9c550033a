"""`ais prefetch`, `ais blob-download`: objects of remote buckets are fetched before anybody asks for them."""

from collections.abc import Callable
from typing import TypeVar

import click

from aisle.cli.follow import Watching, follow_begun
from aisle.cli.locations import Location, object_uri
from aisle.cli.parameters import DURATION, LOCATION, SIZE, json_option
from aisle.cli.session import Session, pass_session
from aisle.cli.transfer import selection
from aisle.client.jobs import Jobs, Prefetching, Ranges, Selected
from aisle.model.names import Bucket
from aisle.rules.selection import WILDCARD, parse_selection
from aisle.rules.templates import Template

_SHOWN_MAX = 4
"""How many of the names that were given are told again."""
C = TypeVar("C", bound=Callable[..., object])


def range_options(*workers: str) -> Callable[[C], C]:
    """Give a command the options about parallel ranges; `workers` is what it calls their number."""

    def add(command: C) -> C:
        for option in (
            click.option(
                *(*workers, "blob_workers"),
                type=click.IntRange(-1, 128),
                default=0,
                help="Ranges of an object that are read at a time.",
            ),
            click.option(
                *("--chunk-size", "--blob-chunk-size", "chunk_size"),
                type=SIZE,
                default=0,
                help="Bytes of such a range.",
            ),
        ):
            command = option(command)
        return command

    return add


@click.command("prefetch", short_help="Fetch objects of a remote bucket ahead of their use.")
@click.argument("location", type=LOCATION, metavar="BUCKET[/NAME|/PREFIX/]")
@click.option("--prefix", help="Only objects whose names start with this text.")
@click.option("--list", "listed", help="These objects: names with commas between them.")
@click.option("--template", help='Those of a template: "shard-{0000..0099}.tar".')
@click.option("--latest", is_flag=True, help="Fetch again what has another version at its source.")
@click.option("--non-recursive", "--nr", is_flag=True, help="Leave out what lies in folders further down.")
@click.option("--num-workers", type=click.IntRange(-1, 64), default=0, help="Objects fetched at a time.")
@click.option("--blob-threshold", type=SIZE, default=0, help="Read larger objects in parallel ranges.")
@range_options("--blob-num-workers")
@click.option("--progress", is_flag=True, help="Show how it goes, until it has ended.")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@json_option
@pass_session
def prefetch(
    session: Session,
    *,
    location: Location,
    prefix: str | None,
    listed: str | None,
    template: str | None,
    latest: bool,
    non_recursive: bool,
    num_workers: int,
    blob_threshold: int,
    chunk_size: int,
    blob_workers: int,
    progress: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Fetch objects of a remote bucket ahead of their use.

    A job of the node fetches those that are not there yet: the whole bucket, an object, what is below a
    prefix (a path that ends in a slash), a list or a template.
    """
    bucket, selected = location.bucket, _selected(location, prefix, listed, template)
    how = Prefetching(
        latest=latest,
        non_recursive=non_recursive,
        workers=num_workers,
        blob_bytes=blob_threshold,
        ranges=Ranges(chunk_bytes=chunk_size, workers=blob_workers),
    )
    jobs = Jobs(session.client)
    job_id = jobs.prefetch(bucket, selected, how=how)
    begun = f"prefetch-objects[{job_id}]: {_what(bucket, selected)}"
    follow_begun(jobs, job_id, begun, Watching(wait, progress, timeout, as_json))


@click.command("blob-download", short_help="Fetch a large object of a remote bucket in parallel ranges.")
@click.argument("location", type=LOCATION, metavar="BUCKET/NAME")
@range_options("--num-workers", "--blob-num-workers")
@click.option("--latest", is_flag=True, help="Fetch it again if its source has another version.")
@click.option("--progress", is_flag=True, help="Show how it goes, until it has ended.")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@json_option
@pass_session
def blob_download(
    session: Session,
    *,
    location: Location,
    chunk_size: int,
    blob_workers: int,
    latest: bool,
    progress: bool,
    wait: bool,
    timeout: float | None,
    as_json: bool,
) -> None:
    """Fetch a large object of a remote bucket over several connections, in parallel ranges.

    It is kept as if it had been read. What is here already stays.
    """
    if not location.path:
        raise click.UsageError(f"name an object of the bucket: {location.bucket.cname}/NAME")
    jobs = Jobs(session.client)
    ranges = Ranges(chunk_bytes=chunk_size, workers=blob_workers)
    job_id = jobs.download_blob(location.bucket, location.path, latest=latest, ranges=ranges)
    begun = f"blob-download[{job_id}]: {object_uri(*location)}"
    follow_begun(jobs, job_id, begun, Watching(wait, progress, timeout, as_json))


def _selected(location: Location, prefix: str | None, listed: str | None, template: str | None) -> Selected:
    """What the arguments choose of a bucket."""
    chosen = [text for text in (prefix, listed, template, location.path or None) if text is not None]
    if len(chosen) > 1:
        raise click.UsageError("a name behind the bucket, --prefix, --list and --template exclude each other")
    if listed is not None or template is not None:
        return selection(listed, template)
    if location.path and not location.path.endswith(("/", WILDCARD)):
        return Selected(names=(location.path,))
    text = location.path or prefix or ""
    if isinstance(parse_selection(text), Template):
        raise click.UsageError(f'"{text}" would be taken for a template and not for a prefix')
    return Selected(template=text)


def _what(bucket: Bucket, selected: Selected) -> str:
    """What is prefetched, in AIStore's words."""
    if selected.names:
        more = ", …" if len(selected.names) > _SHOWN_MAX else ""
        return f"[{', '.join(selected.names[:_SHOWN_MAX])}{more}] prefetch from {bucket.cname}"
    if selected.template:
        return f'prefetch "{selected.template}" from {bucket.cname}'
    return f"prefetch {bucket.cname}"
