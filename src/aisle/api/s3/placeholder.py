"""S3 requests are answered in S3's own words until the dialect is built."""

from html import escape

from aisle.api.router import Elements
from aisle.api.urls import shown_path
from aisle.httpd.request import Request
from aisle.httpd.response import Response


def not_built(request: Request, _elements: Elements) -> Response:
    """501 NotImplemented, as an S3 error document."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<Error><Code>NotImplemented</Code>"
        "<Message>The S3 API is not built yet; the native API is at /v1.</Message>"
        f"<Resource>{escape(shown_path(request.path))}</Resource>"
        f"<RequestId>{escape(request.request_id)}</RequestId></Error>"
    )
    return Response(501, [("Content-Type", "application/xml")], body.encode())
