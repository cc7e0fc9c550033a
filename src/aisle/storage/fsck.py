"""Checking the mountpaths of a stopped node: whether all is there, and as it was stored.

The check only reads. With `repair`, what was found is put right afterwards, and the result is checked
once more by the same code.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import lmdb
import msgspec
import xxhash

from aisle.model.record import Generation, Inline, Record, Segment, decode_record
from aisle.rules import placement
from aisle.storage import keys
from aisle.storage.filesystem import locked
from aisle.storage.findings import Finding, FindingKind, Report
from aisle.storage.generation import payload_path
from aisle.storage.layout import Mountpath, open_mountpaths
from aisle.storage.names import walk_names
from aisle.storage.payload_files import generation_of, payload_files, trailer_of
from aisle.storage.read_through import UNREADABLE_STATUS
from aisle.storage.reading import segment_digest
from aisle.storage.repair import repair_mountpath
from aisle.storage.scatter import SETTLED_KEY
from aisle.storage.sweep import References
from aisle.storage.tables import IndexTables, has_index, open_index
from aisle.storage.transaction import PIECE_SUFFIXES, decode_bucket
from aisle.storage.uploads import decode_part

Progress = Callable[[int], None]
"""Called with the number of objects checked so far."""


def fsck(paths: Sequence[Path], *, repair: bool = False, progress: Progress = lambda _: None) -> Report:
    """Check mountpaths, all of a node's for a complete check; `repair` puts right what can be.

    Raises MountpathLocked while a node uses them, MountpathMissing and FormatUnsupported.
    """
    with locked(paths):
        mountpaths = open_mountpaths(paths)
        findings: list[Finding] = []
        objects = size = 0
        for mountpath in mountpaths:
            check = MountpathCheck(mountpath, mountpaths, progress)
            found = list(check.run())
            if repair and found:
                found = repair_mountpath(mountpath, mountpaths, found)
            findings += found
            objects += check.objects
            size += check.bytes
    return Report(findings, objects, size)


def index_failure(mountpath: Path) -> str:
    """Why an index cannot be read, empty if it can.

    A damaged LMDB file may end the process that reads it, so another process tries.
    """
    if not has_index(mountpath):
        return "there is no index"
    done = subprocess.run(
        [sys.executable, "-m", "aisle.storage.read_through", str(mountpath)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"reading it ends with signal {-done.returncode}"
    # Anything else is a mistake of this program, and no reason to replace an index.
    assert done.returncode == UNREADABLE_STATUS, done.stderr
    return done.stderr.strip()


class MountpathCheck:
    """A check of one mountpath, `mountpaths` being those of the node."""

    def __init__(
        self, mountpath: Mountpath, mountpaths: Sequence[Mountpath], progress: Progress = lambda _: None
    ) -> None:
        self.objects = 0
        self.bytes = 0
        self._mountpath = mountpath
        self._progress = progress
        self._pieces = 0
        self._small: dict[bytes, None] = {}
        self._counts: dict[bytes, list[int]] = {}
        self._digests = [placement.digest(other.id.encode()) for other in mountpaths]
        self._number = list(mountpaths).index(mountpath)
        self._fingerprint = " ".join(other.id for other in mountpaths).encode()

    def run(self) -> Iterator[Finding]:
        """Everything that is wrong."""
        failure = index_failure(self._mountpath.path)
        if failure:
            yield self._finding(FindingKind.LOST_INDEX, failure)
            return
        tables = open_index(self._mountpath.path, writable=False, map_size_bytes=0)
        try:
            with tables.environment.begin() as transaction:
                yield from self._check_objects(tables, transaction)
                yield from self._check_parts(tables, transaction)
                yield from self._check_pieces(tables, transaction)
                yield from self._check_counts(tables, transaction)
                yield from self._check_files(tables, transaction)
        finally:
            tables.close()

    def _finding(self, kind: FindingKind, detail: str, **about: object) -> Finding:
        return Finding(kind, self._mountpath.path, detail)._replace(**about)  # type: ignore[arg-type]

    def _check_objects(
        self, tables: IndexTables, transaction: "lmdb.Transaction[bytes]"
    ) -> Iterator[Finding]:
        settled = transaction.get(SETTLED_KEY, db=tables.state) == self._fingerprint
        for packed, encoded in walk_names(tables, transaction):
            name = keys.unpack(packed)
            try:
                record = decode_record(encoded)
            except msgspec.MsgspecError as error:
                yield self._finding(FindingKind.DAMAGED_RECORD, str(error), name=name)
                continue
            self.objects += 1
            self.bytes += record.size
            counts = self._counts.setdefault(packed[: keys.SPACE_BYTES], [0, 0])
            counts[0] += 1
            counts[1] += record.size
            about = {"name": name, "generation": record.generation}
            if isinstance(record.payload, Inline):
                self._pieces += record.payload.pieces
                if not _small_is_whole(tables, transaction, record, record.payload):
                    yield self._finding(FindingKind.DAMAGED_SMALL, "its bytes are not as stored", **about)
            else:
                yield from self._check_segments(record.payload.segments, **about)
            owner = placement.owner(placement.digest(packed), self._digests)
            if settled and owner != self._number:
                yield self._finding(FindingKind.MISPLACED, "another mountpath owns it", **about)
            if self.objects % 1000 == 0:
                self._progress(self.objects)

    def _check_segments(self, segments: Sequence[Segment], **about: object) -> Iterator[Finding]:
        for segment in segments:
            path = self._mountpath.path / payload_path(segment.generation)
            where = f"{path.relative_to(self._mountpath.path)}"
            try:
                whole = segment_digest(str(path), segment)
            except FileNotFoundError:
                yield self._finding(FindingKind.MISSING_FILE, f"{where} is not there", **about)
                continue
            except OSError as error:
                yield self._finding(FindingKind.DAMAGED_FILE, f"{where}: {error.strerror}", **about)
                continue
            if whole is None:
                yield self._finding(FindingKind.MISSING_FILE, f"{where} is too short", **about)
            elif whole != segment.xxh3:
                yield self._finding(FindingKind.DAMAGED_FILE, f"{where} is not as stored", **about)
            elif trailer_of(path) is None:
                yield self._finding(FindingKind.DAMAGED_TRAILER, where, **about)

    def _check_parts(self, tables: IndexTables, transaction: "lmdb.Transaction[bytes]") -> Iterator[Finding]:
        for key, encoded in transaction.cursor(tables.parts):
            part = decode_part(encoded)
            upload = key.rpartition(b"/")[0].decode()
            for finding in self._check_segments([part.segment], generation=part.segment.generation):
                yield finding._replace(detail=f"part {part.part.number} of upload {upload}: {finding.detail}")

    def _check_pieces(self, tables: IndexTables, transaction: "lmdb.Transaction[bytes]") -> Iterator[Finding]:
        # Every piece that a record refers to was seen above: only if there are more, some have no record.
        if transaction.stat(tables.small)["entries"] == self._pieces:
            return
        wanted: set[Generation] = set()
        for _, encoded in walk_names(tables, transaction):
            try:
                record = decode_record(encoded)
            except msgspec.MsgspecError:
                continue
            if isinstance(record.payload, Inline):
                wanted.add(record.generation)
        orphans = {key[:16] for key, _ in transaction.cursor(tables.small) if key[:16] not in wanted}
        for generation in sorted(orphans):
            detail = f"generation {generation.hex()}"
            yield self._finding(FindingKind.ORPHAN_PIECES, detail, generation=generation)

    def _check_counts(self, tables: IndexTables, transaction: "lmdb.Transaction[bytes]") -> Iterator[Finding]:
        stored = {
            bucket: [state.objects, state.bytes]
            for bucket, encoded in transaction.cursor(tables.buckets)
            for state in [decode_bucket(encoded)]
        }
        for bucket in sorted(stored.keys() | self._counts.keys()):
            counted = self._counts.get(bucket, [0, 0])
            if stored.get(bucket) != counted:
                detail = (
                    f"bucket number {int.from_bytes(bucket, 'big')} has {counted[0]} objects of "
                    f"{counted[1]} bytes, its record says {stored.get(bucket, 'nothing')}"
                )
                yield self._finding(FindingKind.WRONG_COUNTS, detail, name=keys.unpack(bucket))

    def _check_files(self, tables: IndexTables, transaction: "lmdb.Transaction[bytes]") -> Iterator[Finding]:
        references = References(tables, transaction)
        removed = {key[8:] for key, _ in transaction.cursor(tables.removed)}
        for path in payload_files(self._mountpath.path):
            where = str(path.relative_to(self._mountpath.path))
            generation = generation_of(path)
            if generation is None:
                yield self._finding(FindingKind.ORPHAN_FILE, f"{where}: not a payload's name")
                continue
            trailer = trailer_of(path)
            if generation in removed or references.to(generation, trailer):
                continue
            # What a trailer says is not enough to set a file aside.
            if generation not in references.everything:
                name = keys.unpack(trailer.key) if trailer and not trailer.upload else None
                yield self._finding(FindingKind.ORPHAN_FILE, where, name=name, generation=generation)
        for draft in sorted((self._mountpath.path / "drafts").rglob("*")):
            if draft.is_file():
                where = str(draft.relative_to(self._mountpath.path))
                yield self._finding(FindingKind.ABANDONED_DRAFT, where, generation=generation_of(draft))


def _small_is_whole(
    tables: IndexTables, transaction: "lmdb.Transaction[bytes]", record: Record, payload: Inline
) -> bool:
    pieces = [
        transaction.get(record.generation + suffix, db=tables.small)
        for suffix in PIECE_SUFFIXES[: payload.pieces]
    ]
    found = b"".join(piece for piece in pieces if piece is not None)
    return len(found) == record.size and xxhash.xxh3_64_digest(found) == payload.xxh3
