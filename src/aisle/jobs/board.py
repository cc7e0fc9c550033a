"""The board: where jobs are asked for, looked up, aborted and removed, by any process of the node.

What to do lives in documents that the job worker reads; ringing its doorbell only makes it faster.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import (
    BadRequest,
    BucketExists,
    BucketNotFound,
    Conflict,
    JobNotFound,
    JobRunning,
    RemoteBucketNotFound,
    StaleVersion,
)
from aisle.gateway.buckets import Buckets, check_own
from aisle.gateway.sealing import Sealer
from aisle.jobs.headers import open_headers, seal_headers
from aisle.jobs.indexing import WALKED
from aisle.jobs.list_files import ListStore, new_list_name, write_list
from aisle.jobs.live import LiveReader
from aisle.jobs.manifest import ManifestFolder, OpenManifest
from aisle.jobs.repairing import write_repair
from aisle.model.bucket import BucketInfo
from aisle.model.job import (
    DOWNLOAD_ID_PREFIX,
    ID_CHARACTERS,
    PROGRESS_PREFIX,
    RECORD_PREFIX,
    DownloadSpec,
    Headers,
    JobLive,
    JobProgress,
    JobRecord,
    decode_brief,
    decode_progress,
    decode_record,
    encode_job,
)
from aisle.model.names import Bucket
from aisle.rules.download_list import ListedItem
from aisle.rules.download_plan import Plan

OBJECTS_IN_RECORD_MAX = 500
"""More objects than this that a request names are kept in a list beside the record."""
CHARS_IN_RECORD_MAX = 64 * 1024
"""The same for names and links together: some links are signed, and long."""
_ID_LENGTH = 9
_SLICE_S = 0.004


class JobStatus(NamedTuple):
    """A job as it stands. `live` is there while it runs and shows itself."""

    record: JobRecord
    progress: JobProgress
    live: JobLive | None

    @property
    def finished_ns(self) -> int:
        """When it ended, Unix nanoseconds; 0 while it runs."""
        return self.progress.finished_ns or self.record.aborted_ns

    @property
    def is_paused(self) -> bool:
        """Whether somebody wants it to rest, and it has not ended."""
        return bool(self.record.paused_ns) and not self.finished_ns

    @property
    def is_aborted(self) -> bool:
        """Whether it ended before its time: by somebody's wish, or without its bucket."""
        return bool(self.record.aborted_ns or self.progress.error)


class JobBoard:
    """The jobs of the node, for one process. `ring` wakes the job worker."""

    def __init__(
        self,
        store: MetadataStore,
        buckets: Buckets,
        *,
        live_folder: Path,
        lists: ListStore,
        ring: Callable[[], None],
        clock_ns: Callable[[], int],
        sealer: Sealer | None = None,
        manifests: ManifestFolder | None = None,
    ) -> None:
        """`sealer` wraps the headers of jobs; without one they are refused."""
        self.lists = lists
        """Where the items of list jobs are kept, which are written before their job is accepted."""
        self._store = store
        self._buckets = buckets
        self._live = LiveReader(live_folder)
        self._ring = ring
        self._clock_ns = clock_ns
        self._sealer = sealer or Sealer(())
        self._manifests = manifests
        self._ended: dict[str, JobStatus] = {}
        """In brief; what has ended does not change any more."""
        self._records = View(store, RECORD_PREFIX.rstrip("/"), _record)

    async def submit(
        self, spec: DownloadSpec, *, owner: str = "", headers: Headers = (), priority: int = 0
    ) -> str:
        """Accept a download job, durably; its id. A bucket of this cluster is made if it is missing.

        `owner` is the id of the user who asks, whose bucket it is then. `headers` are sent with the job's
        requests and kept wrapped. Raises InvalidName, BadRequest, BucketNotFound, Unsupported, OutOfSpace,
        Unavailable.
        """
        if spec.fills:
            spec = msgspec.structs.replace(spec, bucket=self._filled(spec.bucket))
        if spec.kind in WALKED:
            spec = msgspec.structs.replace(spec, list_file=new_list_name())
        if _fits_into_record(spec):
            return await self._accept(spec, owner, headers, priority)
        spec = await asyncio.to_thread(self._with_list, spec)
        try:
            return await self._accept(spec, owner, headers, priority)
        except BaseException:
            self.lists.remove(spec.list_file)
            raise

    def _with_list(self, spec: DownloadSpec) -> DownloadSpec:
        """The same specification with its objects in a list: records are read often and must be small."""
        list_file = new_list_name()
        listed = (ListedItem(name.encode(), link) for name, link in spec.objects)
        count = write_list(self.lists, list_file, listed)
        return msgspec.structs.replace(spec, objects=(), list_file=list_file, list_items=count)

    async def _accept(self, spec: DownloadSpec, owner: str, headers: Headers, priority: int) -> str:
        while True:
            job_id = DOWNLOAD_ID_PREFIX + "".join(secrets.choice(ID_CHARACTERS) for _ in range(_ID_LENGTH))
            # First of all: where headers cannot be kept, no bucket is made either.
            sealed = await asyncio.to_thread(seal_headers, self._sealer, job_id, headers) if headers else None
            await self._ensure_bucket(spec, owner)
            present = self.destination(spec.bucket)
            record = JobRecord(
                id=job_id,
                started_ns=self._clock_ns(),
                download=spec,
                headers=sealed,
                priority=priority,
                owner=owner,
                bucket_number=present.number if present else 0,
            )
            try:
                await self._swap(record, expected_version=0)
            except StaleVersion:
                continue  # an id that exists
            self._ring()
            return job_id

    def destination(self, bucket: Bucket) -> BucketInfo | None:
        """The bucket that a job writes to, if it exists."""
        return self._buckets.snapshot().get(bucket.uname)

    def namesakes(self, bucket: Bucket) -> list[BucketInfo]:
        """The buckets of that name, under all providers and in all namespaces."""
        return self._buckets.select(name=bucket.name)

    def bucket(self, bucket: Bucket) -> BucketInfo:
        """A bucket, by any of its names. Raises BucketNotFound; RemoteBucketNotFound for one elsewhere."""
        return self._buckets.find(bucket)

    def find(self, job_id: str) -> JobStatus:
        """A job. Raises JobNotFound."""
        # Read by itself: one job is asked for far more often than all, of which there may be many.
        document = self._store.load(RECORD_PREFIX + job_id)
        if document is None:
            raise JobNotFound(job_id, kind="download")
        return self._status(_record(document))

    def glance(self, job_id: str) -> JobStatus:
        """A job; without its finished items as long as it has not ended. Raises JobNotFound."""
        document = self._store.load(RECORD_PREFIX + job_id)
        if document is None:
            raise JobNotFound(job_id, kind="download")
        record = _record(document)
        kept = self._store.load(PROGRESS_PREFIX + job_id)
        progress = decode_brief(kept.value).progress() if kept else None
        if record.aborted_ns or (progress is not None and progress.finished_ns):
            return self._status(record)
        return self._unfinished(record, progress)

    def manifest(self, job_id: str) -> OpenManifest:
        """What became of a job's items so far, for the caller to close. Raises JobNotFound, OSError."""
        self.find(job_id)
        document = self._store.load(PROGRESS_PREFIX + job_id)
        if document is None or self._manifests is None:
            return OpenManifest(-1, 0, 0)
        # Not what runs ahead of it: only the kept progress tells what is valid.
        kept = decode_brief(document.value)
        return self._manifests.open(job_id, kept.manifest_bytes, missing=kept.manifest_missing)

    def plan(self, record: JobRecord) -> Plan:
        """The items of a job. Raises CorruptObject if they were in a list that is gone."""
        spec = record.download
        return Plan(spec, self.lists.open(spec.list_file)) if spec.list_file else Plan(spec)

    async def repair(self, job_id: str, items: Iterable[int], *, owner: str = "") -> str:
        """Start a job that fetches these items of a job again, with its limits and headers; its id.

        Raises JobNotFound, BadRequest for items that the job has not, CorruptObject without its list,
        Unavailable, OutOfSpace.
        """
        record = self.find(job_id).record
        headers = await asyncio.to_thread(open_headers, self._sealer, record)
        spec = await asyncio.to_thread(self._write_repair, record, items)
        try:
            return await self.submit(spec, owner=owner, headers=headers, priority=record.priority)
        except BaseException:
            self.lists.remove(spec.list_file)
            raise

    def _write_repair(self, record: JobRecord, items: Iterable[int]) -> DownloadSpec:
        manifest = self.manifest(record.id)
        try:
            return write_repair(record, self.plan(record), manifest, items=items, lists=self.lists)
        finally:
            manifest.close()

    def all(self) -> list[JobStatus]:
        """All jobs in brief, without their items, the oldest first."""
        records = self._records.all()
        if len(self._ended) > len(records):
            self._ended = {job_id: status for job_id, status in self._ended.items() if job_id in records}
        return [
            self._brief(record) for record in sorted(records.values(), key=lambda record: record.started_ns)
        ]

    async def prepare_all(self) -> None:
        """Read what `all` needs of jobs that have ended: many, perhaps, and others get their turns so."""
        slice_s = time.monotonic()
        for record in self._records.all().values():
            self._brief(record)
            if time.monotonic() - slice_s > _SLICE_S:
                await asyncio.sleep(0)
                slice_s = time.monotonic()

    async def abort(self, job_id: str) -> None:
        """Stop a job; harmless when it has ended. Raises JobNotFound, OutOfSpace, Unavailable."""
        now_ns = self._clock_ns()
        await self._change(job_id, lambda record: msgspec.structs.replace(record, aborted_ns=now_ns))

    async def pause(self, job_id: str) -> None:
        """Let a job rest until it is resumed, whatever happens to the node; what it has it keeps.

        Harmless when it rests. Raises JobNotFound, Conflict when it has ended, OutOfSpace, Unavailable.
        """
        now_ns = self._clock_ns()
        await self._change(
            job_id,
            lambda record: msgspec.structs.replace(record, paused_ns=record.paused_ns or now_ns),
            ended="paused",
        )

    async def resume(self, job_id: str) -> None:
        """Let a job go on; harmless when it does.

        Raises JobNotFound, Conflict when it has ended, OutOfSpace, Unavailable.
        """
        await self._change(
            job_id, lambda record: msgspec.structs.replace(record, paused_ns=0), ended="resumed"
        )

    async def prioritize(self, job_id: str, priority: int) -> None:
        """Change a job's priority; harmless when it has ended.

        Raises JobNotFound, OutOfSpace, Unavailable.
        """
        await self._change(job_id, lambda record: msgspec.structs.replace(record, priority=priority))

    async def _change(
        self, job_id: str, changed: Callable[[JobRecord], JobRecord], *, ended: str = ""
    ) -> None:
        """Change what a job that has not ended shall do; `ended` is what one that has cannot be."""
        while True:
            document = self._store.load(RECORD_PREFIX + job_id)
            if document is None:
                raise JobNotFound(job_id, kind="download")
            status = self._status(_record(document))
            if status.finished_ns:
                if ended:
                    raise Conflict(f'job "{job_id}" has ended: it cannot be {ended}')
                return
            record = changed(status.record)
            if record == status.record:
                return
            try:
                await self._swap(record, expected_version=document.version)
            except StaleVersion:
                continue
            self._ring()
            return

    async def remove(self, job_id: str) -> None:
        """Forget a job that has ended. Raises JobNotFound, JobRunning, OutOfSpace, Unavailable."""
        while True:
            document = self._store.load(RECORD_PREFIX + job_id)
            if document is None:
                raise JobNotFound(job_id, kind="download")
            if not self._status(_record(document)).finished_ns:
                raise JobRunning(f'job "{job_id}" is still running')
            try:
                await asyncio.to_thread(
                    self._store.swap, document.key, None, expected_version=document.version
                )
            except StaleVersion:
                continue
            self._ring()
            return

    def _brief(self, record: JobRecord) -> JobStatus:
        known = self._ended.get(record.id)
        if known is not None and (known.record is record or known.record == record):
            return known
        document = self._store.load(PROGRESS_PREFIX + record.id)
        kept = decode_brief(document.value).progress(errors_max=1) if document else None
        if kept is not None and kept.finished_ns:
            status = self._ended[record.id] = JobStatus(record, kept, None)
            return status
        return self._unfinished(record, kept)

    def _status(self, record: JobRecord) -> JobStatus:
        document = self._store.load(PROGRESS_PREFIX + record.id)
        kept = decode_progress(document.value) if document else None
        if kept is not None and kept.finished_ns:
            return JobStatus(record, kept, None)
        return self._unfinished(record, kept)

    def _unfinished(self, record: JobRecord, kept: JobProgress | None) -> JobStatus:
        live = self._live.find(record.id)
        if live is not None:
            return JobStatus(record, _with_more_finished(live.progress, kept), live)
        return JobStatus(record, kept or JobProgress(id=record.id, total=Plan(record.download).total), None)

    async def _swap(self, record: JobRecord, *, expected_version: int) -> None:
        await asyncio.to_thread(
            self._store.swap, RECORD_PREFIX + record.id, encode_job(record), expected_version=expected_version
        )

    def _filled(self, bucket: Bucket) -> Bucket:
        """A bucket whose objects are to be fetched, as it is kept. Raises BadRequest for an own one."""
        try:
            info = self.bucket(bucket)
            if info.remote is not None:
                return info.bucket
        except RemoteBucketNotFound:
            raise
        except BucketNotFound:
            pass
        raise BadRequest("Error starting download: bucket download requires a remote bucket")

    async def _ensure_bucket(self, spec: DownloadSpec, owner: str) -> None:
        try:
            info = self.bucket(spec.bucket)
            if not spec.fills:
                check_own(info, "downloading into", instead="download into an own bucket, and copy (ais cp)")
        except RemoteBucketNotFound:
            raise
        except BucketNotFound:
            try:
                await self._buckets.create(spec.bucket, owner=owner)
            except BucketExists:
                pass


def _fits_into_record(spec: DownloadSpec) -> bool:
    """Whether the objects that a request names may be kept in the job's record."""
    objects = spec.objects
    chars = sum(len(name) + len(link) for name, link in objects[:OBJECTS_IN_RECORD_MAX])
    return len(objects) <= OBJECTS_IN_RECORD_MAX and chars <= CHARS_IN_RECORD_MAX


def _with_more_finished(shown: JobProgress, kept: JobProgress | None) -> JobProgress:
    """Live progress with the longer list of finished items that was kept a moment ago, if it is longer."""
    if kept is None or len(kept.recent) <= len(shown.recent):
        return shown
    return msgspec.structs.replace(shown, recent=kept.recent)


def _record(document: Document) -> JobRecord:
    return decode_record(document.value)
