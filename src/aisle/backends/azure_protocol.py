"""The words of Azure's Blob Storage: requests, names of metadata, and what answers mean.

The wire is that of the Blob service's REST API, of the version that every request names.
"""

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from aisle.backends.answer_fields import (
    count_of,
    describing,
    digest_hex,
    http_time_ns,
    plain_etag,
    retry_after_s,
)
from aisle.backends.provider import RemoteObject, WriteCondition
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

API_VERSION: Final = "2021-12-02"
"""Has blocks of up to 4,000 MiB and encoded names in listings; what Azurite and older clouds have too."""

_META: Final = "x-ms-meta-"
_ESCAPED: Final = re.compile(r"_x([0-9a-f]{8}|[0-9a-f]{4})_")
_NOT_PLAIN: Final = re.compile(r"[^a-z0-9_]|^[0-9]|_(?=x[0-9a-f]{4})")
_MD5_BYTES: Final = 16
_MESSAGE_CHARS_MAX: Final = 300

_NO_CONTAINER: Final = frozenset({"ContainerNotFound", "ContainerBeingDeleted"})
_NO_NAME: Final = frozenset({"InvalidResourceName", "OutOfRangeInput"})
"""Names that no container can have."""
_DENIED: Final = frozenset({"PublicAccessNotPermitted", "AccountIsDisabled", "ContainerDisabled"})
_CONDITION: Final = frozenset({"ConditionNotMet", "TargetConditionNotMet", "BlobAlreadyExists"})
_HINTS: Final = {
    "BlobArchived": "move it out of the archive tier first",
    "SnapshotsPresent": "it has snapshots: remove them with Azure's own tools first",
    "Md5Mismatch": "the bytes that arrived are not those that were sent",
}


class Ask(NamedTuple):
    """A request about a container or a blob; both empty for the account."""

    method: str
    bucket: str = ""
    key: str = ""
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncIterator[bytes] | bytes = b""
    length: int = 0
    """Bytes of a body that is an iterator."""

    @property
    def shown(self) -> str:
        """What it is about, as users write it."""
        if not self.bucket:
            return "the storage account"
        return f"az://{self.bucket}/{self.key}" if self.key else f"az://{self.bucket}"

    @property
    def path(self) -> str:
        """Its path below the service's, percent-encoded."""
        names = [quote(self.bucket, safe="")] + ([quote(self.key, safe="/-._~")] if self.key else [])
        return "/" + "/".join(names)


class Page(NamedTuple):
    """One page of a listing as it came; `marker` continues it and is empty at its end."""

    objects: list[RemoteObject]
    prefixes: list[str]
    marker: str


def can_be_named(key: str) -> bool:
    """Whether a blob can have this name.

    The service takes a backslash for a slash; what speaks HTTP in front of it resolves `.` and `..`, which
    would lead into other containers.
    """
    return "\\" not in key and not any(part in (".", "..") for part in key.split("/"))


def metadata_name(name: str) -> str:
    """The name that a blob's metadata has for a user's.

    Azure takes identifiers of C# only, and does not tell upper case from lower. What is no such
    identifier in lower case is written as XML does it for names: `_x002d_` for a hyphen.
    """
    return _NOT_PLAIN.sub(_escaped, name)


def user_name(name: str) -> str:
    """The user's name for what a blob's metadata has; what nobody has escaped stays as it is."""
    return _ESCAPED.sub(_unescaped, name)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"_x{code:04x}_" if code < 0x10000 else f"_x{code:08x}_"


def _unescaped(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    is_character = code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF
    return chr(code) if is_character else found[0]


def described(about: RemoteObject) -> tuple[tuple[str, str], ...]:
    """The fields of a write that say what a blob is. Raises BadRequest for what no field can hold."""
    fields = [(f"{_META}{metadata_name(name)}", value.strip()) for name, value in about.custom.items()]
    fields += [(f"x-ms-blob-{name}", value) for name, value in describing(about.fields).items()]
    if about.content_type:
        fields.append(("x-ms-blob-content-type", about.content_type))
    for name, value in fields:
        if not (value.isascii() and value.isprintable()):
            raise BadRequest(f"az://: {name}: {value!r}: Azure keeps metadata in printable ASCII only")
    return tuple(fields)


def md5_base64(about: RemoteObject) -> str:
    """The MD5 of an object as the wire has it, empty where it is not known."""
    md5 = about.digests.get("md5", "")
    return b64encode(bytes.fromhex(md5)).decode() if md5 else ""


def conditions(only_if: WriteCondition) -> tuple[tuple[str, str], ...]:
    """The fields of a write that must only happen if something holds."""
    if only_if.is_absent:
        return (("If-None-Match", "*"),)
    return (("If-Match", f'"{only_if.etag}"'),) if only_if.etag else ()


def about_of(key: str, status: int, fields: Mapping[str, str]) -> RemoteObject:
    """What an answer's status and header fields tell about a blob."""
    etag = plain_etag(fields.get("etag", ""))
    # Of a part, only this field speaks of the whole.
    md5 = fields.get("x-ms-blob-content-md5") or (fields.get("content-md5", "") if status != 206 else "")
    return RemoteObject(
        key,
        count_of(fields.get("content-range", "").rpartition("/")[2] or fields.get("content-length", "")),
        version=etag,
        etag=etag,
        modified_ns=http_time_ns(fields.get("last-modified", "")),
        digests=_digests(md5, fields.get("x-ms-blob-type", "")),
        custom={
            user_name(name[len(_META) :]): value for name, value in fields.items() if name.startswith(_META)
        },
        content_type=fields.get("content-type", ""),
        fields=describing(fields),
    )


def _digests(md5: str, kind: str) -> dict[str, str]:
    """What the service says that a blob's bytes are.

    It does not touch the MD5 when somebody appends to a blob or writes its pages: of such it is worthless.
    """
    found = digest_hex(md5, _MD5_BYTES)
    return {"md5": found} if found and kind in ("BlockBlob", "") else {}


def parse_page(body: bytes) -> Page:
    """A page of a container's listing. Raises SourceFailed if it is something else."""
    root = parse_document(body, "EnumerationResults")
    objects = [_listed(blob) for blob in root.iterfind("Blobs/Blob") if not _is_directory(blob)]
    prefixes = [_name(prefix) for prefix in root.iterfind("Blobs/BlobPrefix")]
    return Page(objects, prefixes, root.findtext("NextMarker") or "")


def parse_containers(body: bytes) -> tuple[list[str], str]:
    """Names of containers, and the marker that continues them. Raises SourceFailed."""
    root = parse_document(body, "EnumerationResults")
    names = [_name(container) for container in root.iterfind("Containers/Container")]
    return names, root.findtext("NextMarker") or ""


def parse_document(body: bytes, root: str) -> ElementTree.Element:
    """An answer's document. Raises SourceFailed if it is something else."""
    try:
        # Entities cannot expand without bound: expat itself refuses that since 2.4.1.
        found = ElementTree.fromstring(body)  # noqa: S314
    except ElementTree.ParseError as error:
        raise SourceFailed(f"the source answers with what is no XML: {error}") from error
    if found.tag != root:
        raise SourceFailed(f"the source answers with <{found.tag[:80]}> instead of <{root}>")
    return found


def _listed(blob: ElementTree.Element) -> RemoteObject:
    told = blob.find("Properties")
    if told is None:
        raise SourceFailed(f"the source lists {_name(blob)} without its properties")
    etag = plain_etag(told.findtext("Etag") or "")
    return RemoteObject(
        _name(blob),
        count_of(told.findtext("Content-Length") or ""),
        version=etag,
        etag=etag,
        modified_ns=http_time_ns(told.findtext("Last-Modified") or ""),
        digests=_digests(told.findtext("Content-MD5") or "", told.findtext("BlobType") or ""),
        content_type=told.findtext("Content-Type") or "",
    )


def _name(entry: ElementTree.Element) -> str:
    """The name of an entry; one that XML cannot hold comes percent-encoded, and says so."""
    element = entry.find("Name")
    text = (element.text or "") if element is not None else ""
    return unquote(text) if element is not None and element.get("Encoded") == "true" else text


def _is_directory(blob: ElementTree.Element) -> bool:
    """Whether it is a folder of an account with a hierarchical namespace, which is no object."""
    return blob.findtext("Properties/ResourceType") == "directory"


def failure_of(
    status: int, fields: Mapping[str, str], body: bytes, *, ask: Ask, hint: str, is_anonymous: bool = False
) -> AisleError:
    """The error that an answer means; `hint` says what to do where access is denied."""
    told_code, message = _told(body)
    code = fields.get("x-ms-error-code") or told_code
    text = f"{ask.shown}: {code or status}{f': {message}' if message else ''}"
    # Who is nobody is told that there is nothing where there is something that is not public.
    is_hidden = is_anonymous and code == "ResourceNotFound"
    if status in (401, 403) or code in _DENIED or is_hidden:
        return SourceDenied(f"{text} ({hint})")
    if code in _NO_CONTAINER or (not ask.key and (status == 404 or code in _NO_NAME)):
        return BucketNotFound(f"az://{ask.bucket}")
    if status == 404:
        insists = ask.method == "PUT" and any(name == "If-Match" for name, _ in ask.headers)
        return ConditionFailed(text) if insists else ObjectNotFound(ask.shown)
    if code in _CONDITION or (status == 412 and not code):
        is_read = ask.method in ("GET", "HEAD")
        return SourceChanged(f"{ask.shown} has changed") if is_read else ConditionFailed(text)
    wait_s = retry_after_s(fields.get("retry-after", ""))
    if status in (429, 503):
        return SourceThrottled(text, status=status, retry_after_s=wait_s)
    if status in (500, 502, 504, 408):
        return SourceUnreachable(text, status=status, retry_after_s=wait_s)
    advice = f" ({_HINTS[code]})" if code in _HINTS else ""
    return SourceFailed(f"{text}{advice}", status=status)


def _told(body: bytes) -> tuple[str, str]:
    """Code and message of an error's document, empty where there is none."""
    try:
        document = parse_document(body, "Error") if body else None
    except SourceFailed:
        return "", ""
    if document is None:
        return "", ""
    # Behind the sentence come the request's id and the time, each on a line of its own.
    message = (document.findtext("Message") or "").partition("\n")[0].strip()
    return document.findtext("Code") or "", message[:_MESSAGE_CHARS_MAX]
