"""The job worker's work: does what the job documents say, until it is told to end.

Documents are looked at when the doorbell rings, and now and then in case it was not heard. What is
asked for and not running is started, a job that was running when an earlier process died goes on;
what is to be aborted is stopped at once; what was removed is forgotten.
"""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.config import DownloadConfig
from aisle.errors import (
    AisleError,
    BucketNotFound,
    CorruptObject,
    NotRemoteBucket,
    Unavailable,
    Unsupported,
)
from aisle.gateway.buckets import Buckets
from aisle.gateway.sealing import Sealer
from aisle.jobs.bucket_walk import BucketWalk
from aisle.jobs.crawl import CrawlTools
from aisle.jobs.destination import Destination, DownloadEngine
from aisle.jobs.doorbell import rung
from aisle.jobs.download import DownloadJob
from aisle.jobs.downloads import Downloads, DownloadsLimits
from aisle.jobs.headers import open_headers
from aisle.jobs.history import History
from aisle.jobs.indexing import Walks
from aisle.jobs.item import ItemDownload
from aisle.jobs.keeper import JobKeeper, ProgressDocument
from aisle.jobs.large import abandon_upload, job_of, job_uploads
from aisle.jobs.list_files import ListDraft, ListStore
from aisle.jobs.live import LiveWriter
from aisle.jobs.manifest import ManifestFolder
from aisle.jobs.meter import DownloadMeter
from aisle.jobs.provider_item import ProviderSources
from aisle.model.job import (
    RECORD_PREFIX,
    JobProgress,
    JobRecord,
    decode_record,
)
from aisle.rules.courtesy import never
from aisle.rules.download_plan import Plan
from aisle.rules.egress import EgressPolicy
from aisle.telemetry import Telemetry
from aisle.transfer.fetch import FetchConfig, Fetcher
from aisle.transfer.guard import EgressGuard

_LIVE_INTERVAL_S = 0.25

_log = logging.getLogger(__name__)


class JobServices(NamedTuple):
    """What jobs work with. `clock_ns` gives Unix nanoseconds."""

    store: MetadataStore
    engine: DownloadEngine
    buckets: Buckets
    clock_ns: Callable[[], int]
    telemetry: Telemetry | None = None
    sealer: Sealer | None = None
    """Unwraps the headers of jobs."""
    manifests: ManifestFolder | None = None
    """Where the manifests of jobs lie; without it none are written."""
    sources: ProviderSources | None = None
    """The remote buckets that links may lead to."""
    gives_way: Callable[[], bool] = never
    """Whether somebody is served now, beside whom large work is done in small pieces."""


class JobSettings(NamedTuple):
    """How jobs may work. `live_folder` is where the serving workers look for live progress."""

    download: DownloadConfig
    egress: EgressPolicy
    live_folder: Path
    lists: ListStore


async def run(services: JobServices, settings: JobSettings, doorbell: asyncio.Event) -> None:
    """Run the node's jobs until cancelled; then stop at once, keeping what is durable.

    `doorbell` is to be set whenever job documents have changed. Only one process per node may run
    this. The engine and the store stay open: they belong to the caller.
    """
    runner = _Runner(services, settings, doorbell.set)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(runner.show_live())
            while True:
                runner.look(group)
                await rung(doorbell)
    finally:
        await runner.close()


class _Runner:
    def __init__(self, services: JobServices, settings: JobSettings, changed: Callable[[], None]) -> None:
        config = settings.download
        self._changed = changed
        self._services = services
        self._records = View(services.store, RECORD_PREFIX.rstrip("/"), _record)
        self._live = LiveWriter(settings.live_folder)
        self._lists = settings.lists
        self._meter = DownloadMeter(services.telemetry or Telemetry.private())
        self._fetcher = Fetcher(
            FetchConfig(
                config.connections_max,
                config.connections_per_host_max,
                config.connect_timeout_s,
                config.stall_timeout_s,
            ),
            EgressGuard(settings.egress, proxy=config.proxy),
            gives_way=services.gives_way,
        )
        self._downloads = Downloads(
            self._fetcher,
            DownloadsLimits(
                config.connections_max,
                config.connections_per_host_max,
                config.retries_max,
                config.part_bytes,
                config.connections_per_object_max,
                config.bytes_per_second,
            ),
            clock_ns=services.clock_ns,
        )
        tools = CrawlTools(self._fetcher, config.retries_max, services.clock_ns)
        self._walks = Walks(settings.lists, tools, self._list_bucket)
        self._keepers: dict[str, JobKeeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun: set[str] = set()  # jobs that may have been worked on and that have not ended
        self._history = History(services.store, services.clock_ns, keep_s=config.history_s)
        self._expiring = False
        # Jobs with nothing left to do, and when they ended; None before the first look.
        self._ended: dict[str, int] | None = None

    def look(self, group: asyncio.TaskGroup) -> None:
        """Compare the documents with what is running, and act."""
        records = self._records.all()
        is_first = self._ended is None
        if self._ended is None:
            self._ended = self._history.ended(records)
        for job_id, record in records.items():
            keeper = self._keepers.get(job_id)
            if keeper is not None:
                self._guide(keeper, record)
            elif job_id in self._tasks:
                if record.aborted_ns or record.is_resting:
                    self._walks.stop(job_id)
            elif record.is_resting and not is_first:
                continue
            elif job_id not in self._ended:
                self._start(record, group, continued=is_first or job_id in self._begun)
        for job_id in self._keepers.keys() - records.keys():
            self._downloads.stop(self._keepers[job_id].job, keep_parts=False)
        for job_id in self._tasks.keys() - records.keys():
            self._walks.stop(job_id)
        for job_id in self._ended - records.keys() - self._tasks.keys():
            del self._ended[job_id]
            self._tasks[job_id] = group.create_task(self._forget(job_id))
        if not self._expiring and (old := self._history.expired(self._ended, records)):
            self._expiring = True
            group.create_task(self._expire(old))
        if is_first:
            # An earlier process may have worked on those that rest.
            self._begun.update(job_id for job_id, record in records.items() if record.is_resting)
            group.create_task(self._sweep(self._begun.union(self._keepers)))

    def _guide(self, keeper: JobKeeper, record: JobRecord) -> None:
        """Do with a running job what its record says by now."""
        if record.aborted_ns:
            self._downloads.stop(keeper.job, keep_parts=False)
        elif not record.is_resting:
            self._downloads.prioritize(keeper.job, record.priority)
        elif not keeper.is_over:
            _log.info("job %s rests", record.id)
            keeper.suspended = True
            self._downloads.stop(keeper.job, keep_parts=True)

    def _start(self, record: JobRecord, group: asyncio.TaskGroup, *, continued: bool) -> None:
        document = ProgressDocument(self._services.store, record.id)
        kept = document.load()
        if kept is not None and kept.finished_ns:
            self._end(record.id, kept.finished_ns)
            return
        if record.aborted_ns:
            work = self._end_without_running(record, document, kept, error="")
        elif record.is_resting:
            return
        elif self._walks.is_due(record.download):
            work = self._walk(record, document, kept)
        else:
            try:
                keeper = self._begin(record, document, kept, continued=continued)
            except (BucketNotFound, Unavailable, CorruptObject, NotRemoteBucket) as error:
                work = self._end_without_running(record, document, kept, error=str(error))
            else:
                work = self._keep(keeper, record)
        self._tasks[record.id] = group.create_task(work)

    def _begin(
        self, record: JobRecord, document: ProgressDocument, kept: JobProgress | None, *, continued: bool
    ) -> JobKeeper:
        destination = self._destination(record)
        headers = open_headers(self._services.sealer or Sealer(()), record)
        spec = record.download
        plan = Plan(spec, self._lists.open(spec.list_file)) if spec.list_file else Plan(spec)
        manifests, sources = self._services.manifests, self._services.sources
        job = DownloadJob(
            record,
            kept,
            destination,
            self._downloads,
            continued=continued,
            headers=headers,
            plan=plan,
            manifest=manifests.start(record.id, kept.manifest_bytes if kept else 0) if manifests else None,
            make_item=sources.maker(spec) if sources else ItemDownload,
        )
        self._begun.add(record.id)
        keeper = self._keepers[record.id] = JobKeeper(job, document, self._services.clock_ns)
        self._meter.begin(job)
        _log.info("job %s %s", record.id, "goes on" if continued else "starts")
        self._downloads.add(job)
        return keeper

    def _destination(self, record: JobRecord) -> Destination:
        bucket = self._services.buckets.find(record.download.bucket)
        if record.bucket_number not in (0, bucket.number):
            raise BucketNotFound(bucket.bucket.cname)  # another one has got its name
        if record.download.fills and bucket.remote is None:
            raise NotRemoteBucket(bucket.bucket.cname, action="bucket download")
        return Destination(self._services.engine, bucket)

    def _list_bucket(self, record: JobRecord, draft: ListDraft) -> BucketWalk:
        sources, destination = self._services.sources, self._destination(record)
        if sources is None:
            raise Unsupported(f"{record.download.bucket.cname}: there are no remote backends here")
        return BucketWalk(record.download, draft, destination, sources.filled(destination.bucket))

    async def _walk(self, record: JobRecord, document: ProgressDocument, kept: JobProgress | None) -> None:
        """Find out what an index job has to fetch, then do that."""
        try:
            headers = open_headers(self._services.sealer or Sealer(()), record)
            if not await self._walks.walk(record, headers):
                del self._tasks[record.id]
                self._changed()
                return
            keeper = self._begin(record, document, kept, continued=False)
        except AisleError as error:
            await self._end_without_running(record, document, kept, error=str(error))
            return
        await self._keep(keeper, record)

    async def _keep(self, keeper: JobKeeper, record: JobRecord) -> None:
        await keeper.run()
        if keeper.suspended:
            # What it was storing settles before it may go on and look for that.
            await self._downloads.settled()
            self._meter.end(keeper.job)
            del self._keepers[keeper.job.id], self._tasks[keeper.job.id]
            self._changed()
            return
        await self._drop_uploads(record)
        self._meter.end(keeper.job)
        del self._keepers[keeper.job.id]
        self._end(keeper.job.id)
        _log.info("job %s is over", keeper.job.id)

    async def _end_without_running(
        self, record: JobRecord, document: ProgressDocument, kept: JobProgress | None, *, error: str
    ) -> None:
        """Keep the end of a job that was aborted, or lost its bucket, while nobody ran it."""
        await self._drop_uploads(record)
        kept = kept or JobProgress(id=record.id, total=Plan(record.download).total)
        ended = _ended(kept, error, self._services.clock_ns())
        try:
            await document.save(ended)
        except AisleError as failed:
            _log.warning("cannot keep the end of job %s: %s", record.id, failed)
            del self._tasks[record.id]  # the next look tries again
            return
        self._end(record.id)

    async def _drop_uploads(self, record: JobRecord) -> None:
        try:
            bucket = self._services.buckets.find(record.download.bucket)
        except BucketNotFound:
            return
        destination = Destination(self._services.engine, bucket)
        for upload in job_uploads(destination, record.id):
            await abandon_upload(destination, upload)

    async def _sweep(self, running: set[str]) -> None:
        """Drop the parts that dead processes left of jobs which have ended since."""
        for bucket in self._services.buckets.select():
            destination = Destination(self._services.engine, bucket)
            for upload in job_uploads(destination):
                if job_of(upload) not in running:
                    await abandon_upload(destination, upload)

    async def _expire(self, job_ids: list[str]) -> None:
        await self._history.remove(job_ids)
        self._expiring = False
        self._changed()

    async def _forget(self, job_id: str) -> None:
        """Remove the progress of a job that was removed."""
        document = ProgressDocument(self._services.store, job_id)
        document.load()
        try:
            if self._services.manifests is not None:
                await asyncio.to_thread(self._services.manifests.remove, job_id)
            await document.remove()
        except (AisleError, OSError) as error:
            _log.warning("cannot forget job %s: %s", job_id, error)
        del self._tasks[job_id]

    def _end(self, job_id: str, finished_ns: int | None = None) -> None:
        assert self._ended is not None
        self._ended[job_id] = self._services.clock_ns() if finished_ns is None else finished_ns
        self._begun.discard(job_id)
        self._tasks.pop(job_id, None)

    async def show_live(self) -> None:
        """Show what runs, a few times a second; never ends."""
        loop = asyncio.get_running_loop()
        shown = False
        while True:
            self._meter.look(keeper.job for keeper in self._keepers.values())
            jobs = {job_id: keeper.live(loop.time()) for job_id, keeper in self._keepers.items()}
            jobs |= self._walks.live()
            try:
                if jobs:
                    await asyncio.to_thread(self._live.write, jobs)
                elif shown:
                    await asyncio.to_thread(self._live.remove)
            except OSError as error:
                _log.debug("cannot show live progress: %s", error)
            shown = bool(jobs)
            await asyncio.sleep(_LIVE_INTERVAL_S)

    async def close(self) -> None:
        """Stop everything, keep what is durable."""
        keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.suspended = True
        await self._downloads.close()
        for keeper in keepers:
            await keeper.run()
        self._fetcher.close()
        self._live.remove()


def _record(document: Document) -> JobRecord:
    return decode_record(document.value)


def _ended(progress: JobProgress, error: str, now_ns: int) -> JobProgress:
    return msgspec.structs.replace(progress, error=error, finished_ns=now_ns)
