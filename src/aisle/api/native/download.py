"""The downloader's API: `/v1/download` (ais-native-api.md §13.1; shapes as recorded)."""

import asyncio
import time
from contextlib import suppress
from typing import Final

import msgspec

from aisle.api.gate import Action, Principal, permits
from aisle.api.native.download_events import DownloadEvents
from aisle.api.native.download_lists import is_list, take_list
from aisle.api.native.download_questions import (
    JobRights,
    Question,
    description_filter,
    named,
    read_body,
    read_question,
)
from aisle.api.native.download_status import WireJob, wire_job, wire_status
from aisle.api.router import Elements, Route
from aisle.errors import BadRequest, NotFound, RemoteBucketNotFound, Unsupported
from aisle.gateway.remote_buckets import RemoteBuckets
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.board import JobBoard
from aisle.model.job import DownloadSpec
from aisle.model.names import Bucket
from aisle.rules.download_request import Submission, read_request
from aisle.rules.huggingface import ENDPOINT

# AIStore sends statuses as text.
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")
_SLICE_S: Final = 0.004
_JSON: Final = ("Content-Type", "application/json")


class DownloadVerbs:
    """Handlers of the downloader's verbs."""

    def __init__(
        self,
        board: JobBoard,
        events: DownloadEvents,
        *,
        hub: str = ENDPOINT,
        remote: RemoteBuckets | None = None,
    ) -> None:
        """`remote` knows the remote buckets that links may lead to."""
        self._board = board
        self._hub = hub
        self._remote = remote
        self._rights = JobRights(board)
        self._events = events

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
            spec = msgspec.structs.replace(asked.spec, sources=tuple(sorted(asked.sources)))
            for bucket in spec.sources:
                self._rights.check_source(request.caller, bucket)
            for bucket in spec.sources:
                # Here and now: the job itself reads buckets that are known, and adds none.
                with suppress(NotFound):
                    await self._find(bucket, request.caller)
            job_id = await self._board.submit(
                spec, owner=request.caller.id, headers=asked.headers, priority=asked.priority
            )
        except BaseException:
            self._board.lists.remove(asked.spec.list_file)
            raise
        return Response(200, [_JSON], msgspec.json.encode({"id": job_id}))

    async def show(self, request: Request, _elements: Elements) -> Response:
        """The status of one job, or a list of jobs."""
        question = await read_question(request)
        if question.id and question.regex:
            raise BadRequest(f'regex "{question.regex}" and UUID "{question.id}" are mutually exclusive')
        if question.id:
            brief = question.only_active_tasks or question.follow
            status = self._rights.visible(request.caller, question.id, brief=brief)
            if question.follow:
                return self._events.follow(question.id)
            answer = msgspec.json.encode(wire_status(status, only_active=question.only_active_tasks))
        else:
            if question.follow:
                named(question)
            answer = msgspec.json.encode(await self._listed(question, request.caller))
        return Response(200, [_TEXT], answer)

    async def abort(self, request: Request, _elements: Elements) -> Response:
        """Stop a job."""
        status = self._rights.own(request.caller, await read_question(request))
        await self._board.abort(status.record.id)
        return Response(200)

    async def remove(self, request: Request, _elements: Elements) -> Response:
        """Forget a job that has ended."""
        status = self._rights.own(request.caller, await read_question(request))
        await self._board.remove(status.record.id)
        return Response(200)

    async def _asked(self, request: Request) -> Submission:
        """The job that a request asks for, which its caller may. Raises BadRequest, Denied and more."""

        def check(spec: DownloadSpec) -> None:
            self._rights.check(request.caller, Action.PUT, spec.bucket)

        reaches = self._remote.check_usable if self._remote else _nowhere
        if is_list(request):
            return await take_list(request, self._board.lists, check=check, hub=self._hub, reaches=reaches)
        asked = read_request(await read_body(request), hub=self._hub, reaches=reaches)
        if asked.spec.kind == "list":
            raise BadRequest(
                "a list is sent as application/x-ndjson: the request, then one item on each line"
            )
        if asked.spec.fills:
            await self._find(asked.spec.bucket, request.caller)
            self._rights.check_fill(request.caller, asked.spec)
        else:
            check(asked.spec)
        return asked

    async def _find(self, bucket: Bucket, caller: Principal) -> None:
        """See that a remote bucket is known, for whoever may ask for any. Raises as its provider does."""
        try:
            self._board.bucket(bucket)
        except RemoteBucketNotFound as error:
            error.is_final = True
            if self._remote is None or not permits(caller, Action.HEAD_BUCKET):
                raise
            await self._remote.discover(bucket)

    async def _listed(self, question: Question, caller: Principal) -> list[WireJob]:
        """The jobs that a question is about; very many are told in slices, so that others get their turn."""
        matches = description_filter(question.regex)
        await self._board.prepare_all()
        listed, slice_s = [], time.monotonic()
        for status in self._board.all():
            if (
                matches(status.record.download.description)
                and not (question.only_active_tasks and status.finished_ns)
                and self._rights.may_see(caller, status)
            ):
                listed.append(wire_job(status))
            if time.monotonic() - slice_s > _SLICE_S:
                await asyncio.sleep(0)
                slice_s = time.monotonic()
        return listed


def _nowhere(bucket: Bucket) -> None:
    """Raises Unsupported: no remote bucket can be asked for."""
    raise Unsupported(f"{bucket.cname}: there are no remote backends here")
