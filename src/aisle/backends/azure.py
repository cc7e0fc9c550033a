"""Azure Blob Storage, and whatever speaks its protocol: requests of our own over `transfer/`, signed here.

Of Microsoft's libraries only the one for identities is asked, for tokens (`azure_accounts`). Buckets are
containers, objects are blobs, and an object's version is its entity tag.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import formatdate
from time import time
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from aisle.backends.azure_blocks import BLOCK_BYTES, Uploading, upload
from aisle.backends.azure_protocol import (
    API_VERSION,
    Ask,
    Page,
    about_of,
    can_be_named,
    conditions,
    described,
    failure_of,
    md5_base64,
    parse_containers,
    parse_page,
)
from aisle.backends.azure_signing import Signable, authorization
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
from aisle.errors import InvalidName, ObjectNotFound, SourceDenied, SourceFailed
from aisle.transfer.exchange import Answered, Exchanges, Outgoing

PAGE_NAMES_MAX: Final = 5000
_DOCUMENT_BYTES_MAX: Final = 64 * 1024 * 1024
_OF_CONTAINER: Final = ("restype", "container")
_NO_CREDENTIALS: Final = (
    "no credentials: set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, or "
    "AZURE_STORAGE_AUTH_MODE=login"
)


class SharedKey(NamedTuple):
    """An account's name and its key."""

    account: str
    key: bytes

    @property
    def hint(self) -> str:
        """What to look at when it is refused."""
        return f"is it the key of the account {self.account}, and is the node's clock right?"


class SasToken(NamedTuple):
    """A shared access signature: what goes behind each request's query, without a question mark."""

    query: str

    @property
    def hint(self) -> str:
        """What to look at when it is refused."""
        return "does the SAS token allow it for this container, and has it not expired?"


class BearerToken(NamedTuple):
    """A token of an identity; it goes over https only."""

    token: str

    @property
    def hint(self) -> str:
        """What to look at when it is refused."""
        return "does the node's identity have a role such as Storage Blob Data Contributor there?"


Credential = SharedKey | SasToken | BearerToken


class AzureAccount(NamedTuple):
    """How the containers of an account are reached."""

    exchanges: Exchanges
    credential: Callable[[], Awaitable[Credential | None]]
    """What to sign with; None for an anonymous account."""
    endpoint: str
    """URL of the account's Blob service; with the account in its path where the host is not the account's."""
    block_bytes: int = BLOCK_BYTES
    """Larger objects are written in blocks of so many bytes."""
    page_names_max: int = PAGE_NAMES_MAX


class AzureProvider(MadeElsewhere):
    """A BackendProvider over the Blob service's REST API."""

    scheme = "az"

    capabilities = Capabilities(conditional_writes=True, versions=True)

    def __init__(self, account: AzureAccount, *, now_s: Callable[[], float] = time) -> None:
        self.account = account
        """How it is reached."""
        self._now_s = now_s

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets."""
        found: list[str] = []
        marker = ""
        while True:
            ask = Ask("GET", query=_query(comp="list", marker=marker))
            names, marker = parse_containers(await self._read(ask))
            found += names
            if not marker:
                return sorted(found, key=str.encode)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket."""
        try:
            await self._read(Ask("HEAD", bucket, query=(_OF_CONTAINER,)))
        except SourceDenied:
            # A SAS token for one container never allows to ask about it, and may allow to list it.
            await self._page(bucket, _query(maxresults="1"))
        return {"versioning": "true", "endpoint": self.account.endpoint}

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
        """See BackendProvider.list_objects.

        The service cannot begin behind a name: what comes before `after` is read and left out.
        """
        # A token is a marker of the service; before it the name up to which its page has been told.
        told, _, marker = token.partition(":")
        behind = unquote(told) if token else after
        limit = min(limit, self.account.page_names_max)
        while True:
            asked = self.account.page_names_max if behind else limit
            query = _query(prefix=prefix, delimiter=delimiter, marker=marker, maxresults=str(asked))
            page = _behind(await self._page(bucket, query), behind, prefix, delimiter)
            # The service may well answer with an empty page and a marker.
            if page.objects or page.prefixes or not page.marker:
                break
            marker = page.marker
        kept, last = _first(page, limit)
        rest = f"{quote(last, safe='')}:{marker}" if last else page.marker and f":{page.marker}"
        return RemotePage(kept.objects, kept.prefixes, rest)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        _check_found(bucket, key)
        answered = await self._checked(Ask("HEAD", bucket, key))
        answered.close()
        return about_of(key, answered.status, answered.fields)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        _check_found(bucket, key)
        if length == 0:
            return await read_nothing(self, bucket, key, etag)
        headers = list(conditions(WriteCondition(etag=etag)))
        if span := byte_range(offset, length):
            headers.append(("x-ms-range", span))
        ask = Ask("GET", bucket, key, headers=tuple(headers))
        answered = await self._asked(ask)
        if answered.status == 416:
            answered.close()
            return await read_nothing(self, bucket, key, etag)
        await self._check(answered, ask)
        if span and answered.status != 206:
            answered.close()
            raise SourceFailed(f"{ask.shown}: the source sends no ranges")
        return RemoteRead(about_of(key, answered.status, answered.fields), body_of(answered))

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        """See BackendProvider.put; raises InvalidName and BadRequest for what Azure cannot keep, too."""
        if not can_be_named(key):
            raise InvalidName(
                f'az://{bucket}/{key}: Azure has no names with a backslash, or with "." or ".." as a part'
            )
        if about.size > self.account.block_bytes:
            uploading = Uploading(bucket, key, about, conditions(only_if), self.account.block_bytes)
            return await upload(self._checked, uploading, chunks)
        headers = [("x-ms-blob-type", "BlockBlob"), *described(about), *conditions(only_if)]
        if md5 := md5_base64(about):
            headers.append(("Content-MD5", md5))
        answered = await self._checked(
            Ask("PUT", bucket, key, headers=tuple(headers), body=chunks, length=about.size)
        )
        await answered.read(_DOCUMENT_BYTES_MAX)
        told = about_of(key, answered.status, answered.fields)
        return about._replace(
            key=key, etag=told.etag, version=told.etag, modified_ns=told.modified_ns, digests=told.digests
        )

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        if not can_be_named(key):
            return
        try:
            await self._read(Ask("DELETE", bucket, key))
        except ObjectNotFound:
            pass

    async def close(self) -> None:
        """See BackendProvider.close."""
        self.account.exchanges.close()

    # Asking.

    async def _page(self, bucket: str, query: tuple[tuple[str, str], ...]) -> Page:
        ask = Ask("GET", bucket, query=(_OF_CONTAINER, ("comp", "list"), *query))
        return parse_page(await self._read(ask))

    async def _read(self, ask: Ask) -> bytes:
        return await (await self._checked(ask)).read(_DOCUMENT_BYTES_MAX)

    async def _checked(self, ask: Ask) -> Answered:
        answered = await self._asked(ask)
        await self._check(answered, ask)
        return answered

    async def _check(self, answered: Answered, ask: Ask) -> None:
        """Raise what an answer's status means, unless it is good."""
        if answered.status < 300:
            return
        body = await answered.read(_DOCUMENT_BYTES_MAX)
        credential = await self.account.credential()
        raise failure_of(
            answered.status,
            answered.fields,
            body,
            ask=ask,
            hint=credential.hint if credential else _NO_CREDENTIALS,
            is_anonymous=credential is None,
        )

    async def _asked(self, ask: Ask) -> Answered:
        """The answer to a request, whatever its status."""
        credential = await self.account.credential()
        return await self.account.exchanges.send(self._outgoing(ask, credential))

    def _outgoing(self, ask: Ask, credential: Credential | None) -> Outgoing:
        parts = urlsplit(self.account.endpoint)
        path = f"{parts.path.rstrip('/')}{ask.path}"
        length = len(ask.body) if isinstance(ask.body, bytes) else ask.length
        fields = {
            "x-ms-version": API_VERSION,
            "x-ms-date": formatdate(self._now_s(), usegmt=True),
            **dict(ask.headers),
        }
        query = [f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in ask.query]
        if isinstance(credential, SharedKey):
            signed = {name.lower(): value for name, value in fields.items()}
            if length:
                signed["content-length"] = str(length)
            request = Signable(ask.method, path, ask.query, signed)
            fields["Authorization"] = authorization(request, credential.account, credential.key)
        elif isinstance(credential, BearerToken):
            fields["Authorization"] = f"Bearer {credential.token}"
        elif isinstance(credential, SasToken):
            query.append(credential.query)
        link = f"{parts.scheme}://{parts.netloc}{path}{'?' if query else ''}{'&'.join(query)}"
        return Outgoing(ask.method, link, tuple(fields.items()), ask.body, length)


def _query(**members: str) -> tuple[tuple[str, str], ...]:
    """The members of a query that are not empty."""
    return tuple((name, value) for name, value in members.items() if value)


def _check_found(bucket: str, key: str) -> None:
    """Raise ObjectNotFound for a name that no blob can have, and that may lead elsewhere."""
    if not can_be_named(key):
        raise ObjectNotFound(f"az://{bucket}/{key}")


def _behind(page: Page, behind: str, prefix: str, delimiter: str) -> Page:
    """A page in byte order, without what does not come behind a name."""
    # A folded name stands for all that begin with it; the prefix itself folds nothing.
    folded = behind if is_folded(behind, prefix, delimiter) else ""
    start = behind.encode()

    def is_behind(name: str) -> bool:
        return name.encode() > start and not (folded and name.startswith(folded))

    objects = [about for about in page.objects if is_behind(about.key)]
    prefixes = [name for name in page.prefixes if is_behind(name)]
    # The service promises "alphabetical" order; Azurite's is that of words of 16 bits, which is another one
    # beyond the first 65,536 characters.
    objects.sort(key=lambda about: about.key.encode())
    prefixes.sort(key=str.encode)
    return Page(objects, prefixes, page.marker)


def _first(page: Page, limit: int) -> tuple[Page, str]:
    """The first names of a page; the last of them if that leaves some out, else empty."""
    if len(page.objects) + len(page.prefixes) <= limit:
        return page, ""
    names = sorted([*(about.key.encode() for about in page.objects), *map(str.encode, page.prefixes)])
    last = names[limit - 1]
    objects = [about for about in page.objects if about.key.encode() <= last]
    prefixes = [name for name in page.prefixes if name.encode() <= last]
    return Page(objects, prefixes, page.marker), last.decode()
