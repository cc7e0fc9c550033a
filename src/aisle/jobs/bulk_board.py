"""The board of bulk jobs: where they are asked for, looked up and aborted, by any process of the node.

What to do lives in documents that the job worker reads; ringing its doorbell only makes it faster.
"""

import asyncio
import secrets
import string
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import JobNotFound, StaleVersion
from aisle.model.bulk import (
    BULK_NAMES_PREFIX,
    BULK_PREFIX,
    BULK_PROGRESS_PREFIX,
    COPY_OBJECTS,
    IDLE_KINDS,
    IDLE_NS,
    SELECTED_NAMES,
    BulkProgress,
    BulkRecord,
    Selection,
    decode_bulk_progress,
    decode_bulk_record,
    encode_bulk,
    encode_names,
)

_ALPHABET: Final = string.ascii_letters + string.digits
_ID_CHARACTERS: Final = 9
_ID_PREFIXES: Final = {COPY_OBJECTS: "tco-"}
_NAMES_BYTES_MAX: Final = 512 * 1024
"""Names in one document, which stays well below the store's own limit."""


class BulkStatus(NamedTuple):
    """A job as it stands. Times are Unix nanoseconds."""

    record: BulkRecord
    progress: BulkProgress
    now_ns: int

    @property
    def done_ns(self) -> int:
        """When its work ended, well or not; 0 while there is some left."""
        return self.progress.finished_ns or self.record.aborted_ns

    @property
    def ended_ns(self) -> int:
        """When it counts as ended; 0 while it runs, be it idle."""
        return 0 if self.is_idle else self.done_ns

    @property
    def is_idle(self) -> bool:
        """Whether it has no work left and still counts as running, as some kinds do for a while."""
        return (
            self.record.kind in IDLE_KINDS
            and bool(self.done_ns)
            and not self.is_aborted
            and self.now_ns < self.done_ns + IDLE_NS
        )

    @property
    def is_aborted(self) -> bool:
        """Whether it ended before its time: by somebody's wish, or because it could not go on."""
        return bool(self.record.aborted_ns or self.progress.error)

    @property
    def error(self) -> str:
        """What failed, in AIStore's words; empty if nothing did."""
        if not self.progress.errors:
            return ""
        more = self.progress.failed - 1
        plural = "s" if more > 1 else ""
        return self.progress.errors[0] + (f" (and {more} more error{plural})" if more > 0 else "")

    @property
    def abort_error(self) -> str:
        """Why it ended before its time; empty if it did not."""
        return self.progress.error or ("user abort" if self.record.aborted_ns else "")


class BulkBoard:
    """The bulk jobs of the node, for one process. `ring` wakes the job worker."""

    def __init__(
        self, store: MetadataStore, *, ring: Callable[[], None], clock_ns: Callable[[], int]
    ) -> None:
        self._store = store
        self._ring = ring
        self._clock_ns = clock_ns
        self._records = View(store, BULK_PREFIX.rstrip("/"), _record)

    async def submit(self, wanted: BulkRecord, names: Sequence[str] = ()) -> str:
        """Accept a job, durably; its id. The record's own id and time are filled in here.

        Raises OutOfSpace, Unavailable.
        """
        job_id = _new_id(wanted.kind)
        selection = wanted.selection
        if selection.by == SELECTED_NAMES:
            selection = await self._keep_names(job_id, names)
        record = msgspec.structs.replace(wanted, id=job_id, started_ns=self._clock_ns(), selection=selection)
        # An id that exists already is as likely as guessing one.
        await self._swap(BULK_PREFIX + job_id, encode_bulk(record))
        self._ring()
        return job_id

    async def note_finished(self, wanted: BulkRecord, progress: BulkProgress) -> str:
        """Keep a job that a request has done by itself, so that its id can be asked for; its id."""
        now_ns = self._clock_ns()
        job_id = _new_id(wanted.kind)
        record = msgspec.structs.replace(wanted, id=job_id, started_ns=wanted.started_ns or now_ns)
        ended = msgspec.structs.replace(progress, id=job_id, finished_ns=progress.finished_ns or now_ns)
        # The end comes first: the job worker never sees a record without it.
        await self._swap(BULK_PROGRESS_PREFIX + job_id, encode_bulk(ended))
        await self._swap(BULK_PREFIX + job_id, encode_bulk(record))
        return job_id

    def find(self, job_id: str) -> BulkStatus:
        """A job. Raises JobNotFound."""
        document = self._store.load(BULK_PREFIX + job_id) if _is_id(job_id) else None
        if document is None:
            raise JobNotFound(job_id)
        return self._status(_record(document))

    def all(self) -> list[BulkStatus]:
        """All jobs, the oldest first."""
        records = sorted(self._records.all().values(), key=lambda record: record.started_ns)
        return [self._status(record) for record in records]

    async def abort(self, job_id: str) -> None:
        """Stop a job; harmless when its work is done. Raises JobNotFound, OutOfSpace, Unavailable."""
        while True:
            document = self._store.load(BULK_PREFIX + job_id) if _is_id(job_id) else None
            if document is None:
                raise JobNotFound(job_id)
            status = self._status(_record(document))
            if status.done_ns:
                return
            aborted = msgspec.structs.replace(status.record, aborted_ns=self._clock_ns())
            try:
                await self._swap(document.key, encode_bulk(aborted), expected_version=document.version)
            except StaleVersion:
                continue
            self._ring()
            return

    async def _keep_names(self, job_id: str, names: Sequence[str]) -> Selection:
        """Write names that were given one by one; what the record says of them."""
        count = 0
        for count, chunk in enumerate(_chunks(names), start=1):
            await self._swap(f"{BULK_NAMES_PREFIX}{job_id}/{count}", encode_names(chunk))
        return Selection(by=SELECTED_NAMES, names=len(names), documents=count)

    def _status(self, record: BulkRecord) -> BulkStatus:
        document = self._store.load(BULK_PROGRESS_PREFIX + record.id)
        progress = decode_bulk_progress(document.value) if document else BulkProgress(id=record.id)
        return BulkStatus(record, progress, self._clock_ns())

    async def _swap(self, key: str, value: bytes, *, expected_version: int = 0) -> None:
        await asyncio.to_thread(self._store.swap, key, value, expected_version=expected_version)


def _chunks(names: Sequence[str]) -> list[list[str]]:
    """Names in runs that fit into a document."""
    chunks: list[list[str]] = []
    left = 0
    for name in names:
        size = len(name.encode()) + 5
        if size > left or not chunks:
            chunks.append([])
            left = _NAMES_BYTES_MAX
        chunks[-1].append(name)
        left -= size
    return chunks


def _new_id(kind: str) -> str:
    return _ID_PREFIXES.get(kind, "") + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_CHARACTERS))


def _is_id(text: str) -> bool:
    """Whether this may be a job's id, and so part of a document's key."""
    return 0 < len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _record(document: Document) -> BulkRecord:
    return decode_bulk_record(document.value)
