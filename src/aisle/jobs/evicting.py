"""Evicting: what is kept here of objects of remote buckets goes; their source keeps them.

What its source does not have stays; who names it is told so.
"""

from aisle.errors import ConditionFailed, NotYetWritten, OnlyHere
from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import BulkTools, is_listed, source_bucket, work_through
from aisle.model.bulk import BulkRecord
from aisle.model.names import ObjectName, display
from aisle.model.record import Condition
from aisle.model.unwritten import is_unwritten
from aisle.rules.eviction import is_only_here


class Evicting:
    """Drops what is kept here of objects."""

    def __init__(self, tools: BulkTools, record: BulkRecord) -> None:
        self._tools = tools
        self._record = record

    async def run(self, tally: BulkTally) -> None:
        """Drop what is left; for what is not here there is nothing to do."""
        tools, bucket = self._tools, source_bucket(self._tools, self._record)

        async def evict(key: bytes) -> int | None:
            name = ObjectName(bucket.number, key)
            held = tools.engine.look_up(name)
            if held is None:
                return None
            if is_unwritten(held.record.attributes):
                if is_listed(self._record):
                    raise NotYetWritten(display(bucket.bucket, key))
                return None
            if bucket.remote is not None and is_only_here(bucket, held.record.attributes):
                if is_listed(self._record):
                    raise OnlyHere(display(bucket.bucket, key))
                return None
            # What replaces it meanwhile may be newer than the source.
            same = Condition(generation=held.record.generation)
            try:
                return (
                    held.record.size if await tools.engine.remove(name, condition=same, lasts=True) else None
                )
            except ConditionFailed:
                return None

        await work_through(tools, self._record, tally, evict)
