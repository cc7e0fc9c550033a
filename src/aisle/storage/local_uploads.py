"""Uploads of the local engine; see uploads.py for how the index keeps them."""

import asyncio
from asyncio import Future
from collections.abc import Callable, Sequence

from aisle.errors import CorruptObject, UploadNotFound
from aisle.model.names import ObjectName
from aisle.model.record import Attributes, Condition, Record
from aisle.storage import keys
from aisle.storage.commit_client import CommitClient
from aisle.storage.drafts import LocalDraft
from aisle.storage.engine import Part, Upload
from aisle.storage.generation import Generations
from aisle.storage.messages import AbandonUpload, BeginUpload, CompleteUpload, expect_number
from aisle.storage.publishing import Publisher
from aisle.storage.read_disk import ReadDisk, ReadDisks
from aisle.storage.reading import LocalPayload, PayloadFileMissing, open_segments
from aisle.storage.results import as_nothing, as_record
from aisle.storage.uploads import (
    StoredPart,
    decode_part,
    decode_upload,
    encode_upload,
    part_key,
    stored_parts,
)


class LocalUploads:
    """What the local engine does for UploadStore."""

    def __init__(
        self,
        disks: ReadDisks,
        client: CommitClient,
        generations: Generations,
        *,
        publisher: Publisher,
        clock: Callable[[], int],
    ) -> None:
        self._disks = disks
        self._client = client
        self._generations = generations
        self._publisher = publisher
        self._clock = clock

    def begin(self, name: ObjectName, attributes: Attributes) -> Future[Upload]:
        """Start an upload."""
        disk = self._disks.owner(keys.pack(name))
        ident, started_ns = self._generations.for_inline(), self._clock()
        upload = Upload(
            # The time comes first: uploads of one name are listed in the order in which they began.
            id=f"{disk.mountpath.id}-{started_ns:016x}{ident.hex()}",
            bucket=name.bucket,
            key=name.key,
            started_ns=started_ns,
            attributes=attributes,
        )
        message = BeginUpload(
            ident, disk.number, keys.pack_bucket(name.bucket), upload.id, encode_upload(upload)
        )
        return self._client.submit(message, lambda _: upload)

    def find(self, upload_id: str) -> Upload:
        """An upload in progress, by its id."""
        disk = self._disk(upload_id)
        with disk.tables.environment.begin(db=disk.tables.uploads) as transaction:
            found = transaction.get(upload_id.encode())
        if found is None:
            raise UploadNotFound(upload_id)
        return decode_upload(found)

    def commit_part(self, upload: Upload, draft: LocalDraft, how: tuple[int, Attributes]) -> Future[Part]:
        """Keep a finished draft as a part, of a number and with attributes."""
        disk = self._disk(upload.id)
        return asyncio.get_running_loop().create_task(self._publisher.commit_part(disk, upload, draft, how))

    def parts(self, upload_id: str) -> list[Part]:
        """The parts in order of their numbers."""
        disk = self._disk(upload_id)
        with disk.tables.environment.begin() as transaction:
            if transaction.get(upload_id.encode(), db=disk.tables.uploads) is None:
                raise UploadNotFound(upload_id)
            return [part.part for part in stored_parts(disk.tables, transaction, upload_id)]

    def open_part(self, upload_id: str, number: int) -> LocalPayload | None:
        """The bytes of a committed part, or None if there is none of that number."""
        disk = self._disk(upload_id)
        seen: StoredPart | None = None
        while True:
            with disk.tables.environment.begin() as transaction:
                if transaction.get(upload_id.encode(), db=disk.tables.uploads) is None:
                    raise UploadNotFound(upload_id)
                found = transaction.get(part_key(upload_id, number), db=disk.tables.parts)
            if found is None:
                return None
            part = decode_part(found)
            try:
                return LocalPayload(None, open_segments(disk.mountpath.path, [part.segment]))
            except PayloadFileMissing as error:
                if part == seen:
                    raise CorruptObject(f"part {number} of upload {upload_id} is missing") from error
                seen = part

    def complete(
        self,
        upload: Upload,
        numbers: Sequence[int],
        how: tuple[Attributes, Condition, int],
        *,
        as_seen: Sequence[Part],
    ) -> Future[Record]:
        """Make parts the object's current generation: its attributes, under a condition, written then."""
        attributes, condition, written_ns = how
        message = CompleteUpload(
            self._generations.for_inline(),
            self._disk(upload.id).number,
            upload.id,
            list(numbers),
            attributes,
            written_ns or self._clock(),
            expect_number(condition),
            condition.generation,
            [part.written_ns for part in as_seen],
            since=condition.since,
        )
        return self._client.submit(message, as_record)

    def abandon(self, upload_id: str) -> Future[None]:
        """Drop an upload and its parts."""
        message = AbandonUpload(self._generations.for_inline(), self._disk(upload_id).number, upload_id)
        return self._client.submit(message, as_nothing)

    def list(self, bucket: int) -> list[Upload]:
        """Uploads in progress in a bucket, in order of (key, id)."""
        found: list[Upload] = []
        for disk in self._disks:
            with disk.tables.environment.begin(db=disk.tables.uploads) as transaction:
                found += [decode_upload(encoded) for _, encoded in transaction.cursor()]
        chosen = [upload for upload in found if upload.bucket == bucket]
        return sorted(chosen, key=lambda upload: (upload.key, upload.id))

    def _disk(self, upload_id: str) -> ReadDisk:
        disk = self._disks.by_id(upload_id.partition("-")[0])
        if disk is None or len(upload_id) > 128 or not upload_id.isascii():
            raise UploadNotFound(upload_id)
        return disk
