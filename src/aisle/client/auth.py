"""Users, access keys and tokens of a node, for its administrators."""

from collections.abc import Callable, Mapping
from typing import TypeVar
from urllib.parse import quote

import msgspec

from aisle.errors import NodeFailed

Ask = Callable[[str, str, Mapping[str, object] | None], object]
"""Makes a request of method, path and message; the decoded answer, None if it is empty."""
_Kind = TypeVar("_Kind")


class User(msgspec.Struct, frozen=True):
    """A user. `configured` ones stand in the node's configuration and cannot be changed otherwise."""

    id: str
    name: str
    email: str = ""
    admin: bool = False
    access_keys: tuple[str, ...] = ()
    configured: bool = False


class AccessKey(msgspec.Struct, frozen=True):
    """A new access key; its secret is never told again."""

    access_key: str
    secret_key: str


class NewToken(msgspec.Struct, frozen=True):
    """A new token, which is never told again; `expires` is in Unix seconds."""

    token: str
    id: str
    expires: int


class KnownToken(msgspec.Struct, frozen=True):
    """A token that has not expired; times are in Unix seconds."""

    id: str
    user: str
    created: int
    expires: int


class Auth:
    """The verbs. Every method raises what `Client`'s do, and NotFound for who or what does not exist."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def users(self) -> list[User]:
        """All users, root first."""
        return _converted(self._ask("GET", "/v1/auth/users", None), list[User])

    def add_user(self, name: str, *, email: str = "", is_admin: bool = False) -> User:
        """Add a user. Raises Conflict if there is one of that name, BadRequest."""
        message = {"name": name, "email": email, "admin": is_admin}
        return _converted(self._ask("POST", "/v1/auth/users", message), User)

    def remove_user(self, name: str) -> None:
        """Remove a user with all keys and tokens. Raises Unsupported for a configured one."""
        self._ask("DELETE", f"/v1/auth/users/{quote(name, safe='')}", None)

    def add_key(self, user: str) -> AccessKey:
        """Give a user another access key. Raises Unsupported for a configured one."""
        return _converted(self._ask("POST", f"/v1/auth/keys/{quote(user, safe='')}", None), AccessKey)

    def remove_key(self, access_key: str) -> None:
        """Take an access key back."""
        self._ask("DELETE", f"/v1/auth/keys/{quote(access_key, safe='')}", None)

    def tokens(self) -> list[KnownToken]:
        """The tokens that have not expired."""
        return _converted(self._ask("GET", "/v1/auth/tokens", None), list[KnownToken])

    def add_token(self, user: str, *, expires_s: int) -> NewToken:
        """Mint a token that is valid for so many seconds."""
        message = {"expires_s": expires_s}
        return _converted(self._ask("POST", f"/v1/auth/tokens/{quote(user, safe='')}", message), NewToken)

    def remove_token(self, token_id: str) -> None:
        """Take a token back, by its id."""
        self._ask("DELETE", f"/v1/auth/tokens/{quote(token_id, safe='')}", None)


def _converted(answer: object, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise NodeFailed("what answers is not a node that has users", status=200) from error
