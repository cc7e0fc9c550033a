"""Users, access keys and tokens over HTTP: `/v1/auth/…`, for administrators only.

AIStore keeps these in a server of their own; here they are a part of the node. Secrets are shown
once, in the answer that makes them. `DELETE /v1/tokens` takes a token back as AIStore's does.
"""

from typing import TypeVar

import msgspec

from aisle.api.gate import Action
from aisle.api.messages import parse_struct
from aisle.api.router import Elements, Route
from aisle.api.urls import decode_path
from aisle.errors import Unsupported
from aisle.gateway.users import ROOT, User, Users
from aisle.httpd.request import Request
from aisle.httpd.response import Response

BODY_BYTES_MAX = 64 * 1024
_Kind = TypeVar("_Kind", bound=msgspec.Struct)
_JSON = ("Content-Type", "application/json")


class UserShape(msgspec.Struct, frozen=True):
    """A user as it is shown."""

    id: str
    name: str
    email: str
    admin: bool
    access_keys: tuple[str, ...]
    configured: bool


class NewUser(msgspec.Struct, frozen=True):
    """What makes a user."""

    name: str
    email: str = ""
    admin: bool = False


class NewToken(msgspec.Struct, frozen=True):
    """What makes a token."""

    expires_s: int


class NamedToken(msgspec.Struct, frozen=True):
    """A token that is taken back, whole."""

    token: str


class AuthVerbs:
    """Handlers of the verbs on users, keys and tokens."""

    def __init__(self, users: Users | None) -> None:
        """Without `users` the node has no credentials, and every verb says how to have some."""
        self._known = users

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        admin = Action.ADMIN
        return [
            Route("GET", "/v1/auth/users", admin, self.show_users),
            Route("POST", "/v1/auth/users", admin, self.add_user),
            Route("GET", "/v1/auth/users/{user}", admin, self.show_user),
            Route("DELETE", "/v1/auth/users/{user}", admin, self.remove_user),
            Route("POST", "/v1/auth/keys/{user}", admin, self.add_key),
            Route("DELETE", "/v1/auth/keys/{key}", admin, self.remove_key),
            Route("GET", "/v1/auth/tokens", admin, self.show_tokens),
            Route("POST", "/v1/auth/tokens/{user}", admin, self.add_token),
            Route("DELETE", "/v1/auth/tokens/{token}", admin, self.remove_token),
            Route("DELETE", "/v1/tokens", admin, self.revoke),
        ]

    @property
    def _users(self) -> Users:
        if self._known is None:
            raise Unsupported(
                "this node asks nobody for credentials: start it with AISLE_ROOT_ACCESS_KEY and "
                "AISLE_ROOT_SECRET_KEY to have users"
            )
        return self._known

    def show_users(self, _request: Request, _elements: Elements) -> Response:
        """All users, with their access keys, never their secrets."""
        return _json([_shape(user) for user in self._users.all()])

    def show_user(self, _request: Request, elements: Elements) -> Response:
        """One user, by name or id."""
        return _json(_shape(self._users.named(_name(elements))))

    async def add_user(self, request: Request, _elements: Elements) -> Response:
        """Add a user."""
        users, new = self._users, await _read(request, NewUser)
        return _json(_shape(await users.add(new.name, email=new.email, is_admin=new.admin)))

    async def remove_user(self, _request: Request, elements: Elements) -> Response:
        """Remove a user with all keys and tokens."""
        await self._users.remove(_name(elements))
        return Response(200)

    async def add_key(self, _request: Request, elements: Elements) -> Response:
        """Give a user another access key; the only answer that holds its secret."""
        access_key, secret_key = await self._users.add_key(_name(elements))
        return _json({"access_key": access_key, "secret_key": secret_key})

    async def remove_key(self, _request: Request, elements: Elements) -> Response:
        """Take an access key back."""
        await self._users.remove_key(_name(elements))
        return Response(200)

    def show_tokens(self, _request: Request, _elements: Elements) -> Response:
        """The tokens that have not expired."""
        names = {user.id: user.name for user in self._users.all()} | {"": ROOT}
        return _json(
            [
                {
                    "id": token_id,
                    "user": names.get(token.user, token.user),
                    "created": token.created_s,
                    "expires": token.expires_s,
                }
                for token_id, token in self._users.tokens()
            ]
        )

    async def add_token(self, request: Request, elements: Elements) -> Response:
        """Mint a token for a user; the only answer that holds it."""
        users, new = self._users, await _read(request, NewToken)
        token, claims = await users.add_token(_name(elements), life_s=new.expires_s)
        return _json({"token": token, "id": claims.jti, "expires": claims.exp})

    async def remove_token(self, _request: Request, elements: Elements) -> Response:
        """Take a token back, by its id."""
        await self._users.revoke_token(_name(elements))
        return Response(200)

    async def revoke(self, request: Request, _elements: Elements) -> Response:
        """Take a token back that is shown whole; one that is none, or is gone, is no error."""
        users = self._users
        await users.revoke_shown((await _read(request, NamedToken)).token)
        return Response(200)


async def _read(request: Request, kind: type[_Kind]) -> _Kind:
    body = await request.body.read_all(BODY_BYTES_MAX)
    return parse_struct(body, kind, what="auth message")


def _name(elements: Elements) -> str:
    return decode_path(elements[4]).decode("utf-8", "replace")


def _shape(user: User) -> UserShape:
    return UserShape(user.id, user.name, user.email, user.is_admin, user.access_keys, user.is_configured)


def _json(value: object) -> Response:
    return Response(200, [_JSON], msgspec.json.encode(value) + b"\n")
