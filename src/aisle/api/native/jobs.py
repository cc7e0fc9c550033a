"""Jobs: started, stopped, asked about (ais-native-api.md §7).

One node answers for both roles: what a gateway tells of a job (its status) and what a target tells (its
snapshot) come from the same view. Every id that was ever handed out can be asked for at once, and for
at least an hour after its job ended.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from aisle.api.gate import ALL, Action, Principal, permits
from aisle.api.messages import ActionMessage, parse_struct, parse_value
from aisle.api.native.buckets import JSON_TYPE
from aisle.api.router import Elements, Route
from aisle.errors import BadRequest, JobNotFound, NotFound, Unsupported
from aisle.gateway.buckets import Buckets
from aisle.gateway.information import NodeIdentity
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.overview import JobsOverview, JobView
from aisle.model.bucket import BucketShape
from aisle.model.bulk import CLEANUP, EVICTION, BulkProgress, BulkRecord
from aisle.model.names import Bucket, parse_bucket
from aisle.rules.job_kinds import STARTABLE, canonical_kind

TEXT_TYPE: Final = ("Content-Type", "text/plain; charset=utf-8")
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_NOWHERE: Final = BucketShape()
_WORKERS_SHIFT: Final = 10
_BODY_BYTES_MAX: Final = 64 * 1024


class JobQuestion(msgspec.Struct, frozen=True):
    """Which jobs a request is about; AIStore's two spellings both arrive in lower case (§7.1)."""

    id: str = ""
    kind: str = ""
    bck: dict[str, object] = {}
    buckets: list[dict[str, object]] = []
    show_active: bool = False
    onlyrunning: bool = False

    @property
    def bucket(self) -> Bucket | None:
        """The bucket that is asked about, if any. Raises InvalidName, InvalidProvider."""
        named = [shape for shape in (self.bck, *self.buckets) if shape.get("name")]
        return bucket_of_shape(named[0]) if named else None


class JobVerbs:
    """Handlers of what is asked about jobs, and of starting and stopping them."""

    def __init__(
        self, overview: JobsOverview, board: BulkBoard, identity: NodeIdentity, *, buckets: Buckets
    ) -> None:
        self._buckets = buckets
        self._overview = overview
        self._board = board
        self._identity = identity

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        cluster, show = "/v1/cluster", Action.SHOW_CLUSTER
        return [
            Route("GET", cluster, show, self.status, "what=status"),
            Route("GET", cluster, show, self.statuses, "what=status_all"),
            Route("GET", cluster, show, self.snapshots, "what=qryxstats"),
            Route("GET", cluster, show, self.running, "what=running_all"),
            Route("PUT", cluster, Action.ADMIN, self.start, "action=start"),
            Route("PUT", cluster, Action.ADMIN, self.stop, "action=stop"),
        ]

    async def status(self, request: Request, _elements: Elements) -> Response:
        """The state of one job: the named one, else of its kind one that runs, or the last one."""
        question = await _question(request)
        kind = canonical_kind(question.kind)
        if not (question.id or question.kind):
            raise BadRequest("neither job id nor kind is given")
        if question.kind and not kind:
            raise BadRequest(f"invalid x-{question.kind}[{question.id}]")
        return _text(msgspec.json.encode(self._status(self._one(question, kind, request.caller))))

    def _status(self, job: JobView) -> dict[str, object]:
        return status_shape(job, self._identity.target_id)

    def _one(self, question: JobQuestion, kind: str, caller: Principal) -> JobView:
        missing = NotFound(
            f"p[{self._identity.gateway_id}]: x-[{question.id or question.kind}] does not exist"
        )
        if question.id:
            try:
                job = self._overview.find(question.id)
            except JobNotFound as error:
                raise missing from error
            if not self._may_see(caller, job):
                raise missing
            if kind and kind != job.kind:
                raise BadRequest(f"kind mismatch: x-{job.kind}[{job.id}] is not {question.kind}")
            return job
        jobs = self._overview.select(kind=kind, bucket=question.bucket)
        jobs = [job for job in jobs if self._may_see(caller, job)]
        if not jobs:
            raise missing
        return next((job for job in reversed(jobs) if not job.ended_ns), jobs[-1])

    async def statuses(self, request: Request, _elements: Elements) -> Response:
        """The states of all jobs of a kind, or of all; AIStore sends null for none."""
        jobs = self._selected(await _question(request), request.caller)
        return _text(msgspec.json.encode([self._status(job) for job in jobs] or None))

    async def snapshots(self, request: Request, _elements: Elements) -> Response:
        """What the target tells of jobs."""
        question = await _question(request)
        if question.id:
            try:
                jobs = [self._overview.find(question.id)]
            except JobNotFound:
                jobs = []
            jobs = [job for job in jobs if self._may_see(request.caller, job)]
            if not jobs or (question.show_active and jobs[0].ended_ns):
                raise NotFound(f'"x-[{question.id}]" not found')
        else:
            jobs = self._selected(question, request.caller)
        target = self._identity.target_id
        body = {target: [snapshot_shape(job, target) for job in jobs]}
        return Response(200, [JSON_TYPE], msgspec.json.encode(body) + b"\n")

    async def running(self, request: Request, _elements: Elements) -> Response:
        """The jobs that run, idle ones too, as `kind[id]`."""
        question = await _question(request)
        jobs = self._overview.select(
            kind=canonical_kind(question.kind), bucket=question.bucket, running_only=True
        )
        names = [f"{job.kind}[{job.id}]" for job in jobs if self._may_see(request.caller, job)]
        return Response(200, [JSON_TYPE], msgspec.json.encode(names) + b"\n")

    def _selected(self, question: JobQuestion, caller: Principal) -> list[JobView]:
        # A kind that does not exist is no filter, as AIStore has it.
        jobs = self._overview.select(
            kind=canonical_kind(question.kind),
            bucket=question.bucket,
            running_only=question.show_active or question.onlyrunning,
        )
        return [job for job in jobs if self._may_see(caller, job)]

    def _may_see(self, caller: Principal, job: JobView) -> bool:
        """Whether the caller may see every bucket that the job concerns.

        Of one that is gone, or whose name another one has got since, whoever asked for the job may know.
        """
        if caller.allowed == ALL:
            return True
        every = self._buckets.snapshot()
        is_theirs = bool(caller.id) and caller.id == job.owner
        for bucket in (job.bucket, job.source, job.destination):
            info = every.get(bucket.uname) if bucket else None
            is_same = info is not None and info.created_ns <= job.started_ns
            if bucket and not (permits(caller, Action.HEAD_BUCKET, info) if is_same else is_theirs):
                return False
        return True

    async def start(self, _request: Request, _elements: Elements, message: ActionMessage) -> Response:
        """Start a job; its id."""
        question = parse_value(message.value, JobQuestion, what="job arguments")
        kind = canonical_kind(question.kind)
        if not kind:
            raise BadRequest(f'invalid xaction (job) kind "{question.kind}": xa-[{question.id}]')
        if kind not in STARTABLE:
            raise BadRequest(f'cannot start "{question.kind}": it begins with a request of its own')
        if kind == "rebalance":
            raise BadRequest("errNotEnoughTargets: rebalancing needs at least two targets, have 1")
        if kind not in (EVICTION, CLEANUP):
            raise Unsupported(f'starting "{question.kind}" is not built')
        wanted = BulkRecord(id="", kind=kind, started_ns=0, bucket=question.bucket)
        if kind == EVICTION and len(question.buckets) > 1:
            raise Unsupported("one job for several buckets is not built: start one for each")
        if kind == EVICTION:
            job_id = await self._board.submit(wanted)
        else:
            # What is left of removed objects is cleaned up all the time: there is nothing to do.
            job_id = await self._board.note_finished(wanted, BulkProgress(id=""))
        return _text(job_id.encode())

    async def stop(self, _request: Request, _elements: Elements, message: ActionMessage) -> Response:
        """Stop one job, or all of a kind; no harm where there is none."""
        question = parse_value(message.value, JobQuestion, what="job arguments")
        if not (question.id or question.kind):
            raise BadRequest("neither job id nor kind is given")
        if question.id:
            ids = [question.id]
        else:
            kind = canonical_kind(question.kind)
            jobs = self._overview.select(kind=kind, bucket=question.bucket, running_only=True) if kind else []
            ids = [job.id for job in jobs]
        for job_id in ids:
            try:
                await self._overview.abort(job_id)
            except JobNotFound:
                continue
        return Response(200)


def status_shape(job: JobView, target: str) -> dict[str, object]:
    """A job's status as AIStore shapes it (§7.3)."""
    failed = f"t[{target}]: {job.error}" if job.error else ""
    shape: dict[str, object] = {
        "kind": job.subkind or job.kind,
        "uuid": job.id,
        "err": job.abort_error or failed,
        "end_time": job.ended_ns,
        "aborted": job.is_aborted,
    }
    if job.is_idle and not job.ended_ns:
        shape["is_idle"] = True
    return shape


def snapshot_shape(job: JobView, target: str) -> dict[str, object]:
    """What a target tells of a job, as AIStore shapes it: every key is always there but `ctlmsg` (§7.3)."""
    return {
        "ext": None,
        "start-time": wire_time(job.started_ns),
        "end-time": wire_time(job.ended_ns) if job.ended_ns else _ZERO_TIME,
        "bck": _shape(job.bucket),
        "src-bck": _shape(job.source),
        "dst-bck": _shape(job.destination),
        "id": job.id,
        "kind": job.kind,
        **({"ctlmsg": job.message} if job.message else {}),
        "abort-err": job.abort_error,
        "err": f"t[{target}]: {job.error}" if job.error else "",
        "glob.id": str(1 | job.workers << _WORKERS_SHIFT),
        "stats": {
            "loc-objs": str(job.objects),
            "loc-bytes": str(job.bytes),
            "out-objs": "0",
            "out-bytes": "0",
            "in-objs": "0",
            "in-bytes": "0",
        },
        "aborted": job.is_aborted,
        "is_idle": job.is_idle,
    }


def wire_time(time_ns: int) -> str:
    """A time in RFC 3339 with nanoseconds."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{nanoseconds:09d}Z"


def bucket_of_shape(shape: dict[str, object]) -> Bucket:
    """A bucket as JSON names it; null and missing members are empty. Raises InvalidName, InvalidProvider."""
    space = shape.get("namespace")
    uuid, name = (space.get("uuid"), space.get("name")) if isinstance(space, dict) else ("", "")
    namespace = (f"@{uuid}" if uuid else "") + (f"#{name}" if name else "")
    return parse_bucket(str(shape.get("name") or ""), str(shape.get("provider") or ""), namespace)


def _shape(bucket: Bucket | None) -> BucketShape:
    return BucketShape.of(bucket) if bucket else _NOWHERE


def _text(body: bytes) -> Response:
    return Response(200, [TEXT_TYPE], body)


async def _question(request: Request) -> JobQuestion:
    return parse_struct(await request.body.read_all(_BODY_BYTES_MAX), JobQuestion, what="job query")
