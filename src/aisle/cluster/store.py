"""The metadata seam: versioned, checksummed documents that every process and node agrees on.

Keys are paths: `bucket/ais/@#/data`, `config/cluster`, `job/dnl-x1`. One suite runs over every
implementation: `embedded` (one machine) and `memory`; `etcd` (many machines) comes with clusters.
"""

from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol


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

    def revision(self) -> int:
        """A number that grows with every change of any document; cheap enough for each request."""

    def load(self, key: str) -> Document | None:
        """The document under `key`, or None."""

    def list(self, prefix: str) -> list[Document]:
        """All documents whose key starts with `prefix`, in order of their keys."""

    def swap(self, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        """Create (expected version 0), replace, or (value None) remove a document.

        Raises StaleVersion when the present version is another one.
        """

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """Changes below `prefix` from now on; several changes of one key may arrive as the last."""

    def close(self) -> None:
        """Release what the store holds; no call may follow."""
