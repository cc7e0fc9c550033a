"""What an item of a download job needs of the job, and tells it."""

from collections.abc import Coroutine
from typing import TYPE_CHECKING, Protocol

from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget
from aisle.model.record import Record
from aisle.rules.download_hosts import HostGate
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import RequestOptions
from aisle.transfer.rates import Throttle

if TYPE_CHECKING:
    from aisle.jobs.item import ItemDownload


class ItemOwner(Protocol):
    """The job that an item belongs to."""

    id: str
    destination: Destination
    budget: ByteBudget
    part_bytes: int
    options: RequestOptions
    packed_options: RequestOptions
    """The same for files that are packed by their names: such a body stays as it comes."""
    throttle: Throttle | None
    hosts: HostGate
    streams_max: int
    """Connections that a single item may have."""
    bytes_received: int
    """Counts all bytes that came for the job."""

    def item_received(self, item: "ItemDownload") -> None:
        """All bytes are here, the connection is free; they are not stored yet."""

    def item_stored(self, item: "ItemDownload", record: Record) -> None:
        """The object is visible and durable."""

    def item_unchanged(self, item: "ItemDownload") -> None:
        """The source still has what the item's known object was made from."""

    def item_failed(self, item: "ItemDownload", failure: Failure, retry_after: str) -> None:
        """An attempt has failed; `retry_after` is what the server said about when to come again."""

    def item_broken(self, item: "ItemDownload", error: Exception) -> None:
        """Something happened that nobody thought of: the item has failed for good."""

    def item_may_split(self, item: "ItemDownload") -> None:
        """From now on the item may be given further connections, until it has come or failed."""

    def connection_spared(self, item: "ItemDownload", failure: Failure | None, retry_after: str) -> None:
        """One of several connections of an item has ended, well or not; the others go on."""

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work that must not be lost when the job ends."""
