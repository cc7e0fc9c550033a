"""What a handler of the S3 dialect receives, and how a path says which bucket and key it means.

Names are byte-exact: everything behind the slash that follows the bucket is the key, percent-decoded
once, be it `a//b`, `dir/` or one that begins with a slash.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec

from aisle.api.gate import Action, Principal
from aisle.api.payload import trailers_of
from aisle.api.s3.checksums import parse_announced, verify
from aisle.api.s3.errors import S3Error
from aisle.api.s3.xml import Element, MalformedXML, parse_xml
from aisle.api.urls import decode_path
from aisle.errors import BadRequest, BodyTooLarge, InvalidName
from aisle.httpd.request import Request
from aisle.model.bucket import BucketInfo
from aisle.model.names import OBJECT_NAME_BYTES_MAX, parse_object_key

S3Query = Mapping[str, str]
"""Decoded query parameters; of a repeated one the first counts."""

XML_BYTES_MAX: Final = 1024 * 1024
"""The longest body that a configuration may have; multi-delete and completions may ask for more."""

_NO_QUERY: Final[S3Query] = {}


class Level(IntEnum):
    """What a path names."""

    # Numbers, because they are looked up with every request, and other enumerations hash in Python.
    SERVICE = 0
    BUCKET = 1
    OBJECT = 2


class S3Call(msgspec.Struct, eq=False):
    """One call of an operation."""

    request: Request
    name: str
    """The bucket's name as the client wrote it; empty for the service itself."""
    key: bytes
    """The object's name; empty for a bucket or the service."""
    query: S3Query
    permits: Callable[[Principal, Action, BucketInfo | None], None]
    info: BucketInfo | None = None

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's header fields, names in lower case."""
        return self.request.headers

    @property
    def principal(self) -> Principal:
        """Who asks."""
        return self.request.caller

    def bucket(self) -> BucketInfo:
        """The bucket that the path names. Raises S3Error NoSuchBucket.

        It is found before the handler is called, but for operations that are `on_missing`.
        """
        if self.info is None:
            raise S3Error("NoSuchBucket", BucketName=self.name)
        return self.info

    def check(self, action: Action, bucket: BucketInfo | None) -> None:
        """Raise Denied unless the caller may do this too, beside what the operation's row names."""
        self.permits(self.request.caller, action, bucket)

    async def read_xml(self, root: str, *, limit: int = XML_BYTES_MAX) -> Element:
        """The body as an XML document of that root element; at most `limit` bytes.

        Raises MalformedXML, and what `read_body` raises.
        """
        return parse_xml(await self.read_body(limit=limit), root, bytes_max=limit)

    async def read_body(self, *, limit: int = XML_BYTES_MAX) -> bytes:
        """The whole body, a document of at most `limit` bytes, compared with what was announced of it.

        Raises MalformedXML for a longer one, ChecksumMismatch, S3Error for what is no digest, and what
        reading the body raises.
        """
        announced = parse_announced(self.headers)
        body = await self.read_undescribed(limit=limit)
        verify(announced, body, trailers_of(self.request.body))
        return body

    async def read_undescribed(self, *, limit: int) -> bytes:
        """The whole body of a request whose digests are of something else.

        Raises MalformedXML for one of more than `limit` bytes, and what reading the body raises.
        """
        body = self.request.body.buffered()
        if body is not None:
            return body
        try:
            return await self.request.body.read_all(limit)
        except BodyTooLarge as error:
            raise MalformedXML(f"the document is longer than {limit} bytes") from error


def split_path(path: bytes) -> tuple[bytes, bytes]:
    """The bucket and the key of a path, still percent-encoded; both empty for the service."""
    if path.startswith(b"/s3/"):
        bucket, _, key = path[4:].partition(b"/")
        return bucket, key
    if path == b"/s3":
        return b"", b""
    bucket, _, key = path[1:].partition(b"/")
    return bucket, key


def parse_s3_key(raw: bytes) -> bytes:
    """The object's name that a path's rest means.

    Raises S3Error KeyTooLongError, InvalidURI for what is no UTF-8 or a broken escape.
    """
    if raw.isascii() and b"%" not in raw and len(raw) <= OBJECT_NAME_BYTES_MAX:
        return raw
    try:
        key = decode_path(raw)
        if len(key) > OBJECT_NAME_BYTES_MAX:
            raise S3Error("KeyTooLongError", Size=str(len(key)), MaxSizeAllowed=str(OBJECT_NAME_BYTES_MAX))
        return parse_object_key(key)
    except (BadRequest, InvalidName) as error:
        raise S3Error("InvalidURI", f"Couldn't parse the specified URI: {error}") from error


def parse_s3_query(raw: bytes) -> S3Query:
    """The parameters of a query. Raises S3Error InvalidURI for what is no UTF-8 or a broken escape."""
    if not raw or (raw.startswith(b"x-id=") and b"&" not in raw):
        return _NO_QUERY  # SDKs name the operation there, which says nothing new
    query: dict[str, str] = {}
    for pair in raw.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            query.setdefault(_text(name), _text(value))
    return query


def _text(raw: bytes) -> str:
    if raw.isascii() and b"%" not in raw and b"+" not in raw:
        return raw.decode("ascii")
    try:
        return decode_path(raw.replace(b"+", b" ")).decode("utf-8")
    except (BadRequest, UnicodeDecodeError) as error:
        shown = unquote_to_bytes(raw).decode("utf-8", "replace")[:80]
        raise S3Error("InvalidURI", f"Couldn't parse the specified URI: {shown}") from error
