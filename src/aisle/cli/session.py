"""What one run of `ais` has at hand: the endpoint and, once a command needs it, a client."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aisle.client import Client

ENDPOINT_VARIABLE = "AIS_ENDPOINT"
DEFAULT_ENDPOINT = "http://127.0.0.1:8080"


def _connect(endpoint: str) -> "Client":
    # http.client takes 40 ms to import: `ais --help` must not wait for it.
    from aisle.client import Client

    return Client(endpoint)


class Session:
    """The node that commands talk to. `connect` is replaced by tests."""

    def __init__(self, endpoint: str = "", connect: "Callable[[str], Client]" = _connect) -> None:
        self.endpoint = endpoint or os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT
        self._connect = connect

    @cached_property
    def client(self) -> "Client":
        """The client. Raises BadRequest if the endpoint is not a URL."""
        return self._connect(self.endpoint)


pass_session = click.make_pass_decorator(Session, ensure=True)
