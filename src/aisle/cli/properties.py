"""`ais bucket props` and `ais show bucket`: properties of buckets."""

from collections.abc import Mapping
from datetime import UTC, datetime

import click

from aisle.cli import output
from aisle.cli.lazy import Entry, LazyGroup
from aisle.cli.parameters import BUCKET, json_option, no_headers_option
from aisle.cli.session import Session, pass_session
from aisle.cli.settings import Pairs, chosen, complete_properties, print_changes, print_values, shown
from aisle.model.bucket import BucketProperties
from aisle.model.names import Bucket
from aisle.model.trees import Tree, flat, leaf_names, tree_of

_HIDDEN = ("Renamed", "bid", "backend_bck.namespace.uuid", "backend_bck.namespace.name")
_OPTIONAL: Mapping[str, object] = {
    "chunks.checkpoint_every": 0,
    "chunks.flags": 0,
    "rate_limit.backend.per_op_max_tokens": "",
    "rate_limit.frontend.per_op_max_tokens": "",
}
"""What is left out on the wire when it has this value."""


class PropertiesGroup(LazyGroup):
    """`props`: its verb may be left out, as in `ais bucket props ais://b checksum.type=md5`."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take what is no verb for a bucket: with pairs they are set, without any it is shown."""
        if args[0] not in self.entries and not args[0].startswith("-"):
            pairs = [argument for argument in args[1:] if "=" in argument or argument.startswith("{")]
            args = ["set" if pairs else "show", *args]
        return super().resolve_command(ctx, args)


props = PropertiesGroup(
    name="props",
    help="Show, set or reset the properties of a bucket.",
    entries={
        "show": Entry("properties", "show", "Show the properties of a bucket."),
        "set": Entry("properties", "set_", "Set properties of a bucket."),
        "reset": Entry("properties", "reset", "Give a bucket the properties of a new one."),
    },
)


@click.command("show", short_help="Show the properties of a bucket.")
@click.argument("bucket", type=BUCKET)
@click.argument("name", default="", metavar="[PROPERTY|SECTION]")
@click.option("--compact", "-c", is_flag=True, help="One line for each section.")
@no_headers_option
@json_option
@pass_session
def show(
    session: Session, *, bucket: Bucket, name: str, compact: bool, no_headers: bool, as_json: bool
) -> None:
    """Show the properties of a bucket: all, one, or those of a section such as `checksum`."""
    _print(session, bucket, name, compact=compact, headers=not no_headers, as_json=as_json)


@click.command("bucket", short_help="Show a bucket's properties in brief.")
@click.argument("bucket", type=BUCKET)
@click.argument("name", default="", metavar="[PROPERTY|SECTION]")
@no_headers_option
@json_option
@pass_session
def show_bucket(session: Session, *, bucket: Bucket, name: str, no_headers: bool, as_json: bool) -> None:
    """Show a bucket's properties, one line for each section; `ais bucket props show` tells them all."""
    _print(session, bucket, name, compact=not name, headers=not no_headers, as_json=as_json)


@click.command("set", short_help="Set properties of a bucket.")
@click.argument("bucket", type=BUCKET)
@click.argument(
    "pairs", nargs=-1, required=True, metavar="PROPERTY=VALUE...", shell_complete=complete_properties
)
@json_option
@pass_session
def set_(session: Session, *, bucket: Bucket, pairs: tuple[str, ...], as_json: bool) -> None:
    """Set properties of a bucket; objects that are there already stay as they are.

    VALUE of `access` is ro, rw, su, none, or rights such as GET,PUT; that of `features` are names.
    Instead of pairs, one JSON object with the same tree can be given.
    """
    before = flat(dict(session.client.bucket_properties(bucket)))
    asked = Pairs(pairs, {*leaf_names(BucketProperties), *before})
    changing = [
        name
        for name, value in asked.values.items()
        if shown(name, value) != shown(name, before.get(name, ""))
    ]
    after = before
    if changing:
        session.client.set_bucket_properties(bucket, asked.tree)
        after = flat(dict(session.client.bucket_properties(bucket)))
    if as_json:
        told = {name: {"from": before.get(name, ""), "to": after.get(name, "")} for name in changing}
        output.print_json({"bucket": bucket.cname, "changed": told})
    elif not changing:
        click.echo(f'Bucket "{bucket.cname}": property "{" ".join(pairs)}", nothing to do')
    else:
        click.echo("Bucket props successfully updated")
        print_changes(before, after, changing)


@click.command("reset", short_help="Give a bucket the properties of a new one.")
@click.argument("bucket", type=BUCKET)
@json_option
@pass_session
def reset(session: Session, *, bucket: Bucket, as_json: bool) -> None:
    """Give a bucket the properties that a new one would have: those of the cluster's configuration."""
    session.client.reset_bucket_properties(bucket)
    if as_json:
        output.print_json({"bucket": bucket.cname, "reset": True})
    else:
        click.echo("Bucket props successfully reset to cluster defaults")


def _print(
    session: Session, bucket: Bucket, name: str, *, compact: bool, headers: bool, as_json: bool
) -> None:
    tree = dict(session.client.bucket_properties(bucket))
    if as_json:
        output.print_json(tree_of(chosen(flat(tree), name).items()) if name else tree)
        return
    values = compacted(tree) if compact else told(tree)
    print_values(chosen(values, name), headers=headers)


def told(tree: Tree) -> dict[str, object]:
    """All properties by name, in order of the names, as the table shows them."""
    values = {name: value for name, value in flat(tree).items() if name not in _HIDDEN} | {"present": "yes"}
    for name, value in _OPTIONAL.items():
        values.setdefault(name, value)
    if values.get("chunks.objsize_limit") == "0B":
        values["chunks.objsize_limit"] = "0B (auto-chunking disabled)"
    values["created"] = _time(values.get("created"))
    return dict(sorted(values.items()))


def compacted(tree: Tree) -> dict[str, object]:
    """One line for each section, in AIStore's words."""
    values = flat(tree)

    def at(name: str) -> str:
        return shown(name, values.get(name, ""))

    policy = at("write_policy.backend")
    backend = f" | Backend: {policy}" if policy else ""

    validated = {"ColdGET": "cold_get", "WarmGET": "warm_get", "ObjectMove": "obj_move"}
    checked = [word for word, name in validated.items() if values.get(f"checksum.validate_{name}")]
    versions = "Enabled" if values.get("versioning.enabled") else "Disabled"
    warm = "yes" if values.get("versioning.validate_warm_get") else "no"
    coding = f"{at('ec.data_slices')}:{at('ec.parity_slices')} ({at('ec.objsize_limit')})"
    return {
        "access": at("access"),
        "checksum": f"Type: {at('checksum.type')} | Validate: {','.join(checked) or 'Nothing'}",
        "created": _time(values.get("created")),
        "ec": coding if values.get("ec.enabled") else "Disabled",
        "features": at("features"),
        "lru": f"Evict after: {at('lru.dont_evict_time')}" if values.get("lru.enabled") else "Disabled",
        "mirror": f"{at('mirror.copies')} copies" if values.get("mirror.enabled") else "Disabled",
        "present": "yes",
        "provider": at("provider"),
        "versioning": f"{versions} | Validate on WarmGET: {warm}",
        "write_policy": f"Data: {at('write_policy.data')} | Metadata: {at('write_policy.md')}{backend}",
    }


def _time(nanoseconds: object) -> str:
    text = str(nanoseconds or "0")
    if not text.isdecimal():
        return text
    return datetime.fromtimestamp(int(text) // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
