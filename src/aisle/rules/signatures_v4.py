"""AWS Signature Version 4, as S3 uses it: in the Authorization header, and in the query.

The signature is an HMAC over the request's method, path, query, chosen header fields and the hash of
its body, with a key derived from the secret, the day and the region. Any region is accepted: a store
on its own has none. The body's hash is only what the request claims; whoever reads the body compares.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from itertools import chain, product
from typing import Final, NamedTuple

from aisle.errors import (
    ClockSkewed,
    MalformedCredentials,
    RequestExpired,
    SignatureMismatch,
    Unauthenticated,
)
from aisle.rules.signatures import (
    CLOCK_SKEW_S_MAX,
    REMEMBERED_MAX,
    Seal,
    SignedRequest,
    canonical_path,
    canonical_queries,
    combinations,
    decoded,
    header_spellings,
    query_pairs,
    single_spaced,
)

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = sha256(b"").hexdigest()
EXPIRES_S_MAX: Final = 7 * 86_400
"""The longest validity of a presigned request, as at Amazon."""

_TIMESTAMP: Final = re.compile(r"\d{8}T\d{6}Z")
_DATE_CHARS_MAX: Final = 100
_WANTS_TIME: Final = "a signed request needs a valid x-amz-date, as YYYYMMDDTHHMMSSZ, or Date"
_HEX_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# Presigned requests carry these in their query; their sender may still add the unsigned header.
_HASH_FIELD: Final = "x-amz-content-sha256"


class Scope(NamedTuple):
    """What the signing key is good for: a key id, a day, a region."""

    access_key: str
    date: str
    region: str

    @property
    def text(self) -> str:
        """The scope as it is signed."""
        return f"{self.date}/{self.region}/s3/aws4_request"


class SignatureV4(NamedTuple):
    """A signature as its request states it; nothing is believed yet."""

    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    timestamp: str
    signed_s: float
    """When it was signed, Unix seconds."""
    expires_s: int | None
    """How long a presigned request is valid; None for one signed in its header."""
    payload_hash: str
    """What stands for the body: its SHA-256, or a word that says how it is signed or that it is not."""

    @property
    def access_key(self) -> str:
        """Whose secret it was made with."""
        return self.scope.access_key

    def verify(self, request: SignedRequest, secret: str, *, now_s: float) -> Seal:
        """What the chunks of the body continue.

        Raises SignatureMismatch, ClockSkewed, RequestExpired, and Unauthenticated for a request that
        carries fields of Amazon's that were not signed.
        """
        self.check_time(now_s)
        key = signing_key(secret, self.scope.date, self.scope.region)
        self._check_coverage(request)
        scope = self.scope.text
        start = f"{ALGORITHM}\n{self.timestamp}\n{scope}\n".encode()
        # Nearly every client signs just what it sends: the other forms are not even made then.
        likely = () if request.query else (self._likely_request(request),)
        for text in chain(likely, self._canonical_requests(request)):
            found = hmac_digest(key, start + sha256(text).hexdigest().encode(), "sha256").hex()
            if compare_digest(found, self.signature):
                return Seal(key, self.timestamp, scope, self.signature, self.payload_hash)
        raise SignatureMismatch

    def check_time(self, now_s: float) -> None:
        """Raise ClockSkewed or RequestExpired unless the request may be made now."""
        if self.expires_s is None:
            if abs(now_s - self.signed_s) > CLOCK_SKEW_S_MAX:
                raise ClockSkewed(signed_s=self.signed_s, now_s=now_s)
        elif now_s > self.signed_s + self.expires_s:
            raise RequestExpired("request has expired")
        elif self.signed_s - now_s > CLOCK_SKEW_S_MAX:
            raise RequestExpired("request is not yet valid")

    def _check_coverage(self, request: SignedRequest) -> None:
        """Refuse fields that change what is done and could have been added by somebody else."""
        signed = self.signed_headers
        for name in request.headers:
            if name[:6] == "x-amz-" and name not in signed and not self._may_be_added(name):
                raise Unauthenticated(
                    f"there were headers present in the request which were not signed: {name}"
                )

    def _may_be_added(self, name: str) -> bool:
        return self.expires_s is not None and name == _HASH_FIELD

    def _likely_request(self, request: SignedRequest) -> bytes:
        """What most clients sign of a request without a query: its fields as they are."""
        headers = request.headers
        lines = "\n".join([f"{name}:{headers.get(name, '')}" for name in self.signed_headers])
        rest = f"{lines}\n\n{';'.join(self.signed_headers)}\n{self.payload_hash}"
        return b"%b\n%b\n\n%b" % (
            request.method.encode(),
            canonical_path(request.path),
            rest.encode("latin-1"),
        )

    def _canonical_requests(self, request: SignedRequest) -> Iterator[bytes]:
        """All that the client may have signed, the likely first."""
        pairs = query_pairs(request.query)
        if self.expires_s is not None:
            pairs = [pair for pair in pairs if pair[0] != b"X-Amz-Signature"]
        headers = request.headers
        values = header_spellings(tuple([headers.get(name, "") for name in self.signed_headers]))
        names = ";".join(self.signed_headers)
        for (spelling, query), fields in product(combinations(request, pairs), values):
            lines = "".join(
                [
                    f"{name}:{value}{spelling.host_suffix if name == 'host' else ''}\n"
                    for name, value in zip(self.signed_headers, fields, strict=True)
                ]
            )
            yield b"%b\n%b\n%b\n%b" % (
                request.method.encode(),
                spelling.path,
                query,
                f"{lines}\n{names}\n{self.payload_hash}".encode("latin-1"),
            )


def read_header(request: SignedRequest, authorization: str) -> SignatureV4:
    """The signature in an Authorization header that begins with the algorithm's name.

    Raises MalformedCredentials, and Unauthenticated without a time.
    """
    start, separator, signature = authorization.rpartition("Signature=")
    if not separator or not _HEX_SHA256.fullmatch(signature):
        raise MalformedCredentials("the authorization header is malformed: want Signature=… at its end")
    read_start = _read_start if len(start) <= REMEMBERED_MAX else _read_start.__wrapped__
    scope, signed_headers = read_start(start)
    headers = request.headers
    stamp = headers.get("x-amz-date", "")
    timestamp, signed_s = signing_time(stamp, "" if stamp else headers.get("date", ""))
    payload_hash = headers.get(_HASH_FIELD)
    if payload_hash is None:
        if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
            raise MalformedCredentials("missing required header for this request: x-amz-content-sha256")
        payload_hash = EMPTY_SHA256
    claim = SignatureV4(scope, signed_headers, signature, timestamp, signed_s, None, payload_hash)
    return _checked(claim)


def read_query(request: SignedRequest) -> SignatureV4:
    """The signature in a presigned request's query. Raises MalformedCredentials."""
    found = {decoded(name): decoded(value) for name, value in query_pairs(request.query)}
    if not _TIMESTAMP.fullmatch(found.get("X-Amz-Date", "")):
        raise MalformedCredentials("X-Amz-Date must be there, as YYYYMMDDTHHMMSSZ")
    try:
        expires = found["X-Amz-Expires"]
        signature = found["X-Amz-Signature"]
        timestamp, signed_s = signing_time(found["X-Amz-Date"], "")
        scope = _scope(found["X-Amz-Credential"])
        signed_headers = _names(found["X-Amz-SignedHeaders"])
    except KeyError as error:
        raise MalformedCredentials(f"the query of a presigned request lacks {error.args[0]}") from None
    is_number = expires.isascii() and expires.isdecimal() and len(expires) < 10
    if not is_number or not 1 <= int(expires) <= EXPIRES_S_MAX:
        raise MalformedCredentials(f"X-Amz-Expires must be 1 to {EXPIRES_S_MAX} seconds")
    if found.get("X-Amz-Algorithm") != ALGORITHM or not _HEX_SHA256.fullmatch(signature):
        raise MalformedCredentials(f"the signature of a presigned request must be one of {ALGORITHM}")
    payload_hash = request.headers.get(_HASH_FIELD) if _HASH_FIELD in signed_headers else None
    payload_hash = payload_hash or found.get("X-Amz-Content-Sha256") or UNSIGNED_PAYLOAD
    if not found["X-Amz-SignedHeaders"].isascii() or not found.get("X-Amz-Content-Sha256", "").isascii():
        raise MalformedCredentials("the query of a presigned request names what no header field can hold")
    return _checked(
        SignatureV4(scope, signed_headers, signature, timestamp, signed_s, int(expires), payload_hash)
    )


def sign(request: SignedRequest, key: Scope, secret: str, *, now_s: float) -> dict[str, str]:
    """The fields that make a request one of `key`'s owner; its headers must hold `host`.

    Fields of Amazon's (`x-amz-…`) that the headers hold are covered too. The body is not: whoever signs
    knows it only when it has been sent. The key's date is taken from the time.
    """
    amazon = sorted(
        (name, single_spaced(value)) for name, value in request.headers.items() if name[:6] == "x-amz-"
    )
    frame = _frame(request.headers["host"], tuple(amazon), key, int(now_s))
    query = canonical_queries(query_pairs(request.query))[0] if request.query else b""
    text = b"%b\n%b\n%b\n%b" % (request.method.encode(), canonical_path(request.path), query, frame.fields)
    to_sign = frame.to_sign + sha256(text).hexdigest().encode()
    signature = hmac_digest(signing_key(secret, frame.date, key.region), to_sign, "sha256").hex()
    return {
        _HASH_FIELD: UNSIGNED_PAYLOAD,
        "x-amz-date": frame.timestamp,
        "authorization": f"{frame.authorization}{signature}",
    }


class _Frame(NamedTuple):
    """What is the same for all requests that are signed within a second."""

    timestamp: str
    date: str
    fields: bytes
    """The end of the canonical request: fields, their names, what stands for the body."""
    to_sign: bytes
    """The start of what is signed."""
    authorization: str
    """The start of the field's value."""


@lru_cache(maxsize=256)
def _frame(host: str, amazon: tuple[tuple[str, str], ...], key: Scope, now_s: int) -> _Frame:
    timestamp = datetime.fromtimestamp(now_s, UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = key._replace(date=timestamp[:8])
    covered = {**dict(amazon), _HASH_FIELD: UNSIGNED_PAYLOAD, "x-amz-date": timestamp}
    fields = {"host": host, **dict(sorted(covered.items()))}
    lines = "".join([f"{name}:{value}\n" for name, value in fields.items()])
    names = ";".join(fields)
    return _Frame(
        timestamp,
        scope.date,
        f"{lines}\n{names}\n{UNSIGNED_PAYLOAD}".encode("latin-1"),
        f"{ALGORITHM}\n{timestamp}\n{scope.text}\n".encode(),
        f"{ALGORITHM} Credential={scope.access_key}/{scope.text}, SignedHeaders={names}, Signature=",
    )


@lru_cache(maxsize=1024)
def signing_key(secret: str, date: str, region: str) -> bytes:
    """The key that a secret gives for one day (`YYYYMMDD`) and region."""
    key = f"AWS4{secret}".encode()
    for part in (date, region, "s3", "aws4_request"):
        key = hmac_digest(key, part.encode(), "sha256")
    return key


def _checked(claim: SignatureV4) -> SignatureV4:
    if claim.scope.date != claim.timestamp[:8]:
        raise MalformedCredentials("the credential's date is not that of the request")
    if "host" not in claim.signed_headers:
        raise MalformedCredentials("the Host header must be signed")
    return claim


@lru_cache(maxsize=1024)
def _read_start(text: str) -> tuple[Scope, tuple[str, ...]]:
    """Scope and signed headers: a client repeats them for a day."""
    fields: dict[str, str] = {}
    for part in text.removeprefix(ALGORITHM).split(","):
        name, _, value = part.strip().partition("=")
        fields[name] = value.strip()
    try:
        return _scope(fields["Credential"]), _names(fields["SignedHeaders"])
    except KeyError as error:
        raise MalformedCredentials(f"the authorization header lacks {error.args[0]}") from None


def _scope(text: str) -> Scope:
    # An access key may hold slashes: the other parts are counted from the end.
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or not parts[0] or parts[3:] != ["s3", "aws4_request"] or len(text) > REMEMBERED_MAX:
        raise MalformedCredentials("the credential must be KEY/DATE/REGION/s3/aws4_request")
    return Scope(*parts[:3])


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.lower().split(";"))


@lru_cache(maxsize=1024)
def signing_time(timestamp: str, date: str) -> tuple[str, float]:
    """When a request was signed: as it is signed, and in Unix seconds. Raises Unauthenticated."""
    if not timestamp and 0 < len(date) <= _DATE_CHARS_MAX:
        try:
            seconds = parsedate_to_datetime(date).timestamp()
            return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ"), seconds
        except (ValueError, OverflowError) as error:
            raise Unauthenticated(_WANTS_TIME) from error
    if _TIMESTAMP.fullmatch(timestamp):
        try:
            parsed = datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise Unauthenticated(_WANTS_TIME) from error
        return timestamp, parsed.timestamp()
    raise Unauthenticated(_WANTS_TIME)
