"""One item of a download job that is fetched through a provider: an object of a remote bucket.

The provider brings the bytes, with its credentials, and repeats what it can; they are compared with what the
item must have and with what the source tells, and become visible whole. An object of the very bucket that
the job fills becomes its copy, as if somebody had read it; any other is a new object with a link to its
source. Large ones come in ranges, and go on where they were when the job does (`ProviderParts`).
"""

import asyncio
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from aisle.backends.provider import BackendProvider, RemoteObject, RemoteRead
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ChecksumMismatch,
    ConditionFailed,
    NotFound,
    ObjectNotFound,
    SourceChanged,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
    Unavailable,
    UploadNotFound,
)
from aisle.gateway.buckets import Buckets
from aisle.jobs.item import ItemDownload
from aisle.jobs.item_owner import ItemOwner, JobItem
from aisle.jobs.large import HEADWAY_BYTES, SavedParts
from aisle.jobs.provider_parts import Chunks, Origin, ProviderParts, Told, ended
from aisle.model.bucket import BucketInfo
from aisle.model.job import DownloadSpec
from aisle.model.names import Bucket
from aisle.model.record import ABSENT, Attributes, Condition, Record
from aisle.model.unwritten import is_unwritten
from aisle.rules.download_digests import wanted_digest
from aisle.rules.download_metadata import LENGTH, ORIGIN, is_from, origin
from aisle.rules.download_names import public_link
from aisle.rules.download_plan import Item
from aisle.rules.download_unchanged import Known
from aisle.rules.eviction import is_copy
from aisle.rules.provider_links import is_provider_link, parse_provider_link
from aisle.rules.remote_metadata import (
    attributes_of,
    cheapest_digest,
    custom_of,
    digests_to_compute,
    is_same,
    user_metadata,
)
from aisle.storage.engine import Draft
from aisle.target.cold import ProviderOf
from aisle.target.filling import undisturbed
from aisle.target.relaying import RemoteSource
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetcher

_PASSING: Final = (
    SourceThrottled,
    SourceUnreachable,
    SourceChanged,
    Unavailable,
    ConditionFailed,
    UploadNotFound,
)


class SourceBucket:
    """A remote bucket as items are fetched from it."""

    def __init__(self, bucket: BucketInfo, provider: BackendProvider) -> None:
        assert bucket.remote is not None
        self.remote: Bucket = bucket.remote
        self.provider = provider


class ProviderSources:
    """The remote buckets that links lead to, as far as they are known here."""

    def __init__(self, buckets: Buckets, provider_of: ProviderOf) -> None:
        """`provider_of` gives buckets with delayed writes as they will be."""
        self._buckets = buckets
        self._provider_of = provider_of

    def open(self, bucket: Bucket) -> SourceBucket:
        """A bucket. Raises BucketNotFound also for one that was evicted, and Unsupported."""
        info = self._buckets.find(bucket)
        return SourceBucket(info, self._provider_of(info))

    def filled(self, bucket: BucketInfo) -> SourceBucket:
        """What stands behind a bucket. Raises Unsupported, and BucketNotFound for one that is gone."""
        present = self._buckets.find(bucket.bucket)  # writes may be delayed since the job began
        if present.number != bucket.number:
            raise BucketNotFound(bucket.bucket.cname)
        return SourceBucket(present, self._provider_of(present))

    def maker(self, spec: DownloadSpec) -> Callable[..., JobItem]:
        """What makes the items of a job."""
        return partial(self._make, spec)

    def _make(self, spec: DownloadSpec, owner: ItemOwner, item: Item, *, now_ns: int) -> JobItem:
        if is_provider_link(item.link):
            return ProviderItem(owner, item, self, spec=spec, now_ns=now_ns)
        return ItemDownload(owner, item, now_ns=now_ns)


class _Version(NamedTuple):
    """What is to be stored, and under which condition."""

    source: SourceBucket
    about: RemoteObject
    condition: Condition


class ProviderItem:
    """One object of a remote bucket on its way; a JobItem."""

    def __init__(
        self, owner: ItemOwner, item: Item, sources: ProviderSources, *, spec: DownloadSpec, now_ns: int
    ) -> None:
        self.item = item
        self._bucket, self._key = parse_provider_link(item.link)
        self.host = self._bucket.cname
        self.started_ns = now_ns
        self.failures = 0
        self.size: int | None = None
        self.known: Known | None = None
        self.replaces = False
        self._owner = owner
        self._sources = sources
        self._spec = spec
        self._received = 0
        self._furthest = 0  # the most bytes of a large object that were ever here
        self._has_answered = False
        self._is_over = False
        self._parts: ProviderParts | None = None
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.Timeout | None = None

    @property
    def name(self) -> str:
        """The object's name, to be shown."""
        return self.item.key.decode("utf-8", "backslashreplace")

    @property
    def received(self) -> int:
        """Bytes of the object that are here."""
        return self._parts.large.received if self._parts is not None else self._received

    @property
    def connections(self) -> int:
        """How many fetch for the item now."""
        parts = self._parts.connections if self._parts is not None else 0
        return parts or int(self._task is not None)

    @property
    def is_answered(self) -> bool:
        """Whether the source has answered the last attempt, whatever it said."""
        return self._has_answered

    def adopt(self, saved: SavedParts) -> None:
        """Continue what an earlier process has stored of the object."""
        self._parts = self._new_parts()
        self._parts.large.adopt(saved)
        self.size = self._parts.large.total

    def wants_stream(self, now_s: float) -> bool:
        """Whether the item would come faster over one more connection."""
        return self._parts is not None and self._parts.wants_more(now_s)

    def start_stream(self) -> None:
        """Use one more connection; only after `wants_stream` has said so."""
        assert self._parts is not None
        self._parts.start_more()

    def start(self, fetcher: Fetcher) -> None:
        """Ask for the object, or for the rest of it."""
        del fetcher
        self._received, self._has_answered = 0, False
        self._task = asyncio.create_task(self._run())

    def cancel(self, *, keep_parts: bool) -> None:
        """Stop at once. What is durable of a large object is kept for another process, or dropped."""
        self._is_over = True
        if self._task is not None:
            self._task.cancel()
            self._owner.spawn(ended(self._task))
        if self._parts is not None:
            self._drop_parts(self._parts, keep=keep_parts)

    def _new_parts(self) -> ProviderParts:
        return ProviderParts(self._owner, self.item, self._spared)

    def _drop_parts(self, parts: ProviderParts, *, keep: bool = False) -> None:
        self._parts = None
        parts.stop()
        self._owner.spawn(parts.large.abandon(keep_parts=keep))

    def _forget_parts(self) -> None:
        if self._parts is not None:
            self._drop_parts(self._parts)

    def _spared(self, error: AisleError | None) -> None:
        """One of several connections has ended, well or not."""
        if not self._is_over:
            failure = Failure(self._told(error), transient=True) if error is not None else None
            self._owner.connection_spared(self, failure, _retry_after(error))

    async def _run(self) -> None:
        limit_s = self._spec.timeout_s or None
        try:
            async with asyncio.timeout(limit_s) as self._deadline:
                await self._attempt()
        except TimeoutError:
            self._failed(self._told(SourceUnreachable(f"it took longer than {limit_s:g} s")))
        except AisleError as error:
            self._failed(self._told(error))
        except Exception as error:  # noqa: BLE001 - an outermost loop: a bug must not hold the job up
            if not self._is_over:
                self._owner.item_broken(self, error)

    def _failed(self, error: AisleError) -> None:
        if self._is_over:
            return
        self._task = None
        if self._parts is not None and self.received >= self._furthest + HEADWAY_BYTES:
            self.failures = 0  # a bad line must not use up the attempts of a large object
            self._furthest = self.received
        self.failures += 1
        if not isinstance(error, SourceThrottled | SourceUnreachable):
            self._forget_parts()
        passes = isinstance(error, _PASSING)
        retry_after = _retry_after(error)
        # What was damaged on the way is not damaged twice in the same way.
        passes = passes or (isinstance(error, ChecksumMismatch) and self.failures == 1)
        self._owner.item_failed(self, Failure(error, transient=passes), retry_after)

    def _told(self, error: AisleError) -> AisleError:
        """The error in a download's words; a bucket that is gone is the destination's only."""
        shown = public_link(self.item.link)
        if isinstance(error, _Missing):
            return SourceFailed(f"ErrNotFound: {shown} does not exist", status=404)
        if isinstance(error, SourceFailed) and shown not in str(error):
            return type(error)(
                f"failed to download {shown}: {error}", status=error.status, retry_after_s=error.retry_after_s
            )
        return error

    async def _attempt(self) -> None:
        destination = self._owner.destination
        source = self._opened()
        found = destination.look_up(self.item.key)
        if found is not None and self._spec.fills and is_unwritten(found.attributes):
            self._leave(found)
            return
        if found is not None and not self._spec.refetch:
            about = await self._asked_about(source, found)
            if about is None:
                return
            if self._is_kept(found, about, source):
                self._leave(found)
                return
        # What is removed behind this place must not come back with bytes that are older.
        since = destination.engine.place()
        try:
            opened = await self._missing(source)
        except NotFound as error:
            if (
                found is None
                or not isinstance(error, ObjectNotFound)
                or not await self._remove(source, found)
            ):
                raise _Missing from error
            return
        condition = Condition(generation=found.generation) if found else ABSENT
        if self._is_copy_of(source):
            condition = condition._replace(since=since)
        version = _Version(source, opened.about if isinstance(opened, RemoteRead) else opened, condition)
        if not isinstance(opened, RemoteRead):
            await self._store_parts(version, None)
        elif self._comes_in_parts(version):
            self._parts = self._new_parts()
            await self._store_parts(version, opened.chunks)
        else:
            await self._store(version, opened)

    async def _missing(self, source: SourceBucket) -> RemoteRead | RemoteObject:
        """The object, opened; of one of which something is here, only what it is."""
        bucket, key = source.remote.name, self._key.decode()
        if self._parts is not None:
            about = await source.provider.head(bucket, key)
            if self._parts.is_of(about):
                return about
            self._forget_parts()
        return await source.provider.get(bucket, key)

    def _comes_in_parts(self, version: _Version) -> bool:
        """Whether the object is large, and its source can be asked for ranges of this version."""
        about, capabilities = version.about, version.source.provider.capabilities
        is_right = self.item.size in (-1, about.size)
        return is_right and about.size > self._owner.part_bytes and bool(about.etag) and capabilities.ranges

    def _opened(self) -> SourceBucket:
        try:
            if self._spec.fills:
                return self._sources.filled(self._owner.destination.bucket)
            return self._sources.open(self._bucket)
        except NotFound as error:
            raise _Missing from error

    async def _asked_about(self, source: SourceBucket, found: Record) -> RemoteObject | None:
        """What the source tells; None if it has nothing, and neither is anything here any more."""
        try:
            about = await source.provider.head(source.remote.name, self._key.decode())
        except NotFound as error:
            self._has_answered = True
            if isinstance(error, ObjectNotFound) and await self._remove(source, found):
                return None
            raise _Missing from error
        self._has_answered = True
        return about

    def _leave(self, found: Record) -> None:
        """The object stays as it is."""
        self._forget_parts()
        self.known = Known(found.generation, found.size, found.attributes.content_type, "", ("", ""))
        self._task = None
        self._owner.item_unchanged(self)

    async def _remove(self, source: SourceBucket, found: Record) -> bool:
        """Remove the copy of an object that its source has no more, where the job wants that.

        What never came from there, or has not reached it yet, stays. Whether the job wants that. Raises
        BucketNotFound, and what a provider raises, where the source itself may be gone.
        """
        if not (self._spec.synchronize and self._spec.fills):
            return False
        if is_unwritten(found.attributes) or not is_copy(found.attributes, source.remote.provider):
            self._leave(found)
            return True
        # A bucket that has gone itself answers the same: that is no reason to remove its copies.
        await source.provider.head_bucket(source.remote.name)
        destination = self._owner.destination
        await destination.engine.remove(
            destination.name(self.item.key), condition=Condition(generation=found.generation)
        )
        self._forget_parts()
        self._task = None
        self._owner.item_gone(self, found.size)
        return True

    def _is_kept(self, found: Record, about: RemoteObject, source: SourceBucket) -> bool:
        """Whether the object is what its source has now."""
        if not self._is_copy_of(source) and not is_from(found.attributes, self.item.link):
            return False
        record = self._owner.destination.record(self.item.key)  # not a damaged one
        return record is not None and is_same(record.attributes, record.size, about)

    def _is_copy_of(self, source: SourceBucket) -> bool:
        """Whether the object is kept as the bucket's copy of its source's."""
        return self._owner.destination.bucket.remote == source.remote and self.item.key == self._key

    async def _store_parts(self, version: _Version, opened: Chunks | None) -> None:
        """Store a large object; `opened` are all of its bytes, where nothing of it is here."""
        source, about, condition = version
        parts = self._parts
        assert parts is not None
        self._answered(about)
        parts.large.started(Told(about.etag, self._announced(about)), about.size, self._kinds(version))
        self._owner.item_may_split(self)
        await parts.fetch(Origin(source.provider, source.remote.name, about), opened)
        self._received_all()
        record = await parts.large.complete(
            lambda computed, _: self._attributes(version, computed),
            condition=condition,
            written_ns=self._written_ns(version),
        )
        if not self._is_over:
            self._parts = None
            self._owner.item_stored(self, record)

    async def _store(self, version: _Version, opened: RemoteRead) -> None:
        owner, about, key = self._owner, version.about, self.item.key
        destination = owner.destination
        payload = RemoteSource(opened, name=public_link(self.item.link))
        kinds = self._kinds(version)
        draft = destination.engine.draft(
            destination.name(key), size=about.size, digests=kinds, sync=destination.bucket.payload_sync
        )
        handed_over = False
        try:
            self._answered(about)
            await self._pour(payload, draft)
            computed = {kind: draft.digest(kind) for kind in kinds}
            destination.check(key, self._announced(about), computed)
            if self._is_over:
                return
            self._received_all()
            handed_over = True
            record = await undisturbed(
                destination.engine.commit(
                    destination.name(key),
                    draft,
                    self._attributes(version, computed),
                    condition=version.condition,
                    written_ns=self._written_ns(version),
                )
            )
        finally:
            if not handed_over:
                draft.abort()
            await payload.close()
        if not self._is_over:
            owner.item_stored(self, record)

    def _answered(self, about: RemoteObject) -> None:
        """The source has told what the object is. Raises SourceFailed for another size than the item's."""
        self._has_answered, self.size = True, about.size
        if self.item.size not in (-1, about.size):
            raise SourceFailed(f"it has {about.size} bytes, it should have {self.item.size}")

    def _received_all(self) -> None:
        """All bytes are here: what follows takes as long as it takes."""
        assert self._deadline is not None
        self._deadline.reschedule(None)
        self._task = None
        self._owner.item_received(self)

    async def _pour(self, payload: RemoteSource, draft: Draft) -> None:
        """Take all bytes, as fast as the job may."""
        owner, loop = self._owner, asyncio.get_running_loop()
        while chunk := await payload.read():
            self._received += len(chunk)
            owner.bytes_received += len(chunk)
            if owner.throttle is not None:
                wait_s = owner.throttle.reserve(len(chunk), loop.time())
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
            pending = draft.write(chunk)
            if pending is not None:
                await pending
        pending = draft.finish()
        if pending is not None:
            await pending

    def _kinds(self, version: _Version) -> tuple[str, ...]:
        """The digests to compute."""
        destination = self._owner.destination
        if self._is_copy_of(version.source) and not self.item.checksum:
            return tuple(digests_to_compute(version.about, destination.bucket.properties.checksum.type))
        return destination.kinds(self._announced(version.about))

    def _announced(self, about: RemoteObject) -> Mapping[str, str]:
        """The digest that decides: the item's own, else the cheapest that the source names."""
        if self.item.checksum:
            return wanted_digest(self.item.checksum, about.size)
        kind = cheapest_digest(about.digests)
        return {kind: about.digests[kind].lower()} if kind else {}

    def _attributes(self, version: _Version, computed: Mapping[str, str]) -> Attributes:
        """Those of the bucket's copy, or of a new object that remembers where it is from."""
        about, provider = version.about, version.source.remote.provider
        if self._is_copy_of(version.source):
            return attributes_of(about, provider, computed)
        told = custom_of(about._replace(custom={}), provider)
        return self._owner.destination.own_attributes(
            computed,
            content_type=about.content_type,
            custom={**told, ORIGIN: origin(self.item.link), LENGTH: str(about.size)},
            user=user_metadata(about),
        )

    def _written_ns(self, version: _Version) -> int:
        """When the object was written, 0 for now: a copy is as old as what it is a copy of."""
        return version.about.modified_ns if self._is_copy_of(version.source) else 0


class _Missing(AisleError):
    """The source has no such object, or no such bucket."""


def _retry_after(error: AisleError | None) -> str:
    """What the source said about when to come again."""
    if isinstance(error, SourceFailed) and error.retry_after_s is not None:
        return str(math.ceil(error.retry_after_s))
    return ""
