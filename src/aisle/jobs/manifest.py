"""The manifest of a job: a durable line for each of its items that is done, well or not.

    MOUNTPATH/manifests/JOB   JSON lines, see ManifestEntry

Lines are only appended. The job's progress, which is replaced in one step, tells how many bytes of the
file are valid: they tell of exactly the items that the progress counts as done. What a killed process
had appended beyond that is cut off before the job goes on, and its items are found again.
"""

import logging
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final, Literal, NamedTuple

import msgspec

from aisle.model.job import FinishedItem
from aisle.model.record import Record
from aisle.rules.download_names import public_link
from aisle.rules.download_plan import Item
from aisle.storage.sync import FULL, Durability

FOLDER: Final = "manifests"
"""Where manifests lie in a mountpath."""
Result = Literal["stored", "updated", "skipped", "unpacked", "removed", "failed"]
"""What became of an item: its object is new, was replaced, was there and unchanged, was an archive that was
unpacked into the objects of the lines behind it and is gone, was removed because its source has it no more,
or could not be had."""

_PENDING_BYTES_MAX: Final = 8 * 1024 * 1024
_BLOCK: Final = 64
_READ_BYTES: Final = 256 * 1024

_log = logging.getLogger(__name__)


class ManifestEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What became of one item of a job, or of one object from its archive."""

    item: int
    """Its number in the job's plan, from 0 on."""
    object: str
    source: str
    """The link, without what is secret in it."""
    result: Result
    size: int = -1
    """Bytes; -1 for an item that failed."""
    checksum: str = ""
    """Of the bytes that are stored, `KIND:HEX`, by the bucket's own kind of checksum."""
    expected: str = ""
    """What they had to have, `KIND:HEX`, where that was given."""
    etag: str = ""
    """The source's entity tag."""
    revision: str = ""
    """The source's version, where it has versions."""
    modified: str = ""
    """When the source says it was changed."""
    time: datetime
    """When the object was written, or the item given up."""
    error: str = ""
    member: str = ""
    """The name in the item's archive, for an object that was unpacked from it."""


class ManifestLines(NamedTuple):
    """Lines that wait to be written, and where in the file they go."""

    offset: int
    data: bytes

    @property
    def end(self) -> int:
        """Where in the file they end."""
        return self.offset + len(self.data)


NO_LINES: Final = ManifestLines(0, b"")


class Manifest:
    """The manifest of a running job. `stored` and `failed` cost microseconds and do no I/O."""

    def __init__(self, path: Path, kept_bytes: int, durability: Durability = FULL) -> None:
        """`kept_bytes` is what the kept progress says is valid."""
        self._path = path
        self._durability = durability
        self._unencoded: list[tuple[Item, Record, Result]] = []
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self.is_full = False
        """Whether so much waits to be written that nothing should be added for a while."""
        self._written = kept_bytes
        self._fd = -1
        self._writing = Lock()
        self._encode = msgspec.json.Encoder().encode

    def stored(self, item: Item, record: Record, result: Result = "stored") -> None:
        """The item's object is durable as this record says."""
        self._unencoded.append((item, record, result))
        if len(self._unencoded) >= _BLOCK:
            self._encode_all()

    def _encode_all(self) -> None:
        """Make the lines of items that were only noted: many at a time, as that costs less."""
        lines = [self._encode(_entry(*noted)) for noted in self._unencoded]
        self._unencoded.clear()
        self._pending += lines
        self._pending_bytes += sum(map(len, lines)) + len(lines)
        self.is_full = self._pending_bytes >= _PENDING_BYTES_MAX

    def member(self, item: Item, key: bytes, name: str, record: Record) -> bytes:
        """The line of an object that was unpacked from the item's archive, for `unpacked`."""
        entry = _entry(msgspec.structs.replace(item, key=key, checksum=""), record, "stored", member=name)
        return self._encode(entry)

    def unpacked(self, item: Item, record: Record, members: Iterable[bytes]) -> None:
        """The item's archive has become these objects; `record` is what it was."""
        self._encode_all()  # in order
        self._add(self._encode(_entry(item, record, "unpacked")))
        for line in members:
            self._add(line)

    def removed(self, item: Item, size: int, *, ended_ns: int) -> None:
        """The item's object, which had so many bytes, is not here any more, as its source has none."""
        entry = ManifestEntry(
            item=item.number,
            object=item.key.decode("utf-8", "backslashreplace"),
            source=public_link(item.link),
            result="removed",
            size=size,
            time=_moment(ended_ns),
        )
        self._encode_all()
        self._add(self._encode(entry))

    def failed(self, number: int, finished: FinishedItem, *, link: str, error: str) -> None:
        """The item has failed for good."""
        entry = ManifestEntry(
            item=number,
            object=finished.name,
            source=public_link(link),
            result="failed",
            time=_moment(finished.ended_ns),
            error=error,
        )
        self._encode_all()
        self._add(self._encode(entry))

    def _add(self, line: bytes) -> None:
        self._pending.append(line)
        self._pending_bytes += len(line) + 1
        if self._pending_bytes >= _PENDING_BYTES_MAX:
            self.is_full = True

    def waiting(self) -> ManifestLines:
        """What is to be written, as of now; empty if nothing is."""
        self._encode_all()
        lines = b"\n".join(self._pending)
        return ManifestLines(self._written, lines + b"\n" if lines else b"")

    def write(self, lines: ManifestLines) -> None:
        """Make lines durable; for a thread. Raises OSError: they wait on then."""
        if not lines.data:
            return
        # A call that was cancelled goes on in its thread while the last one of a process is made.
        with self._writing:
            if self._fd < 0:
                self._fd = self._open(lines.offset)
            view, offset = memoryview(lines.data), lines.offset
            while view:
                count = os.pwrite(self._fd, view, offset)
                view, offset = view[count:], offset + count
            self._durability.sync_payload(self._fd)

    def written(self, lines: ManifestLines) -> None:
        """These lines are durable and need not be kept in memory any more."""
        left = len(lines.data)
        self._written += left
        self._pending_bytes -= left
        self.is_full = self._pending_bytes >= _PENDING_BYTES_MAX
        while left > 0:
            left -= len(self._pending.popleft()) + 1

    def drop_waiting(self) -> int:
        """Give up what could not be written; how many lines that are."""
        self._encode_all()
        count = len(self._pending)
        self._pending.clear()
        self._pending_bytes = 0
        self.is_full = False
        return count

    def close(self) -> None:
        """Close the file; harmless when done before."""
        with self._writing:
            fd, self._fd = self._fd, -1
            if fd >= 0:
                os.close(fd)

    def _open(self, valid: int) -> int:
        folder = self._path.parent
        if not folder.is_dir():
            folder.mkdir(mode=0o750, exist_ok=True)
            self._durability.sync_folder(str(folder.parent))
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        size = os.fstat(fd).st_size
        if size < valid:
            # Its disk was lost, say. A hole would read as zeros: empty lines tell that nothing is there.
            _log.warning("%d bytes of the manifest %s are missing", valid - size, self._path)
            for start in range(size, valid, _READ_BYTES):
                os.pwrite(fd, b"\n" * min(_READ_BYTES, valid - start), start)
        os.ftruncate(fd, valid)
        self._durability.sync_folder(str(folder))
        return fd


class OpenManifest(NamedTuple):
    """A manifest that is open for reading; one span of a file, as answers send them."""

    fd: int
    offset: int
    length: int
    missing: int = 0
    """Lines for which there was no space."""

    def close(self) -> None:
        """Close the file."""
        if self.fd >= 0:
            os.close(self.fd)

    def entries(self) -> Iterator[ManifestEntry]:
        """The entries in order, read a piece at a time. Raises OSError."""
        decode = msgspec.json.Decoder(ManifestEntry).decode
        at, rest = self.offset, b""
        while at < self.length:
            data = os.pread(self.fd, min(_READ_BYTES, self.length - at), at)
            if not data:
                return
            at += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line:
                    yield decode(line)


class ManifestFolder:
    """The manifests of a node, on any of its mountpaths."""

    def __init__(self, mountpaths: Sequence[Path], durability: Durability = FULL) -> None:
        """New manifests lie in the first mountpath."""
        self._folders = [mountpath / FOLDER for mountpath in mountpaths]
        self._durability = durability

    def start(self, job_id: str, kept_bytes: int) -> Manifest:
        """The manifest of a job that begins or goes on."""
        path = self._find(job_id) or self._folders[0] / job_id
        return Manifest(path, kept_bytes, self._durability)

    def open(self, job_id: str, valid_bytes: int, *, missing: int = 0) -> OpenManifest:
        """The first bytes of a job's manifest, as many as are valid; empty where there is none."""
        path = self._find(job_id)
        if path is None or not valid_bytes:
            return OpenManifest(-1, 0, 0, missing)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return OpenManifest(fd, 0, min(valid_bytes, os.fstat(fd).st_size), missing)

    def remove(self, job_id: str) -> None:
        """Forget a manifest; harmless when there is none. Raises OSError."""
        for folder in self._folders:
            (folder / job_id).unlink(missing_ok=True)

    def _find(self, job_id: str) -> Path | None:
        assert "/" not in job_id
        return next((path for folder in self._folders if (path := folder / job_id).exists()), None)


def _entry(item: Item, record: Record, result: Result, *, member: str = "") -> ManifestEntry:
    told = record.attributes
    custom = told.custom.get
    return ManifestEntry(
        item=item.number,
        object=item.key.decode("utf-8", "backslashreplace"),
        source=public_link(item.link),
        result=result,
        size=record.size,
        checksum=f"{told.checksum_type}:{told.checksum_value}" if told.checksum_value else "",
        expected=item.checksum,
        etag=custom("ETag", ""),
        revision=custom("version", ""),
        modified=custom("Last-Modified", ""),
        time=_moment(record.written_ns),
        member=member,
    )


def _moment(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns / 1e9, UTC)
