"""`ais download`: the node fetches files from the Internet; this command only asks and watches."""

import posixpath
from urllib.parse import unquote, urlsplit

import click

from aisle.cli import output
from aisle.cli.locations import Location
from aisle.cli.parameters import DURATION, LOCATION, SIZE, json_option
from aisle.cli.session import Session, pass_session
from aisle.cli.watch import GRACE_S, Watch, job_json, print_outcome
from aisle.client.downloads import DownloadRequest
from aisle.errors import BucketNotFound

# What a cloud bucket's object is called on the web (ais-downloader-backends-s3.md §1.7).
_WEB_ADDRESSES = {
    "gs": "https://storage.googleapis.com/",
    "gcp": "https://storage.googleapis.com/",
    "s3": "https://s3.amazonaws.com/",
    "aws": "https://s3.amazonaws.com/",
}


@click.command("download", short_help="Let the node fetch files from the Internet.")
@click.argument("source", metavar="URL")
@click.argument("destination", type=LOCATION, metavar="BUCKET[/NAME]")
@click.option("--progress", is_flag=True, help="Wait, and show how it goes.")
@click.option("--wait", is_flag=True, help="Wait until all files are there.")
@click.option("--timeout", type=DURATION, help="Wait at most this long; the job goes on.")
@click.option("--description", "--desc", default="", help="What the job is for.")
@click.option("--download-timeout", type=DURATION, default=0.0, help="Time for one file, in one attempt.")
@click.option(
    "--limit-connections",
    "--max-conns",
    type=click.IntRange(1),
    default=None,
    help="Files at the same time, for each target.",
)
@click.option(
    "--limit-bytes-per-hour", "--limit-bph", type=SIZE, default=0, help="Bytes per hour, for the cluster."
)
@json_option
@pass_session
def download(
    session: Session,
    *,
    source: str,
    destination: Location,
    progress: bool,
    wait: bool,
    timeout: float | None,
    description: str,
    download_timeout: float,
    limit_connections: int | None,
    limit_bytes_per_hour: int,
    as_json: bool,
) -> None:
    """Let the node fetch files from the Internet into a bucket.

    URL is one file, or a template such as 'https://host/train-{0000..0146}.tar' (quote it: the shell
    knows braces too). For one file NAME is the object's name, and a folder if it ends with a slash;
    for a template it is always a folder. A missing bucket is created.
    """
    link = web_address(source)
    request = DownloadRequest(
        link=link,
        name=object_name(link, destination.path),
        description=description,
        timeout_s=download_timeout,
        connections_max=limit_connections or 0,
        bytes_per_hour_max=limit_bytes_per_hour,
    )
    client, bucket = session.client, destination.bucket
    try:
        client.bucket_properties(bucket)
    except BucketNotFound:
        output.warn(f"{bucket.cname} does not exist: it is created with default properties.")
    job_id = client.start_download(bucket, request)
    if not as_json:
        click.echo(f"Started download job {job_id}")
    watch = Watch(client, job_id)
    if wait or progress or timeout is not None:
        job = watch.until_finished(timeout_s=timeout, progress=progress)
    elif as_json:
        output.print_json({"id": job_id})
        return
    else:
        job = watch.for_a_moment(GRACE_S)
        if job.is_running:
            click.echo(f"It goes on in the node. Watch it with: ais show job {job_id} --progress")
            return
    if as_json:
        output.print_json(job_json(job))
    print_outcome(job, text=not as_json)


def web_address(source: str) -> str:
    """The URL that the node shall fetch. Ends with a usage error for one that it cannot."""
    scheme, found, rest = source.partition("://")
    if not found:
        return f"https://{source}"
    if scheme in ("http", "https"):
        return source
    if scheme in _WEB_ADDRESSES:
        return _WEB_ADDRESSES[scheme] + rest
    raise click.BadParameter(f'cannot download from "{scheme}://": only http and https', param_hint="URL")


def object_name(link: str, path: str) -> str:
    """What the request calls the object (one file), or the folder of all objects (a template).

    A folder behind the bucket keeps the file's own name: the last part of the link, decoded.
    """
    if "{" in link and "}" in link:
        return path.strip("/")
    if path and not path.endswith("/"):
        return path
    name = posixpath.basename(unquote(urlsplit(link).path))
    if path and not name:
        raise click.BadParameter(
            f'"{link}" does not end with a name: give one behind the bucket', param_hint="URL"
        )
    return f"{path}{name}"
