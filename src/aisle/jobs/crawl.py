"""Walking through the pages of a folder on a web server, to make a list of the files that lie below it.

The pages are asked for over the same guarded connections as everything that jobs fetch, a few at a time.
Servers that have a `robots.txt` are asked only for what that allows, files included. A page that cannot be
had becomes an item that fails, so that a job tells what is missing; without the first page there is no list.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from xxhash import xxh3_64_intdigest

from aisle.errors import AisleError, SourceFailed
from aisle.jobs.list_files import ListDraft
from aisle.model.job import DownloadSpec
from aisle.rules.backoff import delay_s, is_transient, parse_retry_after
from aisle.rules.download_list import ListedItem, folder_prefix, literal_key
from aisle.rules.download_names import have_one_server, public_link
from aisle.rules.download_reply import Reply
from aisle.rules.index_pages import Entry, StartFolder, Wanted, is_page, page_entries, page_text
from aisle.rules.robots import Robots
from aisle.target.in_threads import in_thread
from aisle.transfer.carriers import RequestOptions
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import PLAIN, Fetch, Fetcher, FetchRequest

PAGE_BYTES_MAX: Final = 32 * 1024 * 1024
ROBOTS_BYTES_MAX: Final = 512 * 1024
PAGES_MAX: Final = 100_000
FILES_MAX: Final = 1_000_000
DEPTH_MAX: Final = 64
CRAWL_DELAY_MAX_S: Final = 30.0
PAGES_AT_A_TIME: Final = 4
USER_AGENT: Final = "aisle"
"""What `robots.txt` calls us."""

_ALIKE_MAX: Final = 2  # folders above one that show the very same entries, before it is taken for a loop
_SLICE_S: Final = 0.004  # between two turns of the event loop


class CrawlTools(NamedTuple):
    """What a walk works with. `clock_ns` gives Unix nanoseconds."""

    fetcher: Fetcher
    retries_max: int
    clock_ns: Callable[[], int]


class _Folder(NamedTuple):
    link: str
    path: str
    above: tuple[int, ...] = ()
    """What the pages above it showed, as hashes, the start's first."""


class _Page(NamedTuple):
    link: str
    """Where it was in the end: its server may have sent us on."""
    text: str


class _Refused(NamedTuple):
    status: int


class Crawl:
    """One walk. The files that it finds are added to `draft`, which is the caller's."""

    def __init__(
        self, spec: DownloadSpec, draft: ListDraft, tools: CrawlTools, options: RequestOptions = PLAIN
    ) -> None:
        """`options` are those of the requests for pages. Raises BadRequest."""
        self._draft = draft
        self._tools = tools
        self._options = options
        self._start = StartFolder(spec.link)
        self._subdir = folder_prefix(spec.subdir)
        self._wanted = Wanted(spec.include, spec.exclude)
        self._robots: Robots | None = None
        self._folders: deque[_Folder] = deque([_Folder(self._start.link, "")])
        self._seen = {xxh3_64_intdigest(b"")}
        self.pages = 0
        """Pages that were read."""
        self.files = 0

    async def run(self) -> None:
        """Walk.

        Raises SourceFailed when the first page cannot be had, or there is no end to what lies below it, and
        OutOfSpace.
        """
        await self._first()
        while self._folders:
            batch = [self._folders.popleft() for _ in range(min(self._at_a_time, len(self._folders)))]
            pages = await asyncio.gather(*(self._page(folder) for folder in batch))
            for folder, page in zip(batch, pages, strict=True):
                if isinstance(page, SourceFailed):
                    await self._add([self._failing(folder.path, folder.link, str(page))])
                else:
                    await self._read(folder, page)
            if self._folders:
                await self._rest()

    async def _first(self) -> None:
        """The rules of the server, and the page where the walk begins."""
        self._robots = await self._rules()
        first = self._folders.popleft()
        if not self._may_have(first.link):
            raise SourceFailed(
                f"{public_link(first.link)} is not for programs: robots.txt of its server says so"
            )
        page = await self._page(first)
        if isinstance(page, SourceFailed):
            raise page
        if self._start.entry(page.link) is None and page.link != self._start.link:
            await self._move(page.link)
        await self._read(first, page)
        if not self.files and not self._folders:
            raise SourceFailed(f"{public_link(self._start.link)} lists no files below it that are wanted")

    async def _move(self, link: str) -> None:
        """Go on where the first page has led: another host or path, or https instead of http."""
        folder, _, last = link.rpartition("/")
        before, self._start = self._start, StartFolder(f"{folder}/" if "." in last else link)
        shown = public_link(self._start.link)
        if self._options.private_headers and not have_one_server(before.link, self._start.link):
            raise SourceFailed(f"{public_link(before.link)} leads to {shown}, which must not see the headers")
        self._robots = await self._rules()
        if not self._may_have(self._start.link):
            raise SourceFailed(f"{shown} is not for programs: robots.txt of its server says so")

    @property
    def _at_a_time(self) -> int:
        return PAGES_AT_A_TIME if not self._delay_s else 1

    @property
    def _delay_s(self) -> float:
        return min(self._robots.delay_s, CRAWL_DELAY_MAX_S) if self._robots else 0.0

    async def _rest(self) -> None:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)

    async def _read(self, folder: _Folder, page: _Page) -> None:
        """Note what a page lists."""
        self.pages += 1
        if self.pages + len(self._folders) > PAGES_MAX:
            raise SourceFailed(f"{public_link(self._start.link)} has more than {PAGES_MAX} folders below it")
        entries: list[Entry] = []
        due_s = _due_s()
        for entry in page_entries(page.text, page.link, self._start):
            entries.append(entry)
            due_s = await _rested(due_s)
        shown = _fingerprint(entries, folder.path)
        if entries and folder.above.count(shown) >= _ALIKE_MAX:
            circle = f"{public_link(folder.link)}: its pages lead in a circle"
            await self._add([self._failing(folder.path, folder.link, circle)])
            return
        above = (*folder.above, shown)
        items: list[ListedItem] = []
        for entry in entries:
            item = self._found(entry, above)
            if item is not None:
                items.append(item)
            due_s = await _rested(due_s)
        await self._add(items)

    def _found(self, entry: Entry, above: tuple[int, ...]) -> ListedItem | None:
        """What becomes of an entry: an item, a folder to look into, or nothing."""
        wanted = self._wanted.folder(entry.path) if entry.is_folder else self._wanted.file(entry.path)
        if not wanted or not self._may_have(entry.link):
            return None
        known = xxh3_64_intdigest(entry.path.encode("utf-8", "surrogatepass"))
        if known in self._seen:
            return None
        self._seen.add(known)
        reason = entry.error
        if entry.is_folder and not reason:
            if len(above) < DEPTH_MAX:
                self._folders.append(_Folder(entry.link, entry.path, above))
                return None
            reason = f"more than {DEPTH_MAX} folders deep"
        if not reason:
            try:
                return ListedItem(literal_key(self._subdir + entry.path), entry.link)
            except AisleError as error:
                reason = str(error)
        return self._failing(entry.path, entry.link, f"{public_link(entry.link)}: {reason}")

    def _failing(self, path: str, link: str, reason: str) -> ListedItem:
        return ListedItem((self._subdir + path).encode("utf-8", "backslashreplace"), link, error=reason)

    async def _add(self, items: Sequence[ListedItem]) -> None:
        self.files += len(items)
        if self.files > FILES_MAX:
            raise SourceFailed(f"{public_link(self._start.link)} has more than {FILES_MAX} files below it")
        if self._draft.add(items):
            await in_thread(self._draft.write, lambda: None)

    def _may_have(self, link: str) -> bool:
        return self._robots is None or self._robots.allows(link)

    async def _rules(self) -> Robots | None:
        """What the server allows; everything if it says nothing (RFC 9309 §2.3.1)."""
        parts = urlsplit(self._start.link)
        link = f"{parts.scheme}://{parts.netloc}/robots.txt"
        answer = await self._asked(link, ROBOTS_BYTES_MAX, cut=True)
        if isinstance(answer, _Refused) and not is_transient(answer.status):
            return None
        if isinstance(answer, _Refused):
            raise SourceFailed(
                f"{public_link(link)} cannot be had ({answer.status}), so it may forbid everything"
            )
        try:
            return Robots(page_text(answer.body, ""), USER_AGENT)
        except ValueError as error:  # a "digit" that is none, say
            raise SourceFailed(f"{public_link(link)} cannot be read: {error}") from error

    async def _page(self, folder: _Folder) -> _Page | SourceFailed:
        """The page of a folder, or why there is none."""
        try:
            answer = await self._asked(folder.link, PAGE_BYTES_MAX)
        except AisleError as error:
            return error if isinstance(error, SourceFailed) else SourceFailed(str(error))
        shown = public_link(folder.link)
        if isinstance(answer, _Refused):
            return SourceFailed(f"{shown} cannot be listed: status {answer.status}", status=answer.status)
        if not is_page(answer.content_type):
            kind = answer.content_type or "unknown"
            return SourceFailed(f"{shown} is no page that lists files (its type is {kind})")
        if folder.path and self._start.entry(answer.link) is None:
            return SourceFailed(f"{shown} leads out of the folder, to {public_link(answer.link)}")
        return _Page(answer.link, page_text(answer.body, answer.content_type))

    async def _asked(self, link: str, limit: int, *, cut: bool = False) -> "_Answer | _Refused":
        """What a server answers in the end. Raises SourceFailed, EgressDenied."""
        failures = 0
        while True:
            reading = _Reading(limit, cut=cut)
            failed = await reading.run(self._tools.fetcher, FetchRequest(link, self._options))
            reply = reading.reply
            failures += 1
            if failed is None and reply is not None:
                if reply.status == 200:
                    return _Answer(reading.link, reply.fields.get("Content-Type", ""), reading.content())
                if not is_transient(reply.status) or failures > self._tools.retries_max:
                    return _Refused(reply.status)
            elif failed is not None and (not failed.transient or failures > self._tools.retries_max):
                raise failed.error
            asked = reply.retry_after if reply is not None else ""
            asked_s = parse_retry_after(asked, now_s=self._tools.clock_ns() / 1e9) if asked else None
            await asyncio.sleep(delay_s(failures, chance=random.random(), retry_after_s=asked_s))  # noqa: S311


class _Answer(NamedTuple):
    link: str
    content_type: str
    body: bytes


class _Reading:
    """One answer that is read into memory; an Intake."""

    def __init__(self, limit: int, *, cut: bool) -> None:
        self.reply: Reply | None = None
        self.link = ""
        self._limit = limit
        self._cut = cut
        self._chunks: list[bytes] = []
        self._size = 0
        self._fetch: Fetch | None = None
        self._over: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

    async def run(self, fetcher: Fetcher, request: FetchRequest) -> Failure | None:
        """Ask, and wait for the end; what failed."""
        self._fetch = fetcher.start(request, self)
        try:
            failed = await self._over
        except asyncio.CancelledError:
            self._fetch.cancel()
            raise
        if failed is None and self._size > self._limit and not self._cut:
            error = SourceFailed(f"{public_link(request.link)} has more than {self._limit} bytes")
            return Failure(error, transient=False)
        return failed

    def body(self, chunk: bytes) -> bool:
        """The next bytes."""
        if self._size <= self._limit:
            self._chunks.append(chunk)
        self._size += len(chunk)
        if self._size > self._limit and self._fetch is not None:
            self._fetch.enough()
        return True

    def content(self) -> bytes:
        """All bytes, at most as many as were allowed."""
        return b"".join(self._chunks)[: self._limit]

    def head(self, reply: Reply) -> bool:
        """The answer's head."""
        self.reply = reply
        assert self._fetch is not None
        self.link = self._fetch.link
        return reply.status == 200

    def ended(self, failed: Failure | None) -> None:
        """The answer is over."""
        if not self._over.done():
            self._over.set_result(failed)


def _due_s() -> float:
    return asyncio.get_running_loop().time() + _SLICE_S


async def _rested(due_s: float) -> float:
    """Let others have their turn if it is due; when it is due again."""
    if asyncio.get_running_loop().time() < due_s:
        return due_s
    await asyncio.sleep(0)
    return _due_s()


def _fingerprint(entries: Sequence[Entry], folder: str) -> int:
    """What a page shows, wherever it is: the same for folders with entries of the same names."""
    names = "\n".join(sorted(entry.path.removeprefix(folder) for entry in entries))
    return xxh3_64_intdigest(names.encode("utf-8", "surrogatepass"))
