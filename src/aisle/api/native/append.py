"""Appending to objects: `PUT /v1/objects/BUCKET/OBJECT?append_type=…` (ais-native-api.md §6.3)."""

from typing import Final

from aisle.api.gate import Action, authorize
from aisle.api.native.addresses import Address, Variants
from aisle.errors import BadRequest
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.target.appends import Handle, TargetAppends

_HANDLE_BYTES_MAX: Final = 512


class AppendVerbs:
    """Handlers of appending and flushing."""

    def __init__(self, appends: TargetAppends, *, target_id: str) -> None:
        self._appends = appends
        self._target_id = target_id

    def variants(self) -> Variants:
        """What they do with the verbs on objects."""
        return {("PUT", "append_type"): self.put}

    def put(self, request: Request, key: bytes, address: Address) -> Answer:
        """Append the body, or make visible what was appended; the answer has the handle to go on with."""
        authorize(request.caller, Action.APPEND, address.bucket)
        kind, text = address.query["append_type"], address.query.get("append_handle", "")
        handle = self._parse(text) if text else None
        if kind == "append":
            return self._append(request, key, address, handle)
        if kind != "flush":
            raise BadRequest(f'invalid append type "{kind[:80]}" (expecting append or flush)')
        if handle is None:
            raise BadRequest("invalid APPEND handle: it is empty, and there is nothing to flush without one")
        return self._flush(key, address, handle)

    async def _append(
        self, request: Request, key: bytes, address: Address, handle: Handle | None
    ) -> Response:
        appended = await self._appends.append(address.bucket, key, request.body, handle)
        return Response(200, [("Ais-Append-Handle", self._show(appended))])

    async def _flush(self, key: bytes, address: Address, handle: Handle) -> Response:
        await self._appends.flush(address.bucket, key, handle)
        return Response(200)

    def _show(self, handle: Handle) -> str:
        """A handle as clients keep it: like AIStore's, it begins with the target that it belongs to."""
        return f"{self._target_id}|{handle.upload}|{handle.pieces}"

    def _parse(self, text: str) -> Handle:
        target_id, _, rest = text.partition("|")
        upload, _, pieces = rest.partition("|")
        is_one = target_id == self._target_id and upload and pieces.isascii() and pieces.isdecimal()
        if not is_one or len(text) > _HANDLE_BYTES_MAX or len(pieces) > 9:
            raise BadRequest(f'invalid APPEND handle "{text[:80]}"')
        return Handle(upload, int(pieces))
