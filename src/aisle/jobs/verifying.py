"""Verifying a download: whether its objects still are what its manifest says.

Every object is looked up, and its bytes are read and hashed again, where they lie: nothing leaves the
node. What is small goes in slices of a few milliseconds, so that others get their turn in between.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Final, Literal

import msgspec

from aisle.errors import AisleError, CorruptObject
from aisle.jobs.manifest import ManifestEntry, OpenManifest
from aisle.model.bucket import BucketInfo
from aisle.model.digests import GIT_BLOB, git_blob_kind
from aisle.model.job import JobProgress
from aisle.model.names import ObjectName
from aisle.rules.download_plan import NumberSet, Plan
from aisle.storage.engine import StorageEngine, Stored
from aisle.storage.hashing import is_digest_kind
from aisle.target.in_threads import in_thread
from aisle.target.verifying import digest_of

Problem = Literal["missing", "size", "checksum", "damaged", "failed"]
"""What is wrong: no object, another length, other bytes, unreadable, or it never came."""

_SLICE_S: Final = 0.002
_READ_ENTRIES: Final = 500
_TOLD_INTERVAL_S: Final = 1.0
_LONG_BYTES: Final = 64 * 1024 * 1024


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """An item whose object is not what the manifest says."""

    item: int
    object: str
    problem: Problem
    detail: str


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """How far the verification is; the last one has `done`."""

    checked: int
    """Items so far."""
    bytes: int
    bad: int
    done: bool


class Verification:
    """Verifies one job. `bucket` is None if it is gone; `plan` tells names that JSON cannot.

    `undone` are the items that the job never came to, see `undone_items`.
    """

    def __init__(
        self,
        engine: StorageEngine,
        bucket: BucketInfo | None,
        manifest: OpenManifest,
        plan: Plan,
        *,
        undone: Iterable[int] = (),
    ) -> None:
        self._engine = engine
        self._bucket = bucket
        self._manifest = manifest
        self._plan = plan
        self._undone = undone
        self._checked = self._bytes = self._bad = 0

    async def run(self) -> AsyncIterator[Finding | Checked]:
        """What is wrong, and about once a second how far it is; at last the result."""
        slice_s = told_s = time.monotonic()
        entries = self._manifest.entries()
        batch: list[ManifestEntry] = []
        while True:
            if not batch:
                batch = await in_thread(lambda: list(islice(entries, _READ_ENTRIES)), _nothing)
                if not batch:
                    break
                batch.reverse()
            entry = batch.pop()
            if entry.size < _LONG_BYTES:
                finding = await self._check(entry)
            else:
                checking = asyncio.ensure_future(self._check(entry))
                try:
                    while not (await asyncio.wait((checking,), timeout=_TOLD_INTERVAL_S))[0]:
                        yield self._so_far(done=False)  # whoever reads this must not think that all is dead
                finally:
                    checking.cancel()
                finding = checking.result()
            self._checked += 1
            if finding is not None:
                self._bad += 1
                yield finding
            now_s = time.monotonic()
            if now_s - slice_s >= _SLICE_S:
                if now_s - told_s >= _TOLD_INTERVAL_S:
                    yield self._so_far(done=False)
                    told_s = now_s
                await asyncio.sleep(0)
                slice_s = time.monotonic()
        for number in self._undone:
            self._checked += 1
            self._bad += 1
            yield self._never_came(number)
            if time.monotonic() - slice_s >= _SLICE_S:
                await asyncio.sleep(0)
                slice_s = time.monotonic()
        yield self._so_far(done=True)

    def _so_far(self, *, done: bool) -> Checked:
        return Checked(checked=self._checked, bytes=self._bytes, bad=self._bad, done=done)

    def _never_came(self, number: int) -> Finding:
        try:
            name = self._plan.item(number).key.decode("utf-8", "backslashreplace")
        except AisleError:
            name = self._plan.label(number)
        return Finding(item=number, object=name, problem="failed", detail="the job ended before its turn")

    async def _check(self, entry: ManifestEntry) -> Finding | None:
        if entry.result in ("unpacked", "removed"):
            return None  # its files are checked, each by itself
        if entry.result == "failed":
            return _finding(entry, "failed", entry.error)
        if self._bucket is None:
            return _finding(entry, "missing", "its bucket is gone")
        try:
            stored = self._engine.open(ObjectName(self._bucket.number, self._key(entry)))
            if stored is None:
                return _finding(entry, "missing", "there is no such object")
            try:
                return await self._compare(entry, stored)
            finally:
                stored.close()
        except CorruptObject as error:
            return _finding(entry, "damaged", str(error))

    async def _compare(self, entry: ManifestEntry, stored: Stored) -> Finding | None:
        size = stored.record.size
        if size != entry.size:
            return _finding(entry, "size", f"it has {size} bytes, {entry.size} were stored")
        kind, wanted = _digest_to_compare(entry)
        if kind:
            spans = stored.segments if stored.inline is None else [stored.inline]
            found = await digest_of(kind, spans, stored)
            self._bytes += size
            if found != wanted:
                return _finding(entry, "checksum", f"its {kind} is {found}, {wanted} was stored")
        return None

    def _key(self, entry: ManifestEntry) -> bytes:
        if "\\x" in entry.object:
            # Perhaps a name that is no text: the plan has its bytes.
            try:
                key = self._plan.item(entry.item).key
            except AisleError:
                pass
            else:
                if key.decode("utf-8", "backslashreplace") == entry.object:
                    return key
        return entry.object.encode()


def undone_items(progress: JobProgress) -> Iterator[int]:
    """The numbers of the items that a job had not come to when it ended; none while it goes on."""
    return NumberSet(progress.done).missing(progress.total if progress.finished_ns else 0)


def _digest_to_compare(entry: ManifestEntry) -> tuple[str, str]:
    """Kind and value of a digest that can be computed, both empty if there is none."""
    for text in (entry.checksum, entry.expected):
        kind, _, value = text.partition(":")
        kind = git_blob_kind(entry.size) if kind == GIT_BLOB else kind
        if is_digest_kind(kind):
            return kind, value
    return "", ""


def _finding(entry: ManifestEntry, problem: Problem, detail: str) -> Finding:
    return Finding(item=entry.item, object=entry.object, problem=problem, detail=detail)


def _nothing() -> None:
    """Reading some entries is short: it is waited for."""
