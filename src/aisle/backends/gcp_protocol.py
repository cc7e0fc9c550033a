"""The words of Google's storage API: requests, and what its JSON documents and errors mean.

It is version 1 of the JSON API (cloud.google.com/storage/docs/json_api/v1), whose 64-bit integers are
decimal strings.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from aisle.backends.answer_fields import (
    breaks_out,
    digest_hex,
    header_text,
    iso_time_ns,
    plain_etag,
    retry_after_s,
)
from aisle.backends.provider import RemoteObject
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)

LISTED_FIELDS: Final = "items(name,size,generation,etag,updated,md5Hash,crc32c),prefixes,nextPageToken"
"""What is asked for of a listing: a fifth of what is told otherwise."""

NO_SUCH_OBJECT: Final = b"No such object"
"""Begins the message about an object that is missing in a bucket that is there."""

_THROTTLED: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded"})
"""Reasons that come with 403 or 429."""
_TEMPORARY: Final = frozenset({408, 500, 502, 503, 504})
_HOW_TO_SIGN_IN: Final = (
    "give the node credentials with GOOGLE_APPLICATION_CREDENTIALS, or the bucket with the property "
    "extra.gcp.application_creds"
)

Document = TypeVar("Document")


class Ask(NamedTuple):
    """A request about a bucket or an object; both empty for the service. `path` is percent-encoded."""

    method: str
    path: str
    bucket: str = ""
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def link(self, endpoint: str) -> str:
        """The URL of the request."""
        query = urlencode(self.query, quote_via=quote, safe="")
        if not query:
            return f"{endpoint}{self.path}"
        return f"{endpoint}{self.path}{'&' if '?' in self.path else '?'}{query}"


class ObjectDocument(Struct, frozen=True, rename="camel"):
    """What the API tells about an object."""

    name: str
    size: int = 0
    generation: int = 0
    etag: str = ""
    updated: str = ""
    md5_hash: str = ""
    crc32c: str = ""
    content_type: str = ""
    cache_control: str = ""
    content_disposition: str = ""
    content_encoding: str = ""
    content_language: str = ""
    metadata: dict[str, str] = {}


class ObjectsDocument(Struct, frozen=True, rename="camel"):
    """A page of a bucket's listing."""

    items: list[ObjectDocument] = []
    prefixes: list[str] = []
    next_page_token: str = ""


class BucketDocument(Struct, frozen=True, rename="camel"):
    """What the API tells about a bucket."""

    name: str
    location: str = ""


class BucketsDocument(Struct, frozen=True, rename="camel"):
    """A page of a project's buckets."""

    items: list[BucketDocument] = []
    next_page_token: str = ""


class _Reason(Struct, frozen=True):
    reason: str = ""


class _Error(Struct, frozen=True):
    message: str = ""
    errors: list[_Reason] | None = None


class _ErrorDocument(Struct, frozen=True):
    error: _Error = _Error()


def bucket_path(bucket: str) -> str:
    """The path of a bucket; `/o` behind it is that of its objects."""
    return f"/storage/v1/b/{quote(bucket, safe='')}"


def object_path(bucket: str, key: str) -> str:
    """The path of what is told about an object."""
    return f"{bucket_path(bucket)}/o/{quote(key, safe='')}"


def media_path(bucket: str, key: str) -> str:
    """The path of an object's bytes."""
    return f"/download{object_path(bucket, key)}"


def upload_path(bucket: str) -> str:
    """The path to which objects of a bucket are written."""
    return f"/upload{bucket_path(bucket)}/o"


def parse_document(body: bytes, kind: type[Document]) -> Document:
    """An answer's document. Raises SourceFailed if it is something else."""
    try:
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SourceFailed(f"the source answers with what is not Google's storage API: {error}") from error


def about_of(told: ObjectDocument) -> RemoteObject:
    """What a document says of an object."""
    digests = {"md5": digest_hex(told.md5_hash, 16), "crc32c": digest_hex(told.crc32c, 4)}
    fields = {
        "cache-control": told.cache_control,
        "content-disposition": told.content_disposition,
        "content-encoding": told.content_encoding,
        "content-language": told.content_language,
    }
    return RemoteObject(
        told.name,
        told.size,
        version=str(told.generation) if told.generation else "",
        etag=plain_etag(told.etag),
        modified_ns=iso_time_ns(told.updated),
        digests={kind: value for kind, value in digests.items() if value},
        # What would break out of a field cannot be told to readers.
        custom={name: text for name, text in told.metadata.items() if not breaks_out(name + text)},
        content_type=header_text(told.content_type),
        fields={name: field for name, text in fields.items() if text and (field := header_text(text))},
    )


def failure_of(status: int, fields: Mapping[str, str], body: bytes, *, bucket: str, key: str) -> AisleError:
    """The error that an answer means."""
    shown = f"gs://{bucket}/{key}" if key else f"gs://{bucket}" if bucket else "the account"
    reason, message = _told(body)
    text = f"{shown}: {reason or status}{f': {message}' if message else ''}"
    wait_s = retry_after_s(fields.get("retry-after", ""))
    if status == 429 or reason in _THROTTLED:
        return SourceThrottled(text, status=status, retry_after_s=wait_s)
    if status == 404:
        is_bucket = not key or message == "The specified bucket does not exist."
        return BucketNotFound(f"gs://{bucket}") if is_bucket else ObjectNotFound(shown)
    if status == 400 and "requester pays" in message.lower():
        return SourceDenied(f"{text} Set GOOGLE_CLOUD_QUOTA_PROJECT to the project that is to pay.")
    if status in (401, 403):
        return SourceDenied(f"{text} ({_HOW_TO_SIGN_IN})")
    if status == 412:
        return ConditionFailed(text)
    if status in _TEMPORARY:
        return SourceUnreachable(text, status=status, retry_after_s=wait_s)
    return SourceFailed(text, status=status)


def _told(body: bytes) -> tuple[str, str]:
    """Reason and message of an error's document, empty where there is none."""
    try:
        error = parse_document(body, _ErrorDocument).error
    except SourceFailed:
        # Downloads are refused in plain text.
        return "", body[:300].decode("utf-8", "replace") if body.isascii() and len(body) < 300 else ""
    reasons = [each.reason for each in error.errors or () if each.reason]
    return (reasons[0] if reasons else "", error.message[:300])
