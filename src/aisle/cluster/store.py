"""The metadata seam: versioned, checksummed documents that every process and node agrees on.

Keys are paths: `bucket/ais/@#/data`, `config/cluster`, `job/dnl-x1`; the first element is the
document's *area*. One suite runs over every implementation: `embedded` (one machine) and `memory`;
`etcd` (many machines) comes with clusters.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

KEY_BYTES_MAX = 480
"""Keys are ASCII or UTF-8, and fit what every implementation can take."""
DOCUMENT_BYTES_MAX = 1024 * 1024
"""Larger values are refused; big state belongs elsewhere, with a document that points to it."""


class Document(NamedTuple):
    """A value under a key. `version` is 1 when it is created and grows by one with each change."""

    key: str
    value: bytes
    version: int


class Change(NamedTuple):
    """A document that changed; `document` is None when it was removed."""

    key: str
    document: Document | None


class MetadataStore(Protocol):
    """Documents by key. A change is durable and visible to every process when its call returns.

    Calls may block for a disk's flush: change documents from a thread, read them anywhere.
    """

    def revision(self, area: str = "") -> int:
        """A number that grows with every change of any document (of the area, if one is named).

        Cheap enough for each request. Numbers of different areas do not compare.
        """

    def load(self, key: str) -> Document | None:
        """The document under `key`, or None."""

    def list(self, prefix: str) -> list[Document]:
        """All documents whose key starts with `prefix`, in order of their keys."""

    def swap(self, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        """Create (expected version 0), replace, or (value None) remove a document.

        Raises StaleVersion when the present version is another one, BadRequest for a key or a value
        beyond the limits, OutOfSpace, and Unavailable (the outcome is not known: read again).
        """

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Changes below `prefix` from this call on; several of one key may arrive as the last."""

    def close(self) -> None:
        """Release what the store holds; no call may follow."""
