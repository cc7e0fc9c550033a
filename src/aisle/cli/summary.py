"""`ais bucket summary` and `ais ls --summary`: how much is in buckets."""

from collections.abc import Sequence

import click

from aisle.cli import output
from aisle.cli.exit_codes import FAILED
from aisle.cli.locations import parse_location, parse_provider_only
from aisle.cli.parameters import complete_location, json_option, no_headers_option, units_option
from aisle.cli.session import Session, pass_session
from aisle.client.summaries import BucketSummary
from aisle.errors import BadRequest
from aisle.model.names import Bucket


@click.command("summary", short_help="Sum up what is in buckets.")
@click.argument("what", default="", metavar="[BUCKET[/PREFIX]]", shell_complete=complete_location)
@click.option("--prefix", default="", help="Count names that start with this text.")
@click.option("--cached", is_flag=True, help="Only what the cluster holds: do not ask sources.")
@units_option
@no_headers_option
@json_option
@pass_session
def summary(
    session: Session, *, what: str, prefix: str, cached: bool, no_headers: bool, as_json: bool
) -> None:
    """Sum up a bucket, or all buckets: how many objects, their sizes, the share of the disks.

    The source of a remote bucket is asked too, where a bucket or provider is named.
    """
    print_summary(session, what, prefix, cached=cached, headers=not no_headers, as_json=as_json)


def print_summary(
    session: Session, what: str, prefix: str, *, cached: bool, headers: bool, as_json: bool
) -> None:
    """Print the summaries of one bucket, of a provider's, or of all."""
    summaries = summed_up(session, what, prefix, cached=cached)
    if as_json:
        output.print_json({"buckets": [_told(each) for each in summaries]})
        _tell_refusals(summaries)
        return
    columns = ["name", "objects (cached, remote)", "object sizes (min, avg, max)"]
    columns += ["total object size (cached, remote)", "usage(%)"]
    output.Table(columns, headers=headers).add(
        (
            _name(each),
            f"{each.count.present} {_remote_count(each)}",
            " ".join(map(output.size_text, (each.sizes.smallest, each.sizes.average, each.sizes.largest))),
            f"{output.size_text(int(each.total.present))} {_remote_size(each)}",
            f"{each.percent_used}%",
        )
        for each in summaries
    )
    _tell_refusals(summaries)


def print_brief(
    session: Session, what: str, prefix: str, *, cached: bool, headers: bool, as_json: bool
) -> None:
    """Print buckets with their totals, as `ais ls --summary` does."""
    summaries = summed_up(session, what, prefix, cached=cached)
    if as_json:
        output.print_json({"buckets": [_told(each) for each in summaries]})
        _tell_refusals(summaries)
        return
    columns = ["name", "present", "objects", "size (apparent, objects, remote)", "usage(%)"]
    output.Table(columns, headers=headers).add(
        (
            _name(each),
            "yes",
            f"{each.count.present} {_remote_count(each)}",
            " ".join(
                [
                    output.size_text(int(each.total.on_disk)),
                    output.size_text(int(each.total.present)),
                    _remote_size(each),
                ]
            ),
            f"{each.percent_used}%",
        )
        for each in summaries
    )
    _tell_refusals(summaries)


def summed_up(session: Session, what: str, prefix: str, *, cached: bool) -> list[BucketSummary]:
    """The summaries of one bucket, of a provider's, or of all; `cached` leaves their sources alone.

    Without a name nobody elsewhere is asked: one that does not answer would hide all others. Raises click's
    usage errors.
    """
    try:
        provider = parse_provider_only(what) if what else ""
        location = None if provider is not None else parse_location(what)
    except BadRequest as error:
        raise click.BadParameter(str(error), param_hint="BUCKET") from error
    if location is None:
        return session.client.summaries(
            None, provider=provider or "", prefix=prefix, cached=cached or not provider
        )
    if location.path and prefix:
        raise click.UsageError("a prefix is given twice: behind the bucket and with --prefix")
    return session.client.summaries(location.bucket, prefix=location.path or prefix, cached=cached)


def _remote_count(summary: BucketSummary) -> str:
    return "-" if summary.refusal else summary.count.remote


def _remote_size(summary: BucketSummary) -> str:
    return "-" if summary.refusal else output.size_text(int(summary.total.remote))


def _tell_refusals(summaries: Sequence[BucketSummary]) -> None:
    """Say which sources could not be asked; ends the command with an exit code if there are any."""
    refused = [each for each in summaries if each.refusal]
    for each in refused:
        output.fail(output.printable(f"{_name(each)}: {each.refusal}"))
    if refused:
        raise click.exceptions.Exit(FAILED)


def _name(summary: BucketSummary) -> str:
    uuid, space = summary.namespace.uuid, summary.namespace.name
    namespace = (f"@{uuid}" if uuid else "") + (f"#{space}" if space else "")
    return Bucket(summary.name, summary.provider, namespace).cname


def _told(summary: BucketSummary) -> dict[str, object]:
    sizes = summary.sizes
    told: dict[str, object] = {
        "bucket": _name(summary),
        "objects": int(summary.count.present),
        "bytes": int(summary.total.present),
        "remote_objects": int(summary.count.remote),
        "remote_bytes": int(summary.total.remote),
        "bytes_on_disk": int(summary.total.on_disk),
        "smallest": sizes.smallest,
        "average": sizes.average,
        "largest": sizes.largest,
        "percent_used": summary.percent_used,
    }
    return told | ({"error": summary.refusal} if summary.refusal else {})
