"""The backend seam: where the bytes of remote buckets come from.

No request, header or status crosses it. Retries, limits and connection reuse live in one layer above.
"""

from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple, Protocol


class Capabilities(NamedTuple):
    """What a provider can do beside reading objects whole."""

    lists_buckets: bool = True
    lists_objects: bool = True
    creates_buckets: bool = False
    writes: bool = True
    """Puts and deletes objects."""
    conditional_writes: bool = False
    """`put` keeps to `only_if`."""
    versions: bool = False
    custom_metadata: bool = True
    ranges: bool = True


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
    fields: Mapping[str, str] = {}
    """What else readers are told of the bytes: `cache-control`, `content-encoding` and others of
    `remote_metadata.CARRIED`, as far as the source keeps them."""


class RemotePage(NamedTuple):
    """One page of a remote listing; `token` continues it and is empty at its end."""

    objects: list[RemoteObject]
    prefixes: list[str]
    token: str


class RemoteRead(NamedTuple):
    """An opened remote object: what it is, and its bytes from the requested offset on."""

    about: RemoteObject
    chunks: AsyncIterator[bytes]
    keeps_ranges: bool = True
    """False where the source sends the whole object whatever is asked for, and the rest was left out here."""


async def close_chunks(chunks: AsyncIterator[object]) -> None:
    """Nothing more is wanted of what was opened: its connection is given back."""
    closing = getattr(chunks, "aclose", None)
    if closing is not None:
        await closing()


def is_folded(name: str, prefix: str, delimiter: str) -> bool:
    """Whether a listing shows a name for all that begin with it."""
    if not delimiter or not name.startswith(prefix):
        return False
    return 0 <= name.find(delimiter, len(prefix)) == len(name) - len(delimiter)


class WriteCondition(NamedTuple):
    """What must hold at the source for a write to happen; both empty for nothing."""

    etag: str = ""
    """The object is there, with this entity tag."""
    is_absent: bool = False
    """There is no such object."""


ALWAYS = WriteCondition()


class RemoteBuckets(Protocol):
    """The buckets of an account; what is raised stands at `BackendProvider`."""

    async def buckets(self) -> list[str]:
        """Names of the buckets that the account can see, in byte order."""

    async def head_bucket(self, bucket: str) -> Mapping[str, str]:
        """Properties of a bucket by name: `versioning` (`true`, `false`), `region`, `endpoint` and others."""

    async def create_bucket(self, bucket: str) -> None:
        """Make a bucket. Raises BucketExists."""

    async def delete_bucket(self, bucket: str) -> None:
        """Remove a bucket. Raises BucketNotEmpty where the source says so."""


class RemoteObjects(Protocol):
    """What is in the buckets of an account; what is raised stands at `BackendProvider`."""

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
        """One page of a listing in byte order; `token` continues an earlier one.

        Without a token, names begin behind `after`, which need not exist; with a delimiter it may be one
        of an earlier page's `prefixes`, and all that it stands for is left out. With a `delimiter`, names
        that have it behind the prefix are folded into the page's `prefixes`.
        """

    async def head(self, bucket: str, key: str) -> RemoteObject:
        """What the source tells about an object."""

    async def get(
        self, bucket: str, key: str, *, offset: int = 0, length: int | None = None, etag: str = ""
    ) -> RemoteRead:
        """Open an object for reading from `offset`, at most `length` bytes.

        With `etag`, raises SourceChanged if the object has another one by now. The chunks raise the
        errors above too, and SourceUnreachable if the source ends too early.
        """

    async def put(
        self,
        bucket: str,
        key: str,
        chunks: AsyncIterator[bytes],
        about: RemoteObject,
        *,
        only_if: WriteCondition = ALWAYS,
    ) -> RemoteObject:
        """Write an object of `about.size` bytes; what the source then tells about it.

        Of `about`, size, custom metadata, content type, fields and digests count. Raises ConditionFailed;
        what `chunks` raises comes through, and nothing is written then.
        """

    async def delete(self, bucket: str, key: str) -> None:
        """Remove an object; harmless when there is none."""


class BackendProvider(RemoteBuckets, RemoteObjects, Protocol):
    """The buckets of one remote account, for one event loop. Names of buckets are the account's own.

    Every call raises BucketNotFound or ObjectNotFound for what is not there, SourceDenied for what the
    account may not do, SourceThrottled, SourceUnreachable (worth another attempt), SourceFailed (not
    worth one), and Unsupported for what `capabilities` rules out. Nothing is repeated here: the layer
    above does that.
    """

    capabilities: Capabilities

    async def close(self) -> None:
        """Give connections back; nothing is called afterwards."""
