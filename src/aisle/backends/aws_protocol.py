"""The words of S3's protocol: requests, and what answers mean: documents, fields, errors."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple
from xml.etree import ElementTree

from aisle.backends.answer_fields import (
    count_of,
    digest_hex,
    document_text,
    http_time_ns,
    is_field_name,
    plain_etag,
    retry_after_s,
)
from aisle.backends.provider import RemoteObject
from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)
from aisle.rules.remote_metadata import carried

_META: Final = "x-amz-meta-"
_MD5: Final = re.compile(r"[0-9a-f]{32}")
_DIGEST_FIELDS: Final = {
    f"x-amz-checksum-{kind}": (kind, size)
    for kind, size in {"crc32c": 4, "crc64nvme": 8, "sha1": 20, "sha256": 32}.items()
}
"""Which digest a field has, and its bytes."""
_THROTTLED: Final = frozenset({"SlowDown", "Throttling", "RequestLimitExceeded", "TooManyRequests"})
_TEMPORARY: Final = frozenset({500, 502, 503, 504})


class Ask(NamedTuple):
    """A request about a bucket or an object; both empty for the service."""

    method: str
    bucket: str = ""
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncIterator[bytes] | bytes = b""
    length: int = 0
    """Bytes of a body that is an iterator."""


class Document:
    """An element of an XML answer; its namespace is left out."""

    def __init__(self, element: ElementTree.Element) -> None:
        self._element = element

    @property
    def name(self) -> str:
        """The element's name."""
        return _local(self._element)

    @property
    def content(self) -> str:
        """The element's own text."""
        return self._element.text or ""

    def all(self, path: str) -> list["Document"]:
        """The elements that names, separated by slashes, lead to."""
        found = [self._element]
        for name in path.split("/"):
            found = [child for element in found for child in element if _local(child) == name]
        return [Document(element) for element in found]

    def text(self, path: str) -> str:
        """The text of the first such element, empty if there is none."""
        found = self.all(path)
        return found[0].content if found else ""


def parse_document(body: bytes, root: str) -> Document:
    """An answer's document. Raises SourceFailed if it is something else."""
    return Document(checked_root(body, root))


def checked_root(body: bytes, root: str) -> ElementTree.Element:
    """The first element of an answer. Raises SourceFailed if it is another one, or there is none."""
    try:
        # Entities cannot expand without bound: expat itself refuses that since 2.4.1.
        found = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError as error:
        raise SourceFailed(f"the source answers with what is no XML: {error}") from error
    name = _local(found)
    if name != root:
        raise SourceFailed(f"the source answers with <{name[:80]}> instead of <{root}>")
    return found


def about_of(key: str, fields: Mapping[str, str]) -> RemoteObject:
    """What the header fields of an answer tell about an object."""
    etag = plain_etag(fields.get("etag", ""))
    total = fields.get("content-range", "").rpartition("/")[2] or fields.get("content-length", "")
    return RemoteObject(
        key,
        count_of(total),
        version=fields.get("x-amz-version-id", "").removeprefix("null") or etag,
        etag=etag,
        modified_ns=http_time_ns(fields.get("last-modified", "")),
        digests=digests_of(etag, fields),
        custom={name[len(_META) :]: text for name, text in fields.items() if name.startswith(_META)},
        content_type=fields.get("content-type", ""),
        fields=_carried(fields),
    )


def _carried(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields that belong to the object; how a write's body was framed does not (some servers keep it)."""
    found = carried(fields)
    if "content-encoding" not in found:
        return found
    encodings = [part.strip() for part in found.pop("content-encoding").split(",")]
    if kept := ", ".join(part for part in encodings if part and part.lower() != "aws-chunked"):
        found["content-encoding"] = kept
    return found


def described(about: RemoteObject) -> tuple[tuple[str, str], ...]:
    """The fields of a write that say what an object is. Raises BadRequest for what no field can hold."""
    fields = [(f"{_META}{name}", _mail_safe(text)) for name, text in about.custom.items()]
    for name, text in fields:
        if not (is_field_name(name) and text.replace("\t", " ").isprintable()):
            raise BadRequest(f"s3://: {name}: {text!r}: S3 has no such metadata")
    fields += about.fields.items()
    if about.content_type:
        fields.append(("Content-Type", about.content_type))
    if md5 := about.digests.get("md5"):
        fields.append(("Content-MD5", b64encode(bytes.fromhex(md5)).decode()))
    return tuple(fields)


def _mail_safe(text: str) -> str:
    """The value of user metadata as S3 takes and tells it: what is not ASCII as RFC 2047 has it.

    Source: "Working with object metadata", Amazon S3 User Guide.
    """
    return text if text.isascii() else f"=?UTF-8?B?{b64encode(document_text(text).encode()).decode()}?="


def failure_of(
    status: int, fields: Mapping[str, str], body: bytes, *, where: tuple[str, str], is_read: bool = False
) -> AisleError:
    """The error that an answer means. `where` is bucket and key; `is_read` if a read had a condition."""
    bucket, key = where
    shown = f"s3://{bucket}/{key}" if key else f"s3://{bucket}" if bucket else "the account"
    code, message = _told(body)
    text = f"{shown}: {code or status}{f': {message}' if message else ''}"
    if code == "NoSuchBucket" or (status == 404 and not key):
        return BucketNotFound(f"s3://{bucket}")
    if status == 404:
        return ObjectNotFound(shown)
    if status in (401, 403):
        return SourceDenied(f"{text} (does the node have credentials for it?)")
    if status == 412 or code == "ConditionalRequestConflict":
        return SourceChanged(f"{shown} has changed") if is_read else ConditionFailed(text)
    wait_s = retry_after_s(fields.get("retry-after", ""))
    if status == 429 or code in _THROTTLED:
        return SourceThrottled(text, status=status, retry_after_s=wait_s)
    if status in _TEMPORARY:
        return SourceUnreachable(text, status=status, retry_after_s=wait_s)
    return SourceFailed(text, status=status)


def _told(body: bytes) -> tuple[str, str]:
    """Code and message of an error's document, empty where there is none."""
    try:
        document = parse_document(body, "Error") if body else None
    except SourceFailed:
        return "", ""
    return (document.text("Code"), document.text("Message")[:300]) if document else ("", "")


def digests_of(etag: str, fields: Mapping[str, str]) -> dict[str, str]:
    """What the source says that the bytes of the whole object are."""
    found = {}
    if fields.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT":
        for field, (kind, size) in _DIGEST_FIELDS.items():
            # Composite ones end in a count of parts.
            if field in fields and (digest := digest_hex(fields[field], size)):
                found[kind] = digest
    # With a key of one's own or of a key service the tag is no digest.
    encrypted = fields.get("x-amz-server-side-encryption", "").startswith("aws:kms")
    if (
        _MD5.fullmatch(etag)
        and not encrypted
        and "x-amz-server-side-encryption-customer-algorithm" not in fields
    ):
        found["md5"] = etag
    return found


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
