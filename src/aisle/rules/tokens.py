"""Bearer tokens: JSON Web Tokens that a node signs with its own key (HS256), and verifies alone.

A token says whose it is, how it is called, and until when it is valid; it cannot say less. Nothing is
looked up to believe it, so a token is taken back by its id.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

import msgspec

from aisle.errors import TokenExpired, Unauthenticated

TOKEN_CHARS_MAX: Final = 4096


class Claims(msgspec.Struct, frozen=True):
    """What a token says."""

    sub: str
    """The user's id."""
    exp: int
    """Until when it is valid, Unix seconds."""
    iat: int
    """When it was made, Unix seconds."""
    jti: str
    """Its own id."""
    iss: str = "aisle"


class _Header(msgspec.Struct, frozen=True):
    alg: str
    typ: str = "JWT"


_HEADER: Final = urlsafe_b64encode(msgspec.json.encode(_Header("HS256"))).rstrip(b"=").decode()


def mint_token(claims: Claims, key: bytes) -> str:
    """A token that says `claims`."""
    text = f"{_HEADER}.{_encoded(msgspec.json.encode(claims))}"
    return f"{text}.{_encoded(hmac.digest(key, text.encode(), 'sha256'))}"


def read_token(token: str, key: bytes, *, now_s: float) -> Claims:
    """What a token says. Raises TokenExpired, and Unauthenticated for what this key has not signed."""
    text, _, signature = token.rpartition(".")
    head, _, payload = text.partition(".")
    if len(token) > TOKEN_CHARS_MAX or not token.isascii():
        raise Unauthenticated("invalid token")
    try:
        expected = hmac.digest(key, text.encode(), "sha256")
        if not hmac.compare_digest(expected, _decoded(signature)):
            raise Unauthenticated("invalid token: it was not signed here")
        if msgspec.json.decode(_decoded(head), type=_Header).alg != "HS256":
            raise Unauthenticated("invalid token: want HS256")
        claims = msgspec.json.decode(_decoded(payload), type=Claims)
    except (ValueError, msgspec.DecodeError) as error:
        raise Unauthenticated("invalid token") from error
    check_expiry(claims, now_s=now_s)
    return claims


def check_expiry(claims: Claims, *, now_s: float) -> None:
    """Raises TokenExpired."""
    if now_s >= claims.exp:
        raise TokenExpired("token expired")


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
