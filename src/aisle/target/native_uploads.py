"""Uploads in parts by the rules of the native dialect (ais-native-api.md §6.7).

Unlike in S3, whoever completes an upload lists all of its parts, and they are numbered without gaps.
The object gets the checksum of its bucket, as every other object there, which means reading the parts
once more; beyond `DIGESTED_BYTES_MAX` it gets a CRC-32C instead, which follows from those of its parts.
AIStore does the same where parts did not come in order.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Final

from aisle.errors import BadRequest, CorruptObject, InvalidPart
from aisle.model.bucket import BucketInfo
from aisle.model.record import Attributes, Record
from aisle.storage.engine import OpenPayload, Part, Upload
from aisle.storage.hashing import NamedDigests
from aisle.target.objects import ByteSource
from aisle.target.part_digests import Span, combined
from aisle.target.parts_source import PART_DIGEST
from aisle.target.uploads import Completing, IncomingPart, TargetUploads, UploadEngine

DIGESTED_BYTES_MAX: Final = 256 * 1024 * 1024
"""Larger objects are not read again for their checksum when they are completed."""
_READ_BYTES: Final = 1024 * 1024


class NativeUploads:
    """Uploads in parts, begun and completed as AIStore's clients do."""

    def __init__(self, engine: UploadEngine, uploads: TargetUploads) -> None:
        self._engine = engine
        self._uploads = uploads

    async def begin(self, bucket: BucketInfo, key: bytes, attributes: Attributes) -> str:
        """Start an upload; its id. Raises BucketNotFound, OutOfSpace, Unavailable."""
        return (await self._uploads.begin(bucket, key, attributes)).id

    async def put_part(
        self,
        upload: Upload,
        number: int,
        source: ByteSource,
        *,
        announced: Mapping[str, str],
        sync: str = "",
    ) -> Part:
        """Keep all of `source` as a part; `announced` are digests by name that it must have.

        `sync` is when its file must be on disk; see BucketInfo.payload_sync.

        Raises BadRequest for an empty part, and as TargetUploads.put_part does.
        """
        kinds = tuple(dict.fromkeys((PART_DIGEST, *announced)))
        incoming = IncomingPart(kinds, lambda: announced, sync)
        return await self._uploads.put_part(upload, number, NotEmpty(source), incoming=incoming)

    def find(self, bucket: BucketInfo, key: bytes, upload_id: str) -> Upload:
        """An upload of that name. Raises UploadNotFound."""
        return self._uploads.find(bucket, key, upload_id)

    async def complete(self, bucket: BucketInfo, upload: Upload, numbers: Sequence[int]) -> Record:
        """Make the parts, in order of their numbers, the object.

        Raises BadRequest for a list that is not all of the parts, UploadNotFound, InvalidPart,
        CorruptObject, BucketNotFound, Unavailable.
        """
        parts = all_parts(upload.id, numbers, self._uploads.parts(upload))
        kind, digest = await self._checksum(bucket, upload, parts)
        begun = upload.attributes
        attributes = Attributes(
            checksum_type=kind,
            checksum_value=digest,
            content_type=begun.content_type,
            custom=begun.custom,
        )
        return await self._uploads.complete(bucket, upload, parts, completing=Completing(attributes))

    async def abandon(self, upload: Upload) -> None:
        """Drop an upload and its parts. Raises UploadNotFound, Unavailable."""
        await self._uploads.abandon(upload)

    async def _checksum(self, bucket: BucketInfo, upload: Upload, parts: Sequence[Part]) -> tuple[str, str]:
        """The checksum that the object gets: its kind and its value, both empty for none."""
        kind = bucket.properties.checksum.type
        if kind == "none":
            return "", ""
        spans = [Span(part.attributes.digests.get(PART_DIGEST, ""), part.size) for part in parts]
        can_be_combined = all(span.digest for span in spans)
        size = sum(part.size for part in parts)
        if can_be_combined and (kind == PART_DIGEST or size > DIGESTED_BYTES_MAX):
            return PART_DIGEST, combined(PART_DIGEST, spans)
        digests = NamedDigests([kind])
        for part in parts:
            opened = self._engine.open_part(upload.id, part.number)
            if opened is None:
                raise InvalidPart(f"part {part.number} of upload {upload.id} is gone")
            try:
                await asyncio.to_thread(_digest_part, opened, part.size, digests)
            finally:
                opened.close()
        return kind, digests.hex(kind)


class NotEmpty:
    """A source that must have at least one byte. Reading raises BadRequest if it has none."""

    def __init__(self, source: ByteSource) -> None:
        self.length = source.length
        self._source = source
        self._is_first = True

    async def read(self) -> bytes:
        """The next bytes, `b""` at the end."""
        data = await self._source.read()
        if self._is_first:
            self._is_first = False
            _require_bytes(data)
        return data

    def buffered(self) -> bytes | None:
        """All bytes if they are here already, else None."""
        whole = self._source.buffered()
        if whole is not None:
            _require_bytes(whole)
        return whole


def _require_bytes(data: bytes) -> None:
    if not data:
        raise BadRequest("invalid size (0): a part has at least one byte")


def all_parts(upload_id: str, numbers: Sequence[int], stored: Sequence[Part]) -> list[Part]:
    """The stored parts in order, if a list names exactly these. Raises BadRequest, InvalidPart."""
    if not stored:
        raise BadRequest(f"upload {upload_id}: no chunks were uploaded")
    if len(numbers) != len(stored):
        counts = f"requested {len(numbers)} parts, have {len(stored)}"
        raise BadRequest(f"upload {upload_id}: partial completion is not allowed: {counts}")
    for position, number in enumerate(sorted(numbers)):
        if number != position + 1:
            wanted = f"1..{len(numbers)}: got {number} at position {position}"
            raise BadRequest(f"upload {upload_id}: parts must be exactly {wanted}")
    by_number = {part.number: part for part in stored}
    missing = [number for number in sorted(numbers) if number not in by_number]
    if missing:
        raise InvalidPart(f"upload {upload_id}: part {missing[0]} was not uploaded")
    return [by_number[number] for number in sorted(numbers)]


def _digest_part(opened: OpenPayload, size: int, digests: NamedDigests) -> None:
    if opened.inline is not None:
        digests.update([opened.inline])
        return
    read = 0
    for fd, offset, length in opened.segments:
        for start in range(0, length, _READ_BYTES):
            data = os.pread(fd, min(_READ_BYTES, length - start), offset + start)
            digests.update([data])
            read += len(data)
    if read != size:
        raise CorruptObject("a part's file is shorter than its record says")
