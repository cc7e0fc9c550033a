"""Which object a native URL means: `/v1/objects/BUCKET/OBJECT?provider=…&namespace=…`.

Clients send the same few (bucket, query) pairs over and over, so what they mean is remembered as
they stand on the wire, until any bucket changes.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aisle.api.router import Elements
from aisle.api.urls import Query, decode_path, parse_query
from aisle.errors import InvalidName, Unsupported
from aisle.gateway.buckets import Buckets
from aisle.model.bucket import BucketInfo
from aisle.model.names import Bucket, parse_bucket

_REMEMBERED_MAX: Final = 1024
_QUERY_BYTES_MAX: Final = 128
"""Longer queries are not remembered: they carry values that differ from request to request."""

_NOT_BUILT: Final = {
    "archpath": "reading inside archives",
    "archregx": "reading inside archives",
    "archmode": "reading inside archives",
    "etl_name": "transformation on the way",
    "etl_pipeline": "transformation on the way",
    "append_type": "appending",
    "object_to": "copying objects",
    "uploadId": "multipart upload",
}
"""Parameters that would change what is read or written, and are not built (§2); empty ones count
as absent, as the SDK sends `archpath=` beside `archregx=x`."""


class Address(NamedTuple):
    """What a bucket element and a query mean."""

    bucket: BucketInfo
    query: Query


class Addresses:
    """Finds the bucket of a URL."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._snapshot: Callable[[], Mapping[str, object]] = buckets.snapshot
        self._seen: Mapping[str, object] = {}
        self._known: dict[tuple[bytes, bytes], Address] = {}

    def find(self, elements: Elements, query: bytes) -> Address:
        """The bucket that the third element and the query name, for a plain read or write of an object.

        Raises BucketNotFound, InvalidName, InvalidProvider, and Unsupported for a query that asks for
        more than the object's bytes and is not built.
        """
        seen = self._snapshot()
        if seen is not self._seen:
            self._known.clear()
            self._seen = seen
        address = self._known.get((elements[3], query))
        return address or self._learn(elements[3], query)

    def _learn(self, element: bytes, raw: bytes) -> Address:
        query = parse_query(raw)
        info = self._buckets.find(bucket_of(element, query))
        for name, what in _NOT_BUILT.items():
            if query.get(name):
                raise Unsupported(f"{info.bucket.cname}: {what} ({name}) is not built")
        address = Address(info, query)
        if len(raw) <= _QUERY_BYTES_MAX:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            self._known[element, raw] = address
        return address


def bucket_of(element: bytes, query: Query) -> Bucket:
    """The bucket that a path element and a query name. Raises InvalidName, InvalidProvider."""
    name = decode_path(element).decode("utf-8", "replace")
    return parse_bucket(name, query.get("provider", ""), query.get("namespace", ""))


def object_key(elements: Elements) -> bytes:
    """The raw object name of a path. Raises InvalidName where the path ends before it."""
    if len(elements) < 5 or not elements[4]:
        path = b"/".join(elements[1:4]).decode("latin-1")
        raise InvalidName(f"URL '{path}' is too short: expected 4 items, got {len(elements) - 1}")
    return elements[4]
