"""Sending signed requests on to where their bucket is, word for word.

A signature that nobody here can check is worth what its source makes of it. So nothing of a request that
may be signed is changed, and it goes to a place that follows from the bucket's configuration. What the
request itself says about hosts can only choose among those places.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes

from aisle.api.bodies import INERT
from aisle.api.s3.call import S3Call
from aisle.api.s3.errors import S3Error
from aisle.api.s3.origins import Origin, OriginOf, is_at, places_of_bucket
from aisle.api.urls import parse_query
from aisle.backends.provider import close_chunks
from aisle.backends.visited import VIA_FIELD, visited
from aisle.errors import AisleError, SourceFailed
from aisle.httpd.delivery import BrokenAnswer
from aisle.httpd.request import Request
from aisle.httpd.response import Response, StreamBody
from aisle.model.bucket import BucketInfo
from aisle.rules.s3_places import STYLES, Place
from aisle.transfer.exchange import Answered, Outgoing

STYLE_FIELD: Final = "ais-s3-signed-request-style"
"""Says how the host of a request was addressed when it was signed (ais-downloader-backends-s3.md §4.6)."""

_OF_CONNECTIONS: Final = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_SENT: Final = _OF_CONNECTIONS | {"expect", "host", STYLE_FIELD, VIA_FIELD}
_ENCODING: Final = "accept-encoding"
_NOT_PASSED: Final = _OF_CONNECTIONS | {"date", "server", "x-amz-request-id", "x-request-id"}
_URL_SAFE: Final = "%/:@!$&'()*+,;=-._~?"
_REFUSAL_BYTES_MAX: Final = 1024 * 1024
_OTHER_PLACE: Final = b"SignatureDoesNotMatch"
_SIGNED_FIELDS: Final = re.compile(r"SignedHeaders=([A-Za-z0-9;_.-]*)")
_REMEMBERED_MAX: Final = 1024

Fields = Sequence[tuple[str, str]]


class Reply(NamedTuple):
    """What a source answers. `rest` gives the body, unless it had to be read: then it is `body`."""

    status: int
    fields: Mapping[str, str]
    body: bytes = b""
    rest: Answered | None = None

    def close(self) -> None:
        """Nothing more of it is wanted."""
        if self.rest is not None:
            self.rest.close()


class Chunks:
    """The bytes of an answer; what they hold is given back even if nobody begins to read them."""

    def __init__(self, chunks: AsyncGenerator[bytes, None], close: Callable[[], None]) -> None:
        """`close` gives it back, and is harmless when that was done before."""
        self._chunks = chunks
        self._close = close

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._chunks)

    async def aclose(self) -> None:
        """Nobody wants the rest."""
        try:
            await self._chunks.aclose()
        finally:
            self._close()


class SignedRequests:
    """Sends the requests of one process."""

    def __init__(self, origin_of: OriginOf, *, cluster_id: str) -> None:
        self._origin_of = origin_of
        self._cluster_id = cluster_id
        self._worked: dict[int, Place] = {}
        """The places that signatures were good for, by number of bucket."""

    async def send(
        self, call: S3Call, body: AsyncIterator[bytes] | bytes = b"", *, length: int = 0, further: Fields = ()
    ) -> Reply:
        """What the source of the call's bucket says to its request.

        Where nothing tells what place it was signed for, each is tried as long as the source finds that it
        was another one and the body can be sent again. Raises what `Exchanges.send` raises, S3Error for
        a style that there is not.
        """
        origin = self._origin_of(call.bucket())
        places = self._places(call, origin)
        fields = (*_fields_sent(call.request), *further)
        if origin.endpoint:
            # It may be a cluster of ours that passes on, too: a circle must end.
            fields = (*fields, (VIA_FIELD, ",".join((*visited.get(), self._cluster_id))))
        for number, place in enumerate(places):
            target = _target(place, call.request)
            link = f"{place.base}{target}"
            outgoing = Outgoing(call.request.method, link, fields, body, length, target)
            answered = await origin.exchanges.send(outgoing)
            if answered.status != 403:
                self._note(call.bucket(), place)
                break
            if number + 1 == len(places) or not isinstance(body, bytes):
                break
            refusal = await answered.read(_REFUSAL_BYTES_MAX)
            if refusal and _OTHER_PLACE not in refusal:
                return Reply(answered.status, answered.fields, refusal)
        return Reply(answered.status, answered.fields, rest=answered)

    def _note(self, info: BucketInfo, place: Place) -> None:
        if len(self._worked) >= _REMEMBERED_MAX:
            self._worked.clear()
        self._worked[info.number] = place

    def _places(self, call: S3Call, origin: Origin) -> list[Place]:
        """Where the request may have been signed for, the likely place first. Never empty."""
        info = call.bucket()
        found = places_of_bucket(info, origin)
        host = call.headers.get("host", "")
        if named := [place for place in found if is_at(place, host)]:
            return named
        style = call.headers.get(STYLE_FIELD)
        if style is not None and style not in STYLES:
            raise S3Error("InvalidRequest", f"{STYLE_FIELD} must be {' or '.join(STYLES)}")
        usual = [place for place in found if place.is_usual and style in (None, place.style)]
        if not usual:
            raise S3Error("InvalidRequest", f"the source of {call.name} cannot be addressed by {style} style")
        worked = self._worked.get(info.number)
        return sorted(usual, key=lambda place: place != worked)


def passed_on(reply: Reply, request: Request) -> Response:
    """A source's answer as the client gets it."""
    fields = fields_passed(reply.fields)
    told = reply.fields.get("content-length", "")
    length = int(told) if told.isascii() and told.isdecimal() else None
    if request.method == "HEAD" or reply.status in (204, 304):
        reply.close()
        is_told = request.method == "HEAD" and reply.status != 304
        return Response(reply.status, fields, length=length if is_told else None)
    if reply.rest is None:
        return Response(reply.status, fields, reply.body)
    chunks = Chunks(unbroken(reply.rest.chunks()), reply.close)
    return Response(reply.status, fields, StreamBody(chunks, length))


def fields_passed(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """The fields of a source's answer that are not about its connection, and what keeps it inert here."""
    return [*(pair for pair in fields.items() if pair[0] not in _NOT_PASSED), *INERT]


async def unbroken(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same chunks; what fails breaks the answer off."""
    try:
        async for chunk in chunks:
            yield chunk
    except AisleError as error:
        raise BrokenAnswer(str(error)) from error
    finally:
        await close_chunks(chunks)


def _target(place: Place, request: Request) -> str:
    """Path and query at a place; what follows the bucket is as it came."""
    path = _quoted(place.root + _behind_bucket(request.path) or b"/")
    if not path.startswith("/"):
        raise SourceFailed(f"{place.base} is no place for {path[:80]}")  # it would change the host
    return f"{path}?{_quoted(request.query)}" if request.query else path


def _quoted(raw: bytes) -> str:
    return quote_from_bytes(raw, safe=_URL_SAFE)


def _behind_bucket(path: bytes) -> bytes:
    """What stands behind the bucket in a path, with its slash, as it was sent."""
    inner = path[3:] if path.startswith(b"/s3/") else path
    slash = inner.find(b"/", 1)
    return inner[slash:] if slash >= 0 else b""


def _fields_sent(request: Request) -> list[tuple[str, str]]:
    fields = [pair for pair in request.headers.items() if pair[0] not in _NOT_SENT and pair[0][:1] != ":"]
    if _ENCODING in request.headers and _ENCODING not in signed_fields(request):
        # What goes by may be kept, so it is wanted as it is.
        fields = [pair for pair in fields if pair[0] != _ENCODING]
    return fields


def signed_fields(request: Request) -> frozenset[str]:
    """The header fields that a signature says to cover."""
    found = _SIGNED_FIELDS.search(request.headers.get("authorization", ""))
    names = found[1] if found else parse_query(request.query).get("X-Amz-SignedHeaders", "")
    return frozenset(names.lower().split(";"))
