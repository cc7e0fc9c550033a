"""How the providers of remote buckets are, on the wire: a question of ours beside `what=backends`."""

import msgspec

from aisle.api.gate import Action
from aisle.api.native.buckets import JSON_TYPE
from aisle.api.router import Elements, Route
from aisle.api.urls import parse_query
from aisle.gateway.backend_report import BackendReport
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.model.names import parse_provider


class BackendVerbs:
    """Handlers of what is asked about providers."""

    def __init__(self, report: BackendReport) -> None:
        self._report = report

    def routes(self) -> list[Route]:
        """Their rows of the table. The node's own accounts are used to answer: that is for administrators."""
        return [Route("GET", "/v1/cluster", Action.ADMIN, self.show, "what=backend_status")]

    async def show(self, request: Request, _elements: Elements) -> Response:
        """All providers, or the one that `provider` names. Raises NotFound, InvalidProvider."""
        named = parse_query(request.query).get("provider", "")
        states = await self._report.states(parse_provider(named) if named else "")
        document = {"backends": [state._asdict() for state in states]}
        return Response(200, [JSON_TYPE], msgspec.json.encode(document) + b"\n")
