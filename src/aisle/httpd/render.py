"""The head of an answer, and the answers that the server itself gives."""

import json
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from aisle.httpd.response import Response, header_lines

_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
BODILESS: Final = frozenset({204, 304})
"""Statuses whose answers never have a body (RFC 9110 §6.4.1)."""


class StatusLines(dict[int, str]):
    """Status -> status line with the Date field behind it, made once a second."""

    __slots__ = ("_date", "_second")

    def __init__(self) -> None:
        super().__init__()
        self._second = -1
        self._date = ""

    def set_time(self, now_s: float) -> None:
        """Show this time (Unix seconds) from now on."""
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._date = formatdate(second, usegmt=True)
            self.clear()

    def __missing__(self, status: int) -> str:
        line = f"HTTP/1.1 {status} {_REASONS.get(status, '')}\r\nDate: {self._date}\r\n"
        self[status] = line
        return line


def render_head(start: str, response: Response, framing: str, request_id: str) -> bytes:
    """The whole head, empty line included. Raises ValueError for a header that breaks out of its line."""
    fields = header_lines(response.headers) if response.headers else ""
    text = f"{start}{framing}X-Request-Id: {request_id}\r\n{response.lines}{fields}\r\n"
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        # What came in as Latin-1 goes out as it came, whatever else is in this head.
        return b"".join(map(_encode, text.splitlines(keepends=True)))


def _encode(line: str) -> bytes:
    try:
        return line.encode("latin-1")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")


def problem(status: int, message: str, request_id: str) -> Response:
    """An answer of the server itself; the connection closes behind it."""
    text = json.dumps({"message": message, "status": status, "request_id": request_id})
    headers = [("Content-Type", "application/json")]
    if status == 503:
        headers.append(("Retry-After", "1"))
    return Response(status, headers, text.encode() + b"\n", close=True)
