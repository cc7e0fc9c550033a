"""What became of a job's items: counted, and told to the manifest, in one step.

The two agree because nothing is waited for in between: whoever keeps them takes both at once.
"""

from collections.abc import Callable, Sequence

from aisle.jobs.manifest import Manifest
from aisle.jobs.tally import Tally
from aisle.model.job import FinishedItem
from aisle.model.record import Record
from aisle.rules.download_plan import Item


class Outcomes:
    """Tells tally and manifest of each item that is done. `clock_ns` gives Unix nanoseconds."""

    def __init__(self, tally: Tally, manifest: Manifest | None, clock_ns: Callable[[], int]) -> None:
        self._tally = tally
        self._manifest = manifest
        self._clock_ns = clock_ns

    def stored(self, item: Item, record: Record, started_ns: int, *, updated: bool = False) -> None:
        """The item's object is stored; `updated` if there was another before."""
        finished = self._finished(item, record.size, started_ns)
        if self._tally.stored(item.number, finished, updated=updated) and self._manifest:
            self._manifest.stored(item, record, "updated" if updated else "stored")

    def unpacked(self, item: Item, record: Record, started_ns: int, members: Sequence[bytes]) -> None:
        """The item's archive has become the objects that the lines of the manifest tell."""
        finished = self._finished(item, record.size, started_ns)
        if self._tally.stored(item.number, finished) and self._manifest:
            self._manifest.unpacked(item, record, members)

    def unchanged(self, item: Item, record: Record, started_ns: int) -> None:
        """The item's object was there, as its source has it."""
        finished = self._finished(item, record.size, started_ns)
        if self._tally.unchanged(item.number, finished) and self._manifest:
            self._manifest.stored(item, record, "skipped")

    def removed(self, item: Item, size: int, started_ns: int) -> None:
        """The item's source has no such object any more: what was here of it, so many bytes, is gone."""
        finished = self._finished(item, 0, started_ns)
        if self._tally.stored(item.number, finished) and self._manifest:
            self._manifest.removed(item, size, ended_ns=finished.ended_ns)

    def failed(self, number: int, item: FinishedItem, link: str, error: str) -> None:
        """The item has failed for good."""
        if self._tally.gave_up(number, item, error) and self._manifest:
            self._manifest.failed(number, item, link=link, error=error)

    def _finished(self, item: Item, size: int, started_ns: int) -> FinishedItem:
        name = item.key.decode("utf-8", "backslashreplace")
        return FinishedItem(name, size, size, started_ns, self._clock_ns())
