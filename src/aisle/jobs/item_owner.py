"""What a download job knows of its items, and what an item needs of the job and tells it."""

from collections.abc import Coroutine
from typing import Protocol

from aisle.jobs.arrivals import Arrivals
from aisle.jobs.destination import Destination
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.large import SavedParts
from aisle.model.record import Record
from aisle.rules.download_hosts import HostGate
from aisle.rules.download_plan import Item
from aisle.rules.download_unchanged import Known
from aisle.transfer.carriers import RequestOptions
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetcher
from aisle.transfer.rates import Throttle


class ItemState(Protocol):
    """How an item of a job stands."""

    item: Item
    host: str
    """What it is fetched from: requests to it share limits and patience."""
    started_ns: int
    failures: int
    """Attempts in a row that made no headway."""
    known: Known | None
    """The object that is there already, if it may be what the source has: that is asked first."""
    replaces: bool
    """Whether an object of that name is there already."""

    @property
    def name(self) -> str:
        """The object's name, to be shown."""

    @property
    def size(self) -> int | None:
        """Bytes that the object has, if that is known."""

    @property
    def received(self) -> int:
        """Bytes of the object that are here."""

    @property
    def connections(self) -> int:
        """How many fetch for the item now."""

    @property
    def is_answered(self) -> bool:
        """Whether the source has answered the last attempt, whatever it said."""


class JobItem(ItemState, Protocol):
    """One item of a job on its way, over all its attempts."""

    def adopt(self, saved: SavedParts) -> None:
        """Continue what an earlier process has stored of the object."""

    def start(self, fetcher: Fetcher) -> None:
        """Ask for the object, or for the rest of it."""

    def wants_stream(self, now_s: float) -> bool:
        """Whether the item would come faster over one more connection."""

    def start_stream(self) -> None:
        """Use one more connection; only after `wants_stream` has said so."""

    def cancel(self, *, keep_parts: bool) -> None:
        """Stop at once. What is durable of a large object is kept for another process, or dropped."""


class OverOneConnection:
    """What items are whose objects come over one connection, and in one piece."""

    __slots__ = ()

    def adopt(self, saved: SavedParts) -> None:
        """Nothing of such an object is stored in parts: there is nothing to continue."""

    def wants_stream(self, now_s: float) -> bool:
        """Never."""
        del now_s
        return False

    def start_stream(self) -> None:
        """Nothing is started, see `wants_stream`."""


class StreamsOwner(Protocol):
    """What a job is told of items that have several connections."""

    def item_may_split(self, item: JobItem) -> None:
        """From now on the item may be given further connections, until it has come or failed."""

    def connection_spared(self, item: JobItem, failure: Failure | None, retry_after: str) -> None:
        """One of several connections of an item has ended, well or not; the others go on."""


class ItemOwner(StreamsOwner, Protocol):
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
    arrivals: Arrivals
    """What is to be stored when the round is over."""
    bytes_received: int
    """Counts all bytes that came for the job."""

    def item_replaced(self, item: JobItem, other: JobItem) -> None:
        """What fetches the item is another one from now on."""

    def item_received(self, item: JobItem) -> None:
        """All bytes are here, the connection is free; they are not stored yet."""

    def item_stored(self, item: JobItem, record: Record) -> None:
        """The object is visible and durable."""

    def item_unchanged(self, item: JobItem) -> None:
        """The source still has what the item's known object was made from."""

    def item_gone(self, item: JobItem, size: int) -> None:
        """The source has no such object any more, and its copy here, of so many bytes, was removed."""

    def item_failed(self, item: JobItem, failure: Failure, retry_after: str) -> None:
        """An attempt has failed; `retry_after` is what the server said about when to come again."""

    def item_broken(self, item: JobItem, error: Exception) -> None:
        """Something happened that nobody thought of: the item has failed for good."""

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work that must not be lost when the job ends."""
