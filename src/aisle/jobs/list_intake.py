"""Lists of download jobs on their way in: checked line by line, written down, compared for equal names.

All of it happens before a job is accepted. A list takes seconds, so the event loop gets its turn between
slices of about a millisecond, and the disk is waited for in threads.
"""

import asyncio
import secrets
from typing import Final, NamedTuple

from aisle.errors import BadRequest, BodyTooLarge
from aisle.jobs.list_files import ListStore, new_list_name
from aisle.model.names import Bucket
from aisle.rules.download_list import KeyHashes, ListReader
from aisle.rules.huggingface import ENDPOINT
from aisle.rules.provider_links import Reaches, anywhere
from aisle.target.in_threads import in_thread

LIST_BYTES_MAX: Final = 4 * 1024**3
"""A longer list is refused."""

_SLICE_BYTES: Final = 32 * 1024


class TakenList(NamedTuple):
    """A list that is durable: its name in the folder, and how many items it has."""

    name: str
    items: int
    sources: frozenset[Bucket] = frozenset()
    """The remote buckets that items lead to."""


class ListIntake:
    """One list that is being received. Call `abort` at the end, whatever happened.

    `first_line` is the number that errors tell of the first line, `hub` where `hf://` addresses lead,
    `reaches` which remote buckets can be asked for.
    """

    def __init__(
        self,
        folder: ListStore,
        *,
        subdir: str = "",
        first_line: int = 1,
        hub: str = ENDPOINT,
        reaches: Reaches = anywhere,
    ) -> None:
        """Raises OutOfSpace."""
        self._folder = folder
        self._name = new_list_name()
        self._reader = ListReader(subdir=subdir, first_line=first_line, hub=hub, reaches=reaches)
        self._hashes = KeyHashes(secrets.randbits(64))
        self._draft = folder.new(self._name)
        self._received = 0

    async def take(self, data: bytes) -> None:
        """The next bytes. Raises BadRequest, BodyTooLarge, OutOfSpace."""
        self._received += len(data)
        if self._received > LIST_BYTES_MAX:
            raise BodyTooLarge(LIST_BYTES_MAX)
        for start in range(0, len(data), _SLICE_BYTES):
            items = self._reader.feed(data[start : start + _SLICE_BYTES])
            self._hashes.add(items)
            if self._draft.add(items):
                await in_thread(self._draft.write, _nothing)
            else:
                await asyncio.sleep(0)

    async def finish(self) -> TakenList:
        """All bytes are here: the list, durable. Raises BadRequest, OutOfSpace, and leaves nothing then."""
        items = self._reader.finish()
        self._hashes.add(items)
        self._draft.add(items)
        if not self._draft.count:
            raise BadRequest("the list is empty")
        await in_thread(self._publish, _nothing)
        return TakenList(self._name, self._draft.count, frozenset(self._reader.sources))

    def abort(self) -> None:
        """Leave nothing of a list that was not finished."""
        self._draft.abort()

    def _publish(self) -> None:
        repeated = self._hashes.repeated()
        self._draft.publish()
        if repeated:
            written = self._folder.open(self._name)
            try:
                self._hashes.refuse_equal(written.items(), repeated)
            except BadRequest:
                self._folder.remove(self._name)
                raise
            finally:
                written.close()


def _nothing() -> None:
    """Threads that write a list are waited for: they are short."""
