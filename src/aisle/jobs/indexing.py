"""Index and backend jobs before their items are known: a walk makes the list of these, which is durable then.

A walk that is broken off, by whatever, leaves nothing and is done again.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from aisle.errors import AisleError, Unsupported
from aisle.jobs.crawl import Crawl, CrawlTools
from aisle.jobs.list_files import ListDraft, ListStore
from aisle.model.job import DownloadSpec, Headers, JobLive, JobProgress, JobRecord
from aisle.rules.download_names import public_link
from aisle.target.in_threads import in_thread
from aisle.transfer.carriers import RequestOptions

INDEX: Final = "index"
BACKEND: Final = "backend"
WALKED: Final = frozenset({INDEX, BACKEND})
"""Kinds of downloads whose items are found out by the node."""

_log = logging.getLogger(__name__)


class Walk(Protocol):
    """A walk that makes a list."""

    files: int
    """What was found so far."""
    pages: int

    async def run(self) -> None:
        """Walk to the end. Raises AisleError."""


ListBucket = Callable[[JobRecord, ListDraft], Walk]
"""Prepares the walk through the remote bucket of a job. Raises AisleError."""


class Walks:
    """The walks of a job worker."""

    def __init__(self, lists: ListStore, tools: CrawlTools, list_bucket: ListBucket | None = None) -> None:
        """`list_bucket` prepares the walks through remote buckets, where there may be any."""
        self._lists = lists
        self._tools = tools
        self._list_bucket = list_bucket
        self._walking: dict[str, asyncio.Task[None]] = {}
        self._crawls: dict[str, Walk] = {}

    def is_due(self, spec: DownloadSpec) -> bool:
        """Whether a job must wait for a walk."""
        return spec.kind in WALKED and not self._lists.exists(spec.list_file)

    async def walk(self, record: JobRecord, headers: Headers) -> bool:
        """Make the list of a job's items; False if it was stopped.

        Raises AisleError: SourceFailed, EgressDenied, OutOfSpace and others.
        """
        walk = self._walking[record.id] = asyncio.ensure_future(self._walk(record, headers))
        try:
            await asyncio.wait([walk])
        finally:
            del self._walking[record.id]
            if walk.cancel():  # ours was cancelled: what the walk holds must be let go of first
                await asyncio.wait([walk])
        if walk.cancelled():
            return False
        walk.result()
        return True

    def stop(self, job_id: str) -> None:
        """Break a walk off; harmless when there is none."""
        if job_id in self._walking:
            self._walking[job_id].cancel()

    def live(self) -> dict[str, JobLive]:
        """What jobs show while they are walked for: how many files were found so far."""
        return {
            job_id: JobLive(progress=JobProgress(id=job_id, total=-1, scheduled=crawl.files))
            for job_id, crawl in self._crawls.items()
        }

    async def _walk(self, record: JobRecord, headers: Headers) -> None:
        spec = record.download
        where = public_link(spec.link) or spec.bucket.cname
        _log.info("job %s looks for files below %s", record.id, where)
        draft = self._lists.new(spec.list_file)
        try:
            crawl = self._crawls[record.id] = self._walk_of(record, draft, headers)
            await crawl.run()
            await in_thread(draft.publish, lambda: None)
        except AisleError:
            raise
        except Exception as error:
            # An outermost loop: what one server shows must not end the jobs of others.
            _log.exception("job %s: the walk below %s broke", record.id, where)
            raise AisleError(f"internal error: {error!r}") from error
        finally:
            self._crawls.pop(record.id, None)
            draft.abort()
        _log.info("job %s found %d files on %d pages", record.id, crawl.files, crawl.pages)

    def _walk_of(self, record: JobRecord, draft: ListDraft, headers: Headers) -> Walk:
        spec = record.download
        if spec.kind == BACKEND:
            if self._list_bucket is None:
                raise Unsupported(f"{spec.bucket.cname}: there are no remote backends here")
            return self._list_bucket(record, draft)
        options = RequestOptions(private_headers=headers, timeout_s=spec.timeout_s)
        return Crawl(spec, draft, self._tools, options)
