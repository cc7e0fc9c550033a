"""Users of the cluster, their access keys and their tokens.

There are three sorts: root, whose key the node is started with; users that the configuration file
names, with keys of its choice; and users that `ais auth` adds, whose documents lie in the metadata
store. Only their names lie there: the secret of a key that is made here follows from the key's id and
the cluster's master key, which no data folder holds. A stolen disk tells no secret, and nothing has
to be unwrapped before a request can be checked.

Tokens are believed by their signature alone. The store remembers which there are, until they expire,
so that they can be listed and taken back.
"""

import asyncio
import hashlib
import hmac
import re
import secrets
import time
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import BadRequest, Conflict, NotFound, StaleVersion, TooBusy, Unauthenticated, Unsupported
from aisle.model.principal import ALL, USER, Principal
from aisle.rules.tokens import Claims, check_expiry, mint_token, read_token

AREA: Final = "user"
TOKEN_AREA: Final = "token"  # noqa: S105
ROOT: Final = "root"
"""The name of the user whose key the node is started with."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
_ATTEMPTS_MAX: Final = 20
_GIVE_WAY_MS_MAX: Final = 20
_TOKENS_REMEMBERED_MAX: Final = 1024
_KEYS_PER_USER_MAX: Final = 16
TOKEN_LIFE_S_MAX: Final = 10 * 365 * 86_400


class MasterKey(NamedTuple):
    """What the secrets of a cluster follow from; `id` tells one from another and nothing else."""

    id: str
    value: bytes

    @classmethod
    def of(cls, text: bytes) -> "MasterKey":
        """The master key that a configured text, or what was derived from one, stands for."""
        key = hashlib.sha256(b"aisle master key\0" + text).digest()
        return cls(hashlib.sha256(key).hexdigest()[:8], key)


class KeyDocument(msgspec.Struct, frozen=True):
    """An access key as it is kept: without its secret."""

    access_key: str
    master: str
    """The master key that its secret follows from."""
    created_s: int


class UserDocument(msgspec.Struct, frozen=True):
    """A user as it is kept, under `user/<id>`."""

    name: str
    email: str
    is_admin: bool
    created_s: int
    keys: tuple[KeyDocument, ...] = ()


class TokenDocument(msgspec.Struct, frozen=True):
    """A token as it is kept, under `token/<id>`."""

    user: str
    expires_s: int
    created_s: int


class ConfiguredUser(NamedTuple):
    """A user of the node's own configuration."""

    name: str
    id: str
    email: str
    access_key: str
    secret_key: str
    is_admin: bool


class User(NamedTuple):
    """A user as it is shown."""

    id: str
    name: str
    email: str
    is_admin: bool
    access_keys: tuple[str, ...]
    is_configured: bool
    """Whether the configuration names it, so that it cannot be changed here."""


class Key(NamedTuple):
    """What stands behind an access key."""

    secret: str
    principal: Principal


class _Stored(NamedTuple):
    """What follows from the users' documents as they are now."""

    documents: Mapping[str, UserDocument]
    principals: Mapping[str, Principal]
    keys: Mapping[str, Key]


class Users:
    """All credentials: the gate's key ring, and what `ais auth` changes."""

    def __init__(
        self,
        store: MetadataStore,
        *,
        configured: Sequence[ConfiguredUser],
        master_keys: Sequence[MasterKey],
        accepts_version_2: bool = True,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """New secrets follow from the first of `master_keys`, those made earlier from any of them."""
        self.accepts_version_2 = accepts_version_2
        self._store = store
        self._configured = {user.id: user for user in configured}
        self._principals = {user.id: _principal(user.id, user.name, user.is_admin) for user in configured}
        self._keys = {
            user.access_key: Key(user.secret_key, self._principals[user.id])
            for user in configured
            if user.access_key
        }
        self._masters = {master.id: master for master in master_keys}
        self._first_master = master_keys[0]
        self._users = View(store, AREA, _decode_user)
        self._tokens = View(store, TOKEN_AREA, _decode_token)
        self._now_s = now_s
        self._stored = _Stored({}, {}, {})
        self._believed: dict[str, Claims] = {}

    # The gate's side -------------------------------------------------------------------------------

    def find(self, access_key: str) -> Key | None:
        """The key, or None if nobody has it."""
        return self._keys.get(access_key) or self._current().keys.get(access_key)

    def bearer(self, token: str, *, now_s: float) -> Principal:
        """Whose token that is. Raises TokenExpired, Unauthenticated."""
        claims = self._believed.get(token)
        if claims is None:
            claims = self._read(token, now_s=now_s)
            if len(self._believed) >= _TOKENS_REMEMBERED_MAX:
                self._believed.clear()
            self._believed[token] = claims
        check_expiry(claims, now_s=now_s)
        if self._tokens.find(claims.jti) is None:
            raise Unauthenticated("token revoked")
        principal = self._principals.get(claims.sub) or self._current().principals.get(claims.sub)
        if principal is None:
            raise Unauthenticated("token revoked: its user is gone")
        return principal

    def _read(self, token: str, *, now_s: float) -> Claims:
        failure = Unauthenticated("invalid token")
        for master in self._masters.values():
            try:
                return read_token(token, _token_key(master), now_s=now_s)
            except Unauthenticated as error:
                failure = error
        raise failure

    def _current(self) -> _Stored:
        documents = self._users.all()
        if documents is not self._stored.documents:
            principals = {
                user_id: _principal(user_id, user.name, user.is_admin) for user_id, user in documents.items()
            }
            keys = {
                key.access_key: Key(secret_of(self._masters[key.master], key.access_key), principals[user_id])
                for user_id, user in documents.items()
                for key in user.keys
                if key.master in self._masters
            }
            self._stored = _Stored(documents, principals, keys)
        return self._stored

    # The administrator's side -----------------------------------------------------------------------

    def all(self) -> list[User]:
        """All users by name, root first."""
        configured = [_shown_configured(user) for user in self._configured.values()]
        stored = [_shown(user_id, user) for user_id, user in self._current().documents.items()]
        return sorted((*configured, *stored), key=lambda user: (user.id != ROOT, user.name))

    def named(self, name: str) -> User:
        """The user of a name or an id. Raises NotFound."""
        for user in self.all():
            if name in (user.name, user.id):
                return user
        raise NotFound(f'user "{name}" does not exist')

    async def add(self, name: str, *, email: str = "", is_admin: bool = False) -> User:
        """Add a user.

        Raises Conflict if there is one of that name, BadRequest for a name that cannot be, TooBusy.
        """
        if not _NAME.fullmatch(name) or len(email) > 254 or not email.isprintable():
            raise BadRequest(
                "a user's name has 1 to 64 letters, digits and ._@+- and begins with a letter or a digit"
            )
        user_id, document = secrets.token_hex(16), UserDocument(name, email, is_admin, int(self._now_s()))
        for _ in range(_ATTEMPTS_MAX):
            if any(name in (user.name, user.id) for user in self.all()):
                raise Conflict(f'user "{name}" already exists')
            await self._swap(f"{AREA}/{user_id}", msgspec.json.encode(document), 0)
            if not any(user.name == name and user.id != user_id for user in self.all()):
                return _shown(user_id, document)
            # Somebody has added one at the same time: whoever sees two gives way.
            await self._drop(f"{AREA}/{user_id}")
            await asyncio.sleep(secrets.randbelow(_GIVE_WAY_MS_MAX) / 1000)
        raise TooBusy(f'user "{name}" is being added by others: try again')

    async def remove(self, name: str) -> None:
        """Remove a user with all keys and tokens; the buckets stay, and are root's to give away.

        Raises NotFound, Unsupported for a user of the configuration.
        """
        user = self._changeable(name)
        # Whoever died between adding a user and giving way to another has left one of the same name.
        gone = {other.id for other in self.all() if other.name == user.name and not other.is_configured}
        for token_id, token in self._tokens.all().items():
            if token.user in gone:
                await self._drop(f"{TOKEN_AREA}/{token_id}")
        for user_id in gone:
            await self._drop(f"{AREA}/{user_id}")

    async def add_key(self, name: str) -> tuple[str, str]:
        """Give a user another access key: the key and its secret. Raises NotFound, Unsupported, Conflict."""
        user = self._changeable(name)
        access_key = "AK" + b32encode(secrets.token_bytes(12)).decode().rstrip("=")[:18]
        master = self._first_master
        new = KeyDocument(access_key, master.id, int(self._now_s()))

        def decide(document: UserDocument) -> UserDocument:
            if len(document.keys) >= _KEYS_PER_USER_MAX:
                raise Conflict(f"user {document.name} has {_KEYS_PER_USER_MAX} keys already")
            return msgspec.structs.replace(document, keys=(*document.keys, new))

        await self._change(user.id, decide)
        return access_key, secret_of(master, access_key)

    async def remove_key(self, access_key: str) -> None:
        """Take an access key back. Raises NotFound, Unsupported for one of the configuration."""
        owner = next((user for user in self.all() if access_key in user.access_keys), None)
        if owner is None:
            raise NotFound(f'access key "{access_key}" does not exist')
        user = self._changeable(owner.id)

        def decide(document: UserDocument) -> UserDocument:
            left = tuple(key for key in document.keys if key.access_key != access_key)
            return msgspec.structs.replace(document, keys=left)

        await self._change(user.id, decide)

    def tokens(self) -> list[tuple[str, TokenDocument]]:
        """The tokens that have not expired, by id, the first to expire first."""
        alive = [
            (token_id, token)
            for token_id, token in self._tokens.all().items()
            if token.expires_s > self._now_s()
        ]
        return sorted(alive, key=lambda found: found[1].expires_s)

    async def add_token(self, name: str, *, life_s: int) -> tuple[str, Claims]:
        """A new token of a user, and what it says. Raises NotFound, BadRequest for an impossible life."""
        if not 0 < life_s <= TOKEN_LIFE_S_MAX:
            raise BadRequest(f"a token lives 1 to {TOKEN_LIFE_S_MAX} seconds")
        user, now_s = self.named(name), int(self._now_s())
        subject = "" if user.id == ROOT else user.id
        claims = Claims(sub=subject, exp=now_s + life_s, iat=now_s, jti=secrets.token_hex(8))
        document = TokenDocument(subject, claims.exp, now_s)
        await self._forget_expired()
        await self._swap(f"{TOKEN_AREA}/{claims.jti}", msgspec.json.encode(document), 0)
        return mint_token(claims, _token_key(self._first_master)), claims

    async def revoke_token(self, token_id: str) -> None:
        """Take a token back, by its id. Raises NotFound."""
        if self._store.load(f"{TOKEN_AREA}/{token_id}") is None:
            raise NotFound(f'token "{token_id}" does not exist')
        await self._drop(f"{TOKEN_AREA}/{token_id}")

    async def revoke_shown(self, token: str) -> None:
        """Take a token back that is shown whole; harmless if it is none, or is gone."""
        try:
            claims = self._read(token, now_s=self._now_s())
        except Unauthenticated:
            return
        await self._drop(f"{TOKEN_AREA}/{claims.jti}")

    async def _forget_expired(self) -> None:
        now_s = self._now_s()
        for token_id, token in self._tokens.all().items():
            if token.expires_s <= now_s:
                await self._drop(f"{TOKEN_AREA}/{token_id}")

    def _changeable(self, name: str) -> User:
        user = self.named(name)
        if user.is_configured:
            raise Unsupported(f'user "{user.name}" stands in the node\'s configuration: change it there')
        return user

    async def _change(self, user_id: str, decide: Callable[[UserDocument], UserDocument]) -> None:
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(f"{AREA}/{user_id}")
            if present is None:
                raise NotFound(f'user "{user_id}" does not exist')
            value = msgspec.json.encode(decide(_decode_user(present)))
            try:
                await self._swap(present.key, value, present.version)
            except StaleVersion:
                continue
            return
        raise TooBusy("the user is being changed by others: try again")

    async def _drop(self, key: str) -> None:
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(key)
            if present is None:
                return
            try:
                await self._swap(key, None, present.version)
            except StaleVersion:
                continue
            return

    async def _swap(self, key: str, value: bytes | None, version: int) -> None:
        await asyncio.to_thread(self._store.swap, key, value, expected_version=version)


def secret_of(master: MasterKey, access_key: str) -> str:
    """The secret of an access key that was made here: 40 characters."""
    digest = hmac.digest(master.value, f"aisle secret {access_key}".encode(), "sha256")
    return urlsafe_b64encode(digest).decode()[:40]


def missing_masters(documents: Iterable[Document], masters: Iterable[MasterKey]) -> set[str]:
    """Ids of master keys that stored access keys need and that are not there."""
    known = {master.id for master in masters}
    return {key.master for document in documents for key in _decode_user(document).keys} - known


def _token_key(master: MasterKey) -> bytes:
    return hmac.digest(master.value, b"aisle token", "sha256")


def _principal(user_id: str, name: str, is_admin: bool) -> Principal:
    return Principal(name, ALL if is_admin else USER, user_id)


def _shown_configured(user: ConfiguredUser) -> User:
    keys = (user.access_key,) if user.access_key else ()
    return User(user.id or ROOT, user.name, user.email, user.is_admin, keys, is_configured=True)


def _shown(user_id: str, user: UserDocument) -> User:
    keys = tuple(key.access_key for key in user.keys)
    return User(user_id, user.name, user.email, user.is_admin, keys, False)


def _decode_user(document: Document) -> UserDocument:
    return msgspec.json.decode(document.value, type=UserDocument)


def _decode_token(document: Document) -> TokenDocument:
    return msgspec.json.decode(document.value, type=TokenDocument)
