"""A dataset on a web server: a folder of it as a bucket that can be read and listed.

Files are asked for by their names. What there is, the server's pages that list its folders tell, or a
manifest. Such servers tell little about a file: its size, and perhaps an entity tag or a time, from which
a tag is made where there is none.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urljoin

from aisle.backends.http_listing import Selection, chosen, page_of, walked
from aisle.backends.http_protocol import Asking, Reached, about_of, failure_of, first_byte, is_gone
from aisle.backends.provider import (
    ALWAYS,
    Capabilities,
    RemoteObject,
    RemotePage,
    RemoteRead,
    WriteCondition,
)
from aisle.backends.reading import body_of, byte_range, read_nothing
from aisle.errors import (
    AisleError,
    BucketNotFound,
    NotFound,
    ObjectNotFound,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
    Unsupported,
)
from aisle.rules.http_datasets import MANIFEST_BYTES_MAX, object_link, parse_manifest
from aisle.rules.index_pages import StartFolder, is_page, page_entries, page_text
from aisle.transfer.exchange import Exchanges

PAGE_BYTES_MAX: Final = 32 * 1024 * 1024
QUESTIONS_AT_A_TIME: Final = 16
"""How many files are asked about at the same time, for one page of a listing."""
REMEMBERED_S: Final = 300.0
_REMEMBERED_NAMES_MAX: Final = 200_000
_NAMES_AT_A_TIME: Final = 250  # of a page, between two turns of the event loop
_NO_PAGE: Final = frozenset({400, 405, 406, 501})


class HttpDataset(NamedTuple):
    """Where a dataset is."""

    url: str = ""
    """Its folder, as `rules.http_datasets.dataset_url` gives it; empty if nobody has said."""
    manifest: str = ""
    """Address of its manifest, perhaps relative to the folder; empty for none."""


class _Remembered(NamedTuple):
    until_s: float
    names: Sequence[str] | None


class _Manifest(NamedTuple):
    until_s: float
    keys: Sequence[str]
    sizes: Mapping[str, int]


class HttpProvider:
    """A BackendProvider over a folder of a web server; whatever its bucket is called."""

    capabilities = Capabilities(lists_buckets=False, writes=False, custom_metadata=False)

    def __init__(self, exchanges: Exchanges, dataset: HttpDataset) -> None:
        self._exchanges = exchanges
        self._asking = Asking(exchanges)
        self._dataset = dataset
        self._root: StartFolder | None = None
        """Where the dataset's own page was found, after redirects."""
        self._pages: dict[str, _Remembered] = {}
        self._manifest = _Manifest(0.0, [], {})

    async def buckets(self) -> list[str]:
        """None: a web server does not tell which folders are datasets."""
        return []

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket.

        A folder that exists and may not be listed (403) is one: its files may be read all the same.
        """
        url = self._url(bucket)
        link = urljoin(url, self._dataset.manifest) if self._dataset.manifest else url
        reached = await self._asking.ask("GET", link)
        reached.answered.close()
        status = reached.answered.status
        if is_gone(status):
            raise BucketNotFound(f"ht://{bucket}")
        if status >= 300 and (self._dataset.manifest or status not in (403, *_NO_PAGE)):
            raise failure_of(reached)
        return {"versioning": "false", "original_url": url}

    async def create_bucket(self, bucket: str) -> None:
        """Always raises Unsupported: a dataset is where its server has it."""
        raise _read_only(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        """Always raises Unsupported, see `create_bucket`."""
        raise _read_only(bucket)

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

        A continued listing may see pages as they were when it began, for `REMEMBERED_S` at most. Files that
        a page shows and that cannot be had are left out. Raises SourceDenied and SourceFailed where the
        server lists nothing.
        """
        url = self._url(bucket)
        selection = Selection(prefix, token or after, delimiter)
        sizes: Mapping[str, int] = {}
        if self._dataset.manifest:
            manifest = await self._listed(url, is_fresh=not token)
            sizes, names = manifest.sizes, chosen(manifest.keys, selection)
        else:
            if not token:
                self._pages.clear()
            names = walked(lambda folder: self._children(url, folder), selection)
        found, following = await page_of(names, limit)
        prefixes = [name for name in found if selection.is_folded(name)]
        keys = [name for name in found if not selection.is_folded(name)]
        turns = asyncio.Semaphore(QUESTIONS_AT_A_TIME)
        told = await _all([self._told(bucket, key, sizes.get(key, -1), turns) for key in keys])
        return RemotePage(told, prefixes, following)

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        link = self._link(bucket, key)
        reached = await self._asking.ask("HEAD", link)
        answered = reached.answered
        answered.close()
        if answered.status in (405, 501) or (
            answered.status == 200 and "content-length" not in answered.fields
        ):
            # Not every server answers HEAD as it would GET.
            reached = await self._asking.ask("GET", link)
            reached.answered.close()
        return self._about(bucket, key, reached)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get; of a server that knows no ranges, what comes before is read, too."""
        if length == 0:
            return await read_nothing(self, bucket, key, etag)
        end = None if length is None else offset + length
        span = byte_range(offset, length)
        headers = (("Range", span),) if span else ()
        reached = await self._asking.ask("GET", self._link(bucket, key), headers)
        answered = reached.answered
        if answered.status == 416:
            answered.close()
            return await read_nothing(self, bucket, key, etag)
        try:
            about = _same(self._about(bucket, key, reached), etag)
            start = first_byte(reached)
            if start > offset:
                raise SourceFailed(f"{reached.shown}: the source sends another range")
        except BaseException:
            answered.close()
            raise
        if not headers:
            return RemoteRead(about, body_of(answered))
        wanted = min(about.size, about.size if end is None else end) - offset
        chunks = _cut(answered.chunks(), offset - start, wanted)
        return RemoteRead(about, chunks, keeps_ranges=answered.status == 206)

    async def put(
        self,
        bucket: str,
        key: str,  # noqa: ARG002
        chunks: AsyncIterator[bytes],  # noqa: ARG002
        about: RemoteObject,  # noqa: ARG002
        *,
        only_if: WriteCondition = ALWAYS,  # noqa: ARG002
    ) -> RemoteObject:
        """Always raises Unsupported."""
        raise _read_only(bucket)

    async def delete(self, bucket: str, key: str) -> None:  # noqa: ARG002
        """Always raises Unsupported."""
        raise _read_only(bucket)

    async def close(self) -> None:
        """See BackendProvider.close."""
        self._exchanges.close()

    def _url(self, bucket: str) -> str:
        if not self._dataset.url:
            raise BucketNotFound(f"ht://{bucket}")
        return self._dataset.url

    def _link(self, bucket: str, key: str) -> str:
        link = object_link(self._url(bucket), key)
        if link is None:
            raise ObjectNotFound(f"ht://{bucket}/{key}")
        return link

    def _about(self, bucket: str, key: str, reached: Reached) -> RemoteObject:
        """What an answer tells about an object. Raises what a bad one means."""
        answered = reached.answered
        # A folder's name without its slash leads to the folder.
        if is_gone(answered.status) or reached.is_folder:
            raise ObjectNotFound(f"ht://{bucket}/{key}")
        if answered.status not in (200, 206):
            raise failure_of(reached)
        return about_of(key, reached)

    async def _told(self, bucket: str, key: str, size: int, turns: asyncio.Semaphore) -> RemoteObject | None:
        """What is listed of a file; None for one that a page shows and that cannot be had."""
        if size >= 0:
            return RemoteObject(key, size)
        async with turns:
            try:
                return await self.head(bucket, key)
            except (SourceThrottled, SourceUnreachable):
                raise
            except (NotFound, SourceDenied, SourceFailed):
                return None

    async def _listed(self, url: str, *, is_fresh: bool) -> _Manifest:
        now_s = asyncio.get_running_loop().time()
        if is_fresh or now_s > self._manifest.until_s:
            link = urljoin(url, self._dataset.manifest)
            reached = await self._asking.ask("GET", link)
            if reached.answered.status != 200:
                reached.answered.close()
                raise failure_of(reached)
            body = await reached.answered.read(MANIFEST_BYTES_MAX)
            listed = await asyncio.to_thread(parse_manifest, body, url, link=link)
            keys, sizes = [entry.key for entry in listed], {entry.key: entry.size for entry in listed}
            self._manifest = _Manifest(now_s + REMEMBERED_S, keys, sizes)
        return self._manifest

    async def _children(self, url: str, folder: str) -> Sequence[str] | None:
        """See `http_listing.Children`."""
        now_s = asyncio.get_running_loop().time()
        remembered = self._pages.get(folder)
        if remembered is None or now_s > remembered.until_s:
            names = await self._page(url, folder)
            held = sum(len(page.names or ()) + 1 for page in self._pages.values())
            if held + len(names or ()) > _REMEMBERED_NAMES_MAX:
                self._pages.clear()
            remembered = self._pages[folder] = _Remembered(now_s + REMEMBERED_S, names)
        return remembered.names

    async def _page(self, url: str, folder: str) -> Sequence[str] | None:
        link = url + quote(folder, safe="/-._~")
        reached = await self._asking.ask("GET", link)
        answered = reached.answered
        content_type = answered.fields.get("content-type", "")
        if answered.status != 200 or not is_page(content_type):
            answered.close()
            if is_gone(answered.status) and folder:
                return None
            raise _unlisted(reached)
        if self._leads_out(reached.link, folder):
            answered.close()
            return None
        text = page_text(await answered.read(PAGE_BYTES_MAX), content_type)
        start = StartFolder(f"{reached.link.rpartition('/')[0]}/")
        names: list[str] = []
        for number, entry in enumerate(page_entries(text, reached.link, start), 1):
            if not entry.error and object_link(url, folder + entry.path.removesuffix("/")) is not None:
                names.append(folder + entry.path)
            if number % _NAMES_AT_A_TIME == 0:
                await asyncio.sleep(0)
        return names

    def _leads_out(self, link: str, folder: str) -> bool:
        """Whether the page of a folder was found elsewhere than below the dataset's own page."""
        where = f"{link.rpartition('/')[0]}/"
        if not folder or self._root is None:
            if not folder:
                self._root = StartFolder(where)
            return False
        entry = self._root.entry(where)
        return entry is None or entry.path != folder


async def _all(questions: Sequence[Coroutine[Any, Any, RemoteObject | None]]) -> list[RemoteObject]:
    """The answers that there are, in order; the first error ends them all."""
    tasks = [asyncio.ensure_future(question) for question in questions]
    try:
        return [told for told in await asyncio.gather(*tasks) if told is not None]
    finally:
        for task in tasks:
            task.cancel()


def _read_only(bucket: str) -> Unsupported:
    return Unsupported(f"ht://{bucket} is a dataset on a web server: it is read-only")


def _unlisted(reached: Reached) -> AisleError:
    """What the answer of a folder that lists nothing means."""
    failed = failure_of(reached)
    hint = f"{reached.shown} lists no files: name a manifest in the property extra.http.manifest"
    if isinstance(failed, SourceDenied):
        return SourceDenied(f"{hint} (status {reached.answered.status})")
    if reached.answered.status in (200, 404, 410, *_NO_PAGE):
        return SourceFailed(hint, status=reached.answered.status)
    return failed


def _same(about: RemoteObject, etag: str) -> RemoteObject:
    """The object. Raises SourceChanged if it is not the one with this entity tag."""
    if etag and about.etag != etag:
        raise SourceChanged(f"{about.key} has changed at its source")
    return about


async def _cut(chunks: AsyncIterator[bytes], skipped: int, wanted: int) -> AsyncIterator[bytes]:
    """The bytes behind the first `skipped`, as many as are wanted."""
    try:
        while wanted > 0 and (chunk := await anext(chunks, b"")):
            part = chunk[skipped : skipped + wanted]
            skipped = max(0, skipped - len(chunk))
            wanted -= len(part)
            if part:
                yield part
        if wanted > 0:
            raise SourceUnreachable("the source sends less than it was asked for")
    finally:
        await chunks.aclose()  # type: ignore[attr-defined]
