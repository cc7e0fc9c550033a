"""Promoting files of the node's machine: `POST /v1/objects/BUCKET` `promote` (ais-native-api.md §6.9)."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from aisle.api.gate import Action
from aisle.api.messages import ActionMessage
from aisle.api.native.addresses import bucket_of
from aisle.api.router import Elements, Route
from aisle.api.urls import parse_query
from aisle.errors import BadRequest, NotFound
from aisle.gateway.buckets import Buckets, check_own
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.jobs.bulk_board import BulkBoard
from aisle.jobs.promoting import PromoteSettings, encode_settings, is_empty
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import PROMOTE, BulkRecord
from aisle.target.objects import TargetObjects
from aisle.target.promotion import allowed_source, delete_source, promote_file

AT_ONCE_BYTES_MAX: Final = 16 * 1024 * 1024
"""A file of at most this size is promoted while its request waits; others are jobs."""
_TEXT_TYPE: Final = ("Content-Type", "text/plain; charset=utf-8")


class PromoteMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The value of `promote`; unlike elsewhere, AIStore refuses members that it does not know."""

    tid: str = ""
    src: str = ""
    obj: str = ""
    rcr: bool = False
    ovw: bool = False
    dls: bool = False
    notshr: bool = False


class PromoteVerbs:
    """Handler of promoting."""

    def __init__(
        self,
        objects: TargetObjects,
        buckets: Buckets,
        board: BulkBoard,
        *,
        roots: Sequence[str],
        target_id: str,
    ) -> None:
        """`roots` are the folders whose files may be promoted."""
        self._objects = objects
        self._buckets = buckets
        self._board = board
        self._roots = roots
        self._target_id = target_id

    def routes(self) -> list[Route]:
        """Their rows of the table."""
        return [Route("POST", "/v1/objects/{bucket}", Action.PROMOTE, self.promote, "action=promote")]

    async def promote(self, request: Request, elements: Elements, message: ActionMessage) -> Response:
        """Make a file an object, or start a job that does so with a folder's; the job's id, if any."""
        bucket = self._buckets.find(bucket_of(elements[3], parse_query(request.query)))
        check_own(bucket, "promoting into", instead="write the files (ais put)")
        try:
            asked = msgspec.convert({} if message.value is None else message.value, PromoteMessage)
        except msgspec.ValidationError as error:
            raise BadRequest(f"failed to unmarshal promote: {error}") from error
        if asked.tid not in ("", self._target_id):
            raise NotFound(f"node {asked.tid[:80]} does not exist")
        path, root = await asyncio.to_thread(allowed_source, asked.src or message.name, self._roots)
        settings = PromoteSettings(
            source=str(path),
            root=root,
            prefix=asked.obj,
            recursive=asked.rcr,
            overwrites=asked.ovw,
            deletes_sources=asked.dls,
        )
        if await asyncio.to_thread(path.is_dir):
            if await asyncio.to_thread(is_empty, path, recursive=asked.rcr):
                raise BadRequest(f"cannot promote {asked.src or message.name}: the folder is empty")
            return await self._started(bucket, settings)
        name = asked.obj + path.name if not asked.obj or asked.obj.endswith("/") else asked.obj
        if await asyncio.to_thread(os.path.getsize, path) > AT_ONCE_BYTES_MAX:
            return await self._started(bucket, msgspec.structs.replace(settings, prefix=name))
        return await self._at_once(bucket, name, path, settings)

    async def _at_once(
        self, bucket: BucketInfo, name: str, path: Path, settings: PromoteSettings
    ) -> Response:
        record = await promote_file(
            self._objects, bucket, name.encode(), path, overwrites=settings.overwrites
        )
        if record is not None and settings.deletes_sources:
            await delete_source(path)
        return Response(200)

    async def _started(self, bucket: BucketInfo, settings: PromoteSettings) -> Response:
        record = BulkRecord(
            id="",
            kind=PROMOTE,
            started_ns=0,
            bucket=bucket.bucket,
            number=bucket.number,
            details=encode_settings(settings),
        )
        return Response(200, [_TEXT_TYPE], (await self._board.submit(record)).encode())
