"""Who asks: a bearer token, or an access key with its secret, which signs each request."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from aisle.errors import BadRequest
from aisle.rules.signatures_v4 import Scope, sign

REGION = "us-east-1"
"""Any would do: a node accepts all."""


class Token:
    """A token that a node has minted; implements `Credentials`."""

    def __init__(self, token: str) -> None:
        self._fields = {"Authorization": f"Bearer {token}"}

    def fields(self, method: str, target: str, authority: str) -> Mapping[str, str]:  # noqa: ARG002
        """See `Credentials.fields`."""
        return self._fields


class KeyPair:
    """An access key and its secret; implements `Credentials` by signing as S3 clients do."""

    def __init__(self, access_key: str, secret_key: str, *, now_s: Callable[[], float] = time.time) -> None:
        if not access_key or not secret_key:
            raise BadRequest("an access key and its secret go together")
        self._key = Scope(access_key, "", REGION)
        self._secret_key = secret_key
        self._now_s = now_s

    def fields(self, method: str, target: str, authority: str) -> Mapping[str, str]:
        """See `Credentials.fields`."""
        path, _, query = target.encode().partition(b"?")
        request = _Unsigned(method, path, query, {"host": authority})
        return sign(request, self._key, self._secret_key, now_s=self._now_s())


class _Unsigned(NamedTuple):
    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, str]
