"""Uploads in parts: `mpt-upload`, parts, `mpt-complete`, `mpt-abort` (ais-native-api.md §6.7)."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import field

from aisle import telemetry
from aisle.api.gate import Action
from aisle.api.messages import ActionMessage
from aisle.api.native.addresses import Address, Variants, bucket_of, object_key
from aisle.api.native.records import declared_type, parse_custom
from aisle.api.router import Elements, Route
from aisle.api.urls import Query, parse_query
from aisle.errors import BadRequest
from aisle.gateway.buckets import Buckets
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.model.bucket import CHECKSUM_TYPES
from aisle.model.record import Attributes
from aisle.storage.engine import Upload
from aisle.target.native_uploads import NativeUploads
from aisle.target.objects import check_custom
from aisle.target.uploads import PART_NUMBER_MAX

_TEXT_TYPE: Final = ("Content-Type", "text/plain; charset=utf-8")


class CompletedPart(msgspec.Struct, frozen=True):
    """A part as the one who completes an upload lists it; the entity tag is never given here."""

    number: int = field(name="part-number")


class MultipartVerbs:
    """Handlers of uploads in parts."""

    def __init__(self, uploads: NativeUploads, buckets: Buckets, *, counters: telemetry.Telemetry) -> None:
        self._uploads = uploads
        self._buckets = buckets
        self._slots = counters.slots

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        path = "/v1/objects/{bucket}/{object}"
        return [
            Route("POST", path, Action.PUT, self.begin, "action=mpt-upload"),
            Route("POST", path, Action.PUT, self.complete, "action=mpt-complete"),
            Route("POST", path, Action.PUT, self.abort, "action=mpt-abort"),
            Route("DELETE", path, Action.PUT, self.abort, "action=mpt-abort"),
        ]

    def variants(self) -> Variants:
        """What they do with the verbs on objects."""
        return {("PUT", "uploadId"): self.put_part}

    async def begin(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """Start an upload; the answer is its id."""
        bucket = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        custom = parse_custom(request.headers.get("ais-custom-md", ""))
        check_custom(custom)
        attributes = Attributes(content_type=declared_type(request.headers), custom=custom)
        upload_id = await self._uploads.begin(bucket, object_key(elements), attributes)
        return Response(200, [_TEXT_TYPE], upload_id.encode())

    def put_part(self, request: Request, key: bytes, address: Address) -> Answer:
        """Keep the body as a part."""
        number = _part_number(address.query)
        upload = self._uploads.find(address.bucket, key, address.query["uploadId"])
        return self._put_part(request, upload, number, sync=address.bucket.payload_sync)

    async def _put_part(self, request: Request, upload: Upload, number: int, *, sync: str) -> Response:
        announced = _announced(request.headers)
        part = await self._uploads.put_part(upload, number, request.body, announced=announced, sync=sync)
        self._slots[telemetry.PUT_BYTES] += part.size
        return Response(200)

    async def complete(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Make all parts the object."""
        address, upload = self._upload(request, elements)
        try:
            listed = msgspec.convert([] if message.value is None else message.value, list[CompletedPart])
        except msgspec.ValidationError as error:
            raise BadRequest(f"mpt-complete: expected a list of parts: {error}") from error
        await self._uploads.complete(address.bucket, upload, [part.number for part in listed])
        return Response(200)

    async def abort(self, request: Request, elements: Elements, _message: ActionMessage) -> Response:
        """Drop the upload and its parts."""
        _, upload = self._upload(request, elements)
        await self._uploads.abandon(upload)
        return Response(200)

    def _upload(self, request: Request, elements: Elements) -> tuple[Address, Upload]:
        query = parse_query(request.query)
        address = Address(self._buckets.find(bucket_of(elements[3], query)), query)
        upload_id = query.get("uploadId", "")
        if not upload_id:
            raise BadRequest("an upload id (uploadId) is needed")
        return address, self._uploads.find(address.bucket, object_key(elements), upload_id)


def _part_number(query: Query) -> int:
    text = query.get("partNumber", "")
    if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not 1 <= int(text) <= PART_NUMBER_MAX:
        raise BadRequest(f'invalid part number "{text[:80]}": expected 1 to {PART_NUMBER_MAX}')
    return int(text)


def _announced(headers: Mapping[str, str]) -> dict[str, str]:
    """The digest that a part's sender says it has, by name."""
    kind, value = headers.get("ais-checksum-type", ""), headers.get("ais-checksum-value", "")
    if kind and kind not in CHECKSUM_TYPES:
        raise BadRequest(f'invalid checksum type "{kind[:80]}" (expecting [{" ".join(CHECKSUM_TYPES)}])')
    return {kind: value.lower()} if value and kind not in ("", "none") else {}
