"""Google Cloud Storage: requests of our own over `transfer/`, to its JSON API.

Google's library is asked for credentials only (`gcp_accounts`). A generation is the version of an
object; its number also makes sure that what is told of an object and its bytes belong together.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple, Protocol

from aisle.backends.gcp_protocol import (
    LISTED_FIELDS,
    NO_SUCH_OBJECT,
    Ask,
    BucketDocument,
    BucketsDocument,
    Document,
    ObjectDocument,
    ObjectsDocument,
    about_of,
    bucket_path,
    failure_of,
    media_path,
    object_path,
    parse_document,
)
from aisle.backends.gcp_upload import ANSWER_BYTES_MAX, CHUNK_BYTES, Writing, read_good, upload
from aisle.backends.made_elsewhere import MadeElsewhere
from aisle.backends.pieces import no_chunks
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
    ConditionFailed,
    ObjectNotFound,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceUnreachable,
    Unsupported,
)
from aisle.transfer.exchange import Answered, Exchanges, Outgoing

ENDPOINT: Final = "https://storage.googleapis.com"
PAGE_KEYS_MAX: Final = 1000


class Identity(Protocol):
    """Who asks."""

    async def headers(self) -> Mapping[str, str]:
        """The header fields that show it, valid now; none for anonymous requests.

        Raises SourceDenied where there are credentials that are no good, SourceUnreachable where nobody
        answers who could make them valid.
        """

    async def project(self) -> str:
        """The project whose buckets are listed, or empty. Raises as `headers`."""

    def refused(self, headers: Mapping[str, str]) -> None:
        """The service does not accept these header fields any more: the next ones are to be others."""


class GcpAccount(NamedTuple):
    """How the buckets of an account are reached."""

    exchanges: Exchanges
    identity: Identity
    endpoint: str = ENDPOINT
    """Scheme and authority of the service."""
    chunk_bytes: int = CHUNK_BYTES
    """Objects from this size on are written in chunks of it."""


class GcpProvider(MadeElsewhere):
    """A BackendProvider over Google's JSON API."""

    scheme = "gs"

    capabilities = Capabilities(conditional_writes=True, versions=True)

    def __init__(self, account: GcpAccount) -> None:
        self.account = account
        """How it is reached."""
        self._reads: Exchanges | None = None

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets. Raises Unsupported where no project is known."""
        project = await self.account.identity.project()
        if not project:
            raise Unsupported(
                "the buckets of Google Cloud Storage are listed by project: set GOOGLE_CLOUD_PROJECT"
            )
        found: list[str] = []
        token = ""
        while True:
            query = _query(project=project, fields="items(name),nextPageToken", pageToken=token)
            page = await self._document(Ask("GET", "/storage/v1/b", query=query), BucketsDocument)
            found += [bucket.name for bucket in page.items]
            token = page.next_page_token
            if not token:
                return sorted(found, key=str.encode)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket; the right to list its objects is enough."""
        ask = Ask("GET", bucket_path(bucket), bucket, query=_query(fields="name,location"))
        # Every write makes a generation, whether older ones are kept or not.
        told = {"versioning": "true"}
        try:
            told["region"] = (await self._document(ask, BucketDocument)).location.lower()
        except SourceDenied:
            # Who may read objects need not be allowed to see the bucket itself; public ones are so.
            await self.list_objects(bucket, limit=1)
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
        folding = delimiter if is_folded(after, prefix, delimiter) else ""
        while True:
            query = _query(
                prefix=prefix,
                delimiter=delimiter,
                startOffset="" if token else _offset(after, folding),
                pageToken=token,
                maxResults=str(min(limit, PAGE_KEYS_MAX)),
                fields=LISTED_FIELDS,
            )
            ask = Ask("GET", f"{bucket_path(bucket)}/o", bucket, query=query)
            page = await self._document(ask, ObjectsDocument)
            token = page.next_page_token
            # The offset itself belongs to what the API lists.
            objects = [about_of(each) for each in page.items if each.name != after]
            prefixes = [each for each in page.prefixes if each != after]
            if objects or prefixes or not token:
                return RemotePage(objects, prefixes, token)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        ask = Ask("GET", object_path(bucket, key), bucket, key)
        return about_of(await self._document(ask, ObjectDocument))

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get.

        The API's answer with the bytes does not tell everything about the object: both are asked for at
        once, and again, of one generation, if a write came between.
        """
        if length == 0:
            return await read_nothing(self, bucket, key, etag)
        span = byte_range(offset, length)
        about, answered = await self._told_and_opened(bucket, key, span)
        try:
            _expected(about, etag, bucket)
            if _is_of_another(answered, about, offset):
                answered.close()
                answered = await self._opened(bucket, key, span, about.version)
                if answered.status == 404:
                    raise SourceUnreachable(f"gs://{bucket}/{key} is replaced while it is read")
        except BaseException:
            answered.close()
            raise
        if answered.status == 416 and offset >= about.size:
            answered.close()
            return RemoteRead(about, no_chunks())
        if answered.status >= 300:
            body = await answered.read(ANSWER_BYTES_MAX)
            raise failure_of(answered.status, answered.fields, body, bucket=bucket, key=key)
        if span and answered.status != 206:
            answered.close()
            raise SourceFailed(f"gs://{bucket}/{key}: the source sends no ranges")
        return RemoteRead(about, body_of(answered))

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        """See BackendProvider.put; large objects are written in chunks, visible when all are there."""
        conditions: tuple[tuple[str, str], ...] = ()
        if only_if.is_absent:
            conditions = (("ifGenerationMatch", "0"),)
        elif only_if.etag:
            conditions = (("ifGenerationMatch", await self._generation(bucket, key, only_if.etag)),)
        wanted = Writing(bucket, about._replace(key=key), conditions, self.account.chunk_bytes)
        written = about_of(await upload(self._asked, wanted, chunks))
        if written.size != about.size:
            raise SourceFailed(f"gs://{bucket}/{key}: the source has {written.size} of {about.size} bytes")
        return written

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        ask = Ask("DELETE", object_path(bucket, key), bucket, key)
        answered = await self._asked(ask)
        body = await answered.read(ANSWER_BYTES_MAX)
        if answered.status < 300:
            return
        failed = failure_of(answered.status, answered.fields, body, bucket=bucket, key=key)
        if not isinstance(failed, ObjectNotFound):
            raise failed
        if NO_SUCH_OBJECT not in body:
            await self.head_bucket(bucket)  # what answers does not say what is missing

    async def close(self) -> None:
        """See BackendProvider.close."""
        self.account.exchanges.close()
        if self._reads is not None:
            self._reads.close()

    # Asking.

    async def _generation(self, bucket: str, key: str, etag: str) -> str:
        """The present generation. Raises ConditionFailed if it has another entity tag."""
        try:
            about = await self.head(bucket, key)
        except ObjectNotFound as error:
            raise ConditionFailed(str(error)) from error
        if about.etag != etag:
            raise ConditionFailed(f"gs://{bucket}/{key} is another one by now")
        return about.version

    async def _told_and_opened(self, bucket: str, key: str, span: str) -> tuple[RemoteObject, Answered]:
        """What is told about an object, and the answer with its bytes, whatever its status."""
        telling = asyncio.ensure_future(self.head(bucket, key))
        try:
            answered = await self._opened(bucket, key, span)
        except BaseException:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            raise
        try:
            return await telling, answered
        except BaseException:
            telling.cancel()
            answered.close()
            raise

    async def _opened(self, bucket: str, key: str, span: str, generation: str = "") -> Answered:
        # Else what is stored compressed would be unpacked on the way, and have another size and digest.
        headers = [("Accept-Encoding", "gzip")]
        if span:
            headers.append(("Range", span))
        query = _query(alt="media", generation=generation)
        ask = Ask("GET", media_path(bucket, key), bucket, key, query, tuple(headers))
        if self._reads is None:
            # Who opens an object holds a connection before it is known what it is. Were that asked over
            # the same connections, many who open would wait for each other for ever.
            shared = self.account.exchanges
            self._reads = Exchanges(shared.config, shared.guard, ca_file=shared.certificates)
        return await self._answer(ask, self._reads)

    async def _document(self, ask: Ask, kind: type[Document]) -> Document:
        return parse_document(await read_good(ask, await self._asked(ask)), kind)

    async def _asked(self, ask: Ask) -> Answered:
        """The answer to a request, whatever its status."""
        return await self._answer(ask, self.account.exchanges)

    async def _answer(self, ask: Ask, exchanges: Exchanges) -> Answered:
        """The same over these connections; asked again if the token was refused."""
        identity = self.account.identity
        shown = await identity.headers()
        answered = await exchanges.send(self._outgoing(ask, shown))
        if answered.status != 401 or not shown:
            return answered
        answered.close()
        identity.refused(shown)
        return await exchanges.send(self._outgoing(ask, await identity.headers()))

    def _outgoing(self, ask: Ask, shown: Mapping[str, str]) -> Outgoing:
        headers = (*ask.headers, *shown.items())
        return Outgoing(ask.method, ask.link(self.account.endpoint), headers, ask.body)


def _query(**parts: str) -> tuple[tuple[str, str], ...]:
    """The parts of a query that are not empty."""
    return tuple((name, value) for name, value in parts.items() if value)


def _offset(after: str, delimiter: str) -> str:
    """Where a listing begins so that all behind `after` is in it."""
    if not (delimiter and after.endswith(delimiter)):
        return after
    # A folded name stands for all that begin with it: the first other one differs in its last character.
    following = ord(after[-1]) + 1
    if following == 0xD800:
        following = 0xE000
    return f"{after[:-1]}{chr(following)}" if following < 0x110000 else after


def _expected(about: RemoteObject, etag: str, bucket: str) -> RemoteObject:
    """The object, if it is the one that is meant. Raises SourceChanged."""
    if etag and about.etag != etag:
        raise SourceChanged(f"gs://{bucket}/{about.key} has changed")
    return about


def _is_of_another(answered: Answered, about: RemoteObject, offset: int) -> bool:
    """Whether an answer is not about this generation of an object, as far as it tells."""
    if answered.status == 416:
        return offset < about.size
    told = answered.fields.get("x-goog-generation", "")
    return answered.status == 404 or (answered.status < 300 and told not in (about.version, ""))
