"""HTTP/1.1 as this client needs it: a request's head out, an answer's head in, an answer's body.

The standard library's http.client does this too. It reads headers with the parser for e-mail, which
costs 40 ms to import and 200 µs for each answer: too much for a command line, and for many small files.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from aisle.errors import BadRequest

LINE_BYTES_MAX = 64 * 1024
FIELDS_MAX = 128


class Malformed(Exception):
    """What came is not HTTP."""


class Reader(Protocol):
    """A buffered stream of bytes from a connection."""

    def readline(self, limit: int, /) -> bytes:
        """Bytes up to and with a line break; fewer at the limit or the end."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a buffer, or as much as there is; 0 at the end."""


class Head(NamedTuple):
    """An answer's first lines. Names of fields are lower-case; repeated ones are joined with `, `."""

    status: int
    reason: str
    fields: Mapping[str, str]
    keeps: bool
    """Whether the connection may be used again behind the body."""


def request_head(method: str, target: str, fields: Mapping[str, str]) -> bytes:
    """A request's head. Raises BadRequest for a field that cannot be sent."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    text = "\r\n".join(lines)
    if text.count("\n") >= len(lines) or text.count("\r") >= len(lines):
        raise BadRequest("a header field cannot hold a line break")
    try:
        return f"{text}\r\n\r\n".encode("latin-1")
    except UnicodeEncodeError as error:
        raise BadRequest("a header field cannot hold such characters") from error


def read_head(reader: Reader) -> Head:
    """The next answer's head; interim answers such as `100 Continue` are passed over.

    Raises ConnectionResetError when the connection ends before it, Malformed when it is none.
    """
    while True:
        version, status, reason = _status_line(reader)
        fields = _fields(reader)
        if status >= 200:
            word = fields.get("connection", "").lower()
            return Head(
                status, reason, fields, "close" not in word if version == "1.1" else "keep-alive" in word
            )


def _status_line(reader: Reader) -> tuple[str, int, str]:
    line = reader.readline(LINE_BYTES_MAX)
    if not line:
        raise ConnectionResetError
    parts = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
    if parts[0] not in ("HTTP/1.1", "HTTP/1.0") or len(parts) < 2 or not parts[1].isdigit():
        raise Malformed
    return parts[0][5:], int(parts[1]), parts[2] if len(parts) > 2 else ""


def _fields(reader: Reader) -> dict[str, str]:
    fields: dict[str, str] = {}
    for _ in range(FIELDS_MAX):
        line = reader.readline(LINE_BYTES_MAX)
        if line in (b"\r\n", b"\n"):
            return fields
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not line.endswith(b"\n"):
            raise Malformed
        key, value = name.strip().lower(), value.strip()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    raise Malformed


class IncomingBody:
    """An answer's body: of a known length, in chunks, or until the connection closes."""

    def __init__(self, reader: Reader, head: Head, *, is_bodiless: bool) -> None:
        self._reader = reader
        self._chunked = False
        self.left: int | None = None
        """Bytes still to come where that is known; for a chunked body, those of the present chunk."""
        length = head.fields.get("content-length", "")
        if is_bodiless or head.status in (204, 304):
            self.left = 0
        elif "chunked" in head.fields.get("transfer-encoding", "").lower():
            self._chunked = True
            self.left = 0
        elif length:
            if not length.isdigit():
                raise Malformed
            self.left = int(length)
        self.length = None if self._chunked else self.left
        self.is_over = self.length == 0

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer, or as much as there is; 0 at the end.

        Raises Malformed, and ConnectionResetError when the connection ends before the body does.
        """
        if self._chunked and not self.left and not self.is_over:
            self._next_chunk()
        if self.is_over:
            return 0
        count = self._reader.readinto(buffer if self.left is None else buffer[: self.left]) or 0
        if self.left is None:
            self.is_over = not count
        elif not count:
            raise ConnectionResetError
        else:
            self.left -= count
            self.is_over = not self.left and not self._chunked
            if self._chunked and not self.left and self._reader.readline(2) not in (b"\r\n", b"\n"):
                raise Malformed
        return count

    def _next_chunk(self) -> None:
        line = self._reader.readline(LINE_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise ConnectionResetError
        try:
            self.left = int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise Malformed from error
        if not self.left:
            _fields(self._reader)
            self.is_over = True
