"""AWS Signature Version 2: in the Authorization header, and in the query.

Amazon retired it; boto3 still makes it in `generate_presigned_url` for an endpoint that is not
Amazon's, and s3cmd with `--signature-v2`. It is an HMAC-SHA1 over method, Content-MD5, Content-Type,
date, the `x-amz-` fields, the path and those parameters of the query that change the operation. The
body is not covered, nor is the rest of the query.
"""

import hmac
from base64 import b64encode
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from itertools import product
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
    SignedRequest,
    decoded,
    query_pairs,
    spellings,
)
from aisle.rules.signatures_v4 import signing_time

SCHEME: Final = "AWS "

SIGNED_PARAMETERS: Final = frozenset(
    {
        "accelerate",
        "acl",
        "analytics",
        "cors",
        "defaultObjectAcl",
        "delete",
        "inventory",
        "lifecycle",
        "location",
        "logging",
        "metrics",
        "notification",
        "object-lock",
        "partNumber",
        "policy",
        "replication",
        "requestPayment",
        "response-cache-control",
        "response-content-disposition",
        "response-content-encoding",
        "response-content-language",
        "response-content-type",
        "response-expires",
        "restore",
        "select",
        "select-type",
        "storageClass",
        "tagging",
        "torrent",
        "uploadId",
        "uploads",
        "versionId",
        "versioning",
        "versions",
        "website",
    }
)
"""Parameters that are signed, decoded, in order of their names."""


class SignatureV2(NamedTuple):
    """A signature as its request states it; nothing is believed yet."""

    access_key: str
    signature: str
    expires: str | None
    """Until when a presigned request is valid, Unix seconds as text; None for one signed in its header."""

    def verify(self, request: SignedRequest, secret: str, *, now_s: float) -> None:
        """Raises SignatureMismatch, ClockSkewed, RequestExpired, MalformedCredentials."""
        self._check_time(request, now_s)
        key, given = secret.encode(), self.signature.encode()
        for text in self._texts(request):
            found = b64encode(hmac.digest(key, text, "sha1"))
            if hmac.compare_digest(found, given):
                return
        raise SignatureMismatch

    def _check_time(self, request: SignedRequest, now_s: float) -> None:
        if self.expires is not None:
            if now_s > int(self.expires):
                raise RequestExpired("request has expired")
            return
        signed_s = _signed_s(request)
        if abs(now_s - signed_s) > CLOCK_SKEW_S_MAX:
            raise ClockSkewed(signed_s=signed_s, now_s=now_s)

    def _texts(self, request: SignedRequest) -> Iterator[bytes]:
        """What the client may have signed; almost always the first."""
        headers = request.headers
        parameters = [(decoded(name), decoded(value)) for name, value in query_pairs(request.query)]
        fields = {name: value for name, value in headers.items() if name[:6] == "x-amz-"}
        content_md5, content_type = headers.get("content-md5", ""), headers.get("content-type", "")
        date = self.expires
        if date is None:
            date = "" if "x-amz-date" in fields else headers.get("date", "")
        else:
            # What a presigned request says in its query counts as a header field.
            given = {_as_field(name.lower()): _as_field(value.strip()) for name, value in parameters}
            fields = {name: value for name, value in given.items() if name[:6] == "x-amz-"} | fields
            content_md5 = content_md5 or given.get("content-md5", "")
            content_type = content_type or given.get("content-type", "")
        custom = "".join([f"{name}:{fields[name]}\n" for name in sorted(fields)])
        resources = _resource_parameters(parameters)
        start = f"{request.method}\n{content_md5}\n{content_type}\n{date}\n{custom}"
        starts = dict.fromkeys((start, start.replace(", ", ",")))
        for text, spelling, resource in product(starts, _paths(request.path), resources):
            yield text.encode("latin-1") + spelling + resource


def read_header(authorization: str) -> SignatureV2:
    """The signature in an `AWS KEY:SIGNATURE` header. Raises MalformedCredentials."""
    access_key, colon, signature = authorization.removeprefix(SCHEME).strip().rpartition(":")
    if not colon or not access_key or not signature.isascii():
        raise MalformedCredentials("the authorization header is malformed: want AWS KEY:SIGNATURE")
    return SignatureV2(access_key, signature, None)


def read_query(request: SignedRequest) -> SignatureV2:
    """The signature in a presigned request's query. Raises MalformedCredentials."""
    found = {decoded(name): decoded(value) for name, value in query_pairs(request.query)}
    access_key, expires, signature = (
        found.get(name, "") for name in ("AWSAccessKeyId", "Expires", "Signature")
    )
    if not (
        access_key and signature.isascii() and expires.isascii() and expires.isdecimal() and len(expires) < 13
    ):
        raise MalformedCredentials("a presigned request needs AWSAccessKeyId, Signature and Expires")
    return SignatureV2(access_key, signature, expires)


def _as_field(text: str) -> str:
    """A text of the query as it would stand in a header field."""
    return text.encode().decode("latin-1")


def _paths(path: bytes) -> list[bytes]:
    """The forms of a path that may have been signed: that of a bucket also with the slash behind it."""
    found = [spelling.path for spelling in spellings(path)]
    found += [form + b"/" for form in found if form.count(b"/") == 1 and len(form) > 1]
    return list(dict.fromkeys(found))


def _resource_parameters(parameters: list[tuple[str, str]]) -> list[bytes]:
    """What follows the path: a parameter without a value stands there with or without its `=`."""
    signed = sorted([(name, value) for name, value in parameters if name in SIGNED_PARAMETERS])
    if not signed:
        return [b""]
    bare = "&".join([f"{name}={value}" if value else name for name, value in signed])
    full = "&".join([f"{name}={value}" for name, value in signed])
    return [f"?{text}".encode() for text in dict.fromkeys((bare, full))]


def _signed_s(request: SignedRequest) -> float:
    date = request.headers.get("x-amz-date") or request.headers.get("date")
    if not date:
        raise Unauthenticated("a signed request needs a valid Date or x-amz-date header")
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return signing_time(date, "")[1]
