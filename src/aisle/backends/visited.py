"""Which clusters a request has come through, so that clusters attached in a circle notice it."""

from contextvars import ContextVar
from typing import Final

FIELD: Final = "Aisle-Via"
"""Header of requests to other clusters: ids of those they came through, comma separated."""
CLUSTERS_MAX: Final = 8
"""Longer ways are taken for a mistake."""

visited: ContextVar[tuple[str, ...]] = ContextVar("visited", default=())
"""The clusters through which the request that is being served has come, the first one first."""
