"""Pages of a remote bucket's objects: what its source lists, merged with what is here.

A page is made of pages of the source, in their order; its token holds the source's own, so it goes on
exactly where it ended. Of an object that is here, what is kept is shown; of any other, what the source
tells. What is here and not at its source any more is shown only by listings that compare both.
"""

import asyncio
from collections.abc import Awaitable, Iterator
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import msgspec

from aisle.backends.provider import BackendProvider, RemoteObject, RemotePage
from aisle.errors import BadRequest
from aisle.gateway.read_ahead import Ask, Question, ReadAhead
from aisle.model.bucket import BucketInfo
from aisle.model.record import Attributes, Listed, decode_listed
from aisle.rules.remote_metadata import attributes_of, is_same
from aisle.storage.engine import Entry, StorageEngine

SOURCE_PAGE_MAX: Final = 1_000
"""How many names a source is asked for at once: what S3 gives at most."""
ABSENT: Final = 0
PRESENT: Final = 64
VERSION_CHANGED: Final = 1_024
VERSION_REMOVED: Final = 2_048
"""Flags of entries: only at their source, here, here in another version, and here only."""

_encode = msgspec.msgpack.Encoder().encode
_NO_ATTRIBUTES: Final = Attributes()


class RemotePart(NamedTuple):
    """Entries in byte order; `token` goes on behind them, empty at the end. `flags` are those by name."""

    entries: list[Entry]
    token: str
    flags: dict[bytes, int]


SIZES, TAGS, ALL = range(3)
"""How much of an object that is not here entries tell: its size; what S3 lists; all there is."""


class Wanted(NamedTuple):
    """What a listing asks for."""

    prefix: str = ""
    token: str = ""
    after: str = ""
    delimiter: str = ""
    limit: int = SOURCE_PAGE_MAX
    only_absent: bool = False
    """Leaves out what is here."""
    compares: bool = False
    """Marks what is here in another version, and shows what is here only."""
    detail: int = ALL
    goes_on_by_name: bool = False
    """The next page will be asked for by the last name of this one, not by its token."""


class RemoteListing:
    """Lists remote buckets."""

    def __init__(self, engine: StorageEngine) -> None:
        self._engine = engine
        self._ahead = ReadAhead()

    def forget_ahead(self, bucket: BucketInfo) -> None:
        """Something in a bucket has changed: what was asked for ahead is out of date."""
        self._ahead.forget(bucket.number)

    async def part(self, bucket: BucketInfo, provider: BackendProvider, wanted: Wanted) -> RemotePart:
        """A page of at most `limit` entries, or few more. Raises BadRequest, and what a provider raises."""
        remote = bucket.remote
        assert remote is not None
        entries: list[Entry] = []
        flags: dict[bytes, int] = {}
        token, behind = _read_token(wanted.token)
        behind = behind if token else wanted.after
        after = wanted.after
        limit = _limit(wanted, 0)
        question = Question(bucket.number, wanted.prefix, token, after, limit, wanted.delimiter)
        while True:
            page = await self._ahead.page(question, _asking(remote.name, provider, question))
            last = _last(page)
            found = len(entries) + len(page.objects) + len(page.prefixes)
            if page.token and (found < wanted.limit or wanted.token or wanted.after):
                # The source makes the next page while this one is told.
                limit = _limit(wanted, 0 if found >= wanted.limit else found)
                question = question._replace(token=page.token, after="", limit=limit)
                asking = _asking(remote.name, provider, question)
                if found >= wanted.limit and wanted.goes_on_by_name:
                    question = question._replace(token="", after=last)
                self._ahead.begin(question, asking)
            here = await self._here(bucket, wanted, behind, last if page.token else "")
            for entry, flag in _merged(page, here, remote.provider, wanted):
                if wanted.only_absent and flag & PRESENT:
                    continue
                entries.append(entry)
                flags[entry.key] = flag
            token, behind = page.token, last or behind
            if not token or len(entries) >= wanted.limit:
                return RemotePart(entries, _make_token(token, behind), flags)
            limit = _limit(wanted, len(entries))
            question = question._replace(token=token, after="", limit=limit)

    async def _here(self, bucket: BucketInfo, wanted: Wanted, behind: str, last: str) -> dict[bytes, bytes]:
        """The records of what is here behind one name and up to another, or the end if that is empty."""
        found: dict[bytes, bytes] = {}
        after, end = behind.encode(), last.encode()
        while bucket.number:
            scanned = self._engine.scan(
                bucket.number,
                prefix=wanted.prefix.encode(),
                after=after,
                limit=SOURCE_PAGE_MAX,
                delimiter=wanted.delimiter.encode(),
            )
            for key, encoded in scanned.entries:
                if end and key > end:
                    return found
                if encoded is not None:
                    found[key] = encoded
            if not scanned.more:
                break
            after = scanned.entries[-1].key
            await asyncio.sleep(0)
        return found


def _limit(wanted: Wanted, found: int) -> int:
    return min(SOURCE_PAGE_MAX, max(1, wanted.limit - found))


def _asking(name: str, provider: BackendProvider, question: Question) -> Ask:
    """What asks for a page."""

    def ask() -> Awaitable[RemotePage]:
        return provider.list_objects(
            name,
            prefix=question.prefix,
            token=question.token,
            after=question.after,
            limit=question.limit,
            delimiter=question.delimiter,
        )

    return ask


def _last(page: RemotePage) -> str:
    """The last name of a page, be it an object's or a common prefix; empty if it has none."""
    names = [*(about.key for about in page.objects[-1:]), *page.prefixes[-1:]]
    return max(names, key=str.encode, default="")


def _make_token(token: str, behind: str) -> str:
    return f"{quote(behind, safe='')}|{token}" if token else ""


def _read_token(text: str) -> tuple[str, str]:
    """The source's token, and the name behind which it goes on. Raises BadRequest."""
    if not text:
        return "", ""
    behind, separator, token = text.partition("|")
    if not separator or not token:
        raise BadRequest(f'invalid continuation token "{text[:80]}"')
    return token, unquote(behind)


def _merged(
    page: RemotePage, here: dict[bytes, bytes], provider: str, wanted: Wanted
) -> Iterator[tuple[Entry, int]]:
    """Objects and common prefixes of a page in byte order, with their flags."""
    told: list[tuple[bytes, RemoteObject | None]] = [(about.key.encode(), about) for about in page.objects]
    told += [(prefix.encode(), None) for prefix in page.prefixes]
    removed: set[bytes] = set()
    detail, compares = wanted.detail, wanted.compares
    if compares:
        removed = here.keys() - {key for key, _ in told}
        told += [(key, None) for key in removed]
    if page.prefixes or removed:
        told.sort(key=lambda item: item[0])
    for key, about in told:
        encoded = here.get(key)
        if about is None:
            yield Entry(key, encoded if key in removed else None), _removed(key in removed)
        elif encoded is None:
            yield Entry(key, _as_listed(about, provider, detail)), ABSENT
        else:
            flag = PRESENT
            if compares:
                listed = decode_listed(encoded)
                if not is_same(listed.attributes, listed.size, about):
                    flag |= VERSION_CHANGED
            yield Entry(key, encoded), flag


def _removed(is_removed: bool) -> int:
    return PRESENT | VERSION_REMOVED if is_removed else ABSENT


def _as_listed(about: RemoteObject, provider: str, detail: int) -> bytes:
    """What listings decode, of an object that is not here."""
    if detail == SIZES:
        return _encode(Listed(about.size, about.modified_ns, _NO_ATTRIBUTES))
    if detail == TAGS:
        md5 = about.digests.get("md5")
        # What `attributes_of` keeps of a source's tag and time, without all that S3 does not list.
        told = Attributes(digests={"md5": md5}) if md5 == about.etag else Attributes(etag=about.etag)
        return _encode(Listed(about.size, about.modified_ns, told))
    return _encode(Listed(about.size, about.modified_ns, attributes_of(about, provider, {})))
