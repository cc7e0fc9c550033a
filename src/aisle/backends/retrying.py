"""The one layer that repeats what a remote source failed to do, for every provider.

Calls that change nothing, or the same when done twice, are tried again when the source does not answer
or wants to be asked less. A read that breaks off goes on where it was, if the object is still the
same. Writes are repeated only where the bytes can be had again, which is for their caller to know.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final, TypeVar

from aisle.backends.forwarding import Forwarding
from aisle.backends.pieces import Whole
from aisle.backends.provider import BackendProvider, RemoteObject, RemotePage, RemoteRead, close_chunks
from aisle.errors import ClusterNotAttached, SourceThrottled, SourceUnreachable

ATTEMPTS_MAX: Final = 4
FIRST_PAUSE_S: Final = 0.2
PAUSE_S_MAX: Final = 10.0

Result = TypeVar("Result")


class Retrying(Forwarding):
    """A BackendProvider around another, whose temporary failures it hides.

    Asked once only: to make and remove buckets, as a second time would find what the first has done, and
    to put an object, as its chunks can be read once.
    """

    def __init__(
        self,
        provider: BackendProvider,
        *,
        attempts_max: int = ATTEMPTS_MAX,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`pause` waits for that many seconds."""
        super().__init__(provider)
        self._attempts_max = attempts_max
        self._pause = pause

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets."""
        return await self._repeated(self._provider.buckets)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket."""
        return await self._repeated(lambda: self._provider.head_bucket(bucket))

    async def list_objects(
        self,
        bucket: str,
        *,
        prefix: str = "",
        token: str = "",
        after: str = "",
        limit: int = 1000,
        delimiter: str = "",
    ) -> RemotePage:
        """See BackendProvider.list_objects."""
        return await self._repeated(
            lambda: self._provider.list_objects(
                bucket, prefix=prefix, token=token, after=after, limit=limit, delimiter=delimiter
            )
        )

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        return await self._repeated(lambda: self._provider.head(bucket, key))

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get; the chunks go on where a connection broke off."""
        opened = await self._repeated(
            lambda: self._provider.get(bucket, key, offset=offset, length=length, etag=etag)
        )
        if isinstance(opened.chunks, Whole):
            return opened  # nothing can break off any more
        return opened._replace(chunks=self._continued(bucket, opened, offset, length))

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        await self._repeated(lambda: self._provider.delete(bucket, key))

    async def _repeated(self, ask: Callable[[], Awaitable[Result]]) -> Result:
        attempt = 1
        while True:
            try:
                return await ask()
            except (SourceThrottled, SourceUnreachable) as error:
                if attempt >= self._attempts_max or isinstance(error, ClusterNotAttached):
                    raise
                await self._pause(_pause_s(attempt, error.retry_after_s))
            attempt += 1

    async def _continued(
        self, bucket: str, opened: RemoteRead, offset: int, length: int | None
    ) -> AsyncIterator[bytes]:
        """The bytes of an opened object, over as many connections as it takes.

        Without an entity tag nothing says that the object is still the same: then it is not continued.
        """
        about, chunks = opened.about, opened.chunks
        position = offset
        end = about.size if length is None else min(about.size, offset + length)
        attempt = 1
        while True:
            try:
                async for chunk in chunks:
                    position += len(chunk)
                    attempt = 1
                    yield chunk
                return
            except (SourceThrottled, SourceUnreachable) as error:
                can_continue = about.etag and self.capabilities.ranges
                if not can_continue or attempt >= self._attempts_max or position >= end:
                    raise
                await self._pause(_pause_s(attempt, error.retry_after_s))
            finally:
                await close_chunks(chunks)
            attempt += 1
            start = position
            opened = await self._repeated(
                lambda start=start: self._provider.get(  # type: ignore[misc]
                    bucket, about.key, offset=start, length=end - start, etag=about.etag
                )
            )
            chunks = opened.chunks


def _pause_s(attempt: int, wanted_s: float | None) -> float:
    """How long to wait: as the source wishes, else longer each time, and never all at the same moment."""
    doubled = FIRST_PAUSE_S * (1 << (attempt - 1))
    waiting = max(doubled * random.uniform(0.5, 1.0), wanted_s or 0.0)  # noqa: S311 - no secret
    return min(waiting, PAUSE_S_MAX)
