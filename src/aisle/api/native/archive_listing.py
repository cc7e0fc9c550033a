"""Listings that look inside archives (ais-native-api.md §5.5).

An archive is followed by its members, whose names begin with its own. Which objects are archives, their
names tell; one that cannot be read, or of a remote bucket is not here, stands there as the object that it
is. A token is the last object's name, as pages may end where none of the bucket's own does; between two
members it holds the number of the next one too.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from aisle.errors import AisleError
from aisle.gateway.listing import ARCHIVES, PAGE_ENTRIES_MAX, ListedPage, Listing, ListRequest, new_listing_id
from aisle.gateway.remote_listing import PRESENT
from aisle.model.bucket import BucketInfo
from aisle.model.record import Attributes, Listed
from aisle.rules.archives import is_archive_name
from aisle.storage.engine import Entry
from aisle.target.archive_reading import Member
from aisle.target.archives import Archives

INSIDE_ARCHIVE: Final = 128
"""Entry flag of a member of an archive."""
IS_ARCHIVE: Final = 512
"""Entry flag of an archive whose members follow."""

_BETWEEN: Final = "\0"
_encode = msgspec.msgpack.Encoder().encode


class ArchivedPage(NamedTuple):
    """A page, and the flags of those of its entries that are archives or members."""

    page: ListedPage
    marks: Mapping[bytes, int]


class ArchiveListing:
    """Pages of objects and of what is in those that are archives."""

    def __init__(self, listing: Listing, archives: Archives) -> None:
        self._listing = listing
        self._archives = archives

    async def page(self, bucket: BucketInfo, request: ListRequest) -> ArchivedPage:
        """The page that a request asks for. Raises BadRequest, Unsupported as `Listing.page` does."""
        wanted = request.pagesize if 0 < request.pagesize <= PAGE_ENTRIES_MAX else PAGE_ENTRIES_MAX
        plain = msgspec.structs.replace(request, flags=request.flags & ~ARCHIVES)
        filling, has_more = _Filling(wanted), True
        last, number = _position(request.continuation_token)
        if number is not None:
            filling.last = last.encode()
            filling.add_members(await self._members(bucket, filling.last), number)
        behind = max(last, request.start_after, key=str.encode)
        plain = msgspec.structs.replace(plain, start_after=behind, continuation_token="")
        while has_more and not filling.is_full():
            left = wanted - len(filling.entries)
            page = await self._listing.page(bucket, msgspec.structs.replace(plain, pagesize=left))
            plain = msgspec.structs.replace(plain, uuid=page.uuid, continuation_token=page.token)
            has_more = bool(page.token)
            for count, entry in enumerate(page.entries, start=1):
                filling.add(entry, page.flags)
                if entry.encoded is not None and is_archive_name(entry.key):
                    filling.add_members(await self._members(bucket, entry.key), 0)
                if filling.is_full():
                    has_more = has_more or count < len(page.entries)
                    break
        token = filling.inside or (filling.last.decode() if has_more else "")
        uuid = plain.uuid or new_listing_id()
        return ArchivedPage(ListedPage(uuid, token, filling.entries, filling.flags()), filling.marks)

    async def _members(self, bucket: BucketInfo, key: bytes) -> Sequence[Member] | None:
        """What is in an archive, in the order of names; None if it cannot be read, or is gone by now."""
        try:
            archive = await self._archives.open(bucket, key)
        except AisleError:
            return None
        try:
            return await archive.in_order()
        finally:
            archive.close()


class _Filling:
    """A page that is being filled."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self.entries: list[Entry] = []
        self.marks: dict[bytes, int] = {}
        self.last = b""
        """The object that was added last, or whose members were."""
        self.inside = ""
        """The token, where the page ends between two members."""
        self._told: dict[bytes, int] = {}

    def is_full(self) -> bool:
        """Whether nothing more fits."""
        return bool(self.inside) or len(self.entries) >= self._wanted

    def flags(self) -> Mapping[bytes, int] | None:
        """Flags of all entries, where not all of them are here."""
        if not self._told:
            return None
        marks, told = self.marks, self._told
        return {key: told.get(key, PRESENT) | marks.get(key, 0) for key, _ in self.entries}

    def add(self, entry: Entry, flags: Mapping[bytes, int] | None) -> None:
        """An object, or a common prefix; with the flags of its page, where it has any."""
        self.entries.append(entry)
        self.last = entry.key
        if flags is not None:
            self._told[entry.key] = flags[entry.key]

    def add_members(self, members: Sequence[Member] | None, start: int) -> None:
        """What is in the last object, from one member on, as far as it fits; None if that is no archive."""
        if members is None:
            return
        if not start:
            self.marks[self.last] = IS_ARCHIVE
        room = self._wanted - len(self.entries)
        for member in members[start : start + room]:
            key = self.last + b"/" + member.name.encode()
            self.entries.append(Entry(key, _encode(Listed(member.size, 0, Attributes()))))
            self.marks[key] = INSIDE_ARCHIVE
        if start + room < len(members):
            self.inside = f"{self.last.decode()}{_BETWEEN}{start + room}"


def _position(token: str) -> tuple[str, int | None]:
    """The name behind which a page begins, and the number of the first member, where that is inside it."""
    archive, between, number = token.rpartition(_BETWEEN)
    return (archive, int(number)) if between and number.isdecimal() and len(number) < 10 else (token, None)
