"""`ais bucket summary` and `ais ls --summary`: how much is in buckets."""

import click

from aisle.cli import output
from aisle.cli.locations import parse_location, parse_provider_only
from aisle.cli.parameters import complete_location, json_option, no_headers_option, units_option
from aisle.cli.session import Session, pass_session
from aisle.client.summaries import BucketSummary
from aisle.errors import BadRequest
from aisle.model.names import SCHEMES


@click.command("summary", short_help="Sum up what is in buckets.")
@click.argument("what", default="", metavar="[BUCKET[/PREFIX]]", shell_complete=complete_location)
@click.option("--prefix", default="", help="Count names that start with this text.")
@units_option
@no_headers_option
@json_option
@pass_session
def summary(session: Session, *, what: str, prefix: str, no_headers: bool, as_json: bool) -> None:
    """Sum up a bucket, or all buckets: how many objects, their sizes, the share of the disks."""
    print_summary(session, what, prefix, headers=not no_headers, as_json=as_json)


def print_summary(session: Session, what: str, prefix: str, *, headers: bool, as_json: bool) -> None:
    """Print the summaries of one bucket, of a provider's, or of all."""
    summaries = summed_up(session, what, prefix)
    if as_json:
        output.print_json({"buckets": [_told(each) for each in summaries]})
        return
    columns = ["name", "objects (cached, remote)", "object sizes (min, avg, max)"]
    columns += ["total object size (cached, remote)", "usage(%)"]
    output.Table(columns, headers=headers).add(
        (
            _name(each),
            f"{each.count.present} {each.count.remote}",
            " ".join(map(output.size_text, (each.sizes.smallest, each.sizes.average, each.sizes.largest))),
            f"{output.size_text(int(each.total.present))} {output.size_text(int(each.total.remote))}",
            f"{each.percent_used}%",
        )
        for each in summaries
    )


def print_brief(session: Session, what: str, prefix: str, *, headers: bool, as_json: bool) -> None:
    """Print buckets with their totals, as `ais ls --summary` does."""
    summaries = summed_up(session, what, prefix)
    if as_json:
        output.print_json({"buckets": [_told(each) for each in summaries]})
        return
    columns = ["name", "present", "objects", "size (apparent, objects, remote)", "usage(%)"]
    output.Table(columns, headers=headers).add(
        (
            _name(each),
            "yes",
            f"{each.count.present} {each.count.remote}",
            " ".join(
                output.size_text(int(size))
                for size in (each.total.on_disk, each.total.present, each.total.remote)
            ),
            f"{each.percent_used}%",
        )
        for each in summaries
    )


def summed_up(session: Session, what: str, prefix: str) -> list[BucketSummary]:
    """The summaries of one bucket, of a provider's, or of all. Raises click's usage errors."""
    try:
        provider = parse_provider_only(what) if what else ""
        location = None if provider is not None else parse_location(what)
    except BadRequest as error:
        raise click.BadParameter(str(error), param_hint="BUCKET") from error
    if location is None:
        return session.client.summaries(None, provider=provider or "", prefix=prefix)
    if location.path and prefix:
        raise click.UsageError("a prefix is given twice: behind the bucket and with --prefix")
    return session.client.summaries(location.bucket, prefix=location.path or prefix)


def _name(summary: BucketSummary) -> str:
    return f"{SCHEMES.get(summary.provider, summary.provider)}://{summary.name}"


def _told(summary: BucketSummary) -> dict[str, object]:
    sizes = summary.sizes
    return {
        "bucket": _name(summary),
        "objects": int(summary.count.present),
        "bytes": int(summary.total.present),
        "bytes_on_disk": int(summary.total.on_disk),
        "smallest": sizes.smallest,
        "average": sizes.average,
        "largest": sizes.largest,
        "percent_used": summary.percent_used,
    }
