"""What one run of `ais` has at hand: the endpoint and, once a command needs it, a client."""

import os
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from aisle.client import Client
    from aisle.client.connections import Credentials, Trust

ENDPOINT_VARIABLE = "AIS_ENDPOINT"
DEFAULT_ENDPOINT = "http://127.0.0.1:8080"


TOKEN_VARIABLE = "AIS_AUTHN_TOKEN"  # noqa: S105
KEY_VARIABLES = ("AIS_ACCESS_KEY", "AIS_SECRET_KEY")
TIMEOUT_S = 120.0  # a node that syncs a large object to a slow disk is silent for a while


class Variables:
    """The other variables that AIStore's own command reads, with the same meaning."""

    TOKEN: Final = TOKEN_VARIABLE
    TOKEN_FILE: Final = "AIS_AUTHN_TOKEN_FILE"  # noqa: S105
    AUTHORITY: Final = "AIS_CLIENT_CA"
    CERTIFICATE: Final = "AIS_CRT"
    PRIVATE_KEY: Final = "AIS_CRT_KEY"
    SKIP_VERIFICATION: Final = "AIS_SKIP_VERIFY_CRT"
    NAMES: Final = (TOKEN, TOKEN_FILE, AUTHORITY, CERTIFICATE, PRIVATE_KEY, SKIP_VERIFICATION)


def connect(endpoint: str, *, timeout_s: float = TIMEOUT_S) -> "Client":
    """A client as the environment wants it. Raises BadRequest, OSError for what it says wrong."""
    # What speaks HTTP takes a while to import: `ais --help` must not wait for it.
    from aisle.client import Client
    from aisle.client.connections import Connections

    connections = Connections(endpoint, timeout_s=timeout_s, credentials=_credentials(), trust=_trust())
    return Client(endpoint, connections=connections)


def _credentials() -> "Credentials | None":
    """What the environment says about who asks: a token, or an access key and its secret."""
    token = os.environ.get(TOKEN_VARIABLE, "").strip() or _token_of_file()
    access_key, secret_key = (os.environ.get(name, "") for name in KEY_VARIABLES)
    if not token and bool(access_key) != bool(secret_key):
        from aisle.errors import BadRequest

        missing, given = KEY_VARIABLES if secret_key else reversed(KEY_VARIABLES)
        raise BadRequest(f"{given} is set and {missing} is not: an access key and its secret go together")
    if not token and not access_key:
        return None
    from aisle.client.credentials import KeyPair, Token

    return Token(token) if token else KeyPair(access_key, secret_key)


def _token_of_file() -> str:
    """The token in the file that a variable names: alone, or as AIStore's command keeps it."""
    path = os.environ.get(Variables.TOKEN_FILE, "")
    if not path:
        return ""
    import json
    from pathlib import Path

    from aisle.errors import BadRequest

    try:
        text = Path(path).read_text("utf-8").strip()
        return str(json.loads(text)["token"]) if text.startswith("{") else text
    except (ValueError, KeyError) as error:
        raise BadRequest(f"{path} holds no token") from error


def _trust() -> "Trust | None":
    """Which certificates the environment says to trust and to show; None for what is usual."""
    named = Variables.AUTHORITY, Variables.CERTIFICATE, Variables.PRIVATE_KEY
    authority, certificate, private_key = (os.environ.get(name, "") for name in named)
    skips = os.environ.get(Variables.SKIP_VERIFICATION, "").lower() in ("1", "true", "yes", "y", "on")
    if not (authority or certificate or skips):
        return None
    from aisle.client.connections import Trust
    from aisle.errors import BadRequest

    for name in named:
        if (path := os.environ.get(name, "")) and not os.path.isfile(path):
            raise BadRequest(f"{name} names no file: {path}")
    return Trust(authority, certificate, private_key, verifies=not skips)


class Session:
    """The node that commands talk to. `connect` is replaced by tests."""

    def __init__(self, endpoint: str = "", connect: "Callable[[str], Client]" = connect) -> None:
        self.endpoint = endpoint or os.environ.get(ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT
        self._connect = connect

    @property
    def has_credentials(self) -> bool:
        """Whether the environment says who asks."""
        return any(os.environ.get(name) for name in (Variables.TOKEN, Variables.TOKEN_FILE, KEY_VARIABLES[0]))

    @cached_property
    def client(self) -> "Client":
        """The client. Raises BadRequest if the endpoint is not a URL."""
        return self._connect(self.endpoint)


pass_session = click.make_pass_decorator(Session, ensure=True)
