"""What can be done with download jobs beside AIStore's verbs: ours, in the manner of its own.

PUT /v1/download/pause|resume      {"id"}
PUT /v1/download/priority          {"id", "priority"}
GET /v1/download/manifest          {"id"}: JSON lines, one for each item that is done
"""

from typing import Final

from aisle.api.gate import Action
from aisle.api.native.download_questions import JobRights, named, read_question
from aisle.api.router import Elements, Route
from aisle.errors import BadRequest
from aisle.httpd.request import Request
from aisle.httpd.response import FileBody, Response
from aisle.jobs.board import JobBoard
from aisle.rules.download_request import checked_priority

JSON_LINES: Final = ("Content-Type", "application/x-ndjson")


class DownloadControl:
    """Handlers of these verbs."""

    def __init__(self, board: JobBoard) -> None:
        self._board = board
        self._rights = JobRights(board)

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        known = Action.SHOW_CLUSTER  # and what the handlers ask about the job's bucket
        return [
            Route("PUT", "/v1/download/pause", known, self.pause),
            Route("PUT", "/v1/download/resume", known, self.resume),
            Route("PUT", "/v1/download/priority", known, self.prioritize),
            Route("GET", "/v1/download/manifest", known, self.manifest),
        ]

    async def pause(self, request: Request, _elements: Elements) -> Response:
        """Let a job rest."""
        status = self._rights.own(request.caller, await read_question(request))
        await self._board.pause(status.record.id)
        return Response(200)

    async def resume(self, request: Request, _elements: Elements) -> Response:
        """Let a job go on."""
        status = self._rights.own(request.caller, await read_question(request))
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
        if not manifest.length:
            manifest.close()
            return Response(200, [JSON_LINES])
        return Response(200, [JSON_LINES], FileBody([manifest], manifest.close))
