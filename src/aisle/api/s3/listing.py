"""Listing a bucket's objects, versions 1 and 2 of the operation, and the versions of its objects.

Of an object only the last write is kept. A listing of versions shows it as the current one, without
an id (`null`), so that clients which remove versions one by one empty a bucket.

A page has at most 1,000 names and is made at once: reading and writing it takes a few milliseconds.
No state is held between pages. What continues a listing is the last name or common prefix of the page
before: as it is in version 1 and with versions of
objects, and in version 2 as a token that says which listing it belongs to.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final, NamedTuple

import xxhash

from aisle import telemetry
from aisle.api.cold import unverified
from aisle.api.gate import Action
from aisle.api.router import Meter
from aisle.api.s3.acls import owner_element, owner_id
from aisle.api.s3.call import Level, S3Call, S3Query
from aisle.api.s3.dispatch import Operation
from aisle.api.s3.errors import S3Error
from aisle.api.s3.listing_entries import (
    CONTENTS,
    CURRENT_VERSION,
    VERSION,
    Shape,
    Spelling,
    common_prefixes,
    contents,
)
from aisle.api.s3.xml import element, xml_answer
from aisle.errors import SourceThrottled, SourceUnreachable
from aisle.gateway.listing import Listing
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import BucketInfo
from aisle.model.names import OBJECT_NAME_BYTES_MAX
from aisle.storage.engine import Page

PAGE_KEYS_MAX: Final = 1000
"""Names on a page: the default, and what larger wishes are cut to."""

_TOKEN_FORMAT: Final = b"\x01"
_CHECK_BYTES: Final = 8
_INT_MAX: Final = 2**31 - 1


class Asked(NamedTuple):
    """What all the listings have in common."""

    prefix: bytes
    delimiter: bytes
    keys_max: int
    spelling: Spelling


GetPage = Callable[[BucketInfo, Asked, bytes], Page]
"""Gives the page of a bucket behind a name."""


class ListOperations:
    """Handlers of the listings of one bucket."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    def operations(self) -> list[Operation]:
        """Their rows of the table."""
        meter = Meter(telemetry.LIST_COUNT, telemetry.LIST_NS, telemetry.LIST_ERRORS)
        return [
            Operation("GET", Level.BUCKET, name, Action.LIST_OBJECTS, handler, meter)
            for name, handler in (("", self.list_objects), ("versions", self.list_versions))
        ]

    def list_objects(self, call: S3Call) -> Answer:
        """A page of the bucket's objects."""
        version = call.query.get("list-type", "1")
        if version not in ("1", "2"):
            raise _invalid("list-type", version)
        first, info = self._first if version == "1" else self._second, call.bucket()
        return first(call, info, self._page) if info.remote is None else self._elsewhere(call, info, first)

    def list_versions(self, call: S3Call) -> Answer:
        """A page of the versions of the bucket's objects: of each the one that there is."""
        info = call.bucket()
        if info.remote is None:
            return self._versions(call, info, self._page)
        return self._elsewhere(call, info, self._versions)

    async def _elsewhere(
        self, call: S3Call, info: BucketInfo, told: Callable[[S3Call, BucketInfo, GetPage], Response]
    ) -> Response:
        """A page of a bucket whose objects are elsewhere, fetched first."""
        wanted: list[tuple[Asked, bytes]] = []

        def note(_info: BucketInfo, asked: Asked, after: bytes) -> Page:
            wanted.append((asked, after))
            return Page([], more=False)

        told(call, info, note)
        asked, after = wanted[0]
        page = Page([], more=False)
        if asked.keys_max:
            try:
                page = await self._listing.names_of_source(
                    info, prefix=asked.prefix, after=after, limit=asked.keys_max, delimiter=asked.delimiter
                )
            except (SourceUnreachable, SourceThrottled):
                if not info.properties.caching.serve_stale:
                    raise
                return unverified(told(call, info, self._page))
        return told(call, info, lambda *_: page)

    def _versions(self, call: S3Call, info: BucketInfo, get_page: GetPage) -> Response:
        query = call.query
        asked, marker = _asked(query), query.get("key-marker", "")
        version = query.get("version-id-marker", "")
        _check_version_marker(version, marker)
        # Behind the only version of an object is the next object, with the second marker or without.
        page = get_page(info, asked, marker.encode())
        spell = asked.spelling.text
        told = [
            element("Name", call.name),
            element("Prefix", spell(query.get("prefix", ""))),
            element("KeyMarker", spell(marker)),
            element("VersionIdMarker", version),
            *_told(asked),
            element("IsTruncated", "true" if page.more else "false"),
        ]
        if page.more:
            last = page.entries[-1]
            told.append(element("NextKeyMarker", spell(last.key.decode())))
            if last.encoded is not None:  # a common prefix has no version
                told.append(element("NextVersionIdMarker", CURRENT_VERSION))
        owner = owner_element(owner_id(info))
        return _answer(told, page, asked, owner, root="ListVersionsResult", shape=VERSION)

    def _first(self, call: S3Call, info: BucketInfo, get_page: GetPage) -> Response:
        asked, marker = _asked(call.query), call.query.get("marker", "")
        page = get_page(info, asked, marker.encode())
        spell = asked.spelling.text
        told = [
            element("Name", call.name),
            element("Prefix", spell(call.query.get("prefix", ""))),
            element("Marker", spell(marker)),
            *_told(asked),
            element("IsTruncated", "true" if page.more else "false"),
        ]
        if page.more and asked.delimiter:
            # Without a delimiter the last key continues the listing, and Amazon says nothing else.
            told.append(element("NextMarker", spell(page.entries[-1].key.decode())))
        return _answer(told, page, asked, owner_element(owner_id(info)))

    def _second(self, call: S3Call, info: BucketInfo, get_page: GetPage) -> Response:
        query = call.query
        asked, start_after = _asked(query), query.get("start-after", "")
        token = query.get("continuation-token")
        after = start_after.encode() if token is None else _read_token(token, info, asked)
        page = get_page(info, asked, after)
        spell = asked.spelling.text
        told = [
            element("Name", call.name),
            element("Prefix", spell(query.get("prefix", ""))),
            *_told(asked),
            element("KeyCount", str(len(page.entries))),
            element("IsTruncated", "true" if page.more else "false"),
        ]
        if token is not None:
            told.append(element("ContinuationToken", token))
        if page.more:
            told.append(element("NextContinuationToken", _make_token(page.entries[-1].key, info, asked)))
        if start_after:
            told.append(element("StartAfter", spell(start_after)))
        owner = owner_element(owner_id(info)) if query.get("fetch-owner", "").lower() == "true" else ""
        return _answer(told, page, asked, owner)

    def _page(self, info: BucketInfo, asked: Asked, after: bytes) -> Page:
        if asked.keys_max == 0:
            return Page([], more=False)
        return self._listing.names(
            info, prefix=asked.prefix, after=after, limit=asked.keys_max, delimiter=asked.delimiter
        )


def _asked(query: S3Query) -> Asked:
    """What a query asks for. Raises S3Error InvalidArgument."""
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise S3Error(
            "InvalidArgument",
            "Invalid Encoding Method specified in Request",
            ArgumentName="encoding-type",
            ArgumentValue=encoding[:80],
        )
    wanted = query.get("max-keys") or str(PAGE_KEYS_MAX)
    if not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 10 and int(wanted) <= _INT_MAX):
        raise _invalid("max-keys", wanted)
    return Asked(
        query.get("prefix", "").encode(),
        query.get("delimiter", "").encode(),
        min(int(wanted), PAGE_KEYS_MAX),
        Spelling(is_url=bool(encoding)),
    )


def _check_version_marker(version: str, marker: str) -> None:
    """Raise S3Error InvalidArgument for a version that no page ends with; `marker` is its key."""
    if version and not marker:
        text = "A version-id marker cannot be specified without a key marker."
    elif version not in ("", CURRENT_VERSION):
        text = "Invalid version id specified"
    else:
        return
    raise S3Error("InvalidArgument", text, ArgumentName="version-id-marker", ArgumentValue=version[:80])


def _told(asked: Asked) -> list[str]:
    """What all the listings repeat of the request."""
    told = [element("MaxKeys", str(asked.keys_max))]
    if asked.delimiter:
        told.append(element("Delimiter", asked.spelling.text(asked.delimiter.decode())))
    if asked.spelling.is_url:
        told.append(element("EncodingType", "url"))
    return told


def _answer(
    told: list[str],
    page: Page,
    asked: Asked,
    owner: str,
    *,
    root: str = "ListBucketResult",
    shape: Shape = CONTENTS,
) -> Response:
    objects, collapsed = page.entries, []
    if asked.delimiter:
        objects = [entry for entry in page.entries if entry.encoded is not None]
        collapsed = [entry.key for entry in page.entries if entry.encoded is None]
    told += contents(objects, owner, asked.spelling, shape)
    told += common_prefixes(collapsed, asked.spelling)
    return xml_answer(root, told)


def _make_token(key: bytes, info: BucketInfo, asked: Asked) -> str:
    raw = _TOKEN_FORMAT + _check(key, info, asked) + key
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _read_token(token: str, info: BucketInfo, asked: Asked) -> bytes:
    """The key behind which a listing goes on. Raises S3Error for a token of another listing."""
    try:
        raw = urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
    except ValueError as error:
        raise _wrong_token() from error
    check, key = raw[1 : 1 + _CHECK_BYTES], raw[1 + _CHECK_BYTES :]
    if raw[:1] != _TOKEN_FORMAT or len(key) > OBJECT_NAME_BYTES_MAX or check != _check(key, info, asked):
        raise _wrong_token()
    return key


def _check(key: bytes, info: BucketInfo, asked: Asked) -> bytes:
    """What a token proves: nothing secret, but that it comes from a page of the same listing."""
    uname = info.bucket.uname.encode()
    parts = (uname, asked.prefix, asked.delimiter, key)
    return xxhash.xxh3_64_digest(b"".join(b"%d:%b" % (len(part), part) for part in parts))


def _wrong_token() -> S3Error:
    return S3Error(
        "InvalidArgument",
        "The continuation token provided is incorrect",
        ArgumentName="continuation-token",
    )


def _invalid(name: str, value: str) -> S3Error:
    text = (
        "Provided max-keys not an integer or within integer range"
        if name == "max-keys"
        else f"Invalid {name}: {value[:80]}"
    )
    return S3Error("InvalidArgument", text, ArgumentName=name, ArgumentValue=value[:80])
