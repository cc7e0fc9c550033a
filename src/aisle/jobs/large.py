"""An object too large for memory, on its way from the network to the disk.

Blocks flow from a bounded queue into a draft. A source that can continue where it was broken off
gets its object stored in parts, each durable when it is complete: whatever dies, at most the last
part is fetched again. Nothing is visible before the whole object has been checked; its digests run
along with the bytes, and after a restart the parts that are there are read once to catch up.

After a mere broken connection nothing is lost at all: draft, queue and digests wait for more bytes.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple

from aisle.errors import CorruptObject, NotFound, Unavailable
from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget, Inflow
from aisle.model.record import Attributes, Record
from aisle.rules.download_metadata import DOWNLOAD_JOB, ORIGIN, origin
from aisle.rules.download_reply import Reply, Resume
from aisle.storage.engine import Draft, OpenPayload, Part, Upload
from aisle.storage.hashing import NamedDigests

_READ_BYTES = 4 * 1024 * 1024
_SLOW_KINDS = frozenset({"md5", "sha256", "sha512"})  # below 2 GB/s: hashed in a thread

# Custom metadata of an upload in progress; the finished object gets its own.
_VALIDATOR, _ETAG, _TOTAL = "download_validator", "ETag", "download_total"


class Source(NamedTuple):
    """Which bytes these are."""

    key: bytes
    link: str
    job_id: str


class SavedParts(NamedTuple):
    """What an earlier process left of an object: whole parts from the start on."""

    upload: Upload
    parts: Sequence[Part]

    @property
    def size(self) -> int:
        """Bytes that need not be fetched again."""
        return sum(part.size for part in self.parts)


class LargeObject:
    """One object being stored. `broken` is told when storing has failed and no byte is wanted more."""

    def __init__(
        self,
        destination: Destination,
        source: Source,
        budget: ByteBudget,
        *,
        part_bytes: int,
        broken: Callable[[Exception], None],
    ) -> None:
        self._destination = destination
        self._source = source
        self._part_bytes = part_bytes
        self._broken = broken
        self._inflow = Inflow(budget)
        self._draft: Draft | None = None
        self._upload: Upload | None = None
        self._numbers: list[int] = []
        self._sealed_bytes = 0  # in the parts of these numbers
        self._committing: asyncio.Task[None] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._saved: SavedParts | None = None
        self._announced: Mapping[str, str] = {}
        self._kinds: tuple[str, ...] = ()
        self._digests: NamedDigests | None = None
        self._reply: Reply | None = None
        self._in_parts = False
        self._abandoned = False
        self._validator = ""
        self._etag = ""
        self.received = 0
        """Bytes taken so far, from the object's start."""
        self.total: int | None = None

    def adopt(self, saved: SavedParts) -> None:
        """Continue what an earlier process has left; called before anything else."""
        custom = saved.upload.attributes.custom
        self._saved = saved
        self._upload = saved.upload
        self._numbers = [part.number for part in saved.parts]
        self._in_parts = True
        self._announced = saved.upload.attributes.digests
        self._validator, self._etag = custom[_VALIDATOR], custom.get(_ETAG, "")
        self.total = int(custom[_TOTAL])
        self.received = self._sealed_bytes = saved.size

    def started(self, reply: Reply, total: int | None) -> None:
        """An answer has begun to deliver this object, from the start or from `received` on."""
        self._reply = reply
        if self._pump is not None:
            return
        if self._saved is None:
            self.total = total
            self._validator, self._etag = reply.validator, reply.etag
            self._announced = reply.digests()
            self._in_parts = bool(self._validator and total is not None and total > self._part_bytes)
        self._kinds = self._destination.kinds(self._announced)
        self._digests = NamedDigests(self._kinds) if self._kinds else None
        self._pump = asyncio.get_running_loop().create_task(self._store())

    def resume_point(self) -> Resume | None:
        """What a new request may continue from; None when it has to begin again."""
        if not self.received or not self._validator:
            return None
        return Resume(self.received, self._validator, self._etag, self.total)

    def offer(self, chunk: bytes, on_room: Callable[[], None]) -> bool:
        """Take the next bytes, or return False and call `on_room` when they may be offered again."""
        if not self._inflow.offer(chunk, on_room):
            return False
        self.received += len(chunk)
        return True

    async def complete(self) -> Record:
        """All bytes have been offered: check the object and make it visible.

        Raises ChecksumMismatch, OutOfSpace, CorruptObject, NotFound, Unavailable. Call `abandon` after that.
        """
        assert self._pump is not None
        assert self._reply is not None
        self._inflow.end()
        await self._pump
        if self._abandoned:
            raise Unavailable("the download was stopped")
        if self._in_parts and self._draft is not None and self._draft.size:
            await self._seal_part()
        await self._part_committed()
        source, destination = self._source, self._destination
        computed = {kind: self._digests.hex(kind) for kind in self._kinds} if self._digests else {}
        destination.check(source.key, self._announced, computed)
        attributes = destination.attributes(source.link, self._reply, computed, size=self.received)
        if self._upload is not None:
            record = await destination.engine.complete_upload(self._upload, self._numbers, attributes)
            self._upload = None
            return record
        draft, self._draft = self._draft or destination.engine.draft(destination.name(source.key)), None
        await _done(draft.finish())
        return await destination.engine.commit(destination.name(source.key), draft, attributes)

    async def abandon(self, *, keep_parts: bool = False) -> None:
        """Forget the object; with `keep_parts` what is durable of it stays for a later process."""
        self._abandoned = True
        self._inflow.drop()
        for task in (self._pump, self._committing):
            if task is not None:
                # Not cancelled: a thread may be writing to the draft that is aborted below.
                await asyncio.wait([task])
                if not task.cancelled():
                    task.exception()
        if self._draft is not None:
            self._draft.abort()
            self._draft = None
        if self._upload is not None and not keep_parts:
            await abandon_upload(self._destination, self._upload)
            self._upload = None

    # The storing side.

    async def _store(self) -> None:
        try:
            if self._saved is not None and self._digests is not None:
                await asyncio.to_thread(self._catch_up, self._saved, self._digests)
            if self._in_parts and self._upload is None:
                self._upload = await self._begin_upload()
            while (chunks := await self._inflow.take()) is not None:
                await self._write(chunks)
        except Exception as error:
            self._inflow.drop()
            if not self._abandoned:
                self._broken(error)
            raise

    async def _write(self, chunks: Sequence[bytes]) -> None:
        hashing: asyncio.Future[None] | None = None
        if self._digests is not None:
            if _SLOW_KINDS.isdisjoint(self._kinds):
                self._digests.update(chunks)
            else:
                hashing = asyncio.ensure_future(asyncio.to_thread(self._digests.update, chunks))
        try:
            for chunk in chunks:
                draft = self._draft or self._new_draft()
                if self._in_parts and draft.size + len(chunk) >= self._part_bytes:
                    await self._write_across(memoryview(chunk))
                elif (pending := draft.write(chunk)) is not None:
                    await pending
        finally:
            if hashing is not None:
                await hashing

    async def _write_across(self, view: memoryview) -> None:
        """Write a chunk that fills the part, and what is left of it to the next."""
        while view:
            draft = self._draft or self._new_draft()
            piece = view[: self._part_bytes - draft.size]
            await _done(draft.write(piece))
            view = view[len(piece) :]
            if draft.size >= self._part_bytes:
                await self._seal_part()

    def _new_draft(self) -> Draft:
        left = None if self.total is None else self.total - self._sealed_bytes
        size = min(left, self._part_bytes) if self._in_parts and left is not None else left
        name = self._destination.name(self._source.key)
        destination = self._destination
        self._draft = destination.engine.draft(name, size=size, sync=destination.bucket.payload_sync)
        return self._draft

    async def _seal_part(self) -> None:
        """Let the full draft become a part, while the next one fills."""
        await self._part_committed()
        draft, self._draft = self._draft, None
        assert draft is not None
        number = len(self._numbers) + 1
        self._numbers.append(number)
        self._sealed_bytes += draft.size
        self._committing = asyncio.get_running_loop().create_task(self._commit_part(number, draft))

    async def _part_committed(self) -> None:
        committing, self._committing = self._committing, None
        if committing is not None:
            await committing

    async def _commit_part(self, number: int, draft: Draft) -> None:
        assert self._upload is not None
        try:
            await _done(draft.finish())
        except BaseException:
            draft.abort()
            raise
        await self._destination.engine.commit_part(self._upload, number, draft, Attributes())

    async def _begin_upload(self) -> Upload:
        custom = {
            DOWNLOAD_JOB: self._source.job_id,
            ORIGIN: origin(self._source.link),
            _VALIDATOR: self._validator,
            _ETAG: self._etag,
            _TOTAL: str(self.total),
        }
        attributes = Attributes(custom=custom, digests=dict(self._announced))
        name = self._destination.name(self._source.key)
        return await self._destination.engine.begin_upload(name, attributes)

    def _catch_up(self, saved: SavedParts, digests: NamedDigests) -> None:
        """Take the bytes that an earlier process stored into the digests; runs in a thread."""
        for part in saved.parts:
            payload = self._destination.engine.open_part(saved.upload.id, part.number)
            if payload is None:
                raise CorruptObject(f"part {part.number} of upload {saved.upload.id} is gone")
            with closing(payload):
                _hash_payload(payload, digests)


def saved_parts(destination: Destination, job_id: str) -> dict[bytes, SavedParts]:
    """What earlier processes left of a job's objects, by key; of several the one begun last."""
    found: dict[bytes, SavedParts] = {}
    for upload in sorted(job_uploads(destination, job_id), key=lambda upload: upload.started_ns):
        whole: list[Part] = []
        for part in destination.engine.parts(upload.id):
            if part.number != len(whole) + 1:
                break
            whole.append(part)
        if whole and sum(part.size for part in whole) == int(upload.attributes.custom[_TOTAL]):
            # All was there but not completed. A request for nothing has no answer: ask for the end again.
            del whole[-1]
        found[upload.key] = SavedParts(upload, whole)
    return found


def job_uploads(destination: Destination, job_id: str = "") -> list[Upload]:
    """The uploads in a bucket that belong to a job, or to any job."""
    uploads = destination.engine.uploads(destination.bucket.number)
    return [upload for upload in uploads if (owner := job_of(upload)) and job_id in ("", owner)]


def job_of(upload: Upload) -> str:
    """The id of the job that an upload belongs to; empty for one that a client began."""
    return upload.attributes.custom.get(DOWNLOAD_JOB, "")


async def abandon_upload(destination: Destination, upload: Upload) -> None:
    """Drop an upload; harmless when it is gone."""
    try:
        await destination.engine.abandon_upload(upload.id)
    except NotFound:
        pass


def _hash_payload(payload: OpenPayload, digests: NamedDigests) -> None:
    if payload.inline is not None:
        digests.update([payload.inline])
        return
    for segment in payload.segments:
        offset, end = segment.offset, segment.offset + segment.length
        while offset < end:
            data = os.pread(segment.fd, min(_READ_BYTES, end - offset), offset)
            if not data:
                raise CorruptObject("a part's file is shorter than its record says")
            digests.update([data])
            offset += len(data)


async def _done(pending: Awaitable[None] | None) -> None:
    if pending is not None:
        await pending
