"""The job worker's part in delayed writes: goes through the queues and writes what is in them.

Each bucket is worked on for itself, so that a source that is down holds up no other. What fails is tried
again, later each time; nothing is given up.
"""

import asyncio
import logging
import random
from asyncio import Task
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from aisle.cluster.store import MetadataStore
from aisle.errors import AisleError, SourceThrottled, SourceUnreachable
from aisle.gateway.buckets import Buckets
from aisle.jobs.delayed_jobs import AREA, SHOWN_MAX, DelayedStatus, encode_status, read_status, status_key
from aisle.jobs.doorbell import rung
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.unwritten import MARK, is_unwritten
from aisle.rules.backoff import delay_s
from aisle.target.delayed_queue import DelayedQueue
from aisle.target.delayed_writing import DelayedWriter, Outcome
from aisle.target.objects import TargetEngine
from aisle.telemetry import UNWRITTEN_CHANGES, Telemetry

WORKERS: Final = 8
"""Objects of one bucket that are written at a time."""
_PAGE: Final = 256
_SCANNED: Final = 1_000
_AGAIN_S: Final = 0.5
"""When what waits for a writer, or failed for itself, is looked at again."""
_CONFLICT_S: Final = 5.0
"""When conflicts are, while there is nothing else to do."""

_log = logging.getLogger(__name__)


class DelayedTools(NamedTuple):
    """What delayed writes are written with."""

    store: MetadataStore
    engine: TargetEngine
    buckets: Buckets
    queue: DelayedQueue
    writer: DelayedWriter
    clock_ns: Callable[[], int]
    telemetry: Telemetry


Lines = dict[int, "Line"]
"""The queues that are worked on, by the numbers of their buckets."""


async def run_delayed(tools: DelayedTools, doorbell: asyncio.Event) -> None:
    """Write what is delayed until cancelled; `doorbell` is to be set whenever there is more."""
    lines: Lines = {}
    mending = asyncio.create_task(mend(tools))
    try:
        while True:
            _look(tools, lines)
            await rung(doorbell)
    finally:
        tasks = [mending, *(line.task for line in lines.values() if line.task)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def mend(tools: DelayedTools) -> None:
    """Have an entry again for whatever is marked and has none, and forget how things went with what is gone.

    An entry is there before its change, and only a disk that lost its index loses one without the other.
    """
    for info in tools.buckets.select():
        after = b""
        while info.queue:
            page = tools.engine.scan(info.number, after=after, limit=_SCANNED)
            for key, encoded in page.entries:
                # Most are not decoded: the mark stands in a record as it is.
                if encoded is not None and MARK in encoded:
                    await _mend_one(tools, info, key)
            if not page.more:
                break
            after = page.entries[-1].key
            await asyncio.sleep(0)
    numbers = {str(info.number) for info in tools.buckets.select()}
    for document in tools.store.list(f"{AREA}/"):
        if document.key.partition("/")[2] not in numbers:
            with suppress(AisleError):
                await asyncio.to_thread(
                    tools.store.swap, document.key, None, expected_version=document.version
                )


async def _mend_one(tools: DelayedTools, info: BucketInfo, key: bytes) -> None:
    held = tools.engine.look_up(ObjectName(info.number, key))
    if held is None or not is_unwritten(held.record.attributes) or tools.queue.find(info, key) is not None:
        return
    try:
        await tools.queue.settle(info, key, held.record.generation)
    except AisleError as error:
        _log.warning("%s has to wait for its place in the queue: %s", display(info.bucket, key), error)


async def write_once(tools: DelayedTools, lines: Lines) -> None:
    """Go through all queues once, also those that are to be left alone; `lines` go on the next time."""
    for line in lines.values():
        line.hurry()
    _look(tools, lines)
    await asyncio.gather(*(line.task for line in lines.values() if line.task))
    _count(tools)


def _look(tools: DelayedTools, lines: Lines) -> None:
    """Begin what is due."""
    for info, changes in _count(tools):
        if changes and info.remote is not None:
            if info.number not in lines:
                lines[info.number] = Line(tools)
            lines[info.number].begin(info)


def _count(tools: DelayedTools) -> list[tuple[BucketInfo, int]]:
    """How many changes wait, in each bucket with a queue."""
    counted = [
        (info, tools.engine.counts(info.queue).objects)
        for info in tools.buckets.snapshot().values()
        if info and info.queue
    ]
    tools.telemetry.slots[UNWRITTEN_CHANGES] = sum(changes for _, changes in counted)
    return counted


class _Pass:
    """What one walk through a queue has found."""

    def __init__(self) -> None:
        self.written = 0
        self.waiting = 0
        self.conflicts: list[str] = []
        self.more_conflicts = 0
        self.error = ""
        """What failed last."""
        self.unanswered = 0
        """How often the source did not answer, or wanted to be asked less."""
        self.asked_s: float | None = None
        """How long it wants to be left alone."""

    @property
    def is_in_vain(self) -> bool:
        """Whether all others would fail, too; one that fails may do so for itself."""
        return self.unanswered >= WORKERS and not self.written

    def note(self, name: str, outcome: Outcome) -> None:
        """Count what became of an entry."""
        if outcome is Outcome.WRITTEN:
            self.written += 1
        elif outcome is Outcome.WAITING:
            self.waiting += 1
        elif len(self.conflicts) < SHOWN_MAX:
            self.conflicts.append(name)
        else:
            self.more_conflicts += 1


class Line:
    """The queue of one bucket, and how its source does."""

    def __init__(self, tools: DelayedTools) -> None:
        self.task: Task[None] | None = None
        self._tools = tools
        self._failures = 0
        self._next_s = 0.0
        self._after = b""
        """Where the last walk has ended early; the next one begins there, so that none comes off badly."""
        self._status: DelayedStatus | None = None

    def begin(self, info: BucketInfo) -> None:
        """Go through the queue, unless that is being done or was in vain just now."""
        if (self.task is None or self.task.done()) and asyncio.get_running_loop().time() >= self._next_s:
            self.task = asyncio.create_task(self._run(info))

    def hurry(self) -> None:
        """Do not leave the queue alone any longer."""
        self._next_s = 0.0

    async def _run(self, info: BucketInfo) -> None:
        walk = _Pass()
        try:
            await self._walk(info, walk)
        except AisleError as error:
            walk.error = str(error)
        except Exception:  # noqa: BLE001 - a mistake of ours must not end all delayed writes
            walk.error = "a delayed write failed; the node's log has the details"
            _log.exception("delayed writes of %s failed", info.bucket.cname)
        self._next_s = asyncio.get_running_loop().time() + self._pause_s(walk)
        await self._save(info, walk)

    def _pause_s(self, walk: _Pass) -> float:
        """How long to leave the queue alone."""
        if walk.error and not walk.written:
            self._failures += 1
            chance = random.random()  # noqa: S311 - no secret
            return delay_s(self._failures, chance=chance, retry_after_s=walk.asked_s)
        self._failures = 0
        if walk.error or walk.waiting:
            return _AGAIN_S
        return _CONFLICT_S if walk.conflicts and not walk.written else 0.0

    async def _walk(self, info: BucketInfo, walk: _Pass) -> None:
        """Write what is in the queue now."""
        after = self._after
        while True:
            page = self._tools.engine.scan(info.queue, after=after, limit=_PAGE)
            names = iter([entry.key for entry in page.entries])

            async def work(names: Iterator[bytes] = names) -> None:
                for key in names:
                    if walk.is_in_vain:
                        self._after = min(self._after, key) if self._after else key
                        return
                    await self._write(info, key, walk)

            self._after = b""
            await asyncio.gather(*(work() for _ in range(min(WORKERS, len(page.entries)))))
            if not page.more or walk.is_in_vain:
                return
            after = page.entries[-1].key

    async def _write(self, info: BucketInfo, key: bytes, walk: _Pass) -> None:
        name = display(info.bucket, key)
        try:
            walk.note(name, await self._tools.writer.write(info, key))
        except AisleError as error:
            walk.error = str(error)
            if isinstance(error, SourceThrottled | SourceUnreachable):
                walk.unanswered += 1
                walk.asked_s = error.retry_after_s
            else:
                _log.warning("%s could not be written to its source: %s", name, error)

    async def _save(self, info: BucketInfo, walk: _Pass) -> None:
        """Keep what is to be told, if it is another thing than before."""
        store, key = self._tools.store, status_key(info)
        document = store.load(key)
        before = self._status or (read_status(document) if document else DelayedStatus())
        if walk.error and walk.error != before.error:
            _log.warning("delayed writes of %s have to wait: %s", info.bucket.cname, walk.error)
        is_done = not self._tools.engine.counts(info.queue).objects
        now_ns = self._tools.clock_ns()
        begins = before.ended_ns or not before.started_ns
        self._status = DelayedStatus(
            started_ns=now_ns if begins else before.started_ns,
            ended_ns=now_ns if is_done else 0,
            objects=walk.written + (0 if begins else before.objects),
            error=walk.error,
            conflicts=tuple(walk.conflicts),
            more_conflicts=walk.more_conflicts,
        )
        if self._status == before:
            return
        try:
            version = document.version if document else 0
            value = encode_status(self._status)
            await asyncio.to_thread(store.swap, key, value, expected_version=version)
        except AisleError as error:
            _log.warning("cannot keep how the delayed writes of %s go: %s", info.bucket.cname, error)
