"""Index jobs before their items are known: a walk makes the list of these, which is durable then.

A walk that is broken off, by whatever, leaves nothing and is done again.
"""

import asyncio
import logging
from typing import Final

from aisle.errors import AisleError
from aisle.jobs.crawl import Crawl, CrawlTools
from aisle.jobs.list_files import ListStore
from aisle.model.job import DownloadSpec, Headers, JobLive, JobProgress, JobRecord
from aisle.rules.download_names import public_link
from aisle.target.in_threads import in_thread
from aisle.transfer.fetch import RequestOptions

INDEX: Final = "index"

_log = logging.getLogger(__name__)


class Walks:
    """The walks of a job worker."""

    def __init__(self, lists: ListStore, tools: CrawlTools) -> None:
        self._lists = lists
        self._tools = tools
        self._walking: dict[str, asyncio.Task[None]] = {}
        self._crawls: dict[str, Crawl] = {}

    def is_due(self, spec: DownloadSpec) -> bool:
        """Whether a job must wait for a walk."""
        return spec.kind == INDEX and not self._lists.exists(spec.list_file)

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
        _log.info("job %s looks for files below %s", record.id, public_link(spec.link))
        draft = self._lists.new(spec.list_file)
        try:
            options = RequestOptions(private_headers=headers, timeout_s=spec.timeout_s)
            crawl = self._crawls[record.id] = Crawl(spec, draft, self._tools, options)
            await crawl.run()
            await in_thread(draft.publish, lambda: None)
        except AisleError:
            raise
        except Exception as error:
            # An outermost loop: what one server shows must not end the jobs of others.
            _log.exception("job %s: the walk below %s broke", record.id, public_link(spec.link))
            raise AisleError(f"internal error: {error!r}") from error
        finally:
            self._crawls.pop(record.id, None)
            draft.abort()
        _log.info("job %s found %d files on %d pages", record.id, crawl.files, crawl.pages)
