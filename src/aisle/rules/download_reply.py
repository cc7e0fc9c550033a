"""A source's answer: what its head says, and what follows from it for an item.

Nothing is stored of an answer that is not the object: error pages, unexpected ranges, other
versions, another size than the item must have. An attempt that continues an earlier one names what it
has seen before (a `Resume`); an answer that does not continue exactly that starts the item again. One
that asked whether the object in the bucket is still the source's names that (a `Known`).
"""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import NamedTuple

import msgspec

from aisle.rules import download_digests
from aisle.rules.backoff import wished_wait
from aisle.rules.download_names import public_link
from aisle.rules.download_unchanged import Known, is_confirmed, is_the_same

_DIGITS_MAX = 18
"""More digits than any size in bytes has."""
_CONTENT_RANGE = re.compile(
    rf"bytes\s+(\d{{1,{_DIGITS_MAX}}})-(\d{{1,{_DIGITS_MAX}}})/(\d{{1,{_DIGITS_MAX}}}|\*)"
)
_FIELDS = (
    *download_digests.FIELDS,
    "Content-Length",
    "Content-Type",
    "Content-Range",
    "Content-Encoding",
    "x-goog-generation",
    "x-amz-version-id",
    "ETag",
    "Last-Modified",
    "Location",
    "Retry-After",
    "RateLimit",
    "Server",
    "Transfer-Encoding",
    "Connection",
    "X-Error-Message",
)
# In the usual case first: most servers write it so, and it needs no lowering.
_WANTED = {spelling.encode(): name for name in _FIELDS for spelling in (name, name.lower())}
# The commit of a model or dataset comes first: the store that its hub redirects to has versions of its own.
VERSIONS = ("X-Repo-Commit", "x-goog-generation", "x-amz-version-id")
_REASON_CHARS_MAX = 300
_SPECIAL = download_digests.TRIGGERS | {
    "Content-Encoding",
    "Content-Range",
    "Transfer-Encoding",  # then the body has no bounds, whatever its length is said to be
    *VERSIONS,
}
REDIRECTS = frozenset({301, 302, 303, 307, 308})


class ContentRange(NamedTuple):
    """What part a 206 answer carries, in bytes; `total` is None when the source does not know."""

    first: int
    last: int
    total: int | None


class Wanted(NamedTuple):
    """What the item must be, whatever its source says."""

    checksum: str = ""
    """`KIND:HEX`, or empty if any bytes will do."""
    size: int = -1
    """Bytes, -1 if any size will do."""


_ANYTHING = Wanted()


class Reply(msgspec.Struct, frozen=True, gc=False):
    """The head of an answer: its status, and the fields that matter to us, by their usual names."""

    status: int
    fields: dict[str, str]
    wanted: Wanted = _ANYTHING

    @property
    def length(self) -> int | None:
        """Bytes that the body announces, if it does."""
        text = self.fields.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None

    @property
    def told_size(self) -> int | None:
        """Bytes of the whole object as the source tells them, if it does."""
        if self.encoded:
            return None
        if self.status == 206:
            part = self.content_range
            return part.total if part else None
        return self.length if self.status == 200 else None

    @property
    def size(self) -> int | None:
        """Bytes of the whole object, as far as its source or the item tells."""
        told = self.told_size
        return self.wanted.size if told is None and self.wanted.size >= 0 else told

    @property
    def retry_after(self) -> str:
        """When it says to come again, as `Retry-After` has it; empty if it does not."""
        return wished_wait(self.fields)

    @property
    def etag(self) -> str:
        """The entity tag as it came, with its quotes, or empty."""
        return self.fields.get("ETag", "")

    @property
    def encoded(self) -> bool:
        """Whether the body is encoded (`gzip`, …): its length and digests then are not the object's."""
        encoding = self.fields.get("Content-Encoding")
        return encoding is not None and encoding.lower() not in ("identity", "")

    @property
    def validator(self) -> str:
        """What `If-Range` may carry: a strong entity tag, else the date, else empty."""
        etag = self.etag
        if etag and not etag.startswith("W/") and etag.isascii():
            return etag
        modified = self.fields.get("Last-Modified", "")
        return modified if modified.isascii() else ""

    @property
    def content_range(self) -> ContentRange | None:
        """What part of the object the body is, if it says so in a way we can read."""
        match = _CONTENT_RANGE.fullmatch(self.fields.get("Content-Range", "").strip())
        if match is None:
            return None
        total = None if match[3] == "*" else int(match[3])
        return ContentRange(int(match[1]), int(match[2]), total)

    def announced(self) -> dict[str, str]:
        """Digests of the whole object that the source announces: lower-case hex by kind."""
        fields = self.fields
        # Asked of every small object: most sources announce nothing.
        if fields.keys().isdisjoint(download_digests.TRIGGERS) or self.encoded:
            return {}
        return download_digests.announced(fields, status=self.status, size=self.size)

    def digests(self) -> dict[str, str]:
        """What the object is checked against, lower-case hex by kind: the item's own digest decides.

        Without one it is the cheapest that the source announces; empty if there is nothing to check.
        """
        if self.wanted.checksum:
            return download_digests.wanted_digest(self.wanted.checksum, self.size)
        found = self.announced()
        return download_digests.to_check(found) if len(found) > 1 else found


class Resume(NamedTuple):
    """What an attempt continues: so many bytes of the object that this validator stands for."""

    offset: int
    validator: str
    etag: str
    total: int | None


class Start(msgspec.Struct, frozen=True):
    """Take the body: it begins at `offset`, and the object will have `total` bytes, if known."""

    offset: int
    total: int | None


class Again(Enum):
    """Drop what there is and ask for the whole object."""

    FROM_ZERO = "from zero"


class Unchanged(Enum):
    """Take nothing: the object in the bucket is what the source has."""

    IS = "unchanged"


class Refused(NamedTuple):
    """Take nothing: the answer is not the object."""

    message: str
    may_pass: bool = False
    """Whether another attempt may get another answer, whatever its status says."""


Verdict = Start | Again | Unchanged | Refused


class Earlier(msgspec.Struct, frozen=True):
    """What the same link has given before: an object of so many bytes, if that was known, of this type."""

    size: int | None
    content_type: str


def read_reply(lines: Sequence[bytes]) -> Reply:
    """The head in these lines; of several (an interim answer came first) the last one."""
    return _reply_of(list(filter(None, map(_line, lines))))


def read_clear_reply(head: bytes) -> Reply | None:
    """A head without its last line break; None if somebody else might find something else in it.

    That is one with other line breaks than CR LF, with NUL, with lines that are no fields (RFC 9112 §5), or
    with a status after which something else than HTTP follows.
    """
    lines = head.split(b"\r\n")
    try:
        told = _clear_status(lines[0]), *map(_clear_line, lines[1:])
    except ValueError:
        return None
    return _reply_of(list(filter(None, told)))


def _reply_of(found: list[tuple[str, str]]) -> Reply:
    fields = dict(found)
    if len(fields) < len(found) or not found or found[0][0] is not _STATUS:
        return _read_unusual(found)
    return Reply(int(fields.pop(_STATUS)), fields)


def _read_unusual(found: Sequence[tuple[str, str]]) -> Reply:
    """The head of which this was found, with fields that came more than once, or another head before it."""
    status = 0
    fields: dict[str, str] = {}
    for name, text in found:
        if name is _STATUS:
            status, fields = int(text), {}
        else:
            fields[name] = f"{fields[name]}, {text}" if name in fields else text
    return Reply(status, fields)


_STATUS = "status"
_KNOWN_MAX = 512
_KNOWN_LINE_BYTES_MAX = 256
_COMING_AGAIN = frozenset(
    {_STATUS, "Content-Length", "Content-Type", "Content-Encoding", "Last-Modified", "Connection"}
)


class _Lines(dict[bytes, tuple[str, str] | None]):
    """What lines say: a field and its value, or the status; None if it does not matter.

    A server's answers differ in few lines. Those that come again (Server, Content-Type, the status) are known
    whole, so that thousands of answers a second need not take them apart again.
    """

    def __missing__(self, line: bytes) -> tuple[str, str] | None:
        found = _take_apart(line)
        if (found is None or found[0] in _COMING_AGAIN) and len(line) <= _KNOWN_LINE_BYTES_MAX:
            if len(self) >= _KNOWN_MAX:
                self.clear()
            self[line] = found
        return found


class _ClearLines(_Lines):
    """The same of lines of one kind. Others raise ValueError: none of them is known."""

    def __init__(self, kind: re.Pattern[bytes]) -> None:
        super().__init__()
        self._kind = kind

    def __missing__(self, line: bytes) -> tuple[str, str] | None:
        if not self._kind.fullmatch(line):
            raise ValueError("another kind of line")
        return super().__missing__(line)


_known = _Lines()
_line = _known.__getitem__
_clear_status = _ClearLines(re.compile(rb"HTTP/1\.[01] (?!101)[1-9][0-9]{2}(?: [^\r\n\0]*)?")).__getitem__
_clear_line = _ClearLines(re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\r\n\0]*")).__getitem__


def _take_apart(line: bytes) -> tuple[str, str] | None:
    name, colon, value = line.partition(b":")
    wanted = _WANTED.get(name) or _WANTED.get(name.lower()) if colon else None
    if wanted is not None:
        text = value.strip().decode("latin-1")
        return (wanted, text) if wanted not in _RARELY or _matters(wanted, text) else None
    if name.startswith(b"HTTP/"):
        words = line.split(None, 2)
        is_status = len(words) > 1 and len(words[1]) == 3 and words[1].isdigit()
        return _STATUS, words[1].decode("latin-1") if is_status else "0"
    return None


_RARELY = frozenset({"Server", "Connection"})


def _matters(name: str, value: str) -> bool:
    """Whether a field that most servers send says what few do."""
    return value == "AmazonS3" if name == "Server" else "close" in value.lower()


def is_plain_object(reply: Reply) -> bool:
    """Whether an answer to an unconditional request is the whole object as it is, and announces no digest."""
    fields = reply.fields
    return reply.status == 200 and fields.keys().isdisjoint(_SPECIAL)


def judge(
    reply: Reply,
    *,
    link: str,
    resume: Resume | None,
    known: Known | None = None,
    earlier: Earlier | None = None,
) -> Verdict:
    """What to do with an answer's body; `link` is only named in messages, fit to be shown.

    `known` is the object that the request asked about (If-None-Match and its like), if it did.
    """
    if reply.status == 200:
        if known is not None and not reply.encoded and is_the_same(reply.fields, reply.length, known):
            return Unchanged.IS
        return _whole(reply, link, earlier, is_resumed=resume is not None)
    if reply.status == 304 and known is not None:
        return Unchanged.IS if is_confirmed(reply.fields, known) else Again.FROM_ZERO
    if reply.status == 206 and resume is not None:
        return _continued(reply, resume)
    if reply.status in (412, 416) and resume is not None:
        return Again.FROM_ZERO
    if reply.status == 404:
        return Refused(f"ErrNotFound: {public_link(link)} does not exist")
    return Refused(f"failed to download {public_link(link)}: status {reply.status}{_reason(reply)}")


def _reason(reply: Reply) -> str:
    """Why, in the server's words: the Hugging Face hub says which terms are to be accepted, or the like."""
    text = reply.fields.get("X-Error-Message", "")
    return f" ({text[:_REASON_CHARS_MAX]})" if text and text.isprintable() else ""


def carried(fields: Mapping[str, str]) -> dict[str, str]:
    """What an answer that redirects says about the object that is elsewhere."""
    if fields.keys().isdisjoint(download_digests.CARRIED):
        return {}
    return {name: fields[name] for name in download_digests.CARRIED if name in fields}


def _whole(reply: Reply, link: str, earlier: Earlier | None, *, is_resumed: bool) -> Start | Refused:
    length = None if reply.encoded else reply.length
    for size in (reply.wanted.size, download_digests.linked_size(reply.fields)):
        if size is None or size < 0 or length is None or length == size:
            continue
        shown = public_link(link)
        if _is_page(reply.fields.get("Content-Type", "")):
            return Refused(_page_instead(shown, length, size))
        return Refused(f"failed to download {shown}: it has {length} bytes, it should have {size}")
    if earlier is not None and _is_page_instead(reply, earlier):
        # In the middle of an object it was there a moment ago.
        return Refused(_page_instead(public_link(link), length, earlier.size), may_pass=is_resumed)
    return Start(0, length)


def _is_page_instead(reply: Reply, earlier: Earlier) -> bool:
    """Whether a page came where an object of another type and size was before."""
    return (
        _is_page(reply.fields.get("Content-Type", ""))
        and bool(earlier.content_type)
        and not _is_page(earlier.content_type)
        and (reply.encoded or reply.length is None or reply.length != earlier.size)
    )


def _is_page(content_type: str) -> bool:
    return content_type.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")


def _page_instead(shown: str, length: int | None, size: int | None) -> str:
    page = "an HTML page" if length is None else f"an HTML page of {length} bytes"
    file = "the file" if size is None else f"the file of {size} bytes"
    return f"failed to download {shown}: the server sent {page} instead of {file}, an error page or a login"


def page_note(reply: Reply) -> str:
    """What to add to an error about bytes that are not the object's; empty unless a page came."""
    is_page = _is_page(reply.fields.get("Content-Type", ""))
    return ": the server sent an HTML page, an error page or a login" if is_page else ""


def _continued(reply: Reply, resume: Resume) -> Verdict:
    part = reply.content_range
    if part is None or part.first != resume.offset or reply.encoded:
        return Again.FROM_ZERO
    if reply.etag and resume.etag and reply.etag != resume.etag:
        return Again.FROM_ZERO
    modified = reply.fields.get("Last-Modified", "")
    # Not every server that gives ranges knows If-Range. Where only a date can be sent, it is compared here.
    if modified and resume.validator not in (resume.etag, modified):
        return Again.FROM_ZERO
    if resume.total is not None and part.total is not None and part.total != resume.total:
        return Again.FROM_ZERO
    return Start(part.first, part.total if part.total is not None else resume.total)
