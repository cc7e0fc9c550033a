"""`ais download s3://BUCKET[/PREFIX] s3://BUCKET`: what a remote bucket has, fetched into its copy here.

The destination is the same bucket, or an own one that it stands behind; so it is fetched what the node would
fetch when somebody reads it, and with `--sync` what the source has no more goes.
"""

import click

from aisle.cli.download_options import JobOptions
from aisle.cli.download_order import Order
from aisle.cli.locations import Location, parse_location
from aisle.client import Client
from aisle.errors import AisleError
from aisle.model.names import Bucket
from aisle.rules.provider_links import is_provider_link


def bucket_order(client: Client, source: str, destination: Location, options: JobOptions) -> Order | None:
    """What a remote bucket as the source asks for; None where it is links to objects that are meant.

    Ends with a usage error for what does not fit.
    """
    if not is_provider_link(source):
        return None
    location = parse_location(source)
    if not _is_behind(client, location.bucket, destination.bucket):
        return None
    if destination.path:
        raise click.UsageError(
            f"{destination.bucket.cname} is filled under its own names: leave out the path"
        )
    if "{" in location.path and "}" in location.path:
        raise click.UsageError(f"for a template: ais prefetch {location.bucket.cname} --template ...")
    return Order(destination, options.request(fills=True, prefix=location.path, sync=options.sync))


def _is_behind(client: Client, remote: Bucket, bucket: Bucket) -> bool:
    """Whether a remote bucket is the one that stands behind a bucket."""
    if bucket.is_remote:
        return bucket == remote
    try:
        backend = client.bucket_properties(bucket).get("backend_bck")
    except AisleError:
        return False  # one that is not there is made; what else is wrong the request tells
    if not isinstance(backend, dict):
        return False
    space = backend.get("namespace")
    uuid, name = (space.get("uuid"), space.get("name")) if isinstance(space, dict) else ("", "")
    namespace = (f"@{uuid}" if uuid else "") + (f"#{name}" if name else "")
    return (backend.get("name"), backend.get("provider"), namespace) == (
        remote.name,
        remote.provider,
        remote.namespace,
    )
