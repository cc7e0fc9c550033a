"""Putting right what a check found on a mountpath.

Nothing is deleted that could still be of use: files that nothing refers to, or that are damaged, go to the
`quarantine` folder of their mountpath.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from aisle.config import StorageConfig
from aisle.errors import OutOfSpace
from aisle.model.record import Files, Generation, Inline, Record, Segment, decode_record, encode_record
from aisle.storage import keys
from aisle.storage.copies import copies_of, install_copy
from aisle.storage.disk import Disk, Order
from aisle.storage.findings import Finding, FindingKind
from aisle.storage.generation import payload_path
from aisle.storage.layout import Mountpath
from aisle.storage.names import walk_names
from aisle.storage.payload_files import generation_of, payload_files, trailer_of
from aisle.storage.scatter import SETTLED_KEY, current_record
from aisle.storage.sweep import References, sweep_drafts
from aisle.storage.sync import FULL
from aisle.storage.tables import open_index, removed_generation
from aisle.storage.trailer import Trailer, encode_trailer
from aisle.storage.transaction import BUCKET_OPEN, PIECE_SUFFIXES, BucketState, Group
from aisle.storage.uploads import decode_part

QUARANTINE = "quarantine"
_BATCH = 200
_K = FindingKind


def repair_mountpath(
    mountpath: Mountpath, mountpaths: Sequence[Mountpath], findings: list[Finding]
) -> list[Finding]:
    """Put right what can be; the findings with what was done about each."""
    if any(finding.kind is _K.LOST_INDEX for finding in findings):
        return [finding._replace(action=rebuild(mountpath, mountpaths)) for finding in findings]
    disk = _open(mountpath)
    try:
        repaired = [_repair(disk, finding) for finding in findings]
        correct_counts(disk)
    finally:
        disk.close()
    return repaired


def rebuild(mountpath: Mountpath, mountpaths: Sequence[Mountpath]) -> str:
    """Make a new index, from a copy of the old one if there is any, and from the payload files' trailers.

    What was done, in a few words. Small payloads since the copy, and objects made of parts, are lost.
    """
    aside = _quarantine(mountpath.path, f"index-{time.time_ns()}")
    if (mountpath.path / "index").exists():
        os.rename(mountpath.path / "index", aside)
    (mountpath.path / "index").mkdir(mode=0o750)
    copies = copies_of(mountpath, mountpaths)
    if copies:
        install_copy(copies[-1], mountpath)
    open_index(mountpath.path, writable=True, map_size_bytes=0).close()
    disk = _open(mountpath)
    try:
        dropped = _drop_fileless(disk)
        taken = _take_up_all(disk)
        correct_counts(disk)
    finally:
        disk.close()
    base = "rebuilt from a copy and" if copies else "rebuilt from"
    return f"{base} trailers: {taken} objects taken up, {dropped} without their files dropped"


def correct_counts(disk: Disk) -> None:
    """Count what each bucket holds, and record it."""
    counts: dict[bytes, list[int]] = {}
    with disk.tables.environment.begin() as transaction:
        for packed, encoded in walk_names(disk.tables, transaction):
            found = counts.setdefault(packed[: keys.SPACE_BYTES], [0, 0])
            found[0] += 1
            found[1] += decode_record(encoded).size
        known = [bucket for bucket, _ in transaction.cursor(disk.tables.buckets)]
    with disk.group() as group:
        for bucket in sorted({*known, *counts}):
            state = _bucket(group, bucket)
            state.objects, state.bytes = counts.get(bucket, [0, 0])
            state.extra_objects = state.extra_bytes = 0


def _open(mountpath: Mountpath) -> Disk:
    order = Order(0)
    disk = Disk(mountpath, order, config=StorageConfig(), clock=time.time_ns, durability=FULL)
    order.advance(disk.last_sequence)
    return disk


def _repair(disk: Disk, finding: Finding) -> Finding:
    act = {
        _K.ORPHAN_PIECES: _remove_pieces,
        _K.ORPHAN_FILE: _take_up_or_quarantine,
        _K.ABANDONED_DRAFT: _sweep,
        _K.WRONG_COUNTS: lambda *_: "corrected",  # when all else is done
        _K.MISPLACED: _unsettle,
        _K.DAMAGED_TRAILER: _write_trailer,
    }.get(finding.kind, _drop_record)
    try:
        return finding._replace(action=act(disk, finding))
    except OutOfSpace:
        return finding  # reported only


def _remove_pieces(disk: Disk, finding: Finding) -> str:
    assert finding.generation is not None
    with disk.group() as group:
        _remove_small(group, finding.generation)
    return "removed"


def _remove_small(group: Group, generation: Generation) -> None:
    for suffix in PIECE_SUFFIXES:
        group.transaction.delete(generation + suffix, db=group.tables.small)


def _sweep(disk: Disk, finding: Finding) -> str:
    del finding  # all at once
    found = [bytes.fromhex(folder.name) for folder in (disk.mountpath.path / "drafts").iterdir()]
    sweep_drafts(disk.mountpath.path, disk.tables, found)
    return "swept"


def _unsettle(disk: Disk, finding: Finding) -> str:
    del finding
    with disk.group() as group:
        group.transaction.delete(SETTLED_KEY, db=group.tables.state)
    return "the next start moves it"


def _write_trailer(disk: Disk, finding: Finding) -> str:
    """Describe a whole payload file by the record that refers to it."""
    if finding.name is None:
        return "left as it is"  # a part: the index describes it
    packed = keys.pack(finding.name)
    record = current_record(disk, packed)
    if record is None or isinstance(record.payload, Inline) or len(record.payload.segments) != 1:
        return "left as it is"
    [segment] = record.payload.segments
    trailer = encode_trailer(
        Trailer(key=packed, size=record.size, xxh3=segment.xxh3, record=msgspec.Raw(encode_record(record)))
    )
    path = disk.mountpath.path / payload_path(segment.generation)
    with path.open("r+b") as file:
        file.truncate(record.size)
        file.seek(record.size)
        file.write(trailer)
        file.flush()
        FULL.sync_payload(file.fileno())
    return "written again"


def _drop_record(disk: Disk, finding: Finding) -> str:
    """Remove a record, or a part, whose payload is not what it should be."""
    if finding.name is None:
        return _drop_part(disk, finding)
    packed = keys.pack(finding.name)
    with disk.group() as group:
        key = keys.find(group.transaction, group.tables.objects, packed)
        found = group.transaction.pop(key, db=group.tables.objects) if key else None
        if found is None:
            return "removed"  # another finding of the same object
        keys.prune(group.transaction, group.tables.objects, packed)
        if finding.kind is _K.DAMAGED_RECORD:
            return "record removed"
        record = decode_record(found)
        if isinstance(record.payload, Inline):
            for suffix in PIECE_SUFFIXES[: record.payload.pieces]:
                group.transaction.delete(record.generation + suffix, db=group.tables.small)
            return "record removed"
        segments = record.payload.segments
    return f"record removed{_quarantine_files(disk, segments)}"


def _drop_part(disk: Disk, finding: Finding) -> str:
    with disk.group() as group:
        for key, encoded in list(group.transaction.cursor(group.tables.parts)):
            segment = decode_part(encoded).segment
            if segment.generation == finding.generation:
                group.transaction.delete(key, db=group.tables.parts)
                return f"part removed{_quarantine_files(disk, [segment])}"
    return "part removed"


def _quarantine_files(disk: Disk, segments: Sequence[Segment]) -> str:
    moved = 0
    for segment in segments:
        path = disk.mountpath.path / payload_path(segment.generation)
        if path.exists():
            os.rename(path, _quarantine(disk.mountpath.path, path.name))
            moved += 1
    return f", {moved} files to {QUARANTINE}" if moved else ""


def _quarantine(mountpath: Path, name: str) -> Path:
    folder = mountpath / QUARANTINE
    folder.mkdir(mode=0o750, exist_ok=True)
    return folder / name


def _take_up_or_quarantine(disk: Disk, finding: Finding) -> str:
    path = disk.mountpath.path / finding.detail.partition(":")[0]
    trailer = _own_trailer(path)
    if trailer is not None:
        with disk.group() as group:
            taken, losers = _take_up(group, trailer)
        if taken:
            return f"taken up again{_quarantine_files(disk, losers)}"
    if path.exists():
        os.rename(path, _quarantine(disk.mountpath.path, path.name))
    return f"moved to {QUARANTINE}"


def _own_trailer(path: Path) -> Trailer | None:
    """The trailer of a file that is all of an object's payload, under that payload's own name.

    A copy of a payload file under another name tells of the file that it was copied from.
    """
    trailer = trailer_of(path)
    if trailer is None or trailer.upload or decode_record(trailer.record).generation != generation_of(path):
        return None
    return trailer


def _take_up_all(disk: Disk) -> int:
    """Take up what payload files tell, but those that wait to be unlinked; how many objects."""
    taken = 0
    waiting: list[Trailer] = []
    with disk.tables.environment.begin(db=disk.tables.removed) as transaction:
        removed = {removed_generation(key) for key in transaction.cursor().iternext(values=False)}
    for path in payload_files(disk.mountpath.path):
        trailer = _own_trailer(path)
        if trailer is not None and generation_of(path) not in removed:
            waiting.append(trailer)
        if len(waiting) == _BATCH:
            taken += _take_up_batch(disk, waiting)
            waiting = []
    return taken + _take_up_batch(disk, waiting)


def _take_up_batch(disk: Disk, trailers: Sequence[Trailer]) -> int:
    losers: list[Segment] = []
    taken = 0
    with disk.group() as group:
        references = References(group.tables, group.transaction)
        for trailer in trailers:
            record = decode_record(trailer.record)
            if references.to(record.generation, trailer):
                continue
            won, lost = _take_up(group, trailer)
            taken += won
            losers += lost
    _quarantine_files(disk, losers)
    return taken


def _take_up(group: Group, trailer: Trailer) -> tuple[bool, Sequence[Segment]]:
    """Make what a trailer tells current if nothing newer is; the payload files that then are of no use."""
    record = decode_record(trailer.record)
    _bucket(group, trailer.key[: keys.SPACE_BYTES])
    current = group.current(trailer.key)
    # Trailers know no sequence, so the clock must decide between two of one name.
    if current is not None and current.written_ns >= record.written_ns:
        return False, _segments(record)
    key = keys.find_or_make(group.transaction, group.tables.objects, trailer.key, group.new_chain)
    group.put_record(key, msgspec.structs.replace(record, sequence=group.next_sequence()))
    if current is None:
        return True, ()
    if isinstance(current.payload, Inline):
        _remove_small(group, current.generation)
    return True, _segments(current)


def _segments(record: Record) -> Sequence[Segment]:
    return record.payload.segments if isinstance(record.payload, Files) else ()


def _drop_fileless(disk: Disk) -> int:
    """Drop records whose payload files are gone: they were removed after the copy was made."""
    gone: list[bytes] = []
    with disk.tables.environment.begin() as transaction:
        for packed, encoded in walk_names(disk.tables, transaction):
            payload = decode_record(encoded).payload
            if isinstance(payload, Files) and not all(
                (disk.mountpath.path / payload_path(segment.generation)).exists()
                for segment in payload.segments
            ):
                gone.append(packed)
    for start in range(0, len(gone), _BATCH):
        with disk.group() as group:
            for packed in gone[start : start + _BATCH]:
                group.delete(packed, _bucket(group, packed[: keys.SPACE_BYTES]))
    return len(gone)


def _bucket(group: Group, bucket: bytes) -> BucketState:
    state = group.bucket(bucket)
    if state is None:
        state = BucketState(BUCKET_OPEN)
        group.set_bucket(bucket, state)
    return state
