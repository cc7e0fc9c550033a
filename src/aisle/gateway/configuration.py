"""The cluster's configuration, as any process may read and change it.

One document in the metadata store holds what differs from the defaults. Every process sees a change
with its next request; nothing needs a restart, because what would is refused (model/configuration.py).
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final, NamedTuple

from aisle.cluster.store import Document, MetadataStore
from aisle.cluster.view import View
from aisle.errors import BadRequest, StaleVersion, TooBusy, Unavailable, Unsupported
from aisle.gateway.remote_clusters import AREA as REMOTE_AREA
from aisle.gateway.remote_clusters import decoded_attachment
from aisle.model.bucket import check_built
from aisle.model.configuration import (
    ClusterConfiguration,
    ConfigurationDocument,
    configured,
    decode_configuration,
    encode_configuration,
)
from aisle.model.trees import Tree, laid_over, normalized

AREA: Final = "config"
"""The first path element of the configuration's document."""
KEY: Final = "config/cluster"

_NAME: Final = KEY.removeprefix(f"{AREA}/")
_ATTEMPTS_MAX: Final = 100


class Current(NamedTuple):
    """A configuration and which one it is."""

    values: ClusterConfiguration
    version: int
    """1 for the defaults; grows with each change, and with each return to the defaults."""
    changed_ns: int
    """When it was changed, Unix nanoseconds; 0 if it never was."""


DEFAULT: Final = Current(ClusterConfiguration(), 1, 0)


class Configuration:
    """The configuration of the cluster; one per process."""

    def __init__(self, store: MetadataStore, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._store = store
        self._clock = clock
        self._view = View(store, AREA, _current)
        self._clusters = View(store, REMOTE_AREA, decoded_attachment)

    def get(self) -> Current:
        """What holds now; cheap enough for each request.

        Raises Unavailable for a configuration that a later version of the program has written.
        """
        return self._view.find(_NAME) or DEFAULT

    def attached(self) -> dict[str, list[str]]:
        """The URLs of other clusters that are attached, by alias."""
        return {alias: each.urls for alias, each in self._clusters.all().items()}

    async def set(self, changes: Tree) -> Current:
        """Change some members; the others stay. Visible to all processes when it returns.

        Raises BadRequest for a member or value that cannot be, Unsupported for what is not set here or
        would promise more than is built.
        """
        asked = normalized(changes, ClusterConfiguration)
        return await self._swap(lambda before: laid_over(before, asked))

    async def reset(self) -> Current:
        """Back to the defaults, all of it."""
        return await self._swap(lambda _: {})

    async def _swap(self, decide: Callable[[Tree], Tree]) -> Current:
        for _ in range(_ATTEMPTS_MAX):
            present = self._store.load(KEY)
            before = decode_configuration(present.value) if present else ConfigurationDocument()
            changes = decide(before.changes)
            asked = configured(changes)
            # Only of what is set now: what was let pass once must not keep a node from starting.
            check_built(asked.mirror, asked.ec, asked.rate_limit, features=asked.features)
            value = encode_configuration(ConfigurationDocument(changes, self._clock()))
            try:
                written = await asyncio.to_thread(
                    self._store.swap, KEY, value, expected_version=present.version if present else 0
                )
            except StaleVersion:
                continue
            assert written is not None
            return _current(written)
        raise TooBusy("the configuration is being changed by others: try again")


def _current(document: Document) -> Current:
    decoded = decode_configuration(document.value)
    try:
        values = configured(decoded.changes)
    except (BadRequest, Unsupported) as error:
        # Written by a later version, whose rules are others. Taking the defaults instead would give new
        # buckets properties that nobody chose.
        raise Unavailable(
            f"the configuration is not one of this version ({error}): ais config reset"
        ) from error
    # The document is never removed, so its versions never begin again.
    return Current(values, document.version + 1, decoded.changed_ns)
