"""Signatures on requests: which of Amazon's two schemes a request uses, and whether it is right.

A signature says that whoever sent a request knows the secret of the access key that it names. There
are two schemes, each in a header or in the query ("presigned"): version 4, which everybody uses, and
version 2, with which boto3 still presigns for endpoints that are not Amazon's. What both need of a
request stands here; `signatures_v4` and `signatures_v2` verify.

Everything is pure: a request, a secret and a time go in. Clients spell the same request in several
ways (`%7E` and `~`, `+` and `%20`), and some sign another spelling than they send. All spellings of
one request that decode to the same bytes are the same request, so each of them is tried; nothing is
gained by whoever can choose between them.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import product
from typing import Final, NamedTuple, Protocol
from urllib.parse import quote_from_bytes, unquote_to_bytes

CLOCK_SKEW_S_MAX: Final = 900.0
"""How far a signer's clock may be from ours, as at Amazon."""
ENDPOINT_PATH: Final = b"/s3"
"""Where the S3 dialect lives beside the root. Given `--host=HOST:PORT/s3`, s3cmd takes this for a part
of the host's name: it signs the host `HOST:PORT/s3` and the path behind it."""

REMEMBERED_MAX: Final = 1024
"""Nothing longer that a client has sent is remembered: whoever has no key may send it, too."""

_UNRESERVED: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


class SignedRequest(Protocol):
    """What a signature covers, as it came: a request of the HTTP server."""

    @property
    def method(self) -> str:
        """Its method."""

    @property
    def path(self) -> bytes:
        """Its path, still percent-encoded."""

    @property
    def query(self) -> bytes:
        """Its query, still percent-encoded, without the question mark."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its header fields by lower-case name, repeated ones joined with a comma and a space."""


class Seal(NamedTuple):
    """What a verified version 4 signature leaves for the chunks of the body, which continue it."""

    key: bytes
    """The signing key."""
    timestamp: str
    """When the request was signed, as it stands in the request."""
    scope: str
    """`DATE/REGION/s3/aws4_request`."""
    signature: str
    """The request's own signature, hexadecimal: where the chain of chunks begins."""
    payload_hash: str
    """What was signed in the body's place: its SHA-256, or a word that says how it is signed."""


class Spelling(NamedTuple):
    """One of the forms of a request's path, and what has to stand behind the host's name then."""

    path: bytes
    host_suffix: str


def spellings(path: bytes) -> list[Spelling]:
    """The forms of a path that its client may have signed, the likely one first."""
    found = [Spelling(canonical_path(path), "")]
    found.append(Spelling(path, ""))
    if path.startswith(ENDPOINT_PATH + b"/") or path == ENDPOINT_PATH:
        rest = path[len(ENDPOINT_PATH) :] or b"/"
        suffix = ENDPOINT_PATH.decode()
        found += [Spelling(canonical_path(rest), suffix), Spelling(rest, suffix)]
    return list(dict.fromkeys(found))


def header_spellings(values: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The forms of header values that a client may have signed.

    A field that came twice stands here as one, joined with `, `; version 4 joins it with `,`.
    """
    single = tuple([single_spaced(value) for value in values])
    joined = tuple(value.replace(", ", ",") for value in single)
    return [single] if single == joined else [single, joined]


def single_spaced(value: str) -> str:
    """A header's value with single spaces; only white space of ASCII is any.

    Values are read as Latin-1, where two bytes of UTF-8 look like spaces: the last one of `à` does.
    """
    if value.isascii():
        return " ".join(value.split())
    return b" ".join(value.encode("latin-1").split()).decode("latin-1")


def query_pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """The parameters of a query in order, still percent-encoded."""
    pairs = [pair.partition(b"=") for pair in query.split(b"&") if pair]
    return [(name, value) for name, _, value in pairs]


def decoded(raw: bytes) -> str:
    """A query's name or value as text."""
    return unquote_to_bytes(raw.replace(b"+", b" ")).decode("utf-8", "replace")


def canonical_path(path: bytes) -> bytes:
    """A path with exactly the escapes that version 4 wants; slashes and dots stay as they are."""
    return _canonical_path(path) if len(path) <= REMEMBERED_MAX else _canonical_path.__wrapped__(path)


@lru_cache(maxsize=4096)
def _canonical_path(path: bytes) -> bytes:
    if not path.translate(None, _UNRESERVED + b"/"):
        return path
    return quote_from_bytes(unquote_to_bytes(path), safe="/~").encode()


def canonical_part(raw: bytes) -> bytes:
    """A query's name or value with exactly the escapes that version 4 wants."""
    if not raw.translate(None, _UNRESERVED):
        return raw
    return quote_from_bytes(unquote_to_bytes(raw.replace(b"+", b" ")), safe="~").encode()


def canonical_queries(pairs: list[tuple[bytes, bytes]]) -> list[bytes]:
    """The forms of a query that a client may have signed, the likely one first."""
    # Ordered by name, then by value: the order of whole `name=value` texts is another one.
    usual = b"&".join([b"%b=%b" % pair for pair in sorted([tuple(map(canonical_part, p)) for p in pairs])])
    as_sent = b"&".join([b"%b=%b" % pair for pair in sorted(pairs)])
    return [usual] if usual == as_sent else [usual, as_sent]


def combinations(
    request: SignedRequest, pairs: list[tuple[bytes, bytes]]
) -> Iterator[tuple[Spelling, bytes]]:
    """Every pair of a path's and a query's form, the likely one first."""
    return product(spellings(request.path), canonical_queries(pairs))
