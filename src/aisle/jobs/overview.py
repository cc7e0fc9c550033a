"""All jobs of the node in one view, whatever runs them: what is asked about jobs is answered from here."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from aisle.errors import JobNotFound
from aisle.jobs.board import JobBoard, JobStatus
from aisle.jobs.bulk_board import BulkBoard, BulkStatus
from aisle.model.bulk import (
    BLOB_DOWNLOAD,
    COPY_BUCKET,
    COPY_OBJECTS,
    DELETE_OBJECTS,
    EVICT_OBJECTS,
    EVICTION,
    MOVE_BUCKET,
    PREFETCH,
    SELECTED_ALL,
    SELECTED_NAMES,
)
from aisle.model.job import DOWNLOAD_ID_PREFIX
from aisle.model.names import Bucket

DOWNLOAD = "download"


class JobView(NamedTuple):
    """A job as it stands. Times are Unix nanoseconds, 0 for not yet."""

    id: str
    kind: str
    """AIStore's name of the kind."""
    started_ns: int
    done_ns: int
    """When its work ended."""
    ended_ns: int
    """When it counted as ended: later than `done_ns` for kinds that idle first."""
    is_aborted: bool = False
    error: str = ""
    """What failed, if anything did."""
    abort_error: str = ""
    """Why it ended before its time, if it did."""
    subkind: str = ""
    """What a status calls it instead of its kind: `single`, `range` or `multi` for downloads."""
    bucket: Bucket | None = None
    source: Bucket | None = None
    destination: Bucket | None = None
    objects: int = 0
    bytes: int = 0
    workers: int = 0
    message: str = ""
    """What it does, in a few words."""
    owner: str = ""
    """Id of the user who asked for it; empty for root, and where nobody has a name."""

    @property
    def is_idle(self) -> bool:
        """Whether it has nothing left to do, ended or not."""
        return bool(self.done_ns)

    def concerns(self, bucket: Bucket) -> bool:
        """Whether it works on, from or into this bucket."""
        return bucket in (self.bucket, self.source, self.destination)


class JobSource(Protocol):
    """Jobs of one making."""

    def find(self, job_id: str) -> JobView:
        """A job. Raises JobNotFound."""

    def all(self) -> list[JobView]:
        """All that are remembered."""

    async def abort(self, job_id: str) -> None:
        """Stop it; harmless when it has ended. Raises JobNotFound, OutOfSpace, Unavailable."""


class DownloadJobs:
    """Download jobs as one source."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board

    def find(self, job_id: str) -> JobView:
        """A job. Raises JobNotFound."""
        if not job_id.startswith(DOWNLOAD_ID_PREFIX):
            raise JobNotFound(job_id)
        return download_view(self._board.find(job_id))

    def all(self) -> list[JobView]:
        """All download jobs."""
        return [download_view(status) for status in self._board.all()]

    async def abort(self, job_id: str) -> None:
        """Stop it. Raises JobNotFound, OutOfSpace, Unavailable."""
        await self._board.abort(job_id)


class BulkJobs:
    """Bulk jobs as one source."""

    def __init__(self, board: BulkBoard) -> None:
        self._board = board

    def find(self, job_id: str) -> JobView:
        """A job. Raises JobNotFound."""
        return bulk_view(self._board.find(job_id))

    def all(self) -> list[JobView]:
        """All bulk jobs."""
        return [bulk_view(status) for status in self._board.all()]

    async def abort(self, job_id: str) -> None:
        """Stop it. Raises JobNotFound, OutOfSpace, Unavailable."""
        await self._board.abort(job_id)


class JobsOverview:
    """The jobs of all sources."""

    def __init__(self, sources: Sequence[JobSource]) -> None:
        self._sources = tuple(sources)

    def find(self, job_id: str) -> JobView:
        """A job. Raises JobNotFound."""
        for source in self._sources:
            try:
                return source.find(job_id)
            except JobNotFound:
                continue
        raise JobNotFound(job_id)

    def select(
        self, *, kind: str = "", bucket: Bucket | None = None, running_only: bool = False
    ) -> list[JobView]:
        """Jobs of a kind, about a bucket, or that run, the oldest first; all by default."""
        found = [
            job
            for source in self._sources
            for job in source.all()
            if kind in ("", job.kind, job.subkind)
            and (bucket is None or job.concerns(bucket))
            and not (running_only and job.ended_ns)
        ]
        return sorted(found, key=lambda job: job.started_ns)

    async def abort(self, job_id: str) -> None:
        """Stop a job; harmless when it has ended. Raises JobNotFound, OutOfSpace, Unavailable."""
        for source in self._sources:
            try:
                source.find(job_id)
            except JobNotFound:
                continue
            await source.abort(job_id)
            return
        raise JobNotFound(job_id)


def download_view(status: JobStatus) -> JobView:
    """A download job."""
    spec, progress = status.record.download, status.progress
    failures = [f"{failure.name}: {failure.error}" for failure in progress.errors[:1]]
    return JobView(
        id=status.record.id,
        kind=DOWNLOAD,
        subkind=spec.kind,
        started_ns=status.record.started_ns,
        done_ns=status.finished_ns,
        ended_ns=status.finished_ns,
        is_aborted=status.is_aborted,
        error="".join(failures),
        abort_error=progress.error or ("user abort" if status.record.aborted_ns else ""),
        bucket=spec.bucket,
        objects=progress.finished,
        bytes=progress.received,
        message=spec.description,
        owner=status.record.owner,
    )


def bulk_view(status: BulkStatus) -> JobView:
    """A bulk job."""
    record, progress = status.record, status.progress
    copies = record.to_bucket is not None and record.kind in (COPY_BUCKET, MOVE_BUCKET, COPY_OBJECTS)
    return JobView(
        id=record.id,
        kind=record.kind,
        started_ns=record.started_ns,
        done_ns=status.done_ns,
        ended_ns=status.ended_ns,
        is_aborted=status.is_aborted,
        error=status.error,
        abort_error=status.abort_error,
        # AIStore tells a copy's destination twice.
        bucket=record.to_bucket if copies else record.bucket,
        source=record.bucket if copies else None,
        destination=record.to_bucket if copies else None,
        objects=progress.objects,
        bytes=progress.bytes + progress.under_way,
        workers=max(0, record.workers),
        message=_message(status),
        owner=record.owner,
    )


def _message(status: BulkStatus) -> str:
    record, progress = status.record, status.progress
    where = record.bucket.cname if record.bucket else ""
    to = record.to_bucket.cname if record.to_bucket else ""
    chosen = _chosen(status)
    if record.kind == MOVE_BUCKET:
        return f"mv {where}=>{to}"
    if record.kind in (COPY_BUCKET, COPY_OBJECTS):
        dry = "dry-run " if record.copying.dry_run else ""
        counts = f"visited:{progress.visited} copied:{progress.objects} copy-err:{progress.failed}"
        if record.copying.synchronize:
            counts = f"{counts} pruned:{progress.removed}"
        return f"{dry}cp {where}{chosen}=>{to} [{counts}]"
    if record.kind == DELETE_OBJECTS:
        return f"rm {where}{chosen} [visited:{progress.visited} deleted:{progress.objects}]"
    if record.kind == PREFETCH:
        counts = f"visited:{progress.visited} fetched:{progress.objects} failed:{progress.failed}"
        return f"prefetch {where}{chosen} [{counts}]"
    if record.kind == BLOB_DOWNLOAD:
        counts = f"received:{progress.bytes + progress.under_way} failed:{progress.failed}"
        return f"blob-download {where}{chosen} [{counts}]"
    if record.kind == EVICT_OBJECTS:
        return f"evict {where}{chosen} [visited:{progress.visited} evicted:{progress.objects}]"
    if record.kind == EVICTION:
        return f"make room{' in ' + where if where else ''} [evicted:{progress.objects}]"
    return f"{where}{chosen}" if where else ""


def _chosen(status: BulkStatus) -> str:
    """What of a bucket was selected, as it follows the bucket's name."""
    selection = status.record.selection
    if selection.by == SELECTED_ALL:
        return ""
    if selection.by == SELECTED_NAMES:
        return f" ({selection.names} names)"
    return f"/{selection.text}"
