"""The job worker's bulk jobs: does what their documents say, until it is told to end.

Documents are looked at when the doorbell rings, and now and then in case it was not heard. A job that
was running when an earlier process died goes on where its progress was kept last. Jobs that ended are
remembered for a day, and then, or when there are very many, forgotten.
"""

import asyncio
import logging
from asyncio import Task
from collections.abc import Callable
from functools import partial
from typing import Final

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import AisleError, StaleVersion
from aisle.jobs.bulk_kinds import KINDS
from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import BulkTools
from aisle.jobs.doorbell import rung
from aisle.model.bulk import (
    BULK_NAMES_PREFIX,
    BULK_PREFIX,
    BULK_PROGRESS_PREFIX,
    BulkProgress,
    BulkRecord,
    decode_bulk_progress,
    decode_bulk_record,
    encode_bulk,
)

JOBS_MAX: Final = 8
"""Jobs that work at the same time; others wait for their turn."""
KEPT_S: Final = 24 * 3600
KEPT_AT_LEAST_S: Final = 3600
KEPT_MAX: Final = 2_000
"""When more have ended, the oldest are forgotten after KEPT_AT_LEAST_S instead of KEPT_S."""

_FLUSH_INTERVAL_S: Final = 1.0
_FORGET_INTERVAL_S: Final = 60.0
_NS_PER_S: Final = 1_000_000_000

_log = logging.getLogger(__name__)


async def run_bulk(tools: BulkTools, clock_ns: Callable[[], int], doorbell: asyncio.Event) -> None:
    """Run the node's bulk jobs until cancelled; then stop at once, keeping what is durable.

    `doorbell` is to be set whenever job documents have changed; `clock_ns` gives Unix nanoseconds. Only
    one process per node may run this.
    """
    runner = BulkRunner(tools, clock_ns)
    loop = asyncio.get_running_loop()
    forget_at_s = loop.time()
    try:
        while True:
            runner.look()
            if loop.time() >= forget_at_s:
                await runner.forget_old()
                forget_at_s = loop.time() + _FORGET_INTERVAL_S
            await rung(doorbell)
    finally:
        await runner.close()


class BulkRunner:
    """The bulk jobs that run, and those that have ended."""

    def __init__(self, tools: BulkTools, clock_ns: Callable[[], int]) -> None:
        self._tools = tools
        self._clock_ns = clock_ns
        self._records = View(tools.store, BULK_PREFIX.rstrip("/"), _record)
        self._turns = asyncio.Semaphore(JOBS_MAX)
        self._tasks: dict[str, Task[None]] = {}
        self._working: dict[str, Task[None]] = {}
        """The work itself, to be cancelled when a job is aborted."""
        self._ended: dict[str, int] = {}
        """When jobs ended, Unix nanoseconds, by id."""

    @property
    def active(self) -> int:
        """How many jobs work, or wait for their turn."""
        return len(self._tasks)

    def look(self) -> None:
        """Compare the documents with what is running, and act."""
        for job_id, record in self._records.all().items():
            if job_id in self._ended:
                continue
            if job_id not in self._tasks:
                task = self._tasks[job_id] = asyncio.create_task(self._take(record))
                task.add_done_callback(_tell_mistake)
            elif record.aborted_ns and job_id in self._working:
                self._working[job_id].cancel()

    async def forget_old(self) -> None:
        """Remove the documents of jobs that ended long ago."""
        now_ns = self._clock_ns()
        oldest_first = sorted(self._ended, key=self._ended.__getitem__)
        excess = max(0, len(oldest_first) - KEPT_MAX)
        for index, job_id in enumerate(oldest_first):
            kept_s = KEPT_AT_LEAST_S if index < excess else KEPT_S
            if now_ns < self._ended[job_id] + kept_s * _NS_PER_S:
                return
            try:
                for prefix in (BULK_PREFIX, BULK_PROGRESS_PREFIX):
                    await _remove(self._tools.store, prefix + job_id)
            except AisleError as error:
                _log.warning("cannot forget job %s: %s", job_id, error)
                return
            del self._ended[job_id]

    async def close(self) -> None:
        """Stop everything, keep what is durable."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _take(self, record: BulkRecord) -> None:
        """Run a job to its end, and keep that."""
        progress = ProgressKeeper(self._tools.store, record.id)
        kept = progress.load()
        if not kept.finished_ns:
            tally = BulkTally(kept, is_resumed=progress.is_begun)
            tally.keep = partial(progress.try_save, tally)
            async with self._turns:
                # Somebody may have asked to stop it while it waited.
                present = self._records.find(record.id)
                if present is not None and not present.aborted_ns:
                    await self._run(record, tally, progress)
            finished_ns = self._clock_ns()
            while True:
                if await progress.try_save(tally, finished_ns=finished_ns):
                    break
                await asyncio.sleep(_FLUSH_INTERVAL_S)
            kept = tally.progress(finished_ns=finished_ns)
            _log.info("job %s[%s] is over: %d objects", record.kind, record.id, kept.objects)
        await self._drop_names(record)
        self._ended[record.id] = kept.finished_ns
        del self._tasks[record.id]

    async def _run(self, record: BulkRecord, tally: BulkTally, progress: "ProgressKeeper") -> None:
        """Do the work, keeping the progress now and then; what ends it early goes into the tally."""
        _log.info("job %s[%s] %s", record.kind, record.id, "goes on" if tally.is_resumed else "starts")
        work = self._working[record.id] = asyncio.create_task(self._work(record, tally))
        try:
            while not work.done():
                await asyncio.wait([work], timeout=_FLUSH_INTERVAL_S)
                if not work.done():
                    await progress.try_save(tally)
        except asyncio.CancelledError:
            # The process ends, not the job.
            work.cancel()
            await asyncio.wait([work])
            await progress.try_save(tally)
            raise
        finally:
            del self._working[record.id]

    async def _work(self, record: BulkRecord, tally: BulkTally) -> None:
        try:
            await KINDS[record.kind](self._tools, record).run(tally)
        except AisleError as error:
            tally.error = str(error)
            _log.warning("job %s[%s] could not go on: %s", record.kind, record.id, error)
        except Exception:  # noqa: BLE001
            # A mistake of ours must not keep other jobs from running, nor this one from ending.
            tally.error = "the job failed; the node's log has the details"
            _log.exception("job %s[%s] failed", record.kind, record.id)

    async def _drop_names(self, record: BulkRecord) -> None:
        try:
            for number in range(1, record.selection.documents + 1):
                await _remove(self._tools.store, f"{BULK_NAMES_PREFIX}{record.id}/{number}")
        except AisleError as error:
            _log.warning("cannot drop the names of job %s: %s", record.id, error)


class ProgressKeeper:
    """The document `bulkprogress/<id>`; only the job worker writes it while a job runs."""

    def __init__(self, store: MetadataStore, job_id: str) -> None:
        self._store = store
        self._job_id = job_id
        self._key = BULK_PROGRESS_PREFIX + job_id
        self._version = 0
        self._saved: BulkProgress | None = None
        self._saving = asyncio.Lock()

    @property
    def is_begun(self) -> bool:
        """Whether anything was ever kept of the job."""
        return self._version > 0

    def load(self) -> BulkProgress:
        """What was kept last; a job that has never run begins."""
        document = self._store.load(self._key)
        if document is None:
            return BulkProgress(id=self._job_id)
        self._version = document.version
        self._saved = decode_bulk_progress(document.value)
        return self._saved

    async def try_save(self, tally: BulkTally, *, finished_ns: int = 0) -> bool:
        """Make what is counted durable; False if the store cannot be written to now."""
        async with self._saving:
            progress = tally.progress(finished_ns=finished_ns)
            if progress == self._saved:
                return True
            value = encode_bulk(progress)
            try:
                try:
                    await self._swap(value)
                except StaleVersion as error:
                    # A worker that was killed had written once more before it died.
                    self._version = error.found
                    await self._swap(value)
            except AisleError as error:
                _log.warning("cannot keep the progress of job %s: %s", self._job_id, error)
                return False
            self._saved = progress
            return True

    async def _swap(self, value: bytes) -> None:
        await asyncio.to_thread(self._store.swap, self._key, value, expected_version=self._version)
        self._version += 1


def _tell_mistake(task: Task[None]) -> None:
    if not task.cancelled() and (mistake := task.exception()) is not None:
        _log.error("a job could not be taken to its end", exc_info=mistake)


async def _remove(store: MetadataStore, key: str) -> None:
    document = store.load(key)
    if document is not None:
        await asyncio.to_thread(store.swap, key, None, expected_version=document.version)


def _record(document: Document) -> BulkRecord:
    return decode_bulk_record(document.value)
