"""Asking web servers about files: redirects followed, and what answers mean."""

from typing import Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from aisle.backends.answer_fields import http_time_ns, retry_after_s
from aisle.backends.provider import RemoteObject
from aisle.errors import (
    AisleError,
    BadRequest,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)
from aisle.rules.download_names import is_packed, normal_link, public_link
from aisle.rules.download_reply import REDIRECTS, Reply, read_reply
from aisle.transfer.exchange import Answered, Exchanges, Outgoing

REDIRECTS_MAX: Final = 10
_DIGESTS: Final = frozenset({"crc32", "crc32c", "crc64nvme", "md5", "sha1", "sha256", "sha512"})
_TEMPORARY: Final = frozenset({408, 500, 502, 503, 504})


class Reached(NamedTuple):
    """An answer that is no redirect, and where it came from."""

    answered: Answered
    link: str

    @property
    def shown(self) -> str:
        """The link, fit to be shown."""
        return public_link(self.link)

    @property
    def is_folder(self) -> bool:
        """Whether it is about a folder."""
        return urlsplit(self.link).path.endswith("/")


class Asking(NamedTuple):
    """Asks for links, and for those that they lead to; each passes the guard of the connections."""

    exchanges: Exchanges

    async def ask(self, method: str, link: str, headers: tuple[tuple[str, str], ...] = ()) -> Reached:
        """The answer in the end. Raises what `Exchanges.send` does, and SourceFailed for bad redirects."""
        first = link
        for _ in range(REDIRECTS_MAX + 1):
            answered = await self.exchanges.send(Outgoing(method, link, headers))
            location = answered.fields.get("location", "")
            if answered.status not in REDIRECTS or not location:
                return Reached(answered, link)
            answered.close()
            try:
                following = normal_link(urljoin(link, location)).partition("#")[0]
            except (BadRequest, ValueError) as error:
                raise SourceFailed(f"{public_link(link)} redirects to something else: {error}") from error
            if link.startswith("https:") and not following.lower().startswith("https:"):
                raise SourceFailed(f"{public_link(link)} redirects to {public_link(following)}, without TLS")
            link = following
        raise SourceFailed(f"{public_link(first)}: too many redirects")


def is_gone(status: int) -> bool:
    """Whether a status says that there is nothing."""
    return status in (404, 410)


def about_of(key: str, reached: Reached) -> RemoteObject:
    """What a good answer tells about an object.

    Raises SourceFailed if it does not tell the size, or sends the object in another form.
    """
    fields = reached.answered.fields
    reply = _reply(reached)
    if reply.encoded and not is_packed(reached.link):
        raise SourceFailed(f"{reached.shown}: the source sends it as {fields['content-encoding']} only")
    is_part = reached.answered.status == 206
    told = fields.get("content-range", "").rpartition("/")[2] if is_part else fields.get("content-length", "")
    if not (told.isascii() and told.isdigit()):
        raise SourceFailed(f"{reached.shown}: the source does not tell how large it is")
    size, modified_ns = int(told), http_time_ns(fields.get("last-modified", ""))
    tag = fields.get("etag", "")
    etag = "" if tag.startswith("W/") else tag.strip('"')
    if not etag and modified_ns:
        etag = f"{modified_ns // 1_000_000_000:x}-{size:x}"
    return RemoteObject(
        key,
        size,
        version=etag,
        etag=etag,
        modified_ns=modified_ns,
        digests={kind: text for kind, text in reply.announced().items() if kind in _DIGESTS},
        content_type=fields.get("content-type", ""),
    )


def _reply(reached: Reached) -> Reply:
    """The answer's head as downloads understand it."""
    told = (f"{name}: {text}\r\n" for name, text in reached.answered.fields.items())
    lines = (f"HTTP/1.1 {reached.answered.status} \r\n", *told)
    return read_reply([line.encode("latin-1", "replace") for line in lines])


def first_byte(reached: Reached) -> int:
    """Number of the first byte that an answer brings. Raises SourceFailed if it does not tell."""
    if reached.answered.status != 206:
        return 0
    unit, _, span = reached.answered.fields.get("content-range", "").partition(" ")
    first = span.partition("-")[0].strip()
    if unit.lower() != "bytes" or not (first.isascii() and first.isdigit()):
        raise SourceFailed(f"{reached.shown}: the source does not tell which range it sends")
    return int(first)


def failure_of(reached: Reached) -> AisleError:
    """The error that a bad answer means."""
    status, fields = reached.answered.status, reached.answered.fields
    text = f"{reached.shown}: status {status}"
    wait_s = retry_after_s(fields.get("retry-after", ""))
    if status in (401, 403, 407):
        return SourceDenied(text)
    if status == 429:
        return SourceThrottled(text, status=status, retry_after_s=wait_s)
    if status in _TEMPORARY:
        return SourceUnreachable(text, status=status, retry_after_s=wait_s)
    return SourceFailed(text, status=status)
