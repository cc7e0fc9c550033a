"""Working through the objects that a bulk job selects, a batch at a time.

Only when a batch is through does the job's place move behind it: after a crash a batch is done again,
never left out.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from aisle.backends.provider import BackendProvider
from aisle.cluster.store import MetadataStore
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ObjectNotFound,
    OutOfSpace,
    Unavailable,
    Unsupported,
)
from aisle.gateway.buckets import Buckets
from aisle.jobs.bulk_tally import BatchCounts, BulkTally
from aisle.model.bucket import BucketInfo
from aisle.model.bulk import (
    BULK_NAMES_PREFIX,
    SELECTED_NAMES,
    SELECTED_PREFIX,
    SELECTED_TEMPLATE,
    BulkRecord,
    decode_names,
)
from aisle.model.names import Bucket
from aisle.rules.selection import parse_selection
from aisle.rules.templates import Template
from aisle.storage.space import CacheSpace
from aisle.target.cold import ProviderOf
from aisle.target.objects import TargetEngine, TargetObjects
from aisle.target.relaying import Relay
from aisle.target.remote_objects import RemoteObjects
from aisle.telemetry import Telemetry

BATCH_OBJECTS: Final = 64
WORKERS_DEFAULT: Final = 16
WORKERS_MAX: Final = 64
LARGE_BYTES: Final = 1024 * 1024
"""From here on an object takes some megabytes of memory on its way from or to a source: fewer at a time."""
_ATTEMPTS_MAX: Final = 6
_FIRST_RETRY_S: Final = 0.1

HOPELESS: Final = (BucketNotFound, OutOfSpace)
"""What would fail every other object the same way ends the job."""


def no_provider(bucket: BucketInfo) -> BackendProvider:
    """The provider of a bucket where there are none. Raises Unsupported."""
    raise Unsupported(f"{bucket.bucket.cname}: there are no remote backends here")


class BulkTools(NamedTuple):
    """What jobs work with."""

    store: MetadataStore
    engine: TargetEngine
    buckets: Buckets
    provider_of: ProviderOf = no_provider
    space: CacheSpace | None = None
    """The space of the disks, where there are any."""
    counters: Telemetry | None = None
    clock_ns: Callable[[], int] = time.time_ns
    """Unix nanoseconds."""


class BulkWork(Protocol):
    """The work of one job."""

    async def run(self, tally: BulkTally) -> None:
        """Do what is left of it. Raises AisleError when it cannot go on; may be cancelled anywhere."""


class Batch(NamedTuple):
    """Names in order; `after` is the last of them where a bucket is scanned."""

    keys: Sequence[bytes]
    after: bytes


Act = Callable[[bytes], Awaitable[int | None]]
"""Deals with one object: its size in bytes, or None if there was nothing to do."""


def source_bucket(tools: BulkTools, record: BulkRecord) -> BucketInfo:
    """The bucket that the job was asked for. Raises BucketNotFound, also if it is another one by now."""
    assert record.bucket is not None
    found = tools.buckets.find(record.bucket)
    if found.number != record.number:
        raise BucketNotFound(found.bucket.cname)
    return found


def destination_bucket(tools: BulkTools, record: BulkRecord) -> BucketInfo:
    """The bucket that the job writes to. Raises BucketNotFound, also if it is another one by now."""
    assert isinstance(record.to_bucket, Bucket)
    found = tools.buckets.find(record.to_bucket)
    if record.to_number not in (0, found.number):
        raise BucketNotFound(found.bucket.cname)
    return found


def is_listed(record: BulkRecord) -> bool:
    """Whether the names were given one by one, so that one which is missing is a failure."""
    return record.selection.by == SELECTED_NAMES


def relay_of(tools: BulkTools) -> Relay:
    """What copies objects between buckets of any providers."""
    return Relay(RemoteObjects(TargetObjects(tools.engine), tools.provider_of))


def is_chosen(record: BulkRecord) -> bool:
    """Whether names or a template say which objects are meant, instead of what there is."""
    return record.selection.by in (SELECTED_NAMES, SELECTED_TEMPLATE)


def prefix_of(record: BulkRecord) -> str:
    """What the names begin with that the job is about; empty for all."""
    return record.selection.text if record.selection.by == SELECTED_PREFIX else ""


async def work_through(
    tools: BulkTools,
    record: BulkRecord,
    tally: BulkTally,
    act: Act,
    *,
    keeps_batches: bool = False,
    batches: AsyncIterator[Batch] | None = None,
    workers_default: int = WORKERS_DEFAULT,
) -> None:
    """Deal with every object that the job selects and that is left.

    `keeps_batches` makes the place durable before every batch, for work that cannot be told from its result.
    `batches` are the names that are left, where they are not to be found here. `workers_default` deal with
    objects at a time where the job does not say how many.

    Raises what ends the job: an error of `act` that is hopeless, or any but a missing object unless the
    job continues on errors.
    """
    workers = {0: workers_default, -1: 1}.get(record.workers, min(record.workers, WORKERS_MAX))
    async for batch in batches or _one_by_one(selected(tools, record, tally)):
        if keeps_batches:
            await tally.keep()
        counts = BatchCounts()
        keys = iter(batch.keys)

        async def take(keys: Iterator[bytes] = keys, counts: BatchCounts = counts) -> None:
            for key in keys:
                await _deal(record, act, key, counts)

        try:
            await together([take() for _ in range(min(workers, len(batch.keys)))])
        except AisleError:
            tally.add(counts, visited=0, after=tally.after)  # the job ends here, with what it did
            raise
        tally.add(counts, visited=len(batch.keys), after=batch.after)


def selected(tools: BulkTools, record: BulkRecord, tally: BulkTally) -> Iterator[Batch]:
    """The names that are left, a batch at a time; each is taken when the one before is through."""
    selection = record.selection
    if selection.by == SELECTED_NAMES:
        yield from _of_names(_names(tools, record), tally)
    elif selection.by == SELECTED_TEMPLATE:
        template = parse_selection(selection.text)
        assert isinstance(template, Template)
        yield from _of_template(template, tally)
    else:
        yield from _of_scan(tools.engine, record.number, prefix_of(record).encode(), tally)


async def _one_by_one(batches: Iterator[Batch]) -> AsyncIterator[Batch]:
    for batch in batches:
        yield batch


def _of_names(names: Sequence[str], tally: BulkTally) -> Iterator[Batch]:
    while tally.visited < len(names):
        yield Batch([name.encode() for name in names[tally.visited : tally.visited + BATCH_OBJECTS]], b"")


def _of_template(template: Template, tally: BulkTally) -> Iterator[Batch]:
    while tally.visited < template.count:
        end = min(tally.visited + BATCH_OBJECTS, template.count)
        yield Batch([template.name(index).encode() for index in range(tally.visited, end)], b"")


def _of_scan(engine: TargetEngine, number: int, prefix: bytes, tally: BulkTally) -> Iterator[Batch]:
    while True:
        page = engine.scan(number, prefix=prefix, after=tally.after, limit=BATCH_OBJECTS)
        if page.entries:
            yield Batch([entry.key for entry in page.entries], page.entries[-1].key)
        if not page.more:
            return


def _names(tools: BulkTools, record: BulkRecord) -> list[str]:
    names: list[str] = []
    for number in range(1, record.selection.documents + 1):
        document = tools.store.load(f"{BULK_NAMES_PREFIX}{record.id}/{number}")
        names += decode_names(document.value) if document else ()
    return names


async def _deal(record: BulkRecord, act: Act, key: bytes, counts: BatchCounts) -> None:
    try:
        size = await _patiently(act, key)
    except HOPELESS:
        raise
    except ObjectNotFound as error:
        if is_listed(record):
            counts.failed(error)
    except AisleError as error:
        if not record.continues_on_error:
            raise
        counts.failed(error)
    else:
        if size is not None:
            counts.done(size)


async def _patiently(act: Act, key: bytes) -> int | None:
    """Act, again and again while a part of the node is starting or busy."""
    pause_s = _FIRST_RETRY_S
    for _ in range(_ATTEMPTS_MAX - 1):
        try:
            return await act(key)
        except Unavailable:
            await asyncio.sleep(pause_s)
            pause_s *= 2
    return await act(key)


async def together(coroutines: Sequence[Awaitable[None]]) -> None:
    """Run coroutines at the same time. Raises the first error, when the others have ended too."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
