"""Bulk jobs without processes: a store, an engine, a board and a runner in memory."""

import asyncio
import itertools
from collections.abc import Callable, Iterable

from aisle.cluster.memory import MemoryStore
from aisle.gateway.buckets import Buckets
from aisle.jobs.bulk_board import BulkBoard, BulkStatus
from aisle.jobs.bulk_runner import BulkRunner
from aisle.jobs.bulk_work import BulkTools
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import BulkRecord
from aisle.model.names import Bucket, ObjectName
from aisle.model.record import Attributes
from aisle.storage.memory import MemoryEngine


class BulkNode:
    """What a board and a job worker share. `clock_ns` counts milliseconds; set `now_ns` to move it."""

    def __init__(self, engine: MemoryEngine | None = None) -> None:
        self.ticks = itertools.count(1)
        self.now_ns = 0
        self.store = MemoryStore()
        self.engine = engine or MemoryEngine(self.clock_ns)
        self.buckets = Buckets(self.store, self.engine, clock=self.clock_ns)
        self.tools = BulkTools(self.store, self.engine, self.buckets)
        self.board = BulkBoard(self.store, ring=lambda: None, clock_ns=self.clock_ns)

    def clock_ns(self) -> int:
        """Later with each call."""
        return self.now_ns + next(self.ticks) * 1_000_000

    async def bucket(self, name: str, names: Iterable[str] = (), *, size: int = 3) -> BucketInfo:
        """A bucket that holds objects of these names."""
        made = await self.buckets.create(Bucket(name))
        for key in names:
            await self.put(made, key, b"x" * size)
        return made

    async def put(self, bucket: BucketInfo, key: str, payload: bytes) -> None:
        """Store an object."""
        await self.engine.put_small(ObjectName(bucket.number, key.encode()), payload, Attributes())

    def names(self, name: str) -> list[str]:
        """The names of a bucket's objects."""
        number = self.buckets.find(Bucket(name)).number
        return [entry.key.decode() for entry in self.engine.scan(number, limit=1_000_000).entries]

    def runner(self) -> BulkRunner:
        """A job worker that has just started."""
        return BulkRunner(self.tools, self.clock_ns)

    async def finish(self, job_id: str, runner: BulkRunner | None = None) -> BulkStatus:
        """Let a job worker take all jobs to their ends; how this one stands then."""
        runner = runner or self.runner()
        runner.look()
        await until(lambda: not runner.active)
        return self.board.find(job_id)

    async def do(self, record: BulkRecord, names: Iterable[str] = ()) -> BulkStatus:
        """Submit a job and take it to its end."""
        return await self.finish(await self.board.submit(record, list(names)))


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until the condition holds."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


def job(kind: str, bucket: BucketInfo, to: str = "", **fields: object) -> BulkRecord:
    """A job as a request asks for it."""
    return BulkRecord(
        id="",
        kind=kind,
        started_ns=0,
        bucket=bucket.bucket,
        number=bucket.number,
        to_bucket=Bucket(to) if to else None,
        **fields,  # type: ignore[arg-type]
    )
