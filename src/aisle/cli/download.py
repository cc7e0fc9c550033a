"""`ais download`: the node fetches files from the Internet; this command only asks and watches."""

import time
from collections.abc import Mapping
from typing import Any

import click

from aisle.cli import output
from aisle.cli.bucket_source import bucket_order
from aisle.cli.download_links import LinkOptions, link_options, link_order
from aisle.cli.download_options import JobOptions, WatchOptions, job_options, taken, watch_options
from aisle.cli.download_order import Order
from aisle.cli.download_status import ended_well, job_json, tell_outcome
from aisle.cli.download_view import trouble_lines
from aisle.cli.exit_codes import FAILED
from aisle.cli.folders import FolderOptions, folder_options, folder_order, refuse_patterns
from aisle.cli.huggingface import HubOptions, hub_options, hub_orders, with_token
from aisle.cli.lazy import Entry
from aisle.cli.lists import ListOptions, list_options, list_order
from aisle.cli.locations import Location
from aisle.cli.parameters import LOCATION
from aisle.cli.session import Session, pass_session
from aisle.cli.verbs import CommandWithVerbs
from aisle.cli.watch import GRACE_S, Watch
from aisle.client import Client
from aisle.client.downloads import DownloadJob
from aisle.errors import BucketNotFound, Denied

# What can be done with a download beside starting it: `ais download VERB …`.
VERBS: Mapping[str, Entry] = {
    "pause": Entry("download_verbs", "pause", "Let downloads rest until they are resumed."),
    "resume": Entry("download_verbs", "resume", "Let downloads that rest go on."),
    "priority": Entry("download_verbs", "prioritize", "Say how urgent a running download is."),
    "verify": Entry("download_verbs", "verify", "Check that the objects of a download are what was stored."),
    "repair": Entry("download_verbs", "repair", "Fetch again what is missing or damaged of a download."),
}


@click.command(
    "download", cls=CommandWithVerbs, verbs=VERBS, short_help="Let the node fetch files from the Internet."
)
@click.argument("words", nargs=-1, metavar="[URL] BUCKET[/NAME]")
@link_options
@list_options
@folder_options
@hub_options
# A kind of source adds its options here, and its row in `_orders`.
@job_options
@watch_options
@pass_session
def download(session: Session, /, *, words: tuple[str, ...], **given: Any) -> None:
    """Let the node fetch files from the Internet into a bucket.

    URL is one file, or a template such as 'https://host/train-{0000..0146}.tar' (quote it: the shell
    knows braces too). For one file NAME is the object's name, and a folder if it ends with a slash;
    for all others it is always a folder. A missing bucket is created. The node goes on when this
    command ends.
    """
    watching = taken(given, WatchOptions)
    job = taken(given, JobOptions)
    if watching.timeout is not None and not watching.waits:
        # What AIStore's older command calls so.
        job, watching = job._replace(download_timeout=watching.timeout), watching._replace(timeout=None)
    orders = _orders(session.client, words, job, given)
    if job.sync and not orders[0].request.fills:
        output.note(
            "--sync is for a remote bucket that is filled here (ais download s3://b s3://b --sync); "
            "files on the web are compared at each run anyway."
        )
    if watching.dry_run and any(order.request.recursive or order.request.fills for order in orders):
        raise click.UsageError(
            "what a folder or a bucket holds is found out by the node, when the job runs: no --dry-run. "
            "See it with: ais create ht://NAME --url FOLDER and ais ls ht://NAME, "
            "or ais ls BUCKET --not-cached"
        )
    if watching.dry_run:
        from aisle.cli.dry_run import tell_orders

        tell_orders(orders, as_json=watching.as_json)
        return
    ids = _start(session.client, orders, text=not watching.as_json)
    if watching.as_json and not watching.waits:
        output.print_json({"id": ids[0]} if len(ids) == 1 else {"id": ids[0], "ids": ids})
        return
    _follow(session.client, ids, watching)


def _orders(client: Client, words: tuple[str, ...], job: JobOptions, given: dict[str, Any]) -> list[Order]:
    """What the words and the options of a source ask for. Ends with a usage error for what is wrong."""
    links, hub = taken(given, LinkOptions), taken(given, HubOptions)
    listed, folder = taken(given, ListOptions), taken(given, FolderOptions)
    is_listed = listed.list_file is not None
    needs_source = links.object_list is None and not is_listed and not hub.are_meant("")
    source, destination = _source_and_destination(words, needs_source=needs_source)
    if hub.are_meant(source):
        if is_listed or links.object_list is not None or folder.include or folder.exclude:
            raise click.UsageError("of a repository files are chosen by --hf-include and --hf-exclude")
        return hub_orders(source, destination, job, hub, recursive=folder.recursive)
    if is_listed and (folder.recursive or links.object_list is not None):
        raise click.UsageError("a list, a list in JSON and a folder are different sources: give one")
    if folder.recursive:
        return [folder_order(source, destination, with_token(source, job, hub), folder)]
    refuse_patterns(folder)
    if is_listed:
        return [list_order(source, destination, with_token(source, job, hub), listed)]
    if links.object_list is None and (order := bucket_order(client, source, destination, job)) is not None:
        return [order]
    return [link_order(source, destination, with_token(source, job, hub), links)]


def _source_and_destination(words: tuple[str, ...], *, needs_source: bool) -> tuple[str, Location]:
    """The words of the command; the source is empty when there is none."""
    if len(words) > 2:
        raise click.UsageError(
            "too many arguments: quote a template, or the shell makes many words of it: "
            "'https://host/train-{0000..0146}.tar'"
        )
    if not words or (needs_source and len(words) == 1):
        raise click.UsageError("say where from and where to: ais download URL BUCKET[/NAME]")
    return words[0] if len(words) == 2 else "", LOCATION.convert(words[-1], None, None)


def _start(client: Client, orders: list[Order], *, text: bool) -> list[str]:
    """Ask for the jobs; their ids."""
    bucket, path = orders[0].destination
    try:
        client.bucket_properties(bucket)
    except Denied:
        pass  # whether the bucket may be written to, the request tells
    except BucketNotFound:
        if bucket.provider != "ais":
            raise  # it is not ours to make
        named = f"{bucket.cname}/{path}".rstrip("/") if path.endswith("/") else bucket.cname
        output.warn(
            f"destination bucket {named} doesn't exist. Bucket with default properties will be created."
        )
    ids = []
    for order in orders:
        if order.found and text:
            click.echo(order.found)
        ids.append(_ask(client, order))
        if text:
            click.echo(f"Started download job {ids[-1]}")
    return ids


def _ask(client: Client, order: Order) -> str:
    """Ask for a job; its id."""
    bucket = order.destination.bucket
    if order.lines is None:
        return client.start_download(bucket, order.request)
    from aisle.client.download_lists import start_list

    lines = (line if line.endswith(b"\n") else line + b"\n" for line in order.lines)
    return start_list(client, bucket, order.request.message(), lines)


def _follow(client: Client, ids: list[str], watching: WatchOptions) -> None:
    """Watch the jobs as long as was asked for, and tell how they ended."""
    jobs: list[DownloadJob] = []
    began_s = time.monotonic()
    for job_id in ids:
        watch = Watch(client, job_id, line_interval_s=watching.progress_interval)
        if watching.waits:
            passed_s = time.monotonic() - began_s
            left_s = None if watching.timeout is None else max(0.0, watching.timeout - passed_s)
            jobs.append(watch.until_finished(timeout_s=left_s, progress=watching.progress))
        else:
            jobs.append(watch.for_a_moment(GRACE_S))
            if jobs[-1].is_running:
                for line in trouble_lines(jobs[-1]):
                    output.note(line)
                click.echo(f"Run `ais show job download {job_id}` to monitor the progress of downloading.")
                continue
        if not watching.as_json:
            tell_outcome(jobs[-1], told=watch.told)
    if watching.as_json:
        output.print_json(job_json(jobs[0]) if len(jobs) == 1 else {"jobs": [job_json(job) for job in jobs]})
    if not all(job.is_running or ended_well(job) for job in jobs):
        raise click.exceptions.Exit(FAILED)
