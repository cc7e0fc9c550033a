"""What a download job needs of whoever runs it, and answers when it may start something."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import NamedTuple, Protocol

import msgspec

from aisle.jobs.arrivals import Arrivals
from aisle.jobs.inflow import ByteBudget
from aisle.jobs.item_owner import JobItem
from aisle.rules.download_hosts import HostGate
from aisle.transfer.rates import Throttle


class JobLimits(NamedTuple):
    """The node's limits, as far as they concern a single job."""

    connections_max: int
    retries_max: int
    part_bytes: int
    streams_max: int
    """Connections that a single item may have."""


class Pool(Protocol):
    """What a job needs of whoever runs it."""

    hosts: HostGate
    budget: ByteBudget
    arrivals: Arrivals
    throttle: Throttle | None
    """The speed of all jobs together."""
    job_limits: JobLimits
    unpacking: asyncio.Semaphore
    """Held while an archive is unpacked."""
    is_held_back: bool
    """Whether items wait to be started because too many are being stored."""
    clock_ns: Callable[[], int]
    """Unix nanoseconds."""

    def room(self, running: int) -> int:
        """How many connections more a job may have that has so many, as far as it is about other jobs."""

    def now_s(self) -> float:
        """Seconds of the event loop's clock."""

    def connection_freed(self, host: str, *, answered: bool) -> None:
        """A request to this server has ended, with what was asked for or not; `look` follows."""

    def item_received(self) -> None:
        """An item is being stored without having come."""

    def item_came(self, host: str) -> None:
        """An item has come whole and is being stored: its connection is free, and `look` follows."""

    def item_settled(self) -> None:
        """An item is not being stored any more; `look` follows if that lets anything start or end."""

    def look(self) -> None:
        """There may be more to start, or nothing left."""

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run work to its end, whatever becomes of the job."""


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What a job answers when it may start something."""

    item: JobItem | None
    again_at_s: float | None = None
    """When to ask again if there was no item; None if something must end first."""
