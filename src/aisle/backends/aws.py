"""Amazon S3, and whatever speaks its protocol: requests of our own over `transfer/`, signed here.

Amazon's library is asked for credentials, profiles and regions only (`aws_accounts`). Requests are
those of S3's REST API; nothing is asked for that the operation itself does not need.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import time
from typing import Final, NamedTuple
from urllib.parse import quote, urlsplit

from aisle.backends.answer_fields import plain_etag
from aisle.backends.aws_listing import parse_listing
from aisle.backends.aws_multipart import MULTIPART_BYTES, Uploading, upload
from aisle.backends.aws_protocol import (
    Ask,
    Document,
    about_of,
    described,
    digests_of,
    failure_of,
    parse_document,
)
from aisle.backends.made_elsewhere import MadeElsewhere
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
from aisle.errors import SourceFailed, SourceUnreachable
from aisle.rules.signatures_v4 import Scope, sign
from aisle.transfer.exchange import Answered, Exchanges, Outgoing

PAGE_KEYS_MAX: Final = 1000
_DOCUMENT_BYTES_MAX: Final = 32 * 1024 * 1024
_MOVED: Final = frozenset({301, 307, 308, 400})
_AMAZON: Final = ".amazonaws.com"


class AwsKeys(NamedTuple):
    """Credentials as they are now; `token` is that of temporary ones."""

    access_key: str
    secret: str
    token: str = ""


class AwsAccount(NamedTuple):
    """How the buckets of an account are reached."""

    exchanges: Exchanges
    keys: Callable[[], Awaitable[AwsKeys | None]]
    """The credentials to sign with; None for an anonymous account."""
    endpoint: str = ""
    """URL of the service; empty for Amazon's own."""
    region: str = "us-east-1"
    multipart_bytes: int = MULTIPART_BYTES
    """Objects from this size on are written in parts of it; 0 for never."""
    page_keys_max: int = PAGE_KEYS_MAX


class _Signed(NamedTuple):
    """What is signed of a request."""

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, str]


class AwsProvider(MadeElsewhere):
    """A BackendProvider over S3's protocol."""

    scheme = "s3"

    capabilities = Capabilities(conditional_writes=True, versions=True)

    def __init__(self, account: AwsAccount, *, now_s: Callable[[], float] = time) -> None:
        self.account = account
        """How it is reached."""
        self._now_s = now_s
        parts = urlsplit(account.endpoint.rstrip("/"))
        self._endpoint = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
        """Scheme and authority of the endpoint, and the path that those of its buckets follow."""
        self._regions: dict[str, str] = {}
        """Where buckets are that turned out to be elsewhere."""

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets."""
        found: list[str] = []
        token = ""
        while True:
            query = (("continuation-token", token),) if token else ()
            page = await self._document(Ask("GET", query=query), "ListAllMyBucketsResult")
            found += [entry.text("Name") for entry in page.all("Buckets/Bucket")]
            token = page.text("ContinuationToken")
            if not token:
                return sorted(found, key=str.encode)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket."""
        answered = await self._checked(Ask("HEAD", bucket))
        answered.close()
        region = answered.fields.get("x-amz-bucket-region") or self._region(bucket)
        told = {"versioning": "false", "region": region}
        if self.account.endpoint:
            told["endpoint"] = self.account.endpoint
        return told

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
        query = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(min(limit, self.account.page_keys_max)),
            "prefix": prefix,
            "delimiter": delimiter,
            # A folded name stands for all that begin with it: go on behind the last one possible.
            "start-after": f"{after}\U0010ffff" if is_folded(after, prefix, delimiter) else after,
            "continuation-token": token,
        }
        ask = Ask("GET", bucket, query=tuple((name, value) for name, value in query.items() if value))
        answered = await self._checked(ask)
        return parse_listing(await answered.read(_DOCUMENT_BYTES_MAX))

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        answered = await self._checked(
            Ask("HEAD", bucket, key, headers=(("x-amz-checksum-mode", "ENABLED"),))
        )
        answered.close()
        return about_of(key, answered.fields)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        headers = [("x-amz-checksum-mode", "ENABLED")]
        if etag:
            headers.append(("If-Match", f'"{etag}"'))
        if length == 0:
            return await read_nothing(self, bucket, key, etag)
        if span := byte_range(offset, length):
            headers.append(("Range", span))
        answered = await self._asked(Ask("GET", bucket, key, headers=tuple(headers)))
        if answered.status == 416:
            answered.close()
            return await read_nothing(self, bucket, key, etag)
        await self._check(answered, bucket, key, changed=bool(etag))
        if offset and answered.status != 206:
            answered.close()
            raise SourceFailed(f"s3://{bucket}/{key}: the source sends no ranges")
        return RemoteRead(about_of(key, answered.fields), body_of(answered))

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
            conditions = (("If-Match", f'"{only_if.etag}"'),)
        part_bytes = self.account.multipart_bytes
        if part_bytes and about.size > part_bytes:
            uploading = Uploading(bucket, key, about, conditions, part_bytes)
            return await upload(self._document, self._checked, uploading, chunks)
        headers = (*described(about), *conditions)
        ask = Ask("PUT", bucket, key, headers=headers, body=chunks, length=about.size)
        answered = await self._checked(ask)
        await answered.read(_DOCUMENT_BYTES_MAX)
        etag = plain_etag(answered.fields.get("etag", ""))
        version = answered.fields.get("x-amz-version-id", "") or etag
        digests = digests_of(etag, answered.fields)
        return about._replace(key=key, etag=etag, version=version, digests=digests)

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        answered = await self._checked(Ask("DELETE", bucket, key))
        await answered.read(_DOCUMENT_BYTES_MAX)

    async def close(self) -> None:
        """See BackendProvider.close."""
        self.account.exchanges.close()

    # Asking.

    async def _document(self, ask: Ask, root: str) -> Document:
        answered = await self._checked(ask)
        return parse_document(await answered.read(_DOCUMENT_BYTES_MAX), root)

    async def _checked(self, ask: Ask) -> Answered:
        answered = await self._asked(ask)
        await self._check(answered, ask.bucket, ask.key)
        return answered

    async def _check(self, answered: Answered, bucket: str, key: str, *, changed: bool = False) -> None:
        """Raise what an answer's status means, unless it is good."""
        if answered.status < 300:
            return
        body = await answered.read(_DOCUMENT_BYTES_MAX)
        raise failure_of(answered.status, answered.fields, body, where=(bucket, key), is_read=changed)

    async def _asked(self, ask: Ask) -> Answered:
        """The answer to a request, whatever its status; asked again where the bucket really is."""
        answered = await self.account.exchanges.send(await self._outgoing(ask))
        if answered.status not in _MOVED or not ask.bucket:
            return answered
        region = answered.fields.get("x-amz-bucket-region", "")
        if not region or region == self._region(ask.bucket):
            return answered
        answered.close()
        self._regions[ask.bucket] = region
        if not isinstance(ask.body, bytes):
            raise SourceUnreachable(
                f"s3://{ask.bucket} is in {region}: write it again", status=answered.status
            )
        return await self.account.exchanges.send(await self._outgoing(ask))

    def _region(self, bucket: str) -> str:
        return self._regions.get(bucket) or self.account.region

    async def _outgoing(self, ask: Ask) -> Outgoing:
        base, path = self._place(ask.bucket, ask.key)
        query = ""
        if ask.query:
            pairs = [(quote(name, safe="-._~"), quote(value, safe="-._~")) for name, value in ask.query]
            query = "&".join(f"{name}={value}" for name, value in pairs)
        headers = dict(ask.headers)
        keys = await self.account.keys()
        if keys is not None:
            signed = {name.lower(): value for name, value in headers.items()}
            signed["host"] = base.partition("://")[2]
            if keys.token:
                signed["x-amz-security-token"] = headers["x-amz-security-token"] = keys.token
            scope = Scope(keys.access_key, "", self._region(ask.bucket))
            request = _Signed(ask.method, path.encode(), query.encode(), signed)
            headers |= sign(request, scope, keys.secret, now_s=self._now_s())
        link = f"{base}{path}?{query}" if query else f"{base}{path}"
        length = len(ask.body) if isinstance(ask.body, bytes) else ask.length
        return Outgoing(ask.method, link, tuple(headers.items()), ask.body, length)

    def _place(self, bucket: str, key: str) -> tuple[str, str]:
        """Scheme and authority, and the path, of a request."""
        name = quote(key, safe="/-._~")
        if self.account.endpoint:
            base, path = self._endpoint
            return base, f"{path}/{bucket}/{name}" if key else f"{path}/{bucket}"
        host = f"s3.{self._region(bucket)}{_AMAZON}"
        if bucket and "." not in bucket:
            return f"https://{bucket}.{host}", f"/{name}"
        return f"https://{host}", f"/{bucket}/{name}" if key else f"/{bucket}"
