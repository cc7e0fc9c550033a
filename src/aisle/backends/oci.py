"""Oracle's Object Storage: requests of our own over `transfer/`, signed here.

Oracle's library is asked for configuration, keys, tokens and the addresses of regions only
(`oci_accounts`). Nothing is asked for that the operation itself does not need.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import time
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from aisle.backends.oci_multipart import (
    MULTIPART_FROM_BYTES,
    PART_BYTES,
    Writing,
    write_parts,
    write_whole,
)
from aisle.backends.oci_protocol import (
    DELIMITER,
    LISTED_FIELDS,
    Ask,
    about_of,
    failure_of,
    first_behind,
    folded,
    page_of,
    parse_json,
)
from aisle.backends.oci_signing import SigningKey, signed_fields
from aisle.backends.provider import (
    ALWAYS,
    Capabilities,
    RemoteObject,
    RemotePage,
    RemoteRead,
    WriteCondition,
    is_folded,
)
from aisle.backends.reading import body_of, byte_range, read_nothing
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ObjectNotFound,
    SourceFailed,
)
from aisle.transfer.exchange import Answered, Exchanges, Outgoing

PAGE_NAMES_MAX: Final = 1000
_DOCUMENT_BYTES_MAX: Final = 32 * 1024 * 1024
_IDENTITY_PATH: Final = "/20160918/tenancies/{}/regionSubscriptions"

_log = logging.getLogger(__name__)


class OciIdentity(NamedTuple):
    """Who the node is at Oracle, as it is now."""

    key: SigningKey
    tenancy: str
    region: str
    """Where requests go unless it is known better."""


class OciAccount(NamedTuple):
    """How the buckets of an account are reached."""

    exchanges: Exchanges
    identity: Callable[[], Awaitable[OciIdentity]]
    service_url: Callable[[str, str], str]
    """The URL of a service (`objectstorage`, `identity`) in a region; asked once there is an identity."""
    region: str = ""
    """Where the buckets are; empty for the identity's region, and others if a bucket is not there."""
    compartment: str = ""
    """Where buckets are listed and created; empty for the tenancy itself."""
    has_regions: bool = True
    """Whether `service_url` leads to different places for different regions."""
    multipart_from_bytes: int = MULTIPART_FROM_BYTES
    part_bytes: int = PART_BYTES
    page_names_max: int = PAGE_NAMES_MAX


class OciProvider:
    """A BackendProvider over Oracle's native protocol."""

    capabilities = Capabilities(creates_buckets=True, conditional_writes=True)

    def __init__(self, account: OciAccount, *, now_s: Callable[[], float] = time) -> None:
        self.account = account
        """How it is reached."""
        self._now_s = now_s
        self._namespace = ""
        self._regions: dict[str, str] = {}
        """Where buckets are that turned out to be elsewhere."""

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets; those of the compartment, in the account's region."""
        compartment = await self._compartment()
        found: list[str] = []
        page = ""
        while True:
            query = (("compartmentId", compartment), ("limit", str(PAGE_NAMES_MAX)))
            answered = await self._checked(Ask("GET", query=(*query, ("page", page)) if page else query))
            listed = parse_json(await answered.read(_DOCUMENT_BYTES_MAX), list)
            found += [str(entry["name"]) for entry in listed if isinstance(entry, dict) and "name" in entry]
            page = answered.fields.get("opc-next-page", "")
            if not page:
                return sorted(found, key=str.encode)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket; a bucket that is in another region is looked for there."""
        ask = Ask("HEAD", bucket)
        try:
            (await self._checked(ask)).close()
        except BucketNotFound:
            region = await self._find_region(ask)
            if not region:
                raise
            self._regions[bucket] = region
        return {"versioning": "false", "region": await self._region(bucket)}

    async def create_bucket(self, bucket: str) -> None:
        """See BackendProvider.create_bucket; it is made in the account's compartment."""
        compartment = await self._compartment()
        document = msgspec.json.encode({"name": bucket, "compartmentId": compartment})
        answered = await self._asked(Ask("POST", body=document))
        await self._check(answered, Ask("POST", bucket))
        await answered.read(_DOCUMENT_BYTES_MAX)

    async def delete_bucket(self, bucket: str) -> None:
        """See BackendProvider.delete_bucket."""
        (await self._checked(Ask("DELETE", bucket))).close()

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
        """See BackendProvider.list_objects; Oracle knows one delimiter, at others names are folded here."""
        start = token
        if not token and is_folded(after, prefix, delimiter):
            start, after = first_behind(after), ""
        query = {
            "fields": LISTED_FIELDS,
            "limit": str(min(limit, self.account.page_names_max)),
            "prefix": prefix,
            "delimiter": delimiter if delimiter == DELIMITER else "",
            "start": start,
            "startAfter": "" if token else after,
        }
        told = tuple((name, value) for name, value in query.items() if value)
        answered = await self._checked(Ask("GET", bucket, "o", query=told))
        page = page_of(parse_json(await answered.read(_DOCUMENT_BYTES_MAX), dict))
        return page if delimiter in ("", DELIMITER) else folded(page, prefix, delimiter)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        answered = await self._checked(Ask("HEAD", bucket, "o", key))
        answered.close()
        return about_of(key, answered.fields)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        if length == 0:
            return await read_nothing(self, bucket, key, etag)
        headers = [("If-Match", etag)] if etag else []
        if span := byte_range(offset, length):
            headers.append(("Range", span))
        ask = Ask("GET", bucket, "o", key, headers=tuple(headers))
        answered = await self._asked(ask)
        if answered.status == 416:
            answered.close()
            return await read_nothing(self, bucket, key, etag)
        await self._check(answered, ask, is_read=bool(etag))
        is_part = answered.status == 206
        if offset and not is_part:
            answered.close()
            raise SourceFailed(f"{ask.shown}: the source sends no ranges")
        return RemoteRead(about_of(key, answered.fields, is_part=is_part), body_of(answered))

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        """See BackendProvider.put; large objects are written in parts, visible when all are there."""
        conditions: tuple[tuple[str, str], ...] = ()
        if only_if.is_absent:
            conditions = (("If-None-Match", "*"),)
        elif only_if.etag:
            conditions = (("If-Match", only_if.etag),)
        if about.size > self.account.multipart_from_bytes:
            writing = Writing(bucket, key, about, conditions, self.account.part_bytes)
            return await write_parts(self._checked, writing, chunks)
        return await write_whole(self._checked, Writing(bucket, key, about, conditions), chunks)

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        try:
            (await self._checked(Ask("DELETE", bucket, "o", key))).close()
        except ObjectNotFound:
            pass

    async def close(self) -> None:
        """See BackendProvider.close."""
        self.account.exchanges.close()

    # Asking.

    async def _checked(self, ask: Ask) -> Answered:
        answered = await self._asked(ask)
        await self._check(answered, ask)
        return answered

    async def _check(self, answered: Answered, ask: Ask, *, is_read: bool = False) -> None:
        """Raise what an answer's status means, unless it is good."""
        if answered.status < 300:
            return
        body = await answered.read(_DOCUMENT_BYTES_MAX)
        raise failure_of(ask, answered.status, answered.fields, body, is_read=is_read)

    async def _asked(self, ask: Ask, *, region: str = "") -> Answered:
        """The answer to a request, whatever its status."""
        base = self._base("objectstorage", region or await self._region(ask.bucket))
        if not self._namespace:
            self._namespace = await self._find_namespace(base)
        return await self._send(ask, f"{base}{ask.target(self._namespace)}")

    async def _send(self, ask: Ask, link: str) -> Answered:
        identity = await self.account.identity()
        document = ask.body if ask.method == "POST" and isinstance(ask.body, bytes) else None
        signed = signed_fields(identity.key, ask.method, link, document=document, now_s=self._now_s())
        headers = (*ask.headers, *signed.items())
        length = len(ask.body) if isinstance(ask.body, bytes) else ask.length
        return await self.account.exchanges.send(Outgoing(ask.method, link, headers, ask.body, length))

    def _base(self, service: str, region: str) -> str:
        return self.account.service_url(service, region).rstrip("/")

    async def _compartment(self) -> str:
        return self.account.compartment or (await self.account.identity()).tenancy

    async def _region(self, bucket: str) -> str:
        # The identity first: with it comes what knows the addresses of regions.
        identity = await self.account.identity()
        return self._regions.get(bucket) or self.account.region or identity.region

    async def _find_namespace(self, base: str) -> str:
        """The name under which the tenancy has its buckets; the same in all regions."""
        ask = Ask("GET")
        answered = await self._send(ask, f"{base}/n")
        await self._check(answered, ask)
        return quote(str(parse_json(await answered.read(_DOCUMENT_BYTES_MAX), str)), safe="")

    async def _find_region(self, ask: Ask) -> str:
        """The region that has a bucket which is not where it was asked for; empty if none has.

        Raises what kept a region from answering if the bucket is in none of the others.
        """
        if self.account.region or not self.account.has_regions:
            return ""
        regions = [region for region in await self._subscribed() if region != await self._region(ask.bucket)]
        found = await asyncio.gather(
            *(self._is_in(ask, region) for region in regions), return_exceptions=True
        )
        for region, outcome in zip(regions, found, strict=True):
            if outcome is True:
                return region
        for outcome in found:
            if isinstance(outcome, BaseException):
                raise outcome
        return ""

    async def _is_in(self, ask: Ask, region: str) -> bool:
        answered = await self._asked(ask, region=region)
        try:
            await self._check(answered, ask)
        except BucketNotFound:
            return False
        answered.close()
        return True

    async def _subscribed(self) -> list[str]:
        """The regions that the tenancy uses; empty if the node's user may not know."""
        identity = await self.account.identity()
        base = self._base("identity", identity.region)
        ask = Ask("GET")
        try:
            answered = await self._send(ask, base + _IDENTITY_PATH.format(quote(identity.tenancy, safe="")))
            await self._check(answered, ask)
            listed = parse_json(await answered.read(_DOCUMENT_BYTES_MAX), list)
        except AisleError as error:
            _log.info("buckets are looked for in %s only; name others in extra.oci.region: %s", base, error)
            return []
        return [
            str(entry["regionName"]) for entry in listed if isinstance(entry, dict) and "regionName" in entry
        ]
