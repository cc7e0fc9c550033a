"""Which object a native URL means: `/v1/objects/BUCKET/OBJECT?provider=…&namespace=…`.

Clients send the same few (bucket, query) pairs over and over, so what they mean is remembered as
they stand on the wire, until any bucket changes.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, NoReturn

from aisle.api.router import ELEMENTS_MAX, Elements
from aisle.api.urls import Query, decode_path, is_true, parse_query
from aisle.errors import BadRequest, InvalidName, Unsupported
from aisle.gateway.buckets import Buckets
from aisle.httpd.request import Request
from aisle.httpd.response import Answer
from aisle.model.bucket import BucketInfo
from aisle.model.names import OBJECT_NAME_BYTES_MAX, Bucket, parse_bucket, parse_object_key

_REMEMBERED_MAX: Final = 1024
_QUERY_BYTES_MAX: Final = 128
"""Longer queries are not remembered: they carry values that differ from request to request."""

_VARIANTS: Final = {
    "etl_name": "transformation on the way",
    "etl_pipeline": "transformation on the way",
    "archpath": "work inside archives",
    "archmode": "work inside archives",
    "append_type": "appending",
    "object_to": "copying objects",
    "uploadId": "multipart upload",
}
"""Parameters that change what a verb reads or writes (§2); empty ones count as absent, as the SDK sends
`archpath=` beside `archregx=x`. `archregx` means something only beside `archmode`, be that empty. Whatever
else is asked for, what is not transformed must not pass for what is: so these come first."""

_ALONE: Final = frozenset({"archpath", "append_type", "object_to", "uploadId"})
"""Variants that exclude each other: all but one would be left undone without a word."""

REMOTE: Final = "remote"
"""Stands as the variant of all plain verbs on buckets that have a remote one behind them."""

_WRITES_THROUGH: Final = frozenset({REMOTE, "append_type", "object_to", "uploadId"})
"""Variants whose writes reach the source of a remote bucket; others would write here only."""

LATEST: Final = "latest-ver"
"""The parameter with which a read asks for what the source has now (§2)."""
VALIDATE: Final = "validate-checksum"
"""The parameter with which a GET asks to be verified as if the bucket had `validate_warm_get` (§2)."""


class Address(NamedTuple):
    """What a bucket element and a query mean."""

    bucket: BucketInfo
    query: Query
    variant: str = ""
    """The parameter that makes this another request than the plain verb; empty for nearly all."""
    is_careful: bool = False
    """Whether a read compares or computes checksums: the bucket's properties or the query ask for it."""
    wants_latest: bool = False
    """Whether a read asks the source first: the bucket's properties or the query ask for it."""


Variant = Callable[[Request, bytes, Address], Answer]
"""Handles one verb with one such parameter; called with the request, the object's name, the address."""
Variants = Mapping[tuple[str, str], Variant]
"""Variants that are built, by method and parameter."""


class Addresses:
    """Finds the bucket of a URL."""

    def __init__(self, buckets: Buckets) -> None:
        self._buckets = buckets
        self._snapshot: Callable[[], Mapping[str, object]] = buckets.snapshot
        self._seen: Mapping[str, object] = {}
        self._known: dict[tuple[bytes, bytes], Address] = {}

    def find(self, elements: Elements, query: bytes) -> Address:
        """The bucket that the third element and the query name, and whether the plain verb is meant.

        Raises BucketNotFound, InvalidName, InvalidProvider, BadRequest.
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
        variant = variant_of(query)
        if variant in _ALONE:
            _refuse_contradictions(query)
        if not variant and info.remote is not None:
            variant = REMOTE
        checksum = info.properties.checksum
        careful = checksum.validate_warm_get or checksum.enable_read_range
        latest = info.properties.versioning.validate_warm_get or is_true(query.get(LATEST, ""))
        address = Address(info, query, variant, careful or is_true(query.get(VALIDATE, "")), latest)
        if len(raw) <= _QUERY_BYTES_MAX:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            self._known[element, raw] = address
        return address


def variant_of(query: Query) -> str:
    """The parameter that makes a request another one than the plain verb; empty for nearly all."""
    variant = next((name for name in _VARIANTS if query.get(name)), "")
    if not variant and "archmode" in query and query.get("archregx"):
        variant = "archmode"
    return variant


def _refuse_contradictions(query: Query) -> None:
    """Raise BadRequest for variants that exclude each other."""
    found = [name for name in _VARIANTS if name in _ALONE and query.get(name)]
    if len(found) > 1:
        raise BadRequest(f"{found[0]} and {found[1]} exclude each other")


def vary(variants: Variants, request: Request, key: bytes, address: Address) -> Answer:
    """The answer to a request that is no plain verb. Raises Unsupported for what is not built."""
    handler = variants.get((request.method, address.variant))
    if handler is None:
        refuse(address)
    is_written = request.method != "GET" and address.variant not in _WRITES_THROUGH
    if is_written and address.bucket.remote is not None:
        refuse(address)
    return handler(request, key, address)


def refuse(address: Address) -> NoReturn:
    """Raise Unsupported for a variant that is not built."""
    name, where = address.variant, address.bucket.bucket.cname
    if name == REMOTE:
        raise Unsupported(f"{where}: this is not built for remote buckets")
    of_remote = " for remote buckets" if address.bucket.remote is not None else ""
    raise Unsupported(f"{where}: {_VARIANTS[name]} ({name}) is not built{of_remote}")


def bucket_of(element: bytes, query: Query) -> Bucket:
    """The bucket that a path element and a query name. Raises InvalidName, InvalidProvider."""
    name = decode_path(element).decode("utf-8", "replace")
    return parse_bucket(name, query.get("provider", ""), query.get("namespace", ""))


def object_key(elements: Elements) -> bytes:
    """The object's name that a path ends with. Raises InvalidName, BadRequest."""
    raw = elements[4] if len(elements) == ELEMENTS_MAX + 1 else b""
    if raw.isascii() and 0 < len(raw) <= OBJECT_NAME_BYTES_MAX and b"%" not in raw:
        return raw
    if not raw:
        path = b"/".join(elements[1:4]).decode("latin-1")
        raise InvalidName(f"URL '{path}' is too short: expected 4 items, got {len(elements) - 1}")
    return parse_object_key(decode_path(raw) if b"%" in raw else raw)
