"""What reads of all providers over HTTP have in common: spans of bytes, and reads of none."""

from collections.abc import AsyncIterator

from aisle.backends.pieces import Whole, no_chunks
from aisle.backends.provider import RemoteObjects, RemoteRead
from aisle.errors import SourceChanged
from aisle.transfer.exchange import Answered


def byte_range(offset: int, length: int | None) -> str:
    """The value of a Range field (RFC 9110, section 14.1.2); empty for all of an object."""
    if not offset and length is None:
        return ""
    end = "" if length is None else str(offset + length - 1)
    return f"bytes={offset}-{end}"


def body_of(answered: Answered) -> AsyncIterator[bytes]:
    """The body of an answer as it comes; a `Whole` one where it has come."""
    whole = answered.whole()
    return answered.chunks() if whole is None else Whole(whole)


async def read_nothing(provider: RemoteObjects, bucket: str, key: str, etag: str) -> RemoteRead:
    """A read of no bytes of an object that must be there, perhaps with an entity tag.

    Raises SourceChanged, and what a provider raises.
    """
    about = await provider.head(bucket, key)
    if etag and about.etag != etag:
        raise SourceChanged(f"{bucket}/{key} has changed")
    return RemoteRead(about, no_chunks())
