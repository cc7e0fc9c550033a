"""Where signed requests about a bucket go; no more than that is loaded where none ever comes."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from aisle.model.bucket import BucketInfo
from aisle.rules.s3_places import Place, places_of, plain_authority

if TYPE_CHECKING:
    from aisle.transfer.exchange import Exchanges


class Origin(NamedTuple):
    """Where the requests of a bucket go."""

    exchanges: "Exchanges"
    endpoint: str
    """URL of the service; empty for Amazon's own."""
    region: str


OriginOf = Callable[[BucketInfo], Origin]
"""Raises Unsupported where a bucket's source cannot be reached with what is installed."""


def places_of_bucket(info: BucketInfo, origin: Origin) -> list[Place]:
    """All places of the remote bucket behind a bucket."""
    remote = info.remote
    assert remote is not None
    has_hosts = info.properties.extra.aws.virtual_hosts
    return places_of(remote.name, endpoint=origin.endpoint, region=origin.region, has_hosts=has_hosts)


def is_at(place: Place, host: str) -> bool:
    """Whether a Host field names a place."""
    return plain_authority(host, place.base.partition(":")[0]) == place.authority
