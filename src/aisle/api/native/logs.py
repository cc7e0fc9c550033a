"""The node's log: `what=log` (ais-native-api.md §8.2)."""

import asyncio
from typing import Final

from aisle.api.gate import Action
from aisle.api.router import Elements, Route
from aisle.api.urls import is_true, parse_query
from aisle.errors import BadRequest, NotFound
from aisle.gateway.information import NodeIdentity
from aisle.gateway.logs import LogFiles
from aisle.httpd.request import Request
from aisle.httpd.response import Response

_TEXT_TYPE: Final = ("Content-Type", "text/plain; charset=utf-8")
_ARCHIVE_TYPE: Final = ("Content-Type", "application/gzip")


class LogVerbs:
    """Handler of questions for the log."""

    def __init__(self, files: LogFiles, identity: NodeIdentity) -> None:
        self._files = files
        self._nodes = (identity.target_id, identity.gateway_id)

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        paths = "/v1/daemon", "/v1/reverse/daemon"
        return [Route("GET", path, Action.ADMIN, self.log, "what=log") for path in paths]

    async def log(self, request: Request, _elements: Elements) -> Response:
        """The current log, from an offset on and of a severity, or all of it in an archive."""
        if request.path.startswith(b"/v1/reverse"):
            node = request.headers.get("ais-node-id", "")
            if not node:
                raise BadRequest("missing node ID")
            if node not in self._nodes:
                raise NotFound(f"node {node[:80]} does not exist")
        query = parse_query(request.query)
        severity, offset = query.get("severity", ""), query.get("offset", "") or "0"
        if not (offset.isascii() and offset.isdecimal()) or len(offset) > 18:
            raise BadRequest(f'invalid log offset "{offset[:80]}"')
        if is_true(query.get("all", "")):
            return Response(200, [_ARCHIVE_TYPE], await asyncio.to_thread(self._files.archive, severity))
        text = await asyncio.to_thread(self._files.current, severity, int(offset))
        return Response(200, [_TEXT_TYPE], text)
