"""What may stand for a bucket, an object or a property: asked of the node while somebody types.

A shell waits for the answer, so it is asked for once and briefly; without an answer there is none.
"""

from typing import TYPE_CHECKING

import click

from aisle.cli.locations import parse_location, schemes
from aisle.client.listing import FLAG_NAME_ONLY, FLAG_NO_RECURSION
from aisle.errors import AisleError
from aisle.model.names import Bucket

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from aisle.client import Client

TIMEOUT_S = 2.0
OFFERED_MAX = 100


def buckets(ctx: click.Context, incomplete: str, *, inside: bool) -> "list[CompletionItem[str]]":
    """Buckets that begin as what was typed; with `inside` also the objects of one that is complete."""
    try:
        client = _client(ctx)
        if _has_bucket(incomplete):
            return _items(_objects(client, incomplete)) if inside else []
        has_scheme = "://" in incomplete
        # A name without a scheme is that of an own bucket.
        known = [each for each in client.buckets() if has_scheme or each == Bucket(each.name)]
        names = [each.cname if has_scheme else each.name for each in known]
        ending = "/" if inside else ""
        found = [f"{name}{ending}" for name in names if name.startswith(incomplete)]
        return _items(found or [scheme for scheme in schemes() if scheme.startswith(incomplete)])
    except (AisleError, OSError):
        return []


def _has_bucket(incomplete: str) -> bool:
    """Whether a bucket has been typed, with the slash behind it."""
    scheme, _, rest = incomplete.rpartition("://")
    if scheme and rest[:1] in ("@", "#"):
        rest = rest.partition("/")[2]
    return "/" in rest


def properties(incomplete: str, *, of_bucket: bool) -> "list[CompletionItem[str]]":
    """Names of properties of buckets that can be set, or of the configuration; behind one, its values."""
    from aisle.model.bucket import READ_ONLY, BucketProperties
    from aisle.model.configuration import ClusterConfiguration
    from aisle.model.trees import leaf_names

    name, is_named, value = incomplete.partition("=")
    if is_named:
        found = _values(name, BucketProperties() if of_bucket else ClusterConfiguration())
        return _items([f"{name}={each}" for each in found if each.startswith(value)])
    names = leaf_names(BucketProperties if of_bucket else ClusterConfiguration)
    ending = "=" if of_bucket else ""
    return _items(
        [f"{name}{ending}" for name in names if name.startswith(incomplete) and name not in READ_ONLY]
    )


def _values(name: str, usual: object) -> list[str]:
    """What a property may be, where that can be listed; `usual` are the properties of something new."""
    from msgspec import to_builtins

    from aisle.model.features import FEATURES
    from aisle.model.sections import CHECKSUM_TYPES
    from aisle.model.trees import flat

    listed = {
        "checksum.type": list(CHECKSUM_TYPES),
        "write_policy.data": ["immediate", "delayed", "never"],
        "write_policy.md": ["immediate", "delayed", "never"],
        "write_policy.backend": ["immediate", "delayed"],
        "access": ["ro", "rw", "su", "none"],
        "features": ["none", *(feature.name for feature in FEATURES)],
    }
    if name in listed:
        return listed[name]
    return ["true", "false"] if isinstance(flat(to_builtins(usual)).get(name), bool) else []


def _objects(client: "Client", incomplete: str) -> list[str]:
    """The names up to the next slash behind what was typed, with the bucket before them."""
    bucket, prefix = parse_location(incomplete)
    start = incomplete[: len(incomplete) - len(prefix)]
    page = client.list_page(
        bucket, prefix=prefix, limit=OFFERED_MAX, properties="name", flags=FLAG_NAME_ONLY | FLAG_NO_RECURSION
    )
    names = [entry.name for entry in page.entries or ()]
    # A line break would be two answers, and a shell types what it is given.
    return [f"{start}{name}" for name in names if name.isprintable()]


def _items(values: list[str]) -> "list[CompletionItem[str]]":
    from click.shell_completion import CompletionItem

    return [CompletionItem(value) for value in values]


def _client(ctx: click.Context) -> "Client":
    from aisle.cli.session import Session, connect

    session = ctx.find_object(Session)
    if session is None:
        session = Session(connect=lambda endpoint: connect(endpoint, timeout_s=TIMEOUT_S))
    return session.client
