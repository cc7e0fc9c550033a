"""Buckets whose bytes are elsewhere: found on first use, listed, forgotten again.

A remote bucket that nobody has used here is not known. The first access asks its provider whether it
exists, makes a document of it with what the provider tells, and goes on; from then on it is found like
any other. Forgetting it drops what is kept here and never touches the source.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final

from aisle.backends.provider import BackendProvider
from aisle.backends.registry import Providers
from aisle.errors import (
    AisleError,
    BucketExists,
    BucketNotFound,
    CloudBucketKept,
    ClusterNotAttached,
    RemoteBucketNotFound,
    Unsupported,
)
from aisle.gateway.buckets import Buckets
from aisle.model.bucket import BucketInfo, BucketProperties, Extra, changed
from aisle.model.names import Bucket
from aisle.model.trees import Tree

_REGION_MEMBERS: Final = {"aws": "cloud_region", "oci": "region"}
"""Where the properties keep the region that a provider tells."""

MISS_S: Final = 60.0
"""How long an S3 client's wrong bucket name is not looked for again."""
_MISSES_MAX: Final = 10_000
_SEARCH_S: Final = 1.0

_log = logging.getLogger(__name__)


class RemoteBuckets:
    """Remote buckets, as one process sees them."""

    def __init__(
        self, buckets: Buckets, providers: Providers, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._buckets = buckets
        self._providers = providers
        self._now_s = now_s
        self._misses: dict[str, float] = {}
        self._silent: dict[str, float] = {}
        """Until when the accounts of providers are not asked in searches."""
        self._searches: dict[Bucket, asyncio.Task[BucketInfo]] = {}
        buckets.canonical = providers.canonical

    def providers(self) -> list[str]:
        """The providers whose buckets can be used."""
        return self._providers.names()

    async def discover(
        self, bucket: Bucket, *, changes: Tree | None = None, asks: bool = True, adds: bool = True
    ) -> BucketInfo:
        """The bucket; added to those that are known here if it was not.

        `asks` says whether its provider is asked for it first, `adds` whether it is kept: else its number
        is 0, under which storage holds nothing. Raises RemoteBucketNotFound, SourceDenied and what else
        a provider raises, Unsupported.
        """
        try:
            return self._buckets.find(bucket)
        except RemoteBucketNotFound:
            pass
        if changes or not (asks and adds):
            return await self._found(bucket, changes or {}, asks=asks, adds=adds)
        search = self._searches.get(bucket)
        if search is None:
            # One question however many ask, and whoever asked first may leave.
            search = asyncio.create_task(self._found(bucket, {}, asks=True, adds=True))
            self._searches[bucket] = search
            search.add_done_callback(lambda _: self._searches.pop(bucket, None))
        return await asyncio.shield(search)

    async def _found(self, bucket: Bucket, changes: Tree, *, asks: bool, adds: bool) -> BucketInfo:
        kept_as = self._providers.canonical(bucket)
        properties = self._buckets.properties_of_new(kept_as, changes)
        told: Mapping[str, str] = {}
        if asks:
            try:
                told = await self._providers.of(kept_as, properties.extra).head_bucket(bucket.name)
            except (BucketNotFound, ClusterNotAttached) as error:
                raise _missing(bucket, error) from error
            kept_as = self._providers.canonical(bucket)  # a cluster tells its UUID when it is first asked
        wanted = _with_told(kept_as, changes, told)
        if not adds:
            return BucketInfo(kept_as, 0, self._buckets.properties_of_new(kept_as, wanted))
        try:
            return await self._buckets.adopt(kept_as, wanted)
        except BucketExists:
            return self._buckets.find(kept_as)  # another process was faster

    async def create(self, bucket: Bucket, changes: Tree, *, owner: str) -> None:
        """Make a bucket known here, and make it at its source if that is another cluster.

        Raises BucketExists, Unsupported for what a provider cannot do, and what it raises.
        """
        kept_as = self._providers.canonical(bucket)
        properties = self._buckets.properties_of_new(kept_as, changes)
        provider = self._providers.of(kept_as, properties.extra)
        if provider.capabilities.creates_buckets:
            try:
                await provider.create_bucket(bucket.name)
            except BucketExists:
                # One that an account has is made known here, with what is said about it.
                if bucket.provider == "ais" or not changes:
                    raise
        elif not changes:
            raise Unsupported(
                f'cannot create {bucket.provider} bucket "{bucket.cname}": create it there first'
            )
        told = await provider.head_bucket(bucket.name)
        kept_as = self._providers.canonical(bucket)
        await self._buckets.adopt(kept_as, _with_told(kept_as, changes, told), owner=owner)

    async def destroy(self, info: BucketInfo) -> None:
        """Destroy a bucket of another cluster, there and here.

        Raises CloudBucketKept for any other, NotYetWritten.
        """
        if info.bucket.provider != "ais":
            raise CloudBucketKept(info.bucket.cname)
        self._buckets.require_written(info)
        await self.provider(info).delete_bucket(info.bucket.name)
        await self._buckets.destroy(info.bucket)

    def provider(self, info: BucketInfo) -> BackendProvider:
        """The provider of a bucket that has a remote one behind it. Raises as `Providers.of`."""
        remote = info.remote
        assert remote is not None
        return self._providers.of(remote, info.properties.extra)

    def check_usable(self, bucket: Bucket) -> None:
        """Raise Unsupported where a bucket's provider cannot be asked, saying what is missing.

        Raises ClusterNotAttached. Nothing is asked over the network.
        """
        kept_as = self._providers.canonical(bucket)
        known = self._buckets.snapshot().get(kept_as.uname)
        properties = known.properties if known else self._buckets.properties_of_new(kept_as)
        self._providers.of(kept_as, properties.extra)

    async def elsewhere(self, provider: str, namespace: str = "") -> list[Bucket]:
        """The buckets that an account can see. Raises Unsupported, and what a provider raises."""
        account = Bucket("-", provider, namespace)
        kept_as = self._providers.canonical(account)
        names = await self._providers.of(kept_as).buckets()
        return [Bucket(name, provider, namespace) for name in names]

    def is_worth_a_search(self, name: str) -> bool:
        """Whether a bucket of that name may be in one of the accounts: not if it was missing just now."""
        if not self._providers.names():
            return False
        return self._misses.get(name, 0.0) < self._now_s()

    async def search(self, name: str) -> BucketInfo | None:
        """Add the bucket of that name which one of the accounts lists, if any does.

        What nobody has is remembered for a minute.
        """
        now_s = self._now_s()
        providers = [each for each in self._providers.names() if self._silent.get(each, 0.0) < now_s]
        lists = await asyncio.gather(*(self._lists(provider, name) for provider in providers))
        for provider, found in zip(providers, lists, strict=True):
            if found:
                return await self.discover(Bucket(name, provider))
        if len(self._misses) >= _MISSES_MAX:
            self._misses.clear()
        self._misses[name] = self._now_s() + MISS_S
        return None

    async def _lists(self, provider: str, name: str) -> bool:
        """Whether the account of a provider lists a bucket; an account that does not answer soon lists none.

        It is not asked again for a minute then: clients that use a wrong name must not wait for it each time.
        """
        try:
            async with asyncio.timeout(_SEARCH_S):
                return name in await self._providers.of(Bucket(name, provider)).buckets()
        except (AisleError, TimeoutError) as error:
            # Whether this account has the bucket is told when it is asked for by name.
            _log.info("looking for bucket %s at %s: %s", name, provider, str(error) or "no answer")
            self._silent[provider] = self._now_s() + MISS_S
            return False

    async def check_backend(self, properties: BucketProperties, changes: Tree) -> None:
        """Raise RemoteBucketNotFound if changes name a bucket as `backend_bck` that is not to be found.

        Raises what its provider raises too.
        """
        if not isinstance(changes.get("backend_bck"), dict):
            return
        named = _backend_after(properties, changes)
        if named is None:
            return
        bucket, extra = named
        try:
            await self._providers.of(self._providers.canonical(bucket), extra).head_bucket(bucket.name)
        except (BucketNotFound, ClusterNotAttached) as error:
            raise _missing(bucket, error) from error
        except Unsupported as error:
            raise Unsupported(f"backend_bck: {error}") from error


def _backend_after(properties: BucketProperties, changes: Tree) -> tuple[Bucket, Extra] | None:
    after = changed(properties, changes)
    if not after.backend_bck.name or after.backend_bck == properties.backend_bck:
        return None
    return after.backend_bck.bucket(), after.extra


def _missing(bucket: Bucket, error: AisleError) -> RemoteBucketNotFound:
    """What is told where a provider says that a bucket is not there, or where there is none to ask."""
    identity = (bucket.name, bucket.provider, bucket.namespace)
    reason = f'no cluster "{error.cluster}" is attached' if isinstance(error, ClusterNotAttached) else ""
    return RemoteBucketNotFound(bucket.cname, identity=identity, is_final=True, reason=reason)


def _with_told(bucket: Bucket, changes: Tree, told: Mapping[str, str]) -> Tree:
    """Changes with what a provider tells about a bucket beneath them."""
    merged: dict[str, object] = dict(changes)
    if told.get("versioning") and "versioning" not in merged:
        merged["versioning"] = {"enabled": told["versioning"] == "true"}
    member = _REGION_MEMBERS.get(bucket.provider)
    if member and told.get("region"):
        extra = merged.get("extra")
        section = extra.get(bucket.provider) if isinstance(extra, dict) else None
        mine = section if isinstance(section, dict) else {}
        others = extra if isinstance(extra, dict) else {}
        merged["extra"] = {**others, bucket.provider: {member: told["region"], **mine}}
    return merged
