"""What a handler receives."""

from collections.abc import Mapping
from typing import Protocol


class BodyStream(Protocol):
    """A request body, streamed with back-pressure: the peer is read only as fast as this is."""

    length: int | None
    """The announced length in bytes; None for a chunked body."""

    async def read(self) -> bytes:
        """The next bytes as they came, or `b""` at the end.

        Raises RequestAborted when the peer breaks off, falls silent or sends a malformed chunk: what
        was read is then not the whole body and must not be kept.
        """

    async def read_all(self, limit: int) -> bytes:
        """The whole body; raises BodyTooLarge beyond `limit` bytes."""

    def buffered(self) -> bytes | None:
        """The whole body if all of it has arrived already, else None; consumes it."""


class Request:
    """One request. Header names are lower-case; repeated fields are joined with `, `."""

    __slots__ = ("body", "headers", "method", "path", "peer", "query", "request_id", "secure")

    method: str
    path: bytes
    """The target's path, still percent-encoded, without the query."""
    query: bytes
    """The target's query, still encoded, without `?`."""
    headers: Mapping[str, str]
    """Latin-1 decoded, as they came."""
    body: BodyStream
    peer: str
    """`address:port` of the client."""
    secure: bool
    request_id: str
