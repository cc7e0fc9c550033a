"""Large objects, written to S3 in parts: nothing is visible before the last one is there."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from aisle.backends.answer_fields import plain_etag
from aisle.backends.aws_protocol import Ask, Document, described
from aisle.backends.pieces import Pieces
from aisle.backends.provider import RemoteObject
from aisle.errors import AisleError
from aisle.transfer.exchange import Answered

MULTIPART_BYTES: Final = 128 * 1024 * 1024
PARTS_MAX: Final = 10_000
_ANSWER_BYTES_MAX: Final = 1024 * 1024


class Uploading(NamedTuple):
    """What is to be written, and how."""

    bucket: str
    key: str
    about: RemoteObject
    conditions: tuple[tuple[str, str], ...]
    """Fields that the completion carries."""
    part_bytes: int


async def upload(
    document: Callable[[Ask, str], Awaitable[Document]],
    checked: Callable[[Ask], Awaitable[Answered]],
    wanted: Uploading,
    chunks: AsyncIterator[bytes],
) -> RemoteObject:
    """Write an object in parts; what the source then tells. Raises what asking raises."""
    bucket, key, about = wanted.bucket, wanted.key, wanted.about
    part_bytes = max(wanted.part_bytes, -(-about.size // PARTS_MAX))
    # The digests are those of the whole: they say nothing about a part.
    headers = described(about._replace(digests={}))
    begun = await document(
        Ask("POST", bucket, key, (("uploads", ""),), headers), "InitiateMultipartUploadResult"
    )
    upload_id = begun.text("UploadId")
    try:
        tags = []
        pieces = Pieces(chunks)
        for number in range(1, -(-about.size // part_bytes) + 1):
            length = min(part_bytes, about.size - (number - 1) * part_bytes)
            query = (("partNumber", str(number)), ("uploadId", upload_id))
            body = pieces.next(length)
            answered = await checked(Ask("PUT", bucket, key, query, (), body, length))
            await answered.read(_ANSWER_BYTES_MAX)
            tags.append(answered.fields.get("etag", ""))
        await pieces.check_end()
        parts = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(tag)}</ETag></Part>"
            for number, tag in enumerate(tags, 1)
        )
        listed = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
        ask = Ask("POST", bucket, key, (("uploadId", upload_id),), wanted.conditions, listed)
        # It answers 200 at once and may still tell of an error in the body, which is no such document.
        done = await document(ask, "CompleteMultipartUploadResult")
    except BaseException:
        with suppress(AisleError):
            (await checked(Ask("DELETE", bucket, key, (("uploadId", upload_id),)))).close()
        raise
    etag = plain_etag(done.text("ETag"))
    return about._replace(key=key, etag=etag, version=etag, digests={})
