"""Making the list of what a `backend` download has to fetch: what the source of a remote bucket lists.

With `synchronize` what is here and not listed is on the list, too: when its turn comes the source is asked
for just that, and what it has no more goes.
"""

from typing import Final

from aisle.errors import InvalidName, SourceFailed
from aisle.jobs.destination import Destination
from aisle.jobs.list_files import ListDraft
from aisle.jobs.provider_item import SourceBucket
from aisle.model.job import DownloadSpec
from aisle.model.names import parse_object_key
from aisle.rules.download_list import ITEMS_MAX, ListedItem
from aisle.rules.provider_links import provider_link
from aisle.target.in_threads import in_thread

_PAGE_OBJECTS: Final = 1_000


class BucketWalk:
    """One walk. What is to be fetched is added to `draft`, which is the caller's."""

    def __init__(
        self, spec: DownloadSpec, draft: ListDraft, destination: Destination, source: SourceBucket
    ) -> None:
        self._spec = spec
        self._draft = draft
        self._engine = destination.engine
        self._bucket = destination.bucket
        self._source = source
        self.pages = 0
        self.files = 0
        """Objects that are on the list."""

    async def run(self) -> None:
        """Walk. Raises what a provider raises, OutOfSpace, and SourceFailed for too many objects."""
        spec, token, behind = self._spec, "", b""
        while True:
            page = await self._source.provider.list_objects(
                self._source.remote.name, prefix=spec.prefix, token=token, limit=_PAGE_OBJECTS
            )
            self.pages += 1
            token = page.token
            listed = [about.key.encode() for about in page.objects if about.key.endswith(spec.suffix)]
            keys = set(listed)
            if spec.synchronize:
                last = page.objects[-1].key.encode() if page.objects else behind
                keys |= self._here(behind, last if token else b"")
                behind = max(behind, last)
            items = [self._item(key) for key in sorted(keys)]
            self.files += len(items)
            if self.files > ITEMS_MAX:
                raise SourceFailed(f"{self._bucket.bucket.cname} has more than {ITEMS_MAX} such objects")
            if self._draft.add(items):
                await in_thread(self._draft.write, lambda: None)
            if not token:
                return

    def _item(self, key: bytes) -> ListedItem:
        """An object as an item; one that fails for a name that nothing here can have."""
        link, error = provider_link(self._source.remote, key), ""
        try:
            parse_object_key(key)
        except InvalidName as invalid:
            error = str(invalid)
        return ListedItem(key, link, error=error)

    def _here(self, behind: bytes, last: bytes) -> set[bytes]:
        """The names of what is here behind one name and up to another, or the end if that is empty."""
        spec, found, after = self._spec, set[bytes](), behind
        while True:
            page = self._engine.scan(
                self._bucket.number, prefix=spec.prefix.encode(), after=after, limit=_PAGE_OBJECTS
            )
            for entry in page.entries:
                if last and entry.key > last:
                    return found
                if entry.key.endswith(spec.suffix.encode()):
                    found.add(entry.key)
            if not page.more:
                return found
            after = page.entries[-1].key
