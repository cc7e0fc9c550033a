"""Credentials of a request: which kind it shows, and whose they are.

Known are signatures of Amazon's versions 4 and 2, in the Authorization header and in the query, and
bearer tokens: in the Authorization header, or where AIStore also looks for one, in
`x-amz-security-token`. A request shows one kind at most.
"""

import hmac
from base64 import b64decode
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from aisle.errors import MalformedCredentials, MalformedPresigned, Unauthenticated, UnknownAccessKey
from aisle.gateway.users import Key
from aisle.httpd.request import Request
from aisle.model.principal import STRANGER, Principal
from aisle.rules import signatures_v2, signatures_v4
from aisle.rules.signatures import Seal
from aisle.rules.signatures_v4 import SignatureV4

_BEARER = "bearer "
_NATIVE = frozenset({b"v1", b"ais", b"gs", b"az", b"oc"})
"""First elements of paths whose parameters may make any of them another operation."""


class KeyRing(Protocol):
    """All credentials, as they are now."""

    accepts_version_2: bool
    """Whether signatures of version 2 are accepted."""

    def find(self, access_key: str) -> Key | None:
        """The key, or None if nobody has it."""

    def bearer(self, token: str, *, now_s: float) -> Principal:
        """Whose token that is.

        Raises TokenExpired, and Unauthenticated for a token that is not ours or was revoked.
        """


class _Verified(NamedTuple):
    """A request whose signature was right.

    When the same comes again, word for word, only its key and its time are looked at: clients repeat
    what they signed, and many ask for the same within a second.
    """

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, str]
    key: Key
    signature: SignatureV4
    seal: Seal


_VERIFIED_MAX = 2048
"""Requests that are remembered; each takes some 2 KiB."""
_REMEMBERED_CHARS_MAX = 4096
"""Only such that are no longer: whoever has a key could fill the memory."""
_verified: dict[str, _Verified] = {}


def authenticate(request: Request, keys: KeyRing, *, now_s: float) -> tuple[Principal, Seal | None]:
    """Who sent the request, and what the signatures of its body's chunks continue.

    Whoever shows nothing is a stranger. Raises Unauthenticated for credentials that are wrong.
    """
    headers = request.headers
    authorization = headers.get("authorization") or None  # an empty field shows nothing
    is_presigned = b"Signature=" in request.query and _is_presigned(request.query)
    if authorization is None:
        if is_presigned:
            return _presigned(request, keys, now_s=now_s)
        token = headers.get("x-amz-security-token")
        return (keys.bearer(token, now_s=now_s) if token else STRANGER), None
    if is_presigned:
        raise MalformedCredentials("only one way to authenticate is allowed: by header or by query")
    if authorization.startswith(signatures_v4.ALGORITHM):
        return _version_4(request, keys, authorization, now_s=now_s)
    if authorization[: len(_BEARER)].lower() == _BEARER:
        return keys.bearer(authorization[len(_BEARER) :].strip(), now_s=now_s), None
    if authorization.startswith(signatures_v2.SCHEME):
        return _version_2(request, keys, signatures_v2.read_header(authorization), now_s=now_s), None
    raise MalformedCredentials("the authorization is of no known kind: want AWS4-HMAC-SHA256, AWS or Bearer")


def authenticate_proxied(request: Request, keys: KeyRing, *, now_s: float) -> Principal:
    """Who sent a request to the node as a proxy: by an access key with its secret, or a token.

    Raises Unauthenticated.
    """
    kind, _, told = request.headers.get("proxy-authorization", "").partition(" ")
    if kind.lower() == _BEARER.strip():
        return keys.bearer(told.strip(), now_s=now_s)
    if kind.lower() != "basic":
        raise Unauthenticated("a proxy user is needed: an access key with its secret, or a token")
    try:
        access_key, _, secret = b64decode(told.strip(), validate=True).decode().partition(":")
    except ValueError as error:
        raise Unauthenticated("Proxy-Authorization cannot be read") from error
    key = keys.find(access_key)
    if key is None or not hmac.compare_digest(key.secret.encode(), secret.encode()):
        raise Unauthenticated("there is no such access key, or its secret is another one")
    return key.principal


def shows_s3_credentials(request: Request) -> bool:
    """Whether a request carries a signature of Amazon's, right or wrong."""
    authorization = request.headers.get("authorization", "")
    return authorization.startswith((signatures_v4.ALGORITHM, signatures_v2.SCHEME)) or _is_presigned(
        request.query
    )


def shows_version_2(request: Request) -> bool:
    """Whether the signature that a request carries is one of version 2."""
    if request.headers.get("authorization", "").startswith(signatures_v2.SCHEME):
        return True
    names = _parameter_names(request.query)
    return b"AWSAccessKeyId" in names and b"X-Amz-Signature" not in names


def _parameter_names(query: bytes) -> set[bytes]:
    """The names as they stand there: the same words in a value, as in a listing's prefix, mean nothing."""
    return {pair.partition(b"=")[0] for pair in query.split(b"&")}


def _is_presigned(query: bytes) -> bool:
    names = _parameter_names(query)
    return b"X-Amz-Signature" in names or (b"Signature" in names and b"AWSAccessKeyId" in names)


def _presigned(request: Request, keys: KeyRing, *, now_s: float) -> tuple[Principal, Seal | None]:
    try:
        if b"X-Amz-Signature" not in _parameter_names(request.query):
            return _version_2(request, keys, signatures_v2.read_query(request), now_s=now_s), None
        signature = signatures_v4.read_query(request)
    except MalformedCredentials as error:
        raise MalformedPresigned(str(error)) from error
    key = _find(keys, signature.access_key)
    return key.principal, signature.verify(request, key.secret, now_s=now_s)


def _version_4(
    request: Request, keys: KeyRing, authorization: str, *, now_s: float
) -> tuple[Principal, Seal]:
    seen = _verified.get(authorization)
    if (
        seen is not None
        and seen.path == request.path
        and seen.method == request.method
        and seen.query == request.query
        and seen.headers == request.headers
        and keys.find(seen.signature.access_key) is seen.key
    ):
        seen.signature.check_time(now_s)
        return seen.key.principal, seen.seal
    signature = signatures_v4.read_header(request, authorization)
    key = _find(keys, signature.access_key)
    seal = signature.verify(request, key.secret, now_s=now_s)
    if len(_verified) >= _VERIFIED_MAX:
        _verified.clear()
    sent = sum(map(len, (*request.headers, *request.headers.values(), request.path, request.query)))
    if sent <= _REMEMBERED_CHARS_MAX:
        _verified[authorization] = _Verified(
            request.method, request.path, request.query, request.headers, key, signature, seal
        )
    return key.principal, seal


def _version_2(
    request: Request, keys: KeyRing, signature: signatures_v2.SignatureV2, *, now_s: float
) -> Principal:
    if not keys.accepts_version_2:
        raise MalformedCredentials(
            "signatures of version 2 are switched off here: please use AWS4-HMAC-SHA256"
        )
    if request.path[1:].partition(b"/")[0] in _NATIVE:  # the path may be `*`, without a slash
        raise MalformedCredentials(
            "signatures of version 2 are for S3: parameters of the native API are not signed by it"
        )
    key = _find(keys, signature.access_key)
    signature.verify(request, key.secret, now_s=now_s)
    return key.principal


def _find(keys: KeyRing, access_key: str) -> Key:
    key = keys.find(access_key)
    if key is None:
        raise UnknownAccessKey(access_key)
    return key
