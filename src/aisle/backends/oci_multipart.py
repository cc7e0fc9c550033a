"""Writes to Oracle's Object Storage, checked: whole, or in parts that show when the last one is there.

A CRC32C is computed of what is sent and compared with what the source says that it has got.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

import msgspec

from aisle.backends.answer_fields import FIELD_MEMBERS, describing, document_text, is_field_name, plain_etag
from aisle.backends.oci_protocol import META, Ask, announced, digests_of, parse_json
from aisle.backends.pieces import Pieces
from aisle.backends.provider import RemoteObject
from aisle.errors import AisleError, SourceFailed, Unsupported
from aisle.transfer.exchange import Answered

MULTIPART_FROM_BYTES: Final = 512 * 1024 * 1024
"""From which size on objects are written in parts, as AIStore does."""
WHOLE_BYTES_MAX: Final = 50 * 1024**3
"""Oracle takes no more in one request."""
PART_BYTES: Final = 256 * 1024 * 1024
PARTS_MAX: Final = 10_000
_ANSWER_BYTES_MAX: Final = 1024 * 1024


class Writing(NamedTuple):
    """What is to be written, and how."""

    bucket: str
    key: str
    about: RemoteObject
    conditions: tuple[tuple[str, str], ...] = ()
    """Fields that say what must be there."""
    part_bytes: int = 0
    """Write in parts of so many bytes; 0 for whole."""

    def metadata(self) -> dict[str, str]:
        """Custom metadata by the names of their fields. Raises Unsupported for what no field can hold."""
        found = {f"{META}{name.lower()}": text for name, text in self.about.custom.items()}
        for name, text in found.items():
            if not (f"{name}{text}".isascii() and text.isprintable()) or not is_field_name(name):
                raise Unsupported(f"{name} {text!r}: OCI takes custom metadata in ASCII only")
        return found

    def fields(self) -> dict[str, str]:
        """What describes the bytes to readers, by the names of header fields."""
        return describing(self.about.fields)


class Summing:
    """Chunks on their way, and the CRC32C of those that have passed."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        from awscrt.checksums import crc32c  # not loaded for reading

        self._chunks = chunks
        self._add = crc32c
        self._sum = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        """The same chunks."""
        async for chunk in self._chunks:
            self._sum = self._add(chunk, self._sum)
            yield chunk

    def is_other(self, digests: Mapping[str, str]) -> bool:
        """Whether the source says that it has got other bytes."""
        told = digests.get("crc32c")
        return told is not None and told != f"{self._sum:08x}"


async def write_whole(
    checked: Callable[[Ask], Awaitable[Answered]], wanted: Writing, chunks: AsyncIterator[bytes]
) -> RemoteObject:
    """Write an object in one request; what the source then tells. Raises what asking raises."""
    bucket, key, about = wanted.bucket, wanted.key, wanted.about
    headers = [*wanted.metadata().items(), *wanted.fields().items()]
    headers += [*announced(about.digests), *wanted.conditions]
    if about.content_type:
        headers.append(("Content-Type", about.content_type))
    body = Summing(chunks)
    ask = Ask("PUT", bucket, "o", key, (), tuple(headers), body.chunks(), about.size)
    answered = await checked(ask)
    await answered.read(_ANSWER_BYTES_MAX)
    written = _written(wanted, answered.fields)
    if body.is_other(written.digests):
        with suppress(AisleError):
            gone = Ask("DELETE", bucket, "o", key, (), (("If-Match", written.etag),))
            (await checked(gone)).close()
        raise _other(ask)
    return written


async def write_parts(
    checked: Callable[[Ask], Awaitable[Answered]], wanted: Writing, chunks: AsyncIterator[bytes]
) -> RemoteObject:
    """Write an object in parts, one by one; what the source then tells. Raises what asking raises."""
    bucket, key, size = wanted.bucket, wanted.key, wanted.about.size
    part_bytes = max(wanted.part_bytes, -(-size // PARTS_MAX))
    # The digests are those of the whole: they say nothing about a part.
    headers = (*announced({}), *wanted.conditions)
    content_type = document_text(wanted.about.content_type)
    described = {"object": key, "contentType": content_type, "metadata": wanted.metadata()}
    described |= {FIELD_MEMBERS[name]: document_text(text) for name, text in wanted.fields().items()}
    document = msgspec.json.encode({name: value for name, value in described.items() if value})
    begun = await checked(Ask("POST", bucket, "u", headers=headers, body=document))
    upload_id = str(parse_json(await begun.read(_ANSWER_BYTES_MAX), dict).get("uploadId") or "")
    if not upload_id:
        raise SourceFailed(f"oc://{bucket}/{key}: OCI begins an upload without telling its id")
    upload = (("uploadId", upload_id),)
    try:
        tags = []
        whole = Summing(chunks)
        pieces = Pieces(whole.chunks())
        for number in range(1, -(-size // part_bytes) + 1):
            length = min(part_bytes, size - (number - 1) * part_bytes)
            body = Summing(pieces.next(length))
            query = (*upload, ("uploadPartNum", str(number)))
            ask = Ask("PUT", bucket, "u", key, query, announced({}), body.chunks(), length)
            answered = await checked(ask)
            await answered.read(_ANSWER_BYTES_MAX)
            if body.is_other(digests_of(answered.fields)):
                raise _other(ask)
            tags.append(answered.fields.get("etag", ""))
        await pieces.check_end()
        parts = [{"partNum": number, "etag": tag} for number, tag in enumerate(tags, 1)]
        listed = msgspec.json.encode({"partsToCommit": parts})
        done = await checked(Ask("POST", bucket, "u", key, upload, wanted.conditions, listed))
        await done.read(_ANSWER_BYTES_MAX)
    except BaseException:
        with suppress(AisleError):
            (await checked(Ask("DELETE", bucket, "u", key, upload))).close()
        raise
    return _written(wanted, done.fields)


def _written(wanted: Writing, fields: Mapping[str, str]) -> RemoteObject:
    etag = plain_etag(fields.get("etag", ""))
    return wanted.about._replace(key=wanted.key, etag=etag, version=etag, digests=digests_of(fields))


def _other(ask: Ask) -> SourceFailed:
    return SourceFailed(f"{ask.shown}: OCI has got other bytes than were sent; write it again")
