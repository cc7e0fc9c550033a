"""Dropping what a node keeps of remote buckets, over its native API."""

from collections.abc import Mapping

from aisle.client.answers import Asked
from aisle.client.jobs import Selected
from aisle.client.node import Client
from aisle.model.names import Bucket


def evict_bucket(client: Client, bucket: Bucket, *, keeps_properties: bool) -> None:
    """Drop all that is kept of a bucket, and unless told otherwise the bucket. Raises BucketNotFound."""
    more = {"keep_bck_md": "true"} if keeps_properties else {}
    _send(client, bucket, {"action": "evict-remote-bck", "name": "", "value": None}, more)


def evict_selected(client: Client, bucket: Bucket, selected: Selected) -> str:
    """Start dropping what is kept of some objects; the job's id. Raises BucketNotFound, BadRequest."""
    message = {"action": "evict-listrange", "name": "", "value": selected.message()}
    return _send(client, bucket, message, {})


def _send(client: Client, bucket: Bucket, message: Mapping[str, object], more: Mapping[str, str]) -> str:
    query = {"provider": bucket.provider, **more}
    if bucket.namespace:
        query["namespace"] = bucket.namespace
    return client.exchange(
        "DELETE",
        f"/v1/buckets/{bucket.name}",
        bytes.decode,
        message=message,
        query=query,
        asked=Asked(bucket=bucket.cname),
    )
