"""The space that copies of remote objects take: which may go, at which levels, and how much there is."""

from typing import NamedTuple

from aisle.gateway.buckets import Buckets
from aisle.model.bucket import BucketInfo
from aisle.model.configuration import Space
from aisle.rules.eviction import Usage
from aisle.storage.engine import BucketCounts
from aisle.storage.space import CacheSpace


class MountpathSpace(NamedTuple):
    """How a mountpath is filled."""

    path: str
    usage: Usage
    evictable: BucketCounts
    """Copies of remote objects that may go as soon as they were not used for long enough."""


class SpaceReport:
    """What is told about the space of this node."""

    def __init__(self, space: CacheSpace, buckets: Buckets) -> None:
        self._space = space
        self._buckets = buckets

    def levels(self) -> Space:
        """The fill levels that hold now. Raises Unavailable."""
        return self._buckets.configuration.get().values.space

    def mountpaths(self) -> list[MountpathSpace]:
        """All mountpaths; one whose file system cannot be asked counts as empty. Walks: for a thread."""
        caches = evictable_buckets(self._buckets)
        return [
            MountpathSpace(path, self._usage(path), self._evictable(path, caches))
            for path in self._space.mountpaths()
        ]

    def _usage(self, path: str) -> Usage:
        try:
            return self._space.usage_in_detail(path)
        except OSError:
            return Usage(0, 0)

    def _evictable(self, path: str, caches: list[BucketInfo]) -> BucketCounts:
        counts = [self._space.counts(path, bucket.number) for bucket in caches]
        return BucketCounts(sum(each.objects for each in counts), sum(each.bytes for each in counts))


def evictable_buckets(buckets: Buckets) -> list[BucketInfo]:
    """The buckets whose objects may go to make room: they are elsewhere too, and `lru.enabled` says so."""
    return [info for info in buckets.select() if info.remote is not None and info.properties.lru.enabled]
