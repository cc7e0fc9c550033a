"""Sweeping what dead processes were writing.

A payload file has a name in its process' drafts folder from its first byte until the index refers to it,
so all that a dead process can have left is listed there. A file that got its final name too may have
been committed: its trailer says for which name, and the index says whether that refers to it.
"""

import os
import shutil
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

import lmdb
import msgspec

from aisle.model.record import Files, Generation, decode_record
from aisle.storage import keys
from aisle.storage.generation import draft_folder, payload_path
from aisle.storage.layout import Mountpath
from aisle.storage.names import walk_names
from aisle.storage.tables import IndexTables, open_index
from aisle.storage.trailer import Trailer, read_trailer
from aisle.storage.uploads import decode_part, part_key


def sweep_all(mountpaths: Sequence[Mountpath]) -> int:
    """Sweep everything, before the first process of a node starts; how many payloads were dropped."""
    dropped = 0
    for mountpath in mountpaths:
        drafts = mountpath.path / "drafts"
        if not any(drafts.iterdir()):
            continue
        tables = open_index(mountpath.path, writable=False, map_size_bytes=0)
        try:
            found = [bytes.fromhex(folder.name) for folder in drafts.iterdir()]
            dropped += sweep_drafts(mountpath.path, tables, found)
        finally:
            tables.close()
    return dropped


def sweep_drafts(mountpath: Path, tables: IndexTables, incarnations: Collection[bytes]) -> int:
    """Sweep the drafts of dead processes on one mountpath; how many payloads were dropped.

    All that these processes ever sent to the committer must have been executed.
    """
    dropped = 0
    with tables.environment.begin() as transaction:
        references = References(tables, transaction)
        for incarnation in incarnations:
            folder = mountpath / draft_folder(incarnation)
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                continue
            for name in names:
                dropped += sweep_draft(mountpath, folder / name, references)
            shutil.rmtree(folder, ignore_errors=True)
    return dropped


def sweep_draft(mountpath: Path, draft: Path, references: "References") -> bool:
    """Drop a draft, and its payload file unless the index refers to it; whether that was dropped."""
    generation = bytes.fromhex(draft.name)
    final = mountpath / payload_path(generation)
    committed = False
    if final.exists():
        fd = os.open(draft, os.O_RDONLY | os.O_CLOEXEC)
        try:
            trailer = read_trailer(fd)
        finally:
            os.close(fd)
        committed = references.to(generation, trailer)
        if not committed:
            final.unlink(missing_ok=True)
    draft.unlink(missing_ok=True)
    return not committed


class References:
    """Whether an index refers to payload files, within one read transaction."""

    def __init__(self, tables: IndexTables, transaction: "lmdb.Transaction[bytes]") -> None:
        self._tables = tables
        self._transaction = transaction

    def to(self, generation: Generation, trailer: Trailer | None) -> bool:
        """Whether the index refers to a payload file, given its trailer if it has one.

        Files that were never synced, or are damaged, may have none: then all records are looked at.
        """
        if trailer is None:
            return generation in self.everything
        if trailer.upload:
            part = self._transaction.get(part_key(trailer.upload, trailer.number), db=self._tables.parts)
            if part is not None and decode_part(part).segment.generation == generation:
                return True
        key = keys.find(self._transaction, self._tables.objects, trailer.key)
        found = self._transaction.get(key, db=self._tables.objects) if key else None
        return found is not None and generation in _generations(found)

    @cached_property
    def everything(self) -> set[Generation]:
        """All payload files that the index refers to."""
        found: set[Generation] = set()
        for _, encoded in walk_names(self._tables, self._transaction):
            found |= _generations(encoded)
        for _, encoded in self._transaction.cursor(self._tables.parts):
            found.add(decode_part(encoded).segment.generation)
        return found


def _generations(encoded: bytes) -> set[Generation]:
    try:
        payload = decode_record(encoded).payload
    except msgspec.MsgspecError:
        return set()  # damaged: a check reports it
    return {segment.generation for segment in payload.segments} if isinstance(payload, Files) else set()
