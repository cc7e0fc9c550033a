"""Listing a bucket's objects, page by page.

A listing holds no state between pages: its token is the last name of the page before. It reads in
slices and lets other requests pass between them, so that a page of ten thousand names does not stop
the event loop for the time it takes. What an entry shows is the dialect's affair: entries leave here
as storage keeps them.
"""

import asyncio
import secrets
from typing import Final, NamedTuple

import msgspec

from aisle.errors import BadRequest, Unsupported
from aisle.model.bucket import BucketInfo
from aisle.storage.engine import Entry, Page, StorageEngine

PAGE_ENTRIES_MAX: Final = 10_000
"""AIStore's page size for its own buckets: the default, and what larger wishes are cut to."""
SLICE_ENTRIES: Final = 1_000
"""How many entries are read before other requests get their turn: about 2 ms."""

CACHED, NAME_ONLY, NAME_SIZE, NO_RECURSION = 1, 16, 32, 2048
"""Flags of a listing (ais-native-api.md §5.1)."""
ARCHIVES: Final = 8
"""Flag of a listing that looks inside archives; not for `Listing` itself."""
_INVENTORY: Final = 32_768
_REMOTE_ONLY = 512 | 4096  # not cached, diff

_KNOWN_PROPERTIES: Final = frozenset(
    {"name", "size", "version", "checksum", "atime", "cached", "status", "copies", "ec", "custom"}
    | {"location", "chunked", "last-modified", "etag"}
)


class ListRequest(msgspec.Struct, frozen=True):
    """The value of a `list` action, as AIStore's LsoMsg; `flags` is a decimal string on the wire."""

    uuid: str = ""
    props: str = ""
    prefix: str = ""
    start_after: str = ""
    continuation_token: str = ""
    target: str = ""
    flags: int = 0
    pagesize: int = 0


class ListedPage(NamedTuple):
    """A page of entries in byte order; `token` continues the listing and is empty at its end."""

    uuid: str
    token: str
    entries: list[Entry]


def shown_properties(request: ListRequest) -> frozenset[str]:
    """Which properties entries show beside name and flags, by the rules of ais-native-api.md §5.1."""
    if request.flags & NAME_ONLY:
        return frozenset()
    if request.flags & NAME_SIZE:
        return frozenset({"size"})
    if not request.props:
        return frozenset({"size", "checksum", "atime"} if request.flags & CACHED else {"size"})
    asked = {name.strip() for name in request.props.split(",")}
    # Names that are no properties are ignored, as AIStore does; the flags tell cached and status.
    return frozenset(asked & _KNOWN_PROPERTIES) - {"name", "cached", "status"}


class Listing:
    """Pages of the buckets' objects."""

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine

    async def page(self, bucket: BucketInfo, request: ListRequest) -> ListedPage:
        """The page that a request asks for.

        Raises BadRequest for flags that only remote buckets have, and Unsupported for those that are
        not built.
        """
        _check(bucket, request)
        prefix = request.prefix.rstrip("*").encode()
        after = max(request.continuation_token, request.start_after, key=str.encode).encode()
        delimiter = b"/" if request.flags & NO_RECURSION else b""
        wanted = request.pagesize if 0 < request.pagesize <= PAGE_ENTRIES_MAX else PAGE_ENTRIES_MAX
        entries: list[Entry] = []
        while True:
            page = self._engine.scan(
                bucket.number,
                prefix=prefix,
                after=after,
                limit=min(SLICE_ENTRIES, wanted - len(entries)),
                delimiter=delimiter,
            )
            entries += page.entries
            if not page.more or len(entries) >= wanted:
                break
            after = entries[-1].key
            await asyncio.sleep(0)
        token = entries[-1].key.decode() if page.more else ""
        return ListedPage(request.uuid or new_listing_id(), token, entries)

    def names(self, bucket: BucketInfo, *, prefix: bytes, after: bytes, limit: int, delimiter: bytes) -> Page:
        """At most `limit` entries behind `after`, read at once: for pages of about SLICE_ENTRIES.

        Names that hold the delimiter behind the prefix collapse to common prefixes, of any length.
        """
        return self._engine.scan(bucket.number, prefix=prefix, after=after, limit=limit, delimiter=delimiter)


def new_listing_id() -> str:
    """An id for a listing in AIStore's form: nine or more letters and digits."""
    return secrets.token_hex(5)


def _check(bucket: BucketInfo, request: ListRequest) -> None:
    if request.flags & _REMOTE_ONLY:
        raise BadRequest(
            f"{bucket.bucket.cname}: listing what is not cached or differs needs a remote bucket"
        )
    if request.flags & _INVENTORY:
        raise Unsupported(f"{bucket.bucket.cname}: listing by inventory is not built")
    if request.flags & ARCHIVES:
        raise Unsupported(f"{bucket.bucket.cname}: listing inside archives is not built")
