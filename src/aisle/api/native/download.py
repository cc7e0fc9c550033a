"""The downloader's API: `/v1/download` (ais-native-api.md §13.1; shapes as recorded).

Parameters of GET and DELETE ride in a JSON body, which many clients and proxies drop: the same names
are taken from the query too. `bytes`, `total_bytes`, `rate` (bytes per second) and `state` are ours,
beside what AIStore answers.
"""

import re
from datetime import UTC, datetime
from typing import Final

import msgspec

from aisle.api.gate import Action, Principal, authorize, permits
from aisle.api.messages import parse_struct
from aisle.api.native.download_lists import is_list, take_list
from aisle.api.router import Elements, Route
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.board import JobBoard, JobStatus
from aisle.model.job import ActiveItem, DownloadSpec, FinishedItem
from aisle.model.names import Bucket
from aisle.rules.download_request import Submission, read_request

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
_REGEX_CHARS_MAX: Final = 1024
# AIStore sends statuses as text.
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_JSON: Final = ("Content-Type", "application/json")


class Question(msgspec.Struct, frozen=True):
    """What GET and DELETE ask about."""

    id: str = ""
    regex: str = ""
    only_active_tasks: bool = False


class WireTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One item. Sizes are strings; `total` is absent when the source told none."""

    name: str
    downloaded: str
    total: str = ""
    start_time: str = ""
    end_time: str = ""


class WireError(msgspec.Struct, frozen=True):
    """An item that failed."""

    name: str
    error: str


class WireJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job. The list shows its counts, its own status its items too; empty lists are left out."""

    id: str
    xaction_id: str
    description: str
    started_time: str
    finished_time: str
    finished_cnt: int
    scheduled_cnt: int
    skipped_cnt: int
    error_cnt: int
    total: int
    all_dispatched: bool
    aborted: bool
    state: str
    bytes: int
    total_bytes: int
    rate: int
    current_tasks: list[WireTask] | msgspec.UnsetType = msgspec.UNSET
    finished_tasks: list[WireTask] | msgspec.UnsetType = msgspec.UNSET
    download_errors: list[WireError] | msgspec.UnsetType = msgspec.UNSET


class DownloadVerbs:
    """Handlers of the downloader's verbs."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        # Which bucket it is about stands in the body, or with the job: the handlers ask about that.
        known = Action.SHOW_CLUSTER
        return [
            Route("POST", "/v1/download", known, self.submit),
            Route("GET", "/v1/download", known, self.show),
            Route("DELETE", "/v1/download/abort", known, self.abort),
            Route("DELETE", "/v1/download/remove", known, self.remove),
        ]

    async def submit(self, request: Request, _elements: Elements) -> Response:
        """Accept a job."""
        asked = await self._asked(request)
        try:
            job_id = await self._board.submit(asked.spec, owner=request.caller.id, headers=asked.headers)
        except BaseException:
            self._board.lists.remove(asked.spec.list_file)
            raise
        return Response(200, [_JSON], msgspec.json.encode({"id": job_id}))

    async def show(self, request: Request, _elements: Elements) -> Response:
        """The status of one job, or a list of jobs."""
        question = await _question(request)
        if question.id and question.regex:
            raise BadRequest(f'regex "{question.regex}" and UUID "{question.id}" are mutually exclusive')
        if question.id:
            status = self._board.find(question.id)
            self._authorize(request.caller, Action.HEAD_BUCKET, status.record.download.bucket)
            answer = msgspec.json.encode(wire_status(status, only_active=question.only_active_tasks))
        else:
            answer = msgspec.json.encode(
                [wire_job(status) for status in self._selected(question, request.caller)]
            )
        return Response(200, [_TEXT], answer)

    async def abort(self, request: Request, _elements: Elements) -> Response:
        """Stop a job."""
        await self._board.abort(await self._own_job(request))
        return Response(200)

    async def remove(self, request: Request, _elements: Elements) -> Response:
        """Forget a job that has ended."""
        await self._board.remove(await self._own_job(request))
        return Response(200)

    async def _asked(self, request: Request) -> Submission:
        """The job that a request asks for, which its caller may. Raises BadRequest, Denied and more."""

        def check(spec: DownloadSpec) -> None:
            self._authorize(request.caller, Action.PUT, spec.bucket)

        if is_list(request):
            return await take_list(request, self._board.lists, check=check)
        asked = read_request(await _body(request))
        if asked.spec.kind == "list":
            raise BadRequest(
                "a list is sent as application/x-ndjson: the request, then one item on each line"
            )
        check(asked.spec)
        return asked

    def _authorize(self, caller: Principal, action: Action, bucket: Bucket) -> None:
        """Raises Denied unless the caller may do that to a bucket, or make it if there is none."""
        info = self._board.destination(bucket)
        authorize(caller, action if info else Action.CREATE_BUCKET, info)

    async def _own_job(self, request: Request) -> str:
        """The job that the body names. Raises JobNotFound, Denied."""
        job_id = await _job_id(request)
        self._authorize(request.caller, Action.PUT, self._board.find(job_id).record.download.bucket)
        return job_id

    def _selected(self, question: Question, caller: Principal) -> list[JobStatus]:
        if len(question.regex) > _REGEX_CHARS_MAX:
            raise BadRequest(f"regex has more than {_REGEX_CHARS_MAX} characters")
        try:
            pattern = re.compile(question.regex)
        except re.error as error:
            raise BadRequest(f'invalid regex "{question.regex}": {error}') from error
        return [
            status
            for status in self._board.all()
            if pattern.search(status.record.download.description)
            and not (question.only_active_tasks and status.finished_ns)
            and self._may_see(caller, status)
        ]

    def _may_see(self, caller: Principal, status: JobStatus) -> bool:
        bucket = self._board.destination(status.record.download.bucket)
        return permits(caller, Action.HEAD_BUCKET if bucket else Action.SHOW_CLUSTER, bucket)


def wire_job(status: JobStatus) -> WireJob:
    """A job as the list shows it."""
    record, progress, live = status.record, status.progress, status.live
    is_running = not status.finished_ns
    received = progress.received + (sum(item.received for item in live.active) if live else 0)
    return WireJob(
        id=record.id,
        # AIStore names its shared worker here; ours has no identity beside the job's own.
        xaction_id=record.id.rpartition("-")[2],
        description=record.download.description,
        started_time=wire_time(record.started_ns),
        finished_time=wire_time(status.finished_ns),
        finished_cnt=progress.finished,
        scheduled_cnt=progress.scheduled,
        skipped_cnt=progress.skipped,
        error_cnt=progress.failed,
        total=progress.total,
        all_dispatched=progress.scheduled >= progress.total,
        aborted=status.is_aborted,
        state="running" if is_running else "aborted" if status.is_aborted else "finished",
        bytes=received,
        total_bytes=live.bytes_total if live else -1 if is_running else received,
        rate=round(live.bytes_per_second) if live and is_running else 0,
    )


def wire_status(status: JobStatus, *, only_active: bool) -> WireJob:
    """A job as asked for by its id; `only_active` leaves out what is over."""
    active = status.live.active if status.live and not status.finished_ns else ()
    current = [_active_task(item) for item in sorted(active)]
    finished = [] if only_active else [_finished_task(item) for item in status.progress.recent]
    errors = [] if only_active else [WireError(*item) for item in sorted(status.progress.errors)]
    if status.progress.error and not only_active:
        errors.append(WireError(status.record.download.bucket.cname, status.progress.error))
    return msgspec.structs.replace(
        wire_job(status),
        current_tasks=current or msgspec.UNSET,
        finished_tasks=finished or msgspec.UNSET,
        download_errors=errors or msgspec.UNSET,
    )


def wire_time(time_ns: int) -> str:
    """A time in RFC 3339 with nanoseconds, trailing zeros dropped as Go does; 0 is the epoch."""
    seconds, nanoseconds = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{text}{fraction}Z"


def _active_task(item: ActiveItem) -> WireTask:
    return WireTask(
        name=item.name,
        downloaded=str(item.received),
        total=_size(item.size),
        start_time=wire_time(item.started_ns),
        end_time=wire_time(0),
    )


def _finished_task(item: FinishedItem) -> WireTask:
    return WireTask(
        name=item.name,
        downloaded=str(item.received),
        total=_size(item.size),
        start_time=wire_time(item.started_ns),
        end_time=wire_time(item.ended_ns),
    )


def _size(size: int) -> str:
    return "" if size < 0 else str(size)


async def _body(request: Request) -> bytes:
    body = request.body.buffered()
    return body if body is not None else await request.body.read_all(BODY_BYTES_MAX)


async def _question(request: Request) -> Question:
    body = await _body(request)
    if body.strip():
        return parse_struct(body, Question, what="download question")
    query = parse_query(request.query)
    return Question(
        id=query.get("id", ""),
        regex=query.get("regex", ""),
        only_active_tasks=is_true(query.get("only_active_tasks", "")),
    )


async def _job_id(request: Request) -> str:
    job_id = (await _question(request)).id
    if not job_id:
        raise BadRequest("UUID not specified")
    return job_id
