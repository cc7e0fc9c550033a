"""AIStore's kinds of jobs, and the names by which its command shows them (ais-native-api.md §7.2)."""

from typing import Final

DISPLAY_NAMES: Final = {
    "lru": "lru-eviction",
    "cleanup-store": "cleanup",
    "make-n-copies": "mirror",
    "ec-encode": "ec-bucket",
    "prefetch-listrange": "prefetch-objects",
    "load-lom-cache": "warm-up-metadata",
    "move-bck": "rename-bucket",
    "copy-bck": "copy-bucket",
    "etl-bck": "etl-bucket",
    "promote": "promote-files",
    "delete-listrange": "delete-objects",
    "evict-listrange": "evict-objects",
    "index-shard": "shard-index",
    "copy-listrange": "copy-objects",
    "etl-listrange": "etl-objects",
    "summary-bck": "summary",
    "summary-shard": "shard-summary",
    "evict-remote-bck": "evict-remote-bucket",
    "election": "elect-primary",
}
"""Kinds that are shown under another name than they have on the wire."""

STARTABLE: Final = frozenset(
    {"rebalance", "resilver", "lru", "cleanup-store", "make-n-copies", "ec-encode", "rechunk"}
    | {"prefetch-listrange", "load-lom-cache", "blob-download"}
)
"""Kinds that a `start` request may name; the others begin with requests of their own."""

WRITE_BACK: Final = "write-back"
"""Delayed writes on their way to their source: a kind of our own."""

KINDS: Final = frozenset(
    {*DISPLAY_NAMES, *STARTABLE}
    | {"create-inventory", "etl-inline", "download", "archive", "put-copies", "ec-get", "ec-put"}
    | {"ec-resp", "list", "get-batch", "dsort", WRITE_BACK}
)

_CANONICAL: Final = {shown: kind for kind, shown in DISPLAY_NAMES.items()} | {kind: kind for kind in KINDS}


def canonical_kind(text: str) -> str:
    """The wire's name of a kind that is given by either of its names; empty if there is no such kind.

    >>> canonical_kind("copy-bucket"), canonical_kind("lru"), canonical_kind("nonsense")
    ('copy-bck', 'lru', '')
    """
    return _CANONICAL.get(text, "")


def display_name(kind: str) -> str:
    """How AIStore's command calls a kind."""
    return DISPLAY_NAMES.get(kind, kind)
