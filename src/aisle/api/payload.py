"""Bodies as Amazon's clients send them: what `x-amz-content-sha256` promises of them is verified.

The field holds the body's SHA-256, or a word: that it is not signed, or that it comes in chunks which
may each be signed and be followed by fields such as checksums. Readers get the payload alone, and an
error instead of its end if it is not what was promised: nothing that they keep before is whole.
"""

import hmac
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

from aisle.errors import BadRequest, BodyTooLarge, SignedHashMismatch, Unsupported
from aisle.httpd.request import NO_BODY, BodyStream, Request
from aisle.rules.signatures import Seal
from aisle.rules.signatures_chunks import ChunkDecoder
from aisle.rules.signatures_v4 import EMPTY_SHA256, UNSIGNED_PAYLOAD

CONTENT_HASH_FIELD: Final = "x-amz-content-sha256"
STREAMING: Final = "STREAMING-"

_SIGNED_CHUNKS: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_UNSIGNED_CHUNKS: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
_ASYMMETRIC_CHUNKS: Final = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
_TRAILER: Final = "-TRAILER"
_MODES: Final = frozenset(
    {
        _SIGNED_CHUNKS,
        _SIGNED_CHUNKS + _TRAILER,
        _UNSIGNED_CHUNKS,
        _ASYMMETRIC_CHUNKS,
        _ASYMMETRIC_CHUNKS + _TRAILER,
    }
)
_HEX_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")
_LENGTH: Final = re.compile(r"[0-9]{1,15}")
_NO_TRAILERS: Final[Mapping[str, str]] = {}


def verified_body(request: Request, seal: Seal | None = None) -> BodyStream:
    """The request's body as its reader wants it: without framing, and verified at its end.

    A body that is verified already, or about which nothing is promised, comes back as it is. Raises
    BadRequest for a promise that cannot be understood, Unsupported for signatures of a kind that
    cannot be verified here.
    """
    body = request.body
    if isinstance(body, HashedBody | ChunkedBody):
        return body
    seal = seal or request.seal
    promise = request.headers.get(CONTENT_HASH_FIELD) or UNSIGNED_PAYLOAD
    if seal is not None and seal.payload_hash not in ("", UNSIGNED_PAYLOAD):
        # A presigned request may be given that field by whoever sends it: what was signed counts.
        promise = seal.payload_hash
    if promise == UNSIGNED_PAYLOAD or (body is NO_BODY and promise == EMPTY_SHA256):
        return body
    if promise in _MODES:
        return _chunked(request, body, promise, seal)
    if _HEX_SHA256.fullmatch(promise):
        return HashedBody(body, promise.lower())
    raise BadRequest(
        f"{CONTENT_HASH_FIELD} must be {UNSIGNED_PAYLOAD}, {_SIGNED_CHUNKS}, {_UNSIGNED_CHUNKS} "
        f"or a SHA-256 in hexadecimal digits, not {promise[:80]!r}"
    )


def raw_body(body: BodyStream) -> BodyStream:
    """A body as it comes, with its framing, of which nothing has been read."""
    return body.source if isinstance(body, HashedBody | ChunkedBody) else body


def trailers_of(body: BodyStream) -> Mapping[str, str]:
    """The fields that followed a body, by lower-case name; complete when its end has been read."""
    return body.trailers if isinstance(body, ChunkedBody) else _NO_TRAILERS


def _chunked(request: Request, body: BodyStream, mode: str, seal: Seal | None) -> "ChunkedBody":
    if mode == _UNSIGNED_CHUNKS:
        seal = None
    elif seal is not None and mode.startswith(_ASYMMETRIC_CHUNKS):
        raise Unsupported("chunks with asymmetric signatures cannot be verified here")
    announced = request.headers.get("x-amz-trailer", "") if mode.endswith(_TRAILER) else ""
    names = [name.strip().lower() for name in announced.split(",") if name.strip()]
    length = request.headers.get("x-amz-decoded-content-length")
    if length is not None and not _LENGTH.fullmatch(length):
        raise BadRequest("x-amz-decoded-content-length must be a number of bytes")
    payload_length = None if length is None else int(length)
    return ChunkedBody(body, ChunkDecoder(seal=seal, announced=names, length=payload_length), payload_length)


class HashedBody:
    """A body whose SHA-256 is known beforehand; implements `BodyStream`."""

    __slots__ = ("_expected", "_hash", "_is_over", "length", "source")

    length: int | None

    def __init__(self, source: BodyStream, expected: str) -> None:
        self.length = source.length
        self.source = source
        self._expected = expected
        self._hash = sha256()
        self._is_over = False

    async def read(self) -> bytes:
        """See `BodyStream.read`. Raises SignedHashMismatch in place of the end."""
        piece = await self.source.read()
        self._hash.update(piece)
        if not piece:
            self._check()
        return piece

    async def read_all(self, limit: int) -> bytes:
        """See `BodyStream.read_all`. Raises SignedHashMismatch."""
        whole = await self.source.read_all(limit)
        self._hash.update(whole)
        self._check()
        return whole

    def buffered(self) -> bytes | None:
        """See `BodyStream.buffered`. Raises SignedHashMismatch."""
        whole = self.source.buffered()
        if whole is not None and not self._is_over:
            self._hash.update(whole)
            self._check()
        return whole

    def _check(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        received = self._hash.hexdigest()
        if not hmac.compare_digest(received, self._expected):
            raise SignedHashMismatch("sha256", announced=self._expected, received=received)


class ChunkedBody:
    """A body that comes in Amazon's chunks; implements `BodyStream` for the payload in them."""

    __slots__ = ("_decoder", "_is_over", "length", "source")

    length: int | None

    def __init__(self, source: BodyStream, decoder: ChunkDecoder, length: int | None) -> None:
        self.length = length
        self.source = source
        self._decoder = decoder
        self._is_over = False

    @property
    def trailers(self) -> Mapping[str, str]:
        """The fields that followed the payload, by lower-case name; complete at its end."""
        return self._decoder.trailers

    async def read(self) -> bytes:
        """See `BodyStream.read`. Raises SignatureMismatch, and BadRequest for broken framing."""
        while True:
            raw = await self.source.read()
            if not raw:
                self._finish()
                return b""
            if payload := b"".join(self._decoder.feed(raw)):
                return payload

    async def read_all(self, limit: int) -> bytes:
        """See `BodyStream.read_all`. Raises what `read` raises."""
        if (self.length or 0) > limit:
            raise BodyTooLarge(limit)
        pieces: list[bytes] = []
        size = 0
        while piece := await self.read():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise BodyTooLarge(limit)
        return b"".join(pieces)

    def buffered(self) -> bytes | None:
        """See `BodyStream.buffered`. Raises what `read` raises."""
        raw = self.source.buffered()
        if raw is None:
            return None
        payload = b"".join(self._decoder.feed(raw))
        self._finish()
        return payload

    def _finish(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._decoder.finish()
