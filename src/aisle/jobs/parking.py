"""Items that wait for their servers, so that one server that is slow or silent holds up no others' items."""

from collections import deque
from collections.abc import Iterator

from aisle.jobs.item_owner import JobItem
from aisle.rules.download_hosts import HostGate

PARKED_MAX = 64
"""A job looks so many items ahead for one whose server can be asked."""


Ready = tuple[JobItem | None, float | None]
"""An item whose server can be asked now, or when to look again; neither: when a request has ended."""


class Parking:
    """The items of one job that wait for their servers; those of one server stay in order."""

    def __init__(self, hosts: HostGate) -> None:
        self._hosts = hosts
        self._queues: dict[str, deque[JobItem]] = {}
        self.count = 0
        """How many there are; at PARKED_MAX no more should be looked at."""

    def __iter__(self) -> Iterator[JobItem]:
        for queue in self._queues.values():
            yield from queue

    def pick(self, item: JobItem, now_s: float) -> Ready:
        """The item, if its server can be asked now; else it waits here."""
        opens_at_s = self._hosts.opens_at_s(item.host, now_s)
        if opens_at_s is not None and opens_at_s <= now_s and item.host not in self._queues:
            return item, None
        self._queues.setdefault(item.host, deque()).append(item)
        self.count += 1
        return None, opens_at_s

    def take(self, now_s: float) -> Ready:
        """An item whose server can be asked now, of the servers in turn."""
        again_at_s: float | None = None
        for host, queue in self._queues.items():
            opens_at_s = self._hosts.opens_at_s(host, now_s)
            if opens_at_s is None:
                continue
            if opens_at_s > now_s:
                again_at_s = earliest(again_at_s, opens_at_s)
                continue
            item = queue.popleft()
            self.count -= 1
            del self._queues[host]
            if queue:
                self._queues[host] = queue  # behind the others
            return item, None
        return None, again_at_s

    def clear(self) -> None:
        """Forget all of them."""
        self._queues.clear()
        self.count = 0


def earliest(first: float | None, second: float | None) -> float | None:
    """The earlier of two times, either of which may be none."""
    if first is None or second is None:
        return second if first is None else first
    return min(first, second)
