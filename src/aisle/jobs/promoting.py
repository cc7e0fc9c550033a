"""The job that makes a folder's files objects (ais-native-api.md §6.9).

Files are taken in byte order of their names. After a restart the job goes on behind the last batch that
it had been through; what it had promoted beyond that is promoted again, or skipped, as it is asked.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from aisle.errors import AisleError
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.jobs.bulk_work import HOPELESS, BulkTools, source_bucket
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import BulkRecord
from aisle.model.names import ObjectName
from aisle.model.record import Record
from aisle.target.objects import TargetObjects
from aisle.target.promotion import (
    PromotedFile,
    allowed_source,
    delete_source,
    files_below,
    is_promoted,
    promote_file,
)

BATCH_FILES: Final = 32


class PromoteSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What to promote, and how."""

    source: str
    """A file or a folder, below `root`."""
    root: str
    """The folder that the node's owner has set aside."""
    prefix: str = ""
    """What the objects' names begin with; a file's name below the folder follows as it is."""
    recursive: bool = False
    overwrites: bool = False
    deletes_sources: bool = False


encode_settings = msgspec.msgpack.Encoder().encode
_decode_settings = msgspec.msgpack.Decoder(PromoteSettings).decode


class Promoting:
    """Makes files objects."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record
        self._settings = _decode_settings(record.details)
        self._objects = TargetObjects(tools.engine)

    async def run(self, tally: BulkTally) -> None:
        """Promote what is left."""
        settings, bucket = self._settings, source_bucket(self._tools, self._record)
        # What was allowed when the job was asked for may have been replaced by a link since.
        source, _ = await asyncio.to_thread(allowed_source, settings.source, [settings.root])
        files = await asyncio.to_thread(self._left, source, tally.after)
        for start in range(0, len(files), BATCH_FILES):
            batch, counts = files[start : start + BATCH_FILES], BatchCounts()
            await asyncio.gather(*(self._promote(bucket, file, counts) for file in batch))
            tally.add(counts, visited=len(batch), after=batch[-1].relative)

    def _left(self, source: Path, after: bytes) -> Sequence[PromotedFile]:
        if source.is_file():
            return [PromotedFile(source, b"")]
        found = files_below(source, recursive=self._settings.recursive)
        return [file for file in found if file.relative > after]

    async def _promote(self, bucket: BucketInfo, file: PromotedFile, counts: BatchCounts) -> None:
        settings = self._settings
        key = settings.prefix.encode() + file.relative
        try:
            record = await promote_file(self._objects, bucket, key, file.path, overwrites=settings.overwrites)
            if record is None:
                record = await self._made_before(bucket, key, file)
            if record is None:
                return
            counts.done(record.size)
            if settings.deletes_sources:
                await delete_source(file.path)
        except HOPELESS:
            raise
        except AisleError as error:
            counts.failed(error)

    async def _made_before(self, bucket: BucketInfo, key: bytes, file: PromotedFile) -> Record | None:
        """The object that a killed process of this job had made of the file, but not counted.

        That may have been its first batch, of which no progress tells; who else has written the very same
        bytes since the job began changes nothing.
        """
        held = self._tools.engine.look_up(ObjectName(bucket.number, key))
        if held is None or held.record.written_ns < self._record.started_ns:
            return None
        return held.record if await is_promoted(held.record, file.path) else None


def is_empty(folder: Path, *, recursive: bool) -> bool:
    """Whether a folder holds no file that could be promoted."""
    return not list(islice(files_below(folder, recursive=recursive), 1))
