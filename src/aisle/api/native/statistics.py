"""The node's counters under the names that AIStore's clients know (ais-native-api.md §8.2).

The same numbers are at `/metrics` under Prometheus' names; here they are totals since the node started,
from which clients work out rates.
"""

from collections.abc import Mapping
from typing import Final

from aisle import telemetry
from aisle.telemetry import Telemetry

_COUNTS: Final[Mapping[str, int]] = {
    "del.n": telemetry.DELETE_COUNT,
    "err.del.n": telemetry.DELETE_ERRORS,
    "err.dl.n": telemetry.DOWNLOAD_ERRORS,
    "err.get.n": telemetry.GET_ERRORS,
    "err.head.n": telemetry.HEAD_ERRORS,
    "err.lst.n": telemetry.LIST_ERRORS,
    "err.put.n": telemetry.PUT_ERRORS,
    "get.n": telemetry.GET_COUNT,
    "head.n": telemetry.HEAD_COUNT,
    "lst.n": telemetry.LIST_COUNT,
    "put.n": telemetry.PUT_COUNT,
}
"""What a gateway counts too."""
_OF_TARGETS: Final[Mapping[str, int]] = {
    **_COUNTS,
    "dl.size": telemetry.DOWNLOAD_BYTES,
    "get.ns.total": telemetry.GET_NS,
    "get.size": telemetry.GET_BYTES,
    "head.ns.total": telemetry.HEAD_NS,
    "lru.evict.n": telemetry.EVICTED_COUNT,
    "lru.evict.size": telemetry.EVICTED_BYTES,
    "lst.ns.total": telemetry.LIST_NS,
    "put.ns.total": telemetry.PUT_NS,
    "put.size": telemetry.PUT_BYTES,
}
_ALWAYS: Final = {"state.flags": "gauge", "up.ns.time": "special"}


class Statistics:
    """Counters of all processes of the node."""

    def __init__(self, counters: Telemetry) -> None:
        self._counters = counters

    def tracker(self, role: str) -> dict[str, int]:
        """Totals by AIStore's names in one role, `proxy` or `target`; what is zero is left out."""
        slots = _OF_TARGETS if role == "target" else _COUNTS
        totals = self._counters.totals(slots.values())
        return {name: total for name, total in zip(slots, totals, strict=True) if total}


def metric_kinds(role: str) -> dict[str, str]:
    """What each name of a role's tracker stands for: `counter`, `size`, `total`, and so on."""
    slots = _OF_TARGETS if role == "target" else _COUNTS
    kinds = {name: _kind(name) for name in slots} | _ALWAYS
    return dict(sorted(kinds.items()))


def _kind(name: str) -> str:
    if name.endswith(".size"):
        return "size"
    return "total" if name.endswith(".total") else "counter"
