"""The names of a remote bucket as batches of a bulk job: what its source lists, in its order."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from aisle.backends.provider import BackendProvider, RemoteObject, RemotePage
from aisle.jobs.bulk_work import Batch

PAGE_OBJECTS: Final = 1_000
"""How many names a source is asked for at once: what S3 gives at most."""
BATCH_OBJECTS: Final = 250
"""Each batch is over before the next one begins: large ones keep all workers busy longer."""


class RemoteNames:
    """What one remote bucket lists."""

    def __init__(self, provider: BackendProvider, bucket: str) -> None:
        """`bucket` is the name that the provider knows."""
        self._provider = provider
        self._bucket = bucket
        self.told: dict[bytes, RemoteObject] = {}
        """What the source tells of the objects of the present batch."""

    async def batches(self, prefix: str, *, after: bytes = b"", delimiter: str = "") -> AsyncGenerator[Batch]:
        """The names behind `after`. Raises what a provider raises."""

        def page_behind(token: str) -> asyncio.Task[RemotePage]:
            listing = self._provider.list_objects(
                self._bucket,
                prefix=prefix,
                token=token,
                after="" if token else after.decode(),
                limit=PAGE_OBJECTS,
                delimiter=delimiter,
            )
            return asyncio.ensure_future(listing)

        coming = page_behind("")
        try:
            while True:
                page = await coming
                if page.token:
                    coming = page_behind(page.token)  # it comes while this one is worked through
                for start in range(0, len(page.objects), BATCH_OBJECTS):
                    told = page.objects[start : start + BATCH_OBJECTS]
                    self.told = {about.key.encode(): about for about in told}
                    keys = list(self.told)
                    yield Batch(keys, keys[-1])
                if not page.token:
                    return
        finally:
            if not coming.cancel() and not coming.cancelled():
                coming.exception()  # nobody wants that page any more, nor why it did not come
