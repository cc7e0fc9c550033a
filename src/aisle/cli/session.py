"""What one run of `ais` has at hand: the endpoint and, once a command needs it, a client."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from aisle.client import Client
    from aisle.client.connections import Credentials

ENDPOINT_VARIABLE = "AIS_ENDPOINT"
DEFAULT_ENDPOINT = "http://127.0.0.1:8080"


TOKEN_VARIABLE = "AIS_AUTHN_TOKEN"  # noqa: S105
KEY_VARIABLES = ("AIS_ACCESS_KEY", "AIS_SECRET_KEY")


def _connect(endpoint: str) -> "Client":
    # http.client takes 40 ms to import: `ais --help` must not wait for it.
    from aisle.client import Client

    return Client(endpoint, credentials=_credentials())


def _credentials() -> "Credentials | None":
    """What the environment says about who asks: a token, or an access key and its secret."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    access_key, secret_key = (os.environ.get(name, "") for name in KEY_VARIABLES)
    if not token and not access_key:
        return None
    from aisle.client.credentials import KeyPair, Token

    return Token(token) if token else KeyPair(access_key, secret_key)


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
