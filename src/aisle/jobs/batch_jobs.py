"""Batches as jobs: AIStore shows what is sent to get-batch clients as one job per bucket (§13.4).

They are as short-lived as the connections that they serve: what each worker sends is noted in a small
file in the node's runtime folder, where every process sees it, and is forgotten when the node restarts.
Such a job counts as running, and idle, for a while after its last batch, and takes further ones until
then. To stop it is to break off what is being sent.
"""

import os
import secrets
import string
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from aisle.errors import JobNotFound
from aisle.jobs.overview import JobView
from aisle.model.bulk import IDLE_NS
from aisle.model.names import Bucket

GET_BATCH: Final = "get-batch"
ID_PREFIX: Final = "gbt-"
KEPT_NS: Final = 2 * 3600 * 1_000_000_000
KEPT_MAX: Final = 500
_WRITE_INTERVAL_NS: Final = 250_000_000
_FILE_PREFIX: Final = "batches-"
_ABORTED_PREFIX: Final = "batch-aborted-"
_ALPHABET: Final = string.ascii_letters + string.digits


class BatchJob(msgspec.Struct):
    """What one process has sent of one bucket. Times are Unix nanoseconds."""

    id: str
    bucket: Bucket
    started_ns: int
    last_ns: int
    active: int = 0
    """Batches that are being sent."""
    objects: int = 0
    bytes: int = 0


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[BatchJob]).decode


class BatchJobs:
    """The batches of the node, for one process; a source of jobs. Only one process has this `pid`."""

    def __init__(self, folder: Path, *, clock_ns: Callable[[], int], pid: int = 0) -> None:
        self._folder = folder
        self._clock_ns = clock_ns
        self._file = folder / f"{_FILE_PREFIX}{pid or os.getpid()}"
        self._own: list[BatchJob] = []
        self._written_ns = 0

    def join(self, bucket: Bucket) -> BatchJob:
        """The job that a batch from this bucket belongs to, a new one if none lives."""
        now_ns = self._clock_ns()
        for job in reversed(self._own):
            is_alive = job.active or now_ns < job.last_ns + IDLE_NS
            if job.bucket == bucket and is_alive and not self.is_aborted(job.id):
                return job
        job_id = ID_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(9))
        job = BatchJob(job_id, bucket, started_ns=now_ns, last_ns=now_ns)
        kept = [old for old in self._own if old.active or now_ns < old.last_ns + KEPT_NS]
        self._own = [*kept[-KEPT_MAX:], job]
        self._write(now_ns)
        return job

    def begin(self, job: BatchJob) -> None:
        """A batch is being sent. Others see that when it has taken long enough to `show` it."""
        job.active += 1

    def show(self, job: BatchJob) -> None:
        """Let other processes see that the job is at work."""
        now_ns = self._clock_ns()
        if job.active and now_ns > self._written_ns + _WRITE_INTERVAL_NS:
            self._write(now_ns)

    def end(self, job: BatchJob, *, objects: int, sent: int) -> None:
        """It is over, well or not; how many objects and bytes it had."""
        job.active -= 1
        job.objects += objects
        job.bytes += sent
        job.last_ns = self._clock_ns()
        if not job.active or job.last_ns > self._written_ns + _WRITE_INTERVAL_NS:
            self._write(job.last_ns)

    def is_aborted(self, job_id: str) -> bool:
        """Whether somebody asked to stop it."""
        return (self._folder / f"{_ABORTED_PREFIX}{job_id}").exists()

    def find(self, job_id: str) -> JobView:
        """A job. Raises JobNotFound."""
        if job_id.startswith(ID_PREFIX):
            for view in self.all():
                if view.id == job_id:
                    return view
        raise JobNotFound(job_id)

    def all(self) -> list[JobView]:
        """All that are remembered, of all processes."""
        now_ns = self._clock_ns()
        views = [self._view(job, now_ns, is_running=True) for job in self._own]
        for path in self._others():
            with suppress(OSError, msgspec.MsgspecError):
                jobs = _decode(path.read_bytes())
                is_running = _is_alive(path.name.removeprefix(_FILE_PREFIX))
                views += [self._view(job, now_ns, is_running=is_running) for job in jobs]
        return views

    async def abort(self, job_id: str) -> None:
        """Break off what it is sending; harmless when that is nothing. Raises JobNotFound."""
        if self.find(job_id).done_ns:
            return
        with suppress(OSError):
            (self._folder / f"{_ABORTED_PREFIX}{job_id}").touch()

    def _others(self) -> Iterable[Path]:
        try:
            return [path for path in self._folder.glob(f"{_FILE_PREFIX}*") if path != self._file]
        except OSError:
            return []

    def _view(self, job: BatchJob, now_ns: int, *, is_running: bool) -> JobView:
        is_aborted = self.is_aborted(job.id)
        done_ns = 0 if job.active and is_running and not is_aborted else job.last_ns
        is_idle = done_ns and is_running and not is_aborted and now_ns < done_ns + IDLE_NS
        return JobView(
            id=job.id,
            kind=GET_BATCH,
            started_ns=job.started_ns,
            done_ns=done_ns,
            ended_ns=0 if is_idle else done_ns,
            is_aborted=is_aborted,
            abort_error="user abort" if is_aborted else "",
            bucket=job.bucket,
            objects=job.objects,
            bytes=job.bytes,
        )

    def _write(self, now_ns: int) -> None:
        """Show the others. What cannot be shown is served all the same."""
        self._written_ns = now_ns
        new = self._folder / f"new-{self._file.name}"
        with suppress(OSError):
            new.write_bytes(_encode(self._own))
            new.replace(self._file)


def _is_alive(pid: str) -> bool:
    """Whether the process that wrote a file still runs; one that died sends nothing any more."""
    return pid.isdecimal() and Path(f"/proc/{pid}").exists()
