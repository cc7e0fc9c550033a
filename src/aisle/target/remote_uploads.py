"""Uploads in parts into remote buckets: written to the source when they are completed, and kept here.

The parts lie here until then; the source gets them as one object, which its provider cuts as it likes.
Whoever does not get the answer asks again, and then follows the write that is under way: a large object
may take longer than its client waits.
"""

import asyncio
from asyncio import Task
from contextlib import closing

from aisle.errors import ConditionFailed
from aisle.model.record import ANY, Record
from aisle.storage.engine import UploadStore
from aisle.target.parts_source import PartsSource
from aisle.target.remote_objects import RemoteObjects
from aisle.target.uploads import CompleteHere, Whole


class RemoteUploads:
    """Completes uploads into remote buckets, for one process."""

    def __init__(self, engine: UploadStore, remote: RemoteObjects) -> None:
        self._engine = engine
        self._remote = remote
        self._running: dict[str, Task[Record]] = {}

    async def complete(self, wanted: Whole, *, here: CompleteHere) -> Record:
        """See CompletesElsewhere."""
        upload_id = wanted.upload.id
        task = self._running.get(upload_id)
        if task is None:
            task = self._running[upload_id] = asyncio.create_task(self._through(wanted, here))
            task.add_done_callback(lambda done: self._end(upload_id, done))
        return await asyncio.shield(task)

    async def _through(self, wanted: Whole, here: CompleteHere) -> Record:
        bucket, key = wanted.bucket, wanted.upload.key
        if await self._remote.delays(bucket, key, wanted.condition):
            return await self._remote.commit_later(
                bucket, key, wanted.attributes, lambda attributes: here(attributes, ANY)
            )
        only_if = await self._remote.condition(bucket, key, wanted.condition)
        source = PartsSource(self._engine, wanted.upload, wanted.parts)
        with closing(source):
            async with self._remote.replacing(bucket, key) as sending:
                attributes, _, condition = await sending.send(
                    source.chunks(), wanted.size, wanted.attributes, only_if=only_if
                )
                try:
                    record = await here(attributes, condition)
                    sending.is_kept = True
                except ConditionFailed:
                    await self._engine.abandon_upload(wanted.upload.id)
                    record = sending.written()
        return record

    def _end(self, upload_id: str, task: Task[Record]) -> None:
        del self._running[upload_id]
        if not task.cancelled():
            task.exception()  # its clients may all have left
