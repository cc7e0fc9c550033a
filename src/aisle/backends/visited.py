"""Which clusters a request has come through, so that clusters attached in a circle notice it."""

from contextvars import ContextVar
from typing import Final

VIA_FIELD: Final = "aisle-via"
"""Header of requests to other clusters: ids of those they came through, comma separated."""
CLUSTERS_MAX: Final = 8
"""Longer ways are taken for a mistake."""

visited: ContextVar[tuple[str, ...]] = ContextVar("visited", default=())
"""The clusters through which the request that is being served has come, the first one first."""


def parse_way(field: str) -> tuple[str, ...]:
    """The clusters that the header names; never empty."""
    return tuple(name.strip()[:64] for name in field.split(",")[: CLUSTERS_MAX + 1])
