"""Delayed writes as jobs: each bucket with a queue is one, which runs while there is something in it.

How many changes wait, the queue itself knows. What the job worker has to tell beside that it keeps in a
document of its own: how many are written, what fails, which conflicts wait for somebody to decide.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import JobNotFound, NotYetWritten
from aisle.gateway.buckets import Buckets
from aisle.jobs.overview import JobView
from aisle.model.bucket import BucketInfo
from aisle.rules.job_kinds import WRITE_BACK
from aisle.storage.engine import EngineLifecycle

AREA: Final = "delayed"
"""The first path element of the documents; the bucket's number follows."""
ID_PREFIX: Final = "wrb-"
SHOWN_MAX: Final = 10
"""Conflicts that are told by name."""


class DelayedStatus(msgspec.Struct, frozen=True):
    """How the delayed writes of a bucket go. Times are Unix nanoseconds."""

    started_ns: int = 0
    """When the queue ceased to be empty."""
    ended_ns: int = 0
    """When the last change was written; 0 while there are some."""
    objects: int = 0
    """Changes written since then."""
    error: str = ""
    """What failed last, if it has not succeeded since."""
    conflicts: tuple[str, ...] = ()
    """Names of objects in conflict, the first of them."""
    more_conflicts: int = 0
    """How many there are beside those."""


encode_status = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DelayedStatus).decode


def status_key(info: BucketInfo) -> str:
    """Where the metadata store keeps the status of a bucket."""
    return f"{AREA}/{info.number}"


def read_status(document: Document) -> DelayedStatus:
    """What a document tells."""
    return _decode(document.value)


class DelayedJobs:
    """The delayed writes of the node, as a source of jobs."""

    def __init__(
        self,
        store: MetadataStore,
        buckets: Buckets,
        engine: EngineLifecycle,
        *,
        clock_ns: Callable[[], int],
    ) -> None:
        self._buckets = buckets
        self._engine = engine
        self._clock_ns = clock_ns
        self._known = View(store, AREA, read_status)

    def find(self, job_id: str) -> JobView:
        """A job. Raises JobNotFound."""
        found = next((job for job in self.all() if job.id == job_id), None)
        if found is None:
            raise JobNotFound(job_id)
        return found

    def all(self) -> list[JobView]:
        """Those that run, and those that have ended last for a bucket."""
        return [
            self._view(info, status)
            for info in self._buckets.select()
            if info.queue
            and ((status := self._known.find(str(info.number))) is not None or self._pending(info))
        ]

    async def abort(self, job_id: str) -> None:
        """Never possible: what was acknowledged would be lost. Raises JobNotFound, NotYetWritten."""
        job = self.find(job_id)
        if not job.ended_ns and job.bucket is not None:
            raise NotYetWritten(job.bucket.cname)

    def _pending(self, info: BucketInfo) -> int:
        return self._engine.counts(info.queue).objects

    def _view(self, info: BucketInfo, status: DelayedStatus | None) -> JobView:
        pending, status = self._pending(info), status or DelayedStatus()
        conflicts = len(status.conflicts) + status.more_conflicts
        counts = f"pending:{pending} written:{status.objects} conflicts:{conflicts}"
        ended_ns = 0 if pending else status.ended_ns or status.started_ns
        error = "; ".join(f"{name}: conflict with its source" for name in status.conflicts) or status.error
        return JobView(
            id=f"{ID_PREFIX}{info.number}",
            kind=WRITE_BACK,
            started_ns=status.started_ns or self._clock_ns(),
            done_ns=ended_ns,
            ended_ns=ended_ns,
            error=error if pending else "",
            bucket=info.bucket,
            objects=status.objects,
            message=f"write-back {info.bucket.cname} [{counts}]",
            owner=info.owner,
        )
