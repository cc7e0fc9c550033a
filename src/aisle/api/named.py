"""Which bucket a native path names, for the gate: found before the handler of the path is called.

What a path element and a query mean is remembered as they stand on the wire, until any bucket changes.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final

from aisle.api.gate import Action, authorize, permits
from aisle.api.urls import decode_path, parse_query
from aisle.errors import BucketNotFound, Denied
from aisle.gateway.buckets import Buckets
from aisle.model.bucket import BucketInfo
from aisle.model.names import Bucket, parse_bucket
from aisle.model.principal import Principal

_REMEMBERED_MAX: Final = 1024
_QUERY_BYTES_MAX: Final = 128


class NamedBuckets:
    """Finds the bucket that a path element and a query name."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._snapshot: Callable[[], Mapping[str, object]] = buckets.snapshot
        self._seen: Mapping[str, object] = {}
        self._known: dict[tuple[bytes, bytes], BucketInfo] = {}

    def find(self, element: bytes, query: bytes) -> BucketInfo:
        """The bucket. Raises BucketNotFound, InvalidName, InvalidProvider."""
        seen = self._snapshot()
        if seen is not self._seen:
            self._known.clear()
            self._seen = seen
        found = self._known.get((element, query))
        if found is None:
            found = self._buckets.find(named_bucket(element, query))
            if len(query) <= _QUERY_BYTES_MAX:
                if len(self._known) >= _REMEMBERED_MAX:
                    self._known.clear()
                self._known[element, query] = found
        return found

    def look_up(self, element: bytes, query: bytes) -> BucketInfo | None:
        """The bucket, or None if there is no such. Raises InvalidName, InvalidProvider."""
        try:
            return self.find(element, query)
        except BucketNotFound:
            return None


def named_bucket(element: bytes, query: bytes) -> Bucket:
    """The bucket of a path element and the query's provider and namespace.

    Raises InvalidName, InvalidProvider.
    """
    parameters = parse_query(query)
    name = decode_path(element).decode("utf-8", "replace")
    return parse_bucket(name, parameters.get("provider", ""), parameters.get("namespace", ""))


def authorize_creation(caller: Principal, bucket: Bucket, namesakes: Iterable[BucketInfo]) -> None:
    """Raise Denied unless the caller may make a bucket of that name.

    `namesakes` are the buckets that have it under any provider and namespace. S3 clients know names only:
    who could make another bucket of a name would get what is meant for that one, or keep it from being found.
    """
    authorize(caller, Action.CREATE_BUCKET)
    if permits(caller, Action.ADMIN):
        return
    if any(info.bucket != bucket for info in namesakes):
        raise Denied(
            f"{bucket.cname}: a bucket of that name exists under another provider or namespace, and S3 "
            "clients would take one for the other: choose another name, or ask an administrator to create it"
        )


@lru_cache(maxsize=1024)
def bucket_place(path: str) -> int:
    """Where in a path's elements `{bucket}` stands in a route's path; 0 if it names none."""
    elements = path.split("/")
    return elements.index("{bucket}") if "{bucket}" in elements else 0
