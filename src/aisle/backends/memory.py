"""A remote account in memory: for tests, and for trying out what stands above backends."""

import hashlib
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Mapping
from time import time_ns

from aisle.backends.provider import (
    ALWAYS,
    Capabilities,
    RemoteObject,
    RemotePage,
    RemoteRead,
    WriteCondition,
)
from aisle.errors import (
    BadRequest,
    BucketExists,
    BucketNotEmpty,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
    SourceChanged,
)

_CHUNK_BYTES = 256 * 1024


class MemoryProvider:
    """A BackendProvider whose buckets exist from the beginning and whose objects are kept here."""

    capabilities = Capabilities(creates_buckets=True, conditional_writes=True, versions=True)

    def __init__(self, buckets: list[str], *, clock: Callable[[], int] = time_ns) -> None:
        self._buckets: dict[str, dict[str, tuple[RemoteObject, bytes]]] = {name: {} for name in buckets}
        self._clock = clock
        self._versions = 0

    async def buckets(self) -> list[str]:
        """See BackendProvider.buckets."""
        return sorted(self._buckets)

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """See BackendProvider.head_bucket."""
        self._bucket(bucket)
        return {"provider": "memory"}

    async def create_bucket(self, bucket: str) -> None:
        """See BackendProvider.create_bucket."""
        if bucket in self._buckets:
            raise BucketExists(bucket)
        self._buckets[bucket] = {}

    async def delete_bucket(self, bucket: str) -> None:
        """See BackendProvider.delete_bucket."""
        if self._bucket(bucket):
            raise BucketNotEmpty(bucket)
        del self._buckets[bucket]

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
        """See BackendProvider.list_objects; the token is the last name of the page before."""
        if limit < 1:
            raise BadRequest(f"a page holds at least one object, not {limit}")
        found = self._bucket(bucket)
        names = {_folded(key, prefix, delimiter) for key in found if key.startswith(prefix)}
        # Bytes, not code points, order keys everywhere.
        ordered = sorted(names, key=str.encode)
        behind = token or after
        first = bisect_right(ordered, behind.encode(), key=str.encode) if behind else 0
        page = ordered[first : first + limit]
        is_last = first + limit >= len(ordered)
        objects = [found[name][0] for name in page if _folded(name, prefix, delimiter) == name in found]
        prefixes = [name for name in page if delimiter and name.endswith(delimiter) and name != prefix]
        objects = [about for about in objects if about.key not in prefixes]
        return RemotePage(objects, prefixes, "" if is_last else page[-1])

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """See BackendProvider.head."""
        return self._object(bucket, key)[0]

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """See BackendProvider.get."""
        about, content = self._object(bucket, key)
        if etag and about.etag != etag:
            raise SourceChanged(f"{bucket}/{key} has changed")
        end = len(content) if length is None else min(len(content), offset + length)
        return RemoteRead(about, _chunks(content[offset:end]))

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
        found = self._bucket(bucket)
        # Nothing is visible before the last chunk has come.
        content = b"".join([chunk async for chunk in chunks])
        present = found.get(key)
        if (only_if.is_absent and present) or (
            only_if.etag and (not present or present[0].etag != only_if.etag)
        ):
            raise ConditionFailed(f"{bucket}/{key} is not as the write wants it")
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        self._versions += 1
        written = RemoteObject(
            key,
            len(content),
            version=str(self._versions),
            etag=md5,
            modified_ns=self._clock(),
            digests={"md5": md5},
            custom=dict(about.custom),
            content_type=about.content_type,
            fields=dict(about.fields),
        )
        found[key] = (written, content)
        return written

    async def delete(self, bucket: str, key: str) -> None:
        """See BackendProvider.delete."""
        self._bucket(bucket).pop(key, None)

    async def close(self) -> None:
        """See BackendProvider.close."""

    def _bucket(self, bucket: str) -> dict[str, tuple[RemoteObject, bytes]]:
        try:
            return self._buckets[bucket]
        except KeyError:
            raise BucketNotFound(bucket) from None

    def _object(self, bucket: str, key: str) -> tuple[RemoteObject, bytes]:
        try:
            return self._bucket(bucket)[key]
        except KeyError:
            raise ObjectNotFound(f"{bucket}/{key}") from None


def _folded(key: str, prefix: str, delimiter: str) -> str:
    """The name under which a listing with this delimiter shows a key."""
    end = key.find(delimiter, len(prefix)) if delimiter else -1
    return key if end < 0 else key[: end + len(delimiter)]


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), _CHUNK_BYTES):
        yield content[start : start + _CHUNK_BYTES]
