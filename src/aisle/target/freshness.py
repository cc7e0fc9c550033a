"""Whether what is here of a remote object is still what its source has, and what if nobody can tell."""

from collections.abc import Callable
from enum import Enum
from time import monotonic
from typing import Final

from aisle.errors import SourceThrottled, SourceUnreachable
from aisle.model.bucket import BucketInfo
from aisle.model.record import Record
from aisle.target.remote_objects import RemoteObjects

DOWN_S: Final = 5.0
"""How long a source that did not answer is not asked again about what is here: each time takes seconds."""
_BUCKETS_MAX: Final = 1_000


class Freshness(Enum):
    """What is known about a copy."""

    CURRENT = "current"
    OUTDATED = "outdated"
    UNKNOWN = "unknown"
    """Its source does not answer, and the bucket allows that it is served nevertheless."""


class FreshnessChecks:
    """Asks sources about what is here. `now_s` is any steady clock."""

    def __init__(self, remote: RemoteObjects, *, now_s: Callable[[], float] = monotonic) -> None:
        self._remote = remote
        self._now_s = now_s
        self._down_until_s: dict[int, float] = {}

    async def judge(
        self, bucket: BucketInfo, key: bytes, record: Record, *, strictly: bool = False
    ) -> Freshness:
        """Whether a record is what the source has now. `strictly`: without an answer it is an error.

        Raises ObjectNotFound if the source has it no more, and what a provider raises.
        """
        is_lenient = not strictly and bucket.properties.caching.serve_stale
        if is_lenient and self._now_s() < self._down_until_s.get(bucket.number, 0.0):
            return Freshness.UNKNOWN
        try:
            is_current = await self._remote.is_current(bucket, key, record)
        except (SourceUnreachable, SourceThrottled):
            if not is_lenient:
                raise
            if len(self._down_until_s) >= _BUCKETS_MAX:
                self._down_until_s.clear()
            self._down_until_s[bucket.number] = self._now_s() + DOWN_S
            return Freshness.UNKNOWN
        return Freshness.CURRENT if is_current else Freshness.OUTDATED
