"""Signatures of requests to Azure's storage with an account's key: "Shared Key" of its REST API.

Pure: a request goes in, the value of its `Authorization` field comes out.
"""

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import Final, NamedTuple

_STANDARD_FIELDS: Final = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)
"""Those that are signed by their place; of all others only Azure's own are signed, with their names."""


class Signable(NamedTuple):
    """What is signed of a request."""

    method: str
    path: str
    """Percent-encoded, exactly as it is sent."""
    query: tuple[tuple[str, str], ...]
    """Names and values, not encoded; no name twice."""
    fields: Mapping[str, str]
    """All header fields, names in lower case; with `content-length` unless there is no body."""


def authorization(request: Signable, account: str, key: bytes) -> str:
    """The `Authorization` of a request, signed with an account's key."""
    signature = hmac.new(key, string_to_sign(request, account).encode(), hashlib.sha256).digest()
    return f"SharedKey {account}:{b64encode(signature).decode()}"


def string_to_sign(request: Signable, account: str) -> str:
    """What the signature is made of."""
    own = sorted((name for name in request.fields if name.startswith("x-ms-")), key=_order)
    lines = [
        request.method,
        *(request.fields.get(name, "") for name in _STANDARD_FIELDS),
        *(f"{name}:{request.fields[name]}" for name in own),
        f"/{account}{request.path}",
        *(f"{name.lower()}:{value}" for name, value in sorted(request.query)),
    ]
    return "\n".join(lines)


def _order(name: str) -> str:
    """Where the service sorts a field: as words are sorted, hyphens left out, underscores before digits.

    Names of metadata are identifiers, so no other characters are to be ordered.
    """
    return name.replace("-", "").replace("_", " ")
