"""A source's answer: what its head says, and what follows from it for an item.

Nothing is stored of an answer that is not the object: error pages, unexpected ranges, other
versions. An attempt that continues an earlier one names what it has seen before (a `Resume`); an
answer that does not continue exactly that starts the item again.
"""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

from aisle.rules.download_names import public_link

_CONTENT_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)")
# Algorithm names of `Digest` (RFC 3230), `Repr-Digest` (RFC 9530) and `x-goog-hash` that we check.
_ALGORITHMS = {"md5": "md5", "sha": "sha1", "sha-256": "sha256", "sha-512": "sha512"}
_FIELDS = (
    "Content-Length",
    "Content-Type",
    "Content-Range",
    "Content-Encoding",
    "Content-MD5",
    "Digest",
    "Repr-Digest",
    "x-goog-hash",
    "x-goog-generation",
    "x-amz-version-id",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
)
# In the usual case first: most servers write it so, and it needs no lowering.
_WANTED = {spelling.encode(): name for name in _FIELDS for spelling in (name, name.lower())}
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ContentRange(NamedTuple):
    """What part a 206 answer carries, in bytes; `total` is None when the source does not know."""

    first: int
    last: int
    total: int | None


class Reply(NamedTuple):
    """The head of an answer: its status, and the fields that matter to us, by their usual names."""

    status: int
    fields: dict[str, str]

    @property
    def length(self) -> int | None:
        """Bytes that the body announces, if it does."""
        text = self.fields.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def etag(self) -> str:
        """The entity tag as it came, with its quotes, or empty."""
        return self.fields.get("ETag", "")

    @property
    def encoded(self) -> bool:
        """Whether the body is encoded (`gzip`, …): its length and digests then are not the object's."""
        return self.fields.get("Content-Encoding", "identity").lower() not in ("identity", "")

    @property
    def validator(self) -> str:
        """What `If-Range` may carry: a strong entity tag, else the date, else empty."""
        etag = self.etag
        if etag and not etag.startswith("W/"):
            return etag
        return self.fields.get("Last-Modified", "")

    @property
    def content_range(self) -> ContentRange | None:
        """What part of the object the body is, if it says so in a way we can read."""
        match = _CONTENT_RANGE.fullmatch(self.fields.get("Content-Range", "").strip())
        if match is None:
            return None
        total = None if match[3] == "*" else int(match[3])
        return ContentRange(int(match[1]), int(match[2]), total)

    def digests(self) -> dict[str, str]:
        """Digests of the whole object that the source announces: lower-case hex by kind."""
        fields = self.fields
        if fields.keys().isdisjoint(_DIGEST_FIELDS) or self.encoded:
            return {}
        found: dict[str, str] = {}
        for field, read in _DIGEST_FIELDS.items():
            # Content-MD5 is about this body, the others are about the whole object.
            if field in fields and (field != "Content-MD5" or self.status == 200):
                found.update(read(fields[field]))
        return found


class Resume(NamedTuple):
    """What an attempt continues: so many bytes of the object that this validator stands for."""

    offset: int
    validator: str
    etag: str
    total: int | None


class Start(NamedTuple):
    """Take the body: it begins at `offset`, and the object will have `total` bytes, if known."""

    offset: int
    total: int | None


class Again(Enum):
    """Drop what there is and ask for the whole object."""

    FROM_ZERO = "from zero"


class Refused(NamedTuple):
    """Take nothing: the answer is not the object."""

    message: str


Verdict = Start | Again | Refused


def read_reply(lines: Sequence[bytes]) -> Reply:
    """The head in these lines; of several (an interim answer came first) the last one."""
    status = 0
    fields: dict[str, str] = {}
    for line in lines:
        known = _known.get(line)
        if known is None:
            known = _take_apart(line)
        name, text = known
        if not name:
            continue
        if name is _STATUS:
            status = int(text) if text.isdigit() else 0
            fields = {}
        else:
            fields[name] = f"{fields[name]}, {text}" if name in fields else text
    return Reply(status, fields)


# A server's answers differ in few lines. Those that come again (Server, Content-Type, the status) are
# known whole, so that thousands of answers a second need not take them apart again.
_known: dict[bytes, tuple[str, str]] = {}
_KNOWN_MAX = 512
_KNOWN_LINE_BYTES_MAX = 256
_STATUS = "status"
_COMING_AGAIN = frozenset(
    {"", _STATUS, "Content-Length", "Content-Type", "Content-Encoding", "Last-Modified"}
)


def _take_apart(line: bytes) -> tuple[str, str]:
    """A line's field and value; the status line is one too, what does not matter has no name."""
    name, colon, value = line.partition(b":")
    wanted = _WANTED.get(name) or _WANTED.get(name.lower()) if colon else None
    if wanted is not None:
        found = wanted, value.strip().decode("latin-1")
    elif name.startswith(b"HTTP/"):
        words = line.split(None, 2)
        found = _STATUS, words[1].decode("latin-1") if len(words) > 1 and words[1].isdigit() else ""
    else:
        found = "", ""
    if found[0] in _COMING_AGAIN and len(line) <= _KNOWN_LINE_BYTES_MAX:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        _known[line] = found
    return found


def judge(reply: Reply, *, link: str, resume: Resume | None) -> Verdict:
    """What to do with an answer's body; `link` is only named in messages, fit to be shown."""
    if reply.status == 200:
        return Start(0, None if reply.encoded else reply.length)
    if reply.status == 206 and resume is not None:
        return _continued(reply, resume)
    if reply.status in (412, 416) and resume is not None:
        return Again.FROM_ZERO
    if reply.status == 404:
        return Refused(f"ErrNotFound: {public_link(link)} does not exist")
    return Refused(f"failed to download {public_link(link)}: status {reply.status}")


def _continued(reply: Reply, resume: Resume) -> Verdict:
    part = reply.content_range
    if part is None or part.first != resume.offset or reply.encoded:
        return Again.FROM_ZERO
    if reply.etag and resume.etag and reply.etag != resume.etag:
        return Again.FROM_ZERO
    if resume.total is not None and part.total is not None and part.total != resume.total:
        return Again.FROM_ZERO
    return Start(part.first, part.total if part.total is not None else resume.total)


def _hex(text: str) -> str | None:
    try:
        return base64.b64decode(text.strip(), validate=True).hex()
    except binascii.Error:
        return None


def _content_md5(text: str) -> dict[str, str]:
    digest = _hex(text)
    return {"md5": digest} if digest and len(digest) == 32 else {}


def _named(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for piece in text.split(","):
        name, _, value = piece.strip().partition("=")
        kind = _ALGORITHMS.get(name.strip().lower())
        digest = _hex(value.strip().strip(":"))  # RFC 9530 writes :base64:
        if kind is not None and digest:
            found[kind] = digest
    return found


_DIGEST_FIELDS: dict[str, Callable[[str], dict[str, str]]] = {
    "Content-MD5": _content_md5,
    "Digest": _named,
    "Repr-Digest": _named,
    "x-goog-hash": _named,
}
