"""The remote backends of a node: with `opening` and `wiring`, where implementations are named.

A provider's module is imported when its first bucket is asked for, so that a node without remote
buckets loads none of them.
"""

from collections.abc import Mapping

from aisle.backends.registry import Factory, Providers
from aisle.cluster.store import MetadataStore
from aisle.node.boot import Boot


def open_providers(boot: Boot, store: MetadataStore) -> Providers:
    """All backends that this node can use, for one process."""
    return Providers(_factories(boot, store))


def _factories(boot: Boot, store: MetadataStore) -> Mapping[str, Factory]:  # noqa: ARG001
    """By provider; `@` for whatever is reached through another cluster."""
    return {}
