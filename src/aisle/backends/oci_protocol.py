"""The words of Oracle's Object Storage: requests, and what answers mean: documents, fields, errors.

Wire facts: Oracle's API reference of Object Storage, version 20160918.
"""

from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from aisle.backends.answer_fields import (
    count_of,
    describing,
    digest_hex,
    http_time_ns,
    iso_time_ns,
    plain_etag,
    retry_after_s,
)
from aisle.backends.provider import RemoteObject, RemotePage
from aisle.errors import (
    AisleError,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)

META: Final = "opc-meta-"
DELIMITER: Final = "/"
"""The one at which Oracle folds names."""
LISTED_FIELDS: Final = "name,size,etag,md5,timeModified"
_DIGEST_BYTES: Final = {"md5": 16, "crc32c": 4}
_TEMPORARY: Final = frozenset({500, 502, 503, 504})


class Ask(NamedTuple):
    """A request about a bucket, or about an object or an upload in it; of none of them, about the account."""

    method: str
    bucket: str = ""
    kind: str = ""
    """`o` for objects, `u` for uploads."""
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncIterator[bytes] | bytes = b""
    length: int = 0
    """Bytes of a body that is an iterator."""

    @property
    def shown(self) -> str:
        """What it is about, for messages."""
        if not self.bucket:
            return "the OCI account"
        return f"oc://{self.bucket}/{self.key}" if self.key else f"oc://{self.bucket}"

    def target(self, namespace: str) -> str:
        """Path and query as they are sent."""
        parts = ["", "n", namespace, "b", self.bucket, self.kind, quote(self.key, safe="/-._~")]
        path = "/".join(parts[: 4 + bool(self.bucket) + bool(self.kind) + bool(self.key)])
        return f"{path}?{encoded_query(self.query)}" if self.query else path


def encoded_query(query: tuple[tuple[str, str], ...]) -> str:
    """A query as it is sent."""
    return "&".join(f"{name}={quote(value, safe='-._~')}" for name, value in query)


def parse_json(body: bytes, kind: type[dict[str, Any]] | type[list[Any]] | type[str]) -> Any:
    """An answer's document. Raises SourceFailed if it is something else than that kind."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise SourceFailed(f"OCI answers with something else than was expected: {error}") from error


def about_of(key: str, fields: Mapping[str, str], *, is_part: bool = False) -> RemoteObject:
    """What the header fields of an answer tell about an object; digests of a part say nothing of it."""
    etag = plain_etag(fields.get("etag", ""))
    total = fields.get("content-range", "").rpartition("/")[2] or fields.get("content-length", "")
    return RemoteObject(
        key,
        count_of(total),
        version=etag,
        etag=etag,
        modified_ns=http_time_ns(fields.get("last-modified", "")),
        digests={} if is_part else digests_of(fields, md5="content-md5"),
        custom={name[len(META) :]: text for name, text in fields.items() if name.startswith(META)},
        content_type=fields.get("content-type", ""),
        fields=describing(fields),
    )


def digests_of(fields: Mapping[str, str], *, md5: str = "opc-content-md5") -> dict[str, str]:
    """What the source says that the bytes are.

    An object that was written in parts has no MD5, and a CRC32C only if one was asked for with the parts.
    """
    told = {"md5": fields.get(md5, ""), "crc32c": fields.get("opc-content-crc32c", "")}
    found = {kind: digest_hex(text, _DIGEST_BYTES[kind]) for kind, text in told.items()}
    return {kind: digest for kind, digest in found.items() if digest}


def announced(digests: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The fields of a body that say what its bytes are: the source compares, and keeps a CRC32C."""
    names = {"md5": "Content-MD5", "crc32c": "opc-content-crc32c"}
    known = [
        (name, b64encode(bytes.fromhex(digests[kind])).decode())
        for kind, name in names.items()
        if digests.get(kind)
    ]
    return (("opc-checksum-algorithm", "CRC32C"), *known)


def page_of(document: Mapping[str, Any]) -> RemotePage:
    """A page of a listing. Raises SourceFailed if its members are not what they should be."""
    try:
        objects = [_listed(entry) for entry in document.get("objects") or ()]
        prefixes = [str(prefix) for prefix in document.get("prefixes") or ()]
        return RemotePage(objects, prefixes, str(document.get("nextStartWith") or ""))
    except (KeyError, TypeError, ValueError) as error:
        raise SourceFailed(f"OCI lists objects in another form than was expected: {error!r}") from error


def folded(page: RemotePage, prefix: str, delimiter: str) -> RemotePage:
    """A page with the names folded that have the delimiter behind the prefix; it goes on behind them."""
    objects: list[RemoteObject] = []
    prefixes: list[str] = []
    for about in page.objects:
        head, found, _ = about.key[len(prefix) :].partition(delimiter)
        folder = f"{prefix}{head}{delimiter}"
        if not found:
            objects.append(about)
        elif prefixes[-1:] != [folder]:
            prefixes.append(folder)
    is_amid = bool(prefixes) and page.token.startswith(prefixes[-1])
    return RemotePage(objects, prefixes, first_behind(prefixes[-1]) if is_amid else page.token)


def first_behind(folder: str) -> str:
    """The first name in byte order that comes behind all that begin so."""
    following = ord(folder[-1]) + 1
    if following > 0x10FFFF:
        return f"{folder}\U0010ffff"
    return folder[:-1] + chr(0xE000 if following == 0xD800 else following)  # no surrogates in names


def _listed(entry: Mapping[str, Any]) -> RemoteObject:
    etag = plain_etag(entry.get("etag") or "")
    md5 = digest_hex(entry.get("md5") or "", _DIGEST_BYTES["md5"])
    return RemoteObject(
        entry["name"],
        int(entry.get("size") or 0),
        version=etag,
        etag=etag,
        modified_ns=iso_time_ns(entry.get("timeModified") or ""),
        digests={"md5": md5} if md5 else {},
    )


def failure_of(
    ask: Ask, status: int, fields: Mapping[str, str], body: bytes, *, is_read: bool = False
) -> AisleError:
    """The error that an answer means; `is_read` if a read had a condition."""
    code, message = _told(body)
    shown = ask.shown
    text = f"{shown}: {code or status}{f': {message}' if message else ''}"
    if status == 401:
        return SourceDenied(f"{text} (are the node's OCI key, user, tenancy and clock right?)")
    is_about_account = not ask.bucket or (ask.method == "POST" and not ask.kind)
    if status == 403 or (status == 404 and is_about_account):
        return SourceDenied(f"{text} (may the node's OCI user do this, in this compartment?)")
    if status == 404:
        is_object = ask.key and code not in ("BucketNotFound", "NamespaceNotFound")
        return ObjectNotFound(shown) if is_object else BucketNotFound(f"oc://{ask.bucket}")
    if code == "BucketAlreadyExists":
        return BucketExists(shown)
    if code == "BucketNotEmpty":
        return BucketNotEmpty(shown)
    if status == 412:
        return SourceChanged(f"{shown} has changed") if is_read else ConditionFailed(text)
    wait_s = retry_after_s(fields.get("retry-after", ""))
    if status == 429:
        return SourceThrottled(text, status=status, retry_after_s=wait_s)
    if status in _TEMPORARY:
        return SourceUnreachable(text, status=status, retry_after_s=wait_s)
    return SourceFailed(text, status=status)


def _told(body: bytes) -> tuple[str, str]:
    """Code and message of an error's document, empty where there is none."""
    try:
        document = parse_json(body, dict) if body else {}
    except SourceFailed:
        return "", ""
    return str(document.get("code") or "")[:80], str(document.get("message") or "")[:300]
