"""A remote bucket as it will be once all delayed changes have reached its source.

Whatever asks a source about a bucket with a queue asks through this: what was removed here is not there,
and a listing has the objects that the source does not have yet.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from aisle.backends.forwarding import Forwarding
from aisle.backends.provider import (
    BackendProvider,
    RemoteObject,
    RemotePage,
    RemoteRead,
)
from aisle.errors import ObjectNotFound
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import Record
from aisle.model.unwritten import is_unwritten
from aisle.rules.remote_metadata import is_same, known_digests, user_metadata
from aisle.target.cold import ProviderOf
from aisle.target.delayed_queue import find_entry
from aisle.target.objects import TargetEngine

_MARK: Final = "q|"
"""How our continuation tokens begin: the name behind which the page begins follows, and the source's own."""
_SCANNED: Final = 1_000


class DelayedViews:
    """Gives the providers of buckets, those with a queue as they will be."""

    def __init__(self, engine: TargetEngine, provider_of: ProviderOf) -> None:
        self._engine = engine
        self._provider_of = provider_of

    def of(self, bucket: BucketInfo) -> BackendProvider:
        """The provider of a bucket that has a remote one behind it. Raises as `Providers.of`."""
        provider = self._provider_of(bucket)
        if not bucket.queue or isinstance(provider, DelayedView):
            return provider
        return DelayedView(self._engine, bucket, provider)


class DelayedView(Forwarding):
    """A BackendProvider for one bucket, around its own."""

    def __init__(self, engine: TargetEngine, bucket: BucketInfo, provider: BackendProvider) -> None:
        super().__init__(provider)
        self._engine = engine
        self._bucket = bucket

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: str = "",
        token: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
    ) -> RemotePage:
        """See BackendProvider.list_objects."""
        behind, inner = after, token
        if is_ours := token.startswith(_MARK):
            quoted, _, inner = token[len(_MARK) :].partition("|")
            behind = unquote(quoted)
        is_older, goes_on = bool(token) and not is_ours, is_ours and not inner
        # What is written there while the source is asked may be in neither its answer nor, later, the queue.
        seen, reach = ({}, "") if is_older else self._changes(prefix, behind, most=limit + _SCANNED)
        page = await self._provider.list_objects(
            bucket,
            prefix=prefix,
            token=inner,
            after="" if inner else behind,
            limit=limit,
            delimiter=delimiter,
        )
        if is_older:
            return page  # it began before there was a queue: where this page begins is not known
        last = max((*(about.key for about in page.objects), *page.prefixes), key=str.encode, default="")
        if page.token and not last:
            return page._replace(token=f"{_MARK}{quote(behind, safe='')}|{page.token}")
        inner = ""
        if page.token and (not reach or last.encode() <= reach.encode()):
            reach, inner = last, page.token
        objects = {about.key: about for about in page.objects}
        # There may be more of a folder that the page before has shown.
        shown = behind if goes_on else ""
        prefixes = {name for name in page.prefixes if not shown.startswith(name)}
        now, _ = self._changes(prefix, behind, last=reach)
        for key, record in (*now.items(), *self._arrived(seen, now, objects)):
            folded = _folded(key, prefix, delimiter)
            if record is None:
                objects.pop(key, None)
            elif folded == key:
                objects[key] = _told(key, record)
            elif not behind.startswith(folded):
                prefixes.add(folded)
        return _cut(objects, prefixes, limit, token=inner, last=reach)

    def _changes(
        self, prefix: str, behind: str, *, last: str = "", most: int = 0
    ) -> tuple[dict[str, Record | None], str]:
        """Names with changes behind one name and up to another, with the record of what is not there yet.

        With `most` only of so many entries: then the name up to which these are, empty if they are all.
        """
        found: dict[str, Record | None] = {}
        after, end, looked = behind.encode(), last.encode(), 0
        while True:
            page = self._engine.scan(self._bucket.queue, prefix=prefix.encode(), after=after, limit=_SCANNED)
            for key, _ in page.entries:
                if end and key > end:
                    return found, ""
                held = self._engine.look_up(ObjectName(self._bucket.number, key))
                if held is not None and is_unwritten(held.record.attributes):
                    found[key.decode()] = held.record
                elif self._is_removed(key):
                    found[key.decode()] = None
            if not page.more:
                return found, ""
            after = page.entries[-1].key
            looked += len(page.entries)
            if most and looked >= most:
                return found, after.decode()

    def _arrived(
        self,
        seen: Mapping[str, Record | None],
        now: Mapping[str, Record | None],
        objects: Mapping[str, RemoteObject],
    ) -> list[tuple[str, Record | None]]:
        """Changes that have left the queue while the source was asked, where its answer is without them."""
        missing: list[tuple[str, Record | None]] = []
        for key in seen.keys() - now.keys():
            held = self._engine.look_up(ObjectName(self._bucket.number, key.encode()))
            record, about = held.record if held else seen[key], objects.get(key)
            if (
                about is None
                or record is None
                or (held is not None and not is_same(record.attributes, record.size, about))
            ):
                missing.append((key, record))
        return missing

    def _is_removed(self, key: bytes) -> bool:
        """Whether an object was removed here, which its source does not know yet."""
        noted = find_entry(self._engine, self._bucket, key)
        if noted is None or noted.entry.is_removal:
            return noted is not None
        # Somebody is about to write it, and has not done so yet.
        name = ObjectName(self._bucket.number, key)
        return noted.entry.replaces_removal and self._engine.look_up(name) is None

    def _require(self, key: str) -> None:
        if self._is_removed(key.encode()):
            raise ObjectNotFound(display(self._bucket.bucket, key.encode()))

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        self._require(key)
        return await self._provider.head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        self._require(key)
        return await self._provider.get(bucket, key, offset=offset, length=length, etag=etag)


def _folded(key: str, prefix: str, delimiter: str) -> str:
    """The name under which a listing with this delimiter shows a key."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if end < 0 else key[: end + len(delimiter)]


def _told(key: str, record: Record) -> RemoteObject:
    """An object that its source does not have yet, as the source will tell of it."""
    attributes = record.attributes
    return RemoteObject(
        key,
        record.size,
        modified_ns=record.written_ns,
        digests=known_digests(attributes),
        custom=user_metadata(attributes),
        content_type=attributes.content_type,
    )


def _cut(
    objects: dict[str, RemoteObject], prefixes: set[str], limit: int, *, token: str, last: str
) -> RemotePage:
    """A page in byte order of at most `limit` names up to `last`; what is cut off comes with the next one.

    Without `last` there is nothing behind it; `token` is the source's own for what is there.
    """
    end = last.encode()
    names = sorted({*objects, *prefixes}, key=str.encode)
    if end:
        names = [name for name in names if name.encode() <= end]
    if len(names) > limit:
        names, token, last = names[:limit], "", names[limit - 1]
    return RemotePage(
        [objects[name] for name in names if name in objects],
        [name for name in names if name in prefixes],
        f"{_MARK}{quote(last, safe='')}|{token}" if last else "",
    )
