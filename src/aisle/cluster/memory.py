"""Documents in memory: for tests, and the model that other stores are compared with."""

import threading
from collections.abc import AsyncIterator
from weakref import WeakSet

from aisle.cluster.documents import area_of, check_document
from aisle.cluster.store import Change, Document
from aisle.cluster.watch import Dated, PollingWatch
from aisle.errors import StaleVersion


class MemoryStore:
    """A MetadataStore without a disk; threads of one process may share it."""

    def __init__(self) -> None:
        self._documents: dict[str, Dated] = {}
        self._revisions: dict[str, int] = {"": 0}
        self._lock = threading.Lock()
        self._watches: WeakSet[PollingWatch] = WeakSet()

    def revision(self, area: str = "") -> int:
        """See MetadataStore.revision."""
        return self._revisions.get(area, 0)

    def load(self, key: str) -> Document | None:
        """See MetadataStore.load."""
        found = self._documents.get(key)
        return found.document if found else None

    def list(self, prefix: str) -> list[Document]:
        """See MetadataStore.list."""
        return [dated.document for dated in self._snapshot(prefix).values()]

    def swap(self, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        """See MetadataStore.swap."""
        check_document(key, value)
        with self._lock:
            found = self._documents.get(key)
            present = found.document.version if found else 0
            if present != expected_version:
                raise StaleVersion(key, expected=expected_version, found=present)
            if value is None and found is None:
                return None
            sequence = self._revisions[""] + 1
            document = None if value is None else Document(key, value, present + 1)
            if document is None:
                del self._documents[key]
            else:
                self._documents[key] = Dated(document, sequence)
            self._revisions[area_of(key)] = self._revisions[""] = sequence
            return document

    def watch(self, prefix: str) -> AsyncIterator[Change]:
        """See MetadataStore.watch."""
        watch = PollingWatch(self.revision, lambda: self._snapshot(prefix))
        self._watches.add(watch)
        return watch

    def wake(self) -> None:
        """Let all watches look at once instead of at their interval; from the loop's thread."""
        for watch in self._watches:
            watch.wake()

    def close(self) -> None:
        """See MetadataStore.close."""

    def _snapshot(self, prefix: str) -> dict[str, Dated]:
        with self._lock:
            found = [(key, dated) for key, dated in self._documents.items() if key.startswith(prefix)]
        # Keys are ordered by their bytes, as a store on disk orders them.
        return dict(sorted(found, key=lambda item: item[0].encode()))
