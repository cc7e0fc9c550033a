"""What a handler receives."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from aisle.model.principal import ANONYMOUS, Principal
from aisle.rules.signatures import Seal


class BodyStream(Protocol):
    """A request body, streamed with back-pressure: the peer is read only as fast as this is."""

    length: int | None
    """The announced length in bytes; None for a chunked body."""

    async def read(self) -> bytes:
        """The next bytes as they came, or `b""` at the end.

        Raises RequestAborted when the peer breaks off, falls silent or sends a malformed chunk: what
        was read is then not the whole body and must not be kept. Raises BodyTooLarge when a chunked
        body outgrows the server's limit.
        """

    async def read_all(self, limit: int) -> bytes:
        """The whole body; raises BodyTooLarge beyond `limit` bytes, and what `read` raises."""

    def buffered(self) -> bytes | None:
        """The whole body if all of it has arrived already, else None; consumes it."""


class EmptyBody:
    """The body of a request that has none."""

    __slots__ = ("length",)

    length: int | None

    def __init__(self) -> None:
        self.length = 0

    async def read(self) -> bytes:
        """Nothing."""
        return b""

    async def read_all(self, limit: int) -> bytes:  # noqa: ARG002
        """Nothing."""
        return b""

    def buffered(self) -> bytes | None:
        """Nothing, and all of it."""
        return b""


NO_BODY: BodyStream = EmptyBody()


class Request(msgspec.Struct, eq=False):
    """One request. Header names are lower-case; repeated fields are joined with `, `."""

    # A Struct because one is made per request: a class written out takes three times as long.
    method: str
    path: bytes
    """The target's path, still percent-encoded, without the query; `*` for a target that is `*`."""
    query: bytes = b""
    """The target's query, still encoded, without `?`."""
    headers: Mapping[str, str] = {}
    """Latin-1 decoded, as they came. Requests of one connection may share it: never change it."""
    body: BodyStream = NO_BODY
    peer: str = ""
    """`address:port` of the client."""
    secure: bool = False
    request_id: str = ""
    caller: Principal = ANONYMOUS
    """Who sent it, by the gate's finding."""
    seal: Seal | None = None
    """What the signatures of the body's chunks continue, where the gate has verified a signature."""
