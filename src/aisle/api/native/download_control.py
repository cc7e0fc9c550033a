"""What can be done with download jobs beside AIStore's verbs: ours, in the manner of its own.

PUT /v1/download/pause|resume      {"id"}
PUT /v1/download/priority          {"id", "priority"}
GET /v1/download/manifest          {"id"}: JSON lines, one for each item that is done
GET /v1/download/verify            {"id"}: JSON lines, one for each item whose object is not what it was,
                                   and now and then how far that is; the last one has `"done":true`
POST /v1/download/repair           {"id", "items"}: the id of a job that fetches these items again
"""

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from aisle.api.gate import Action
from aisle.api.native.download_questions import JobRights, named, read_question
from aisle.api.router import Elements, Route
from aisle.errors import BadRequest, CorruptObject, TooBusy
from aisle.httpd.request import Request
from aisle.httpd.response import FileBody, Response, StreamBody
from aisle.jobs.board import JobBoard, JobStatus
from aisle.jobs.verifying import Verification, undone_items
from aisle.model.job import JobRecord
from aisle.rules.download_plan import Plan
from aisle.rules.download_request import checked_priority
from aisle.storage.engine import StorageEngine

VERIFICATIONS_MAX: Final = 2
"""Verifications of a worker at a time; more are asked to come again later."""
MISSING_FIELD: Final = "Manifest-Missing"
"""Tells how many lines of a manifest were lost to a full disk, if any were."""
JSON_LINES: Final = ("Content-Type", "application/x-ndjson")


class DownloadControl:
    """Handlers of these verbs."""

    def __init__(self, board: JobBoard, engine: StorageEngine) -> None:
        self._board = board
        self._engine = engine
        self._rights = JobRights(board)
        self._verifying = 0

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        known = Action.SHOW_CLUSTER  # and what the handlers ask about the job's bucket
        return [
            Route("PUT", "/v1/download/pause", known, self.pause),
            Route("PUT", "/v1/download/resume", known, self.resume),
            Route("PUT", "/v1/download/priority", known, self.prioritize),
            Route("GET", "/v1/download/manifest", known, self.manifest),
            Route("GET", "/v1/download/verify", known, self.verify),
            Route("POST", "/v1/download/repair", known, self.repair),
        ]

    async def pause(self, request: Request, _elements: Elements) -> Response:
        """Let a job rest."""
        status = self._rights.own(request.caller, await read_question(request))
        await self._board.pause(status.record.id)
        return Response(200)

    async def resume(self, request: Request, _elements: Elements) -> Response:
        """Let a job go on."""
        status = self._rights.own(request.caller, await read_question(request))
        self._rights.check_again(request.caller, status.record.download)
        await self._board.resume(status.record.id)
        return Response(200)

    async def prioritize(self, request: Request, _elements: Elements) -> Response:
        """Change a job's priority."""
        question = await read_question(request)
        status = self._rights.own(request.caller, question)
        if question.priority is None:
            raise BadRequest("priority not specified")
        await self._board.prioritize(status.record.id, checked_priority(question.priority))
        return Response(200)

    async def manifest(self, request: Request, _elements: Elements) -> Response:
        """What became of each item of a job, as far as it is done and durable."""
        status = self._rights.visible(request.caller, named(await read_question(request)))
        manifest = self._board.manifest(status.record.id)
        headers = [JSON_LINES]
        if manifest.missing:
            headers.append((MISSING_FIELD, str(manifest.missing)))
        if not manifest.length:
            manifest.close()
            return Response(200, headers)
        return Response(200, headers, FileBody([manifest], manifest.close))

    async def verify(self, request: Request, _elements: Elements) -> Response:
        """Which objects of a job are not what the manifest says."""
        status = self._rights.visible(request.caller, named(await read_question(request)))
        if self._verifying >= VERIFICATIONS_MAX:
            raise TooBusy(f"{VERIFICATIONS_MAX} downloads are being verified here already: try again later")
        return Response(200, [JSON_LINES], StreamBody(self._findings(status)))

    async def _findings(self, status: JobStatus) -> AsyncIterator[bytes]:
        # All that has to be given back is taken in here: an answer that is never sent does not begin this.
        record = status.record
        manifest = self._board.manifest(record.id)
        self._verifying += 1
        try:
            bucket = self._board.destination(record.download.bucket)
            undone = undone_items(status.progress)
            verification = Verification(self._engine, bucket, manifest, self._plan(record), undone=undone)
            async for told in verification.run():
                yield msgspec.json.encode(told) + b"\n"
        finally:
            self._verifying -= 1
            manifest.close()

    def _plan(self, record: JobRecord) -> Plan:
        """The items of a job; where their list is not there, each of them is what cannot be had."""
        try:
            return self._board.plan(record)
        except CorruptObject:
            return Plan(record.download)

    async def repair(self, request: Request, _elements: Elements) -> Response:
        """Fetch items of a job again, in a job of their own."""
        question = await read_question(request)
        status = self._rights.own(request.caller, question)
        if not question.items:
            raise BadRequest("items not specified")
        self._rights.check_again(request.caller, status.record.download)
        job_id = await self._board.repair(status.record.id, question.items, owner=request.caller.id)
        return Response(200, [("Content-Type", "application/json")], msgspec.json.encode({"id": job_id}))
