"""Objects written to Google: small ones with one request, large ones in a session that can be taken up again.

A session (cloud.google.com/storage/docs/performing-resumable-uploads) takes chunks one after the other. The
one that is on its way is kept in memory, so that a connection that breaks or a 503 costs no more than that.
Nothing is visible before the last byte is there.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from aisle.backends.answer_fields import FIELD_MEMBERS, count_of, describing, document_text
from aisle.backends.gcp_protocol import (
    Ask,
    ObjectDocument,
    failure_of,
    parse_document,
    upload_path,
)
from aisle.backends.pieces import Pieces
from aisle.backends.provider import RemoteObject
from aisle.errors import AisleError, SourceFailed, SourceThrottled, SourceUnreachable
from aisle.transfer.exchange import Answered

CHUNK_BYTES: Final = 8 * 1024 * 1024
"""Objects up to this size are written at once, larger ones in such chunks; a multiple of 256 KiB."""
ANSWER_BYTES_MAX: Final = 32 * 1024 * 1024
ATTEMPTS_MAX: Final = 5
_FIRST_PAUSE_S: Final = 0.5
_PAUSE_S_MAX: Final = 30.0
_JSON: Final = "application/json; charset=UTF-8"
_DEFAULT_TYPE: Final = "application/octet-stream"

Asked = Callable[[Ask], Awaitable[Answered]]
"""Sends a request; its answer, whatever the status."""


class Writing(NamedTuple):
    """What is to be written, and how."""

    bucket: str
    about: RemoteObject
    """Its key, size, digests, custom metadata and content type count."""
    conditions: tuple[tuple[str, str], ...] = ()
    """Parts of the query."""
    chunk_bytes: int = CHUNK_BYTES


async def upload(
    asked: Asked,
    wanted: Writing,
    chunks: AsyncIterator[bytes],
    *,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> ObjectDocument:
    """Write an object; what the source then tells about it. Raises what asking and `chunks` raise."""
    pieces = Pieces(chunks)
    if wanted.about.size > wanted.chunk_bytes:
        return await _Session(asked, wanted, pause).send(pieces)
    content = await _taken(pieces, wanted.about.size)
    await pieces.check_end()
    boundary = secrets.token_hex(16)
    head = (
        f"--{boundary}\r\nContent-Type: {_JSON}\r\n\r\n".encode()
        + _description(wanted.about)
        + f"\r\n--{boundary}\r\nContent-Type: {_content_type(wanted.about)}\r\n\r\n".encode()
    )
    ask = Ask(
        "POST",
        upload_path(wanted.bucket),
        wanted.bucket,
        wanted.about.key,
        (("uploadType", "multipart"), *wanted.conditions),
        (("Content-Type", f"multipart/related; boundary={boundary}"),),
        b"".join((head, content, f"\r\n--{boundary}--\r\n".encode())),
    )
    return parse_document(await read_good(ask, await asked(ask)), ObjectDocument)


class _Session:
    """A resumable upload."""

    def __init__(self, asked: Asked, wanted: Writing, pause: Callable[[float], Awaitable[None]]) -> None:
        self._asked = asked
        self._wanted = wanted
        self._pause = pause
        self._path = ""

    async def send(self, pieces: Pieces) -> ObjectDocument:
        """Write the whole object."""
        size = self._wanted.about.size
        await self._begin()
        try:
            start, done = 0, None
            while start < size:
                chunk = await _taken(pieces, min(self._wanted.chunk_bytes, size - start))
                if start + len(chunk) == size:
                    await pieces.check_end()
                done = await self._sent(chunk, start)
                start += len(chunk)
            if done is None:
                raise SourceFailed(f"{self._shown}: the source has all bytes and does not end the write")
        except BaseException:
            # Answered with 499 when it worked.
            with suppress(AisleError):
                (await self._asked(self._ask("DELETE"))).close()
            raise
        return done

    @property
    def _shown(self) -> str:
        return f"gs://{self._wanted.bucket}/{self._wanted.about.key}"

    def _ask(self, method: str, span: str = "", body: bytes = b"") -> Ask:
        headers = (("Content-Range", f"bytes {span}/{self._wanted.about.size}"),) if span else ()
        return Ask(
            method, self._path, self._wanted.bucket, self._wanted.about.key, headers=headers, body=body
        )

    async def _begin(self) -> None:
        about = self._wanted.about
        ask = Ask(
            "POST",
            upload_path(self._wanted.bucket),
            self._wanted.bucket,
            about.key,
            (("uploadType", "resumable"), *self._wanted.conditions),
            (
                ("Content-Type", _JSON),
                ("X-Upload-Content-Type", _content_type(about)),
                ("X-Upload-Content-Length", str(about.size)),
            ),
            _description(about),
        )
        answered = await self._asked(ask)
        await read_good(ask, answered)
        # Bytes and token go to the endpoint that was configured, whatever the answer names.
        where = urlsplit(answered.fields.get("location", ""))
        if not where.path.startswith("/") or "upload_id=" not in where.query:
            raise SourceFailed(f"{self._shown}: the source begins a write and does not say where it goes on")
        self._path = f"{where.path}?{where.query}"

    async def _sent(self, chunk: bytes, start: int) -> ObjectDocument | None:
        """Send a chunk, as often as it takes; what the source tells when it was the last one."""
        end = start + len(chunk)
        position, failures = start, 0
        ask = self._ask("PUT", f"{start}-{end - 1}", chunk)
        while True:
            try:
                done, taken = await self._state(ask)
            except (SourceThrottled, SourceUnreachable) as error:
                failures += 1
                if failures >= ATTEMPTS_MAX:
                    raise
                doubled = _FIRST_PAUSE_S * (1 << failures)
                await self._pause(min(max(doubled, error.retry_after_s or 0.0), _PAUSE_S_MAX))
                ask = self._ask("PUT", "*")  # how far did it come?
                continue
            if done is not None or taken == end:
                return done
            if not start <= taken < end:
                raise SourceFailed(f"{self._shown}: the source says that it has {taken} bytes of {end}")
            failures = 0 if taken > position else failures + 1
            if failures >= ATTEMPTS_MAX:
                raise SourceUnreachable(f"{self._shown}: the source takes no more than {taken} bytes")
            position = taken
            ask = self._ask("PUT", f"{position}-{end - 1}", chunk[position - start :])

    async def _state(self, ask: Ask) -> tuple[ObjectDocument | None, int]:
        """What the source answers in the middle: the object if it is written, else how many bytes it has."""
        answered = await self._asked(ask)
        if answered.status != 308:
            return parse_document(await read_good(ask, answered), ObjectDocument), 0
        answered.close()
        # `bytes=0-N`; absent while there is nothing.
        last = answered.fields.get("range", "").rpartition("-")[2]
        return None, count_of(last) + 1 if last else 0


async def read_good(ask: Ask, answered: Answered) -> bytes:
    """The body of an answer. Raises what its status means, unless it is good."""
    body = await answered.read(ANSWER_BYTES_MAX)
    if answered.status >= 300:
        raise failure_of(answered.status, answered.fields, body, bucket=ask.bucket, key=ask.key)
    return body


def _description(about: RemoteObject) -> bytes:
    """The document of an object that is to be written; the source checks digests that it names."""
    told: dict[str, object] = {"name": about.key, "contentType": _content_type(about)}
    if about.custom:
        told["metadata"] = {name: document_text(text) for name, text in about.custom.items()}
    told |= {FIELD_MEMBERS[name]: document_text(text) for name, text in describing(about.fields).items()}
    for member, kind in (("md5Hash", "md5"), ("crc32c", "crc32c")):
        if digest := about.digests.get(kind):
            told[member] = bytes.fromhex(digest)  # bytes become base64
    return msgspec.json.encode(told)


def _content_type(about: RemoteObject) -> str:
    """The media type, fit for a header field."""
    text = about.content_type
    return text if text and text.isascii() and text.isprintable() else _DEFAULT_TYPE


async def _taken(pieces: Pieces, length: int) -> bytes:
    """The next `length` bytes. Raises SourceFailed if there are fewer."""
    return b"".join([piece async for piece in pieces.next(length)])
