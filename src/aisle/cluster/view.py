"""A decoded copy of an area of the metadata store, as fresh as the store itself.

Requests ask for buckets far more often than buckets change: each lookup compares the store's
revision with the copy's (a quarter of a microsecond) and decodes again only what has changed. As
the copy is refreshed before it answers, **a miss is a miss in the store**; a name that is not there
is never answered from an old copy.
"""

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from aisle.cluster.store import Document, MetadataStore

Value = TypeVar("Value")


class View(Generic[Value]):
    """Decoded documents by the rest of their keys behind `AREA/`; one per event loop."""

    def __init__(self, store: MetadataStore, area: str, decode: Callable[[Document], Value]) -> None:
        self._store = store
        self._area = area
        self._decode = decode
        self._revision_of_store = store.revision
        self._store_revision = -1
        self._area_revision = -1
        self._documents: dict[str, Document] = {}
        self._values: dict[str, Value] = {}

    def find(self, name: str) -> Value | None:
        """The value under that name, or None if the store has none."""
        if self._revision_of_store() != self._store_revision:
            self._refresh()
        return self._values.get(name)

    def all(self) -> Mapping[str, Value]:
        """All values by name, in order of the names; not to be changed, replaced when it changes."""
        if self._revision_of_store() != self._store_revision:
            self._refresh()
        return self._values

    def _refresh(self) -> None:
        # Both revisions are read before the documents: a change in between is decoded twice, never missed.
        store_revision = self._revision_of_store()
        area_revision = self._store.revision(self._area)
        if area_revision != self._area_revision:
            start = len(self._area) + 1
            before, values = self._documents, self._values
            self._documents, self._values = {}, {}
            for document in self._store.list(f"{self._area}/"):
                name = document.key[start:]
                known = before.get(name) == document
                self._documents[name] = document
                self._values[name] = values[name] if known else self._decode(document)
            self._area_revision = area_revision
        self._store_revision = store_revision
