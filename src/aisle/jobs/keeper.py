"""Keeping a job's progress: durable about once a second, and at once when it is over.

Each flush first writes the manifest's new lines, then the progress, which tells how many of its bytes
are valid. What was stored since the last flush is found again by looking at the objects themselves. A
store that cannot be written to (a full disk) stops no job; the flush is tried again until it works.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from aisle.cluster.store import MetadataStore
from aisle.errors import AisleError, StaleVersion
from aisle.jobs.download import DownloadJob
from aisle.jobs.manifest import NO_LINES, Manifest, ManifestLines
from aisle.model.job import PROGRESS_PREFIX, JobLive, JobProgress, decode_progress, encode_job

_FLUSH_INTERVAL_S = 1.0
_MANIFEST_ATTEMPTS = 5

_log = logging.getLogger(__name__)


class ProgressDocument:
    """The document `progress/<id>`; only the job worker writes it."""

    def __init__(self, store: MetadataStore, job_id: str) -> None:
        self._store = store
        self._key = PROGRESS_PREFIX + job_id
        self._version = 0

    def load(self) -> JobProgress | None:
        """What was kept last, or None for a job that has never run."""
        document = self._store.load(self._key)
        self._version = document.version if document else 0
        return decode_progress(document.value) if document else None

    async def save(self, progress: JobProgress) -> None:
        """Make it durable. Raises OutOfSpace, Unavailable."""
        await self._swap(encode_job(progress))

    async def remove(self) -> None:
        """Forget it. Raises OutOfSpace, Unavailable."""
        if self._store.load(self._key) is not None:
            await self._swap(None)

    async def _swap(self, value: bytes | None) -> None:
        try:
            await asyncio.to_thread(self._store.swap, self._key, value, expected_version=self._version)
        except StaleVersion as error:
            # A worker that was killed had written once more before it died.
            await asyncio.to_thread(self._store.swap, self._key, value, expected_version=error.found)
            self._version = error.found
        self._version += 1


class JobKeeper:
    """Keeps one running job's progress. `run` ends when the job is over and that is durable."""

    def __init__(self, job: DownloadJob, document: ProgressDocument, clock_ns: Callable[[], int]) -> None:
        self._job = job
        self._clock_ns = clock_ns
        self._document = document
        self._over = asyncio.Event()
        self._kept_changes = -1
        self._over_ns = 0
        self._manifest_failures = 0
        self._manifest_missing = job.manifest_missing
        self.suspended = False
        """Set when the job only rests, or its process ends: it is not finished."""
        job.on_over = self._job_over

    def _job_over(self) -> None:
        # Now, and not when a flush that is under way lets us keep it.
        self._over_ns = self._clock_ns()
        self._over.set()

    @property
    def job(self) -> DownloadJob:
        """The job that is kept."""
        return self._job

    @property
    def is_over(self) -> bool:
        """Whether the job has ended, or was stopped."""
        return self._over.is_set()

    def live(self, now_s: float) -> JobLive:
        """What the job shows now."""
        job = self._job
        live = job.tally.live(
            job.active(), bytes_received=job.bytes_received, bytes_total=job.bytes_total(), now_s=now_s
        )
        retrying, trouble = job.trouble()
        return msgspec.structs.replace(live, retrying=retrying, trouble=trouble) if retrying else live

    async def run(self) -> None:
        """Flush until the job is over, then keep its end."""
        while not self._over.is_set():
            await self._flush(finished_ns=0)
            await self._pause(_FLUSH_INTERVAL_S)
        self._kept_changes = -1
        finished_ns = 0 if self.suspended else self._over_ns
        while not await self._flush(finished_ns=finished_ns):
            if self.suspended:
                break
            await asyncio.sleep(_FLUSH_INTERVAL_S)
        if self._job.manifest is not None:
            self._job.manifest.close()

    async def _pause(self, longest_s: float) -> None:
        try:
            async with asyncio.timeout(longest_s):
                await self._over.wait()
        except TimeoutError:
            pass

    async def _write(self, manifest: Manifest, lines: ManifestLines) -> None:
        """Write lines; those for which there is no space in several attempts are given up.

        A job must come to its end on a full disk, whose items then all fail and each want a line.
        """
        try:
            await asyncio.to_thread(manifest.write, lines)
        except OSError as error:
            self._manifest_failures += 1
            if self._manifest_failures >= _MANIFEST_ATTEMPTS:
                self._manifest_failures = 0
                dropped = manifest.drop_waiting()
                self._manifest_missing += dropped
                _log.warning("job %s: %d lines of its manifest are lost: %s", self._job.id, dropped, error)
            raise
        self._manifest_failures = 0
        manifest.written(lines)

    async def _flush(self, *, finished_ns: int) -> bool:
        """Keep what has changed; whether that worked."""
        tally, manifest = self._job.tally, self._job.manifest
        changes = tally.changes
        if changes == self._kept_changes:
            return True
        # Taken together, before anything is waited for: they tell of the same items.
        progress = tally.progress(finished_ns=finished_ns)
        lines = manifest.waiting() if manifest is not None else NO_LINES
        progress = msgspec.structs.replace(
            progress, manifest_bytes=lines.end, manifest_missing=self._manifest_missing
        )
        try:
            if manifest is not None and lines.data:
                await self._write(manifest, lines)
            await self._document.save(progress)
        except (AisleError, OSError) as error:
            _log.warning("cannot keep the progress of job %s: %s", self._job.id, error)
            return False
        self._kept_changes = changes
        return True
