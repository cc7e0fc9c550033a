"""The backend seam: where the bytes of remote buckets come from.

No request, header or status crosses it. Retries, limits and connection reuse live in one layer above.
"""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol


class RemoteObject(NamedTuple):
    """What a source tells about an object. Times are Unix nanoseconds, 0 when not told."""

    key: str
    size: int
    version: str = ""
    etag: str = ""
    modified_ns: int = 0
    digests: Mapping[str, str] = {}
    """Lower-case hex by kind: `md5`, `crc32c`, …"""
    custom: Mapping[str, str] = {}
    content_type: str = ""


class RemotePage(NamedTuple):
    """One page of a remote listing; `token` continues it and is empty at its end."""

    objects: list[RemoteObject]
    prefixes: list[str]
    token: str


class RemoteRead(NamedTuple):
    """An opened remote object: what it is, and its bytes from the requested offset on."""

    about: RemoteObject
    chunks: AsyncIterator[bytes]


class BackendProvider(Protocol):
    """The buckets of one remote account. Raises NotFound, Denied, SourceFailed, Unsupported."""

    async def buckets(self) -> list[str]:
        """Names of the buckets that the account can see."""

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """Properties of a bucket, by name."""

    async def list_objects(
        self, bucket: str, *, prefix: str = "", token: str = "", limit: int = 1000
    ) -> RemotePage:
        """One page of a listing in byte order; `token` continues an earlier one."""

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """What the source tells about an object."""

    async def get(self, bucket: str, key: str, *, offset: int = 0, length: int | None = None) -> RemoteRead:
        """Open an object for reading from `offset`, at most `length` bytes."""

    async def put(
        self, bucket: str, key: str, chunks: AsyncIterator[bytes], about: RemoteObject
    ) -> RemoteObject:
        """Write an object; what the source then tells about it."""

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; harmless when there is none."""
