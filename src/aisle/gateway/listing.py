"""Listing a bucket's objects, page by page.

A listing holds no state between pages: its token is the last name of the page before. It reads in
slices and lets other requests pass between them, so that a page of ten thousand names does not stop
the event loop for the time it takes. What an entry shows is the dialect's affair: entries leave here
as storage keeps them.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from aisle.backends.provider import BackendProvider
from aisle.errors import BadRequest, SourceThrottled, SourceUnreachable, Unsupported
from aisle.gateway.remote_listing import ALL, SIZES, TAGS, RemoteListing, Wanted
from aisle.model.bucket import BucketInfo
from aisle.storage.engine import Entry, Page, StorageEngine

PAGE_ENTRIES_MAX: Final = 10_000
"""AIStore's page size for its own buckets: the default, and what larger wishes are cut to."""
SLICE_ENTRIES: Final = 1_000
"""How many entries are read before other requests get their turn: about 2 ms."""

ProviderOf = Callable[[BucketInfo], BackendProvider]

CACHED, NAME_ONLY, NAME_SIZE, NO_RECURSION = 1, 16, 32, 2048
"""Flags of a listing (ais-native-api.md §5.1)."""
ARCHIVES: Final = 8
"""Flag of a listing that looks inside archives; not for `Listing` itself."""
KNOWN_BUCKET, UNASKED_BUCKET, UNKEPT_BUCKET = 64, 128, 256
"""Flags of a listing of a remote bucket: only if it is known here; not asked for first; not to be kept."""
_INVENTORY: Final = 32_768
NOT_CACHED, DIFFERENT = 512, 4096
_REMOTE_ONLY = NOT_CACHED | DIFFERENT
_SIZE_ONLY: Final = frozenset({"size"})

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
    flags: Mapping[bytes, int] | None = None
    """Flags of each entry by name, where not all of them are here."""


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

    def __init__(self, engine: StorageEngine, *, provider_of: ProviderOf | None = None) -> None:
        """`provider_of` gives the provider of a bucket that has a remote one behind it."""
        self._engine = engine
        self._provider_of = provider_of
        self._remote = RemoteListing(engine)

    async def page(self, bucket: BucketInfo, request: ListRequest) -> ListedPage:
        """The page that a request asks for.

        Raises BadRequest for flags that only remote buckets have, and Unsupported for those that are
        not built.
        """
        _check(bucket, request)
        if self._provider_of is not None and bucket.remote is not None and not request.flags & CACHED:
            return await self._page_of_source(bucket, request, self._provider_of(bucket))
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

    async def page_or_kept(self, bucket: BucketInfo, request: ListRequest) -> tuple[ListedPage, bool]:
        """A page; and whether it shows only what is here, because the source does not answer.

        The latter only where the bucket allows it. Raises as `page` does.
        """
        allowed = bucket.properties.caching.serve_stale and not request.flags & (_REMOTE_ONLY | CACHED)
        # Tokens of pages of a source have this sign, those of what is here do not.
        begins_or_goes_on_here = "|" not in request.continuation_token
        if not (allowed and bucket.remote is not None and begins_or_goes_on_here):
            return await self.page(bucket, request), False
        if not request.continuation_token:
            with suppress(SourceUnreachable, SourceThrottled):
                return await self.page(bucket, request), False
        behind = unquote(request.continuation_token)
        kept = msgspec.structs.replace(request, flags=request.flags | CACHED, continuation_token=behind)
        page = await self.page(bucket, kept)
        return page._replace(token=quote(page.token, safe="")), True

    async def _page_of_source(
        self, bucket: BucketInfo, request: ListRequest, provider: BackendProvider
    ) -> ListedPage:
        """What the source lists, and what of it is here."""
        pagesize, flags = request.pagesize, request.flags
        wanted = Wanted(
            request.prefix.rstrip("*"),
            request.continuation_token,
            request.start_after,
            "/" if flags & NO_RECURSION else "",
            pagesize if 0 < pagesize <= PAGE_ENTRIES_MAX else PAGE_ENTRIES_MAX,
            only_absent=bool(flags & NOT_CACHED),
            compares=bool(flags & DIFFERENT),
            detail=SIZES if shown_properties(request) <= _SIZE_ONLY else ALL,
        )
        part = await self._remote.part(bucket, provider, wanted)
        return ListedPage(request.uuid or new_listing_id(), part.token, part.entries, part.flags)

    def forget_ahead(self, bucket: BucketInfo) -> None:
        """Something in a bucket with a remote one behind it has changed."""
        self._remote.forget_ahead(bucket)

    async def names_of_source(
        self, bucket: BucketInfo, *, prefix: bytes, after: bytes, limit: int, delimiter: bytes
    ) -> Page:
        """As `names`, of a bucket that has a remote one behind it. Raises what a provider raises."""
        assert self._provider_of is not None
        wanted = Wanted(
            prefix.decode(),
            "",
            after.decode(),
            delimiter.decode(),
            limit,
            detail=TAGS,
            goes_on_by_name=True,
        )
        part = await self._remote.part(bucket, self._provider_of(bucket), wanted)
        return Page(part.entries, more=bool(part.token))

    def names(self, bucket: BucketInfo, *, prefix: bytes, after: bytes, limit: int, delimiter: bytes) -> Page:
        """At most `limit` entries behind `after`, read at once: for pages of about SLICE_ENTRIES.

        Names that hold the delimiter behind the prefix collapse to common prefixes, of any length.
        """
        return self._engine.scan(bucket.number, prefix=prefix, after=after, limit=limit, delimiter=delimiter)


def new_listing_id() -> str:
    """An id for a listing in AIStore's form: nine or more letters and digits."""
    return secrets.token_hex(5)


def _check(bucket: BucketInfo, request: ListRequest) -> None:
    if request.flags & _REMOTE_ONLY and bucket.remote is None:
        raise BadRequest(
            f"{bucket.bucket.cname}: listing what is not cached or differs needs a remote bucket"
        )
    if request.flags & _INVENTORY:
        raise Unsupported(f"{bucket.bucket.cname}: listing by inventory is not built")
    if request.flags & ARCHIVES:
        raise Unsupported(f"{bucket.bucket.cname}: listing inside archives is not built")
