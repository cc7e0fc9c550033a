"""`ais create` and `ais rmb`: buckets come and go."""

import click

from aisle.cli import output
from aisle.cli.parameters import BUCKET, confirm, dry_run_option, json_option, yes_option
from aisle.cli.session import Session, pass_session
from aisle.client.listing import FLAG_CACHED, FLAG_NAME_ONLY
from aisle.errors import BadRequest, BucketNotFound, NotFound
from aisle.model.names import Bucket

Tree = dict[str, object]


@click.command("create", short_help="Create buckets.")
@click.argument("buckets", type=BUCKET, nargs=-1, metavar="BUCKET...")
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="Make a read-only bucket ht://NAME of this folder of a web server.",
)
@click.option(
    "--props",
    default="",
    metavar="PAIRS",
    help='What differs from the usual: "checksum.type=md5 …", or JSON.',
)
@json_option
@pass_session
def create(session: Session, buckets: tuple[Bucket, ...], *, url: str, props: str, as_json: bool) -> None:
    """Create buckets.

    BUCKET is ais://NAME, or only NAME: 1 to 64 letters, digits, dashes, underscores and dots. With
    --url it is ht://NAME; without a name, host and folders of the URL make one.
    """
    properties = _properties(props) if props.strip() else None
    if url:
        from aisle.cli.web_datasets import with_url

        buckets, properties = _dataset(url, buckets), with_url(url, properties or {})
    elif not buckets:
        raise click.UsageError("Missing argument 'BUCKET...'.")
    for bucket in buckets:
        if bucket.provider == "ht" and not _has_url(properties):
            raise BadRequest(f"{bucket.cname}: say which folder it is, with --url https://…")
        try:
            session.client.create_bucket(bucket, properties)
        except BucketNotFound as error:
            if not url:
                raise
            raise NotFound(f"{url}: its server answers that there is no such folder") from error
        if not as_json:
            click.echo(f'"{bucket.cname}" created')
    if as_json:
        output.print_json({"created": [bucket.cname for bucket in buckets]})


@click.command("rmb", short_help="Remove buckets with all that they hold.")
@click.argument("buckets", type=BUCKET, nargs=-1, required=True, metavar="BUCKET...")
@dry_run_option
@yes_option
@json_option
@pass_session
def rmb(session: Session, buckets: tuple[Bucket, ...], *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove buckets with all that they hold.

    Asks first when a bucket is not empty.
    """
    if dry_run:
        _tell_only(session, buckets, as_json=as_json)
        return
    for bucket in buckets:
        # With an own bucket goes what is here; what may stand behind it is not touched.
        flags = FLAG_NAME_ONLY | (0 if bucket.is_remote else FLAG_CACHED)
        page = session.client.list_page(bucket, limit=1, properties="name", flags=flags)
        if page.entries:
            confirm(f"{bucket.cname} is not empty. Remove it with all that it holds?", yes=yes)
        session.client.destroy_bucket(bucket)
        if not as_json:
            click.echo(f'"{bucket.cname}" destroyed')
    if as_json:
        output.print_json({"removed": [bucket.cname for bucket in buckets]})


def _tell_only(session: Session, buckets: tuple[Bucket, ...], *, as_json: bool) -> None:
    """Tell which buckets would go, and how much with them."""
    found = [session.client.summaries(bucket)[0] for bucket in buckets]
    if as_json:
        removed = [
            {"bucket": bucket.cname, "objects": int(each.count.present), "bytes": int(each.total.present)}
            for bucket, each in zip(buckets, found, strict=True)
        ]
        output.print_json({"dry_run": True, "removed": removed})
        return
    for bucket, each in zip(buckets, found, strict=True):
        held = output.count_text(int(each.count.present), "object")
        size = output.size_text(int(each.total.present))
        click.echo(f'[dry run] destroy "{bucket.cname}" with {held} ({size})')


def _dataset(url: str, buckets: tuple[Bucket, ...]) -> tuple[Bucket, ...]:
    """The bucket that a folder of a web server becomes, named by the user or after the folder."""
    from aisle.rules.http_datasets import bucket_name

    if not buckets:
        return (Bucket(bucket_name(url), "ht"),)
    if len(buckets) > 1 or buckets[0].provider != "ht":
        raise click.UsageError("--url is for one bucket, ht://NAME")
    return buckets


def _has_url(properties: Tree | None) -> bool:
    from aisle.model.trees import flat

    return bool(flat(properties or {}).get("extra.http.original_url"))


def _properties(text: str) -> Tree:
    """The tree of `--props`. Raises BadRequest."""
    import shlex

    from aisle.cli.settings import Pairs
    from aisle.model.bucket import BucketProperties
    from aisle.model.trees import leaf_names

    try:
        arguments = [text] if text.lstrip().startswith("{") else shlex.split(text)
    except ValueError as error:
        raise BadRequest(f"--props cannot be read: {error}") from error
    return Pairs(arguments, leaf_names(BucketProperties)).tree
