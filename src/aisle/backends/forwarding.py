"""A provider around another one, for those that do some things in another way."""

from collections.abc import AsyncIterator, Mapping

from aisle.backends.provider import (
    ALWAYS,
    BackendProvider,
    RemoteObject,
    RemotePage,
    RemoteRead,
    WriteCondition,
)


class Forwarding:
    """A BackendProvider that asks another one for everything."""

    def __init__(self, provider: BackendProvider) -> None:
        self.capabilities = provider.capabilities
        self._provider = provider

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets."""
        return await self._provider.buckets()

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket."""
        return await self._provider.head_bucket(bucket)

    async def create_bucket(self, bucket: str) -> None:
        """See BackendProvider.create_bucket."""
        await self._provider.create_bucket(bucket)

    async def delete_bucket(self, bucket: str) -> None:
        """See BackendProvider.delete_bucket."""
        await self._provider.delete_bucket(bucket)

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
        return await self._provider.list_objects(
            bucket, prefix=prefix, token=token, after=after, limit=limit, delimiter=delimiter
        )

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        return await self._provider.head(bucket, key)

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        return await self._provider.get(bucket, key, offset=offset, length=length, etag=etag)

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        """See BackendProvider.put."""
        return await self._provider.put(bucket, key, chunks, about, only_if=only_if)

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        await self._provider.delete(bucket, key)

    async def close(self) -> None:
        """See BackendProvider.close."""
        await self._provider.close()
