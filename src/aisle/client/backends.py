"""How the providers of remote buckets are, as a node tells it."""

from contextlib import closing
from typing import Final
from urllib.parse import urlencode

import msgspec

from aisle.client.answers import Asked
from aisle.client.connections import Call
from aisle.client.node import Client
from aisle.errors import NodeFailed


class BackendState(msgspec.Struct, frozen=True):
    """How one provider is; see `aisle.gateway.backend_report.BackendState`."""

    provider: str
    scheme: str
    installed: bool
    needs_extra: bool
    settings: list[str]
    known: int
    reachable: bool | None
    buckets: int | None
    error: str
    advice: str


class _Document(msgspec.Struct, frozen=True):
    backends: list[BackendState]


_decode: Final = msgspec.json.Decoder(_Document).decode


def backend_states(client: Client, provider: str = "") -> list[BackendState]:
    """All providers, or one. Raises BadRequest, NotFound, Denied, NodeFailed, NodeUnreachable."""
    query = {"what": "backend_status"} | ({"provider": provider} if provider else {})
    call = Call(method="GET", target=f"/v1/cluster?{urlencode(query)}")
    with closing(client.open(call, Asked())) as answer:
        data = answer.read()
    try:
        return _decode(data).backends
    except msgspec.DecodeError as error:
        raise NodeFailed(
            f"what answers at {client.endpoint} does not tell of backends", status=200
        ) from error
