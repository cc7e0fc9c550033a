"""What AIStore has beside buckets, objects and jobs, and this version does not: ETL and dSort.

Both are parts that AIStore can be built without, and are refused as it refuses them then
(ais-native-api.md §13.2, §13.3).
"""

from aisle.api.gate import Action
from aisle.api.native.buckets import JSON_TYPE
from aisle.api.router import Elements, Route
from aisle.api.urls import parse_query
from aisle.errors import Unsupported
from aisle.httpd.request import Request
from aisle.httpd.response import Response


def later_routes() -> list[Route]:
    """Their rows of the table; those without a handler are refused as not built."""
    return [
        *(
            Route(method, path, Action.ADMIN, None)
            for path in ("/v1/etl", "/v1/etl/{name}", "/v1/etl/{name}/{verb}")
            for method in ("GET", "PUT", "POST", "DELETE")
        ),
        Route("GET", "/v1/sort", Action.ADMIN, show_sorting),
        *(
            Route(method, path, Action.ADMIN, None)
            for path in ("/v1/sort", "/v1/sort/{verb}")
            for method in ("POST", "DELETE")
        ),
    ]


def show_sorting(request: Request, _elements: Elements) -> Response:
    """No jobs that sort shards. Raises Unsupported for a question about one, whose answer is no list."""
    if parse_query(request.query).get("uuid"):
        raise Unsupported("dSort is not built")
    return Response(200, [JSON_TYPE], b"[]\n")
