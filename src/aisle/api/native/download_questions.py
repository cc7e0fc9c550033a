"""What requests about download jobs ask for, and whether their callers may know and do that.

Parameters ride in a JSON body, which many clients and proxies drop from GET and DELETE: the same names
are taken from the query too.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from aisle.api.gate import Action, Principal, authorize, permits
from aisle.api.messages import parse_struct
from aisle.api.named import authorize_creation
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest, BucketNotFound, Denied
from aisle.httpd.request import Request
from aisle.jobs.board import JobBoard, JobStatus
from aisle.model.bucket import BucketInfo
from aisle.model.job import DownloadSpec
from aisle.model.names import Bucket
from aisle.rules.expressions import expression

BODY_BYTES_MAX: Final = 64 * 1024 * 1024


class Question(msgspec.Struct, frozen=True):
    """What a request about jobs asks; each verb looks at its own part."""

    id: str = ""
    regex: str = ""
    only_active_tasks: bool = False
    follow: bool = False
    """Whether to tell about the job until it ends."""
    priority: int | None = None
    items: tuple[int, ...] | None = None
    """Numbers of items of the job."""


async def read_body(request: Request) -> bytes:
    """The body of a request. Raises BodyTooLarge."""
    body = request.body.buffered()
    return body if body is not None else await request.body.read_all(BODY_BYTES_MAX)


async def read_question(request: Request) -> Question:
    """What a request asks, from its body or else its query. Raises BadRequest."""
    body = await read_body(request)
    query = parse_query(request.query)
    if body.strip():
        question = parse_struct(body, Question, what="download question")
        follows = question.follow or is_true(query.get("follow", ""))
        return msgspec.structs.replace(question, follow=follows)
    priority = query.get("priority", "")
    try:
        number = int(priority) if priority else None
    except ValueError as error:
        raise BadRequest(f'priority "{priority}" is no number') from error
    return Question(
        id=query.get("id", ""),
        regex=query.get("regex", ""),
        only_active_tasks=is_true(query.get("only_active_tasks", "")),
        follow=is_true(query.get("follow", "")),
        priority=number,
    )


def description_filter(regex: str) -> Callable[[str], bool]:
    """Whether a description matches; all do without an expression. Raises BadRequest."""
    if not regex:
        return lambda _: True
    return expression(regex, what="regex")


class JobRights:
    """Who may do what with a download job: what it does to its bucket, its caller must be allowed."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board

    def check(self, caller: Principal, action: Action, bucket: Bucket) -> None:
        """Raises Denied unless the caller may do that to a bucket, or make it if there is none."""
        info = self._board.destination(bucket)
        if info is not None or bucket.is_remote:
            authorize(caller, action if info else Action.CREATE_BUCKET, info)
        else:
            authorize_creation(caller, bucket, self._board.namesakes(bucket))

    def check_fill(self, caller: Principal, spec: DownloadSpec) -> None:
        """Raises Denied unless the caller may have a remote bucket's objects fetched, or dropped."""
        action = Action.GET | Action.DELETE_OBJECT if spec.synchronize else Action.GET
        authorize(caller, action, self._known(spec.bucket))

    def check_source(self, caller: Principal, bucket: Bucket) -> None:
        """Raises Denied unless the caller may read a bucket that links lead to."""
        authorize(caller, Action.GET, self._known(bucket))

    def check_again(self, caller: Principal, spec: DownloadSpec) -> None:
        """Raises Denied unless the caller may have a job read what it reads: rights may have changed."""
        if spec.fills:
            self.check_fill(caller, spec)
        for bucket in spec.sources:
            self.check_source(caller, bucket)

    def _known(self, bucket: Bucket) -> BucketInfo | None:
        try:
            return self._board.bucket(bucket)
        except BucketNotFound:
            return None

    def visible(self, caller: Principal, job_id: str, *, brief: bool = False) -> JobStatus:
        """A job that the caller may see, perhaps without finished items. Raises JobNotFound, Denied."""
        status = self._board.glance(job_id) if brief else self._board.find(job_id)
        self._check_job(caller, Action.HEAD_BUCKET, status)
        return status

    def may_see(self, caller: Principal, status: JobStatus) -> bool:
        """Whether the caller may see a job."""
        action, bucket = self._needed(caller, Action.HEAD_BUCKET, status)
        return permits(caller, action, bucket)

    def own(self, caller: Principal, question: Question) -> JobStatus:
        """The job that a question names, if the caller may change it.

        Raises BadRequest where none is named, JobNotFound, Denied.
        """
        status = self._board.find(named(question))
        self._check_job(caller, Action.PUT, status)
        return status

    def _check_job(self, caller: Principal, action: Action, status: JobStatus) -> None:
        """Raises Denied unless the caller may do that to the bucket of a job."""
        needed, bucket = self._needed(caller, action, status)
        if needed is Action.ADMIN and caller.is_known and not permits(caller, needed):
            raise Denied(
                f"access denied: the bucket of job {status.record.id} is gone, so the job is left to whoever "
                f"asked for it and to administrators, and not to {caller.name}"
            )
        authorize(caller, needed, bucket)

    def _needed(
        self, caller: Principal, action: Action, status: JobStatus
    ) -> tuple[Action, BucketInfo | None]:
        """What the caller of an action must be allowed to do, and to which bucket.

        A job whose bucket is gone belongs to who asked for it, and so it does when another bucket has got
        that name: its links and headers are not its new owner's.
        """
        record = status.record
        bucket = self._board.destination(record.download.bucket)
        if bucket is not None and record.bucket_number in (0, bucket.number):
            return action, bucket
        is_theirs = bool(caller.id) and caller.id == record.owner
        return (Action.SHOW_CLUSTER if is_theirs else Action.ADMIN), None


def named(question: Question) -> str:
    """The id that a question names. Raises BadRequest if there is none."""
    if not question.id:
        raise BadRequest("UUID not specified")
    return question.id
