"""Objects that are not here as bodies of responses: sent while they come in."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec

from aisle.backends.provider import RemoteObject, close_chunks
from aisle.errors import AisleError, SourceChanged
from aisle.httpd.delivery import BrokenAnswer
from aisle.httpd.response import Body, FileSpan, Response, StreamBody
from aisle.model.bucket import BucketInfo
from aisle.model.record import Record
from aisle.rules.ranges import Span
from aisle.target.cold import Fetch
from aisle.target.passage import Passage
from aisle.target.remote_objects import RemoteObjects

UNVERIFIED: Final = ("Aisle-Source", "unreachable")
"""The header field that tells so."""
_WHOLE_BYTES_MAX: Final = 64 * 1024
"""Up to here an object is answered in one piece, once it is known to be right."""


async def whole_of(fetch: Fetch | Passage) -> Body:
    """All of an object. Raises what its fetch fails with before the first byte."""
    size = fetch.about.size
    if size <= _WHOLE_BYTES_MAX:
        return await fetch.whole()
    return StreamBody(await _begun(fetch.spans()), size)


async def open_as_told(
    remote: RemoteObjects, bucket: BucketInfo, about: RemoteObject, *, replaces: Record | None = None
) -> Fetch | Passage:
    """The fetch of an object of which a source has told this before. Raises as providers do.

    Raises SourceChanged if it is another version by now: what was decided and is told must be of the same.
    """
    opened = await remote.cold.open(bucket, about.key.encode(), replaces=replaces)
    if not _is_as_told(opened.about, about):
        if isinstance(opened, Passage):
            await opened.close()
        raise SourceChanged(f"{opened.name} changed while it was read: ask again")
    return opened


def _is_as_told(opened: RemoteObject, about: RemoteObject) -> bool:
    """Whether what has been opened is the version of which something was told, as far as that is known."""
    is_same_tag = opened.etag == about.etag or not (opened.etag and about.etag)
    return is_same_tag and opened.size == about.size


async def part_of(
    remote: RemoteObjects,
    bucket: BucketInfo,
    about: RemoteObject,
    span: Span,
    *,
    replaces: Record | None = None,
) -> Body:
    """A range of an object: from its source at once, while all of it is fetched. Raises as providers do."""
    end = span.start + span.length
    provider, key = remote.provider(bucket), about.key.encode()
    fetch = remote.cold.running(bucket, key)
    if fetch is None and bucket.properties.caching.fills(about.size) and not remote.cold.is_full(bucket, key):
        fetch = remote.cold.begin(bucket, key, replaces=replaces)
    if fetch is not None and fetch.received >= end and _is_as_told(fetch.about, about):
        chunks: AsyncIterator[bytes | FileSpan] = fetch.spans(span.start, end)
    elif not provider.capabilities.ranges:
        chunks = (await open_as_told(remote, bucket, about, replaces=replaces)).spans(span.start, end)
    else:
        behind = bucket.remote
        assert behind is not None
        opened = await provider.get(
            behind.name, about.key, offset=span.start, length=span.length, etag=about.etag
        )
        chunks = opened.chunks
        if not _is_as_told(opened.about, about):  # it may have no entity tag to ask for
            await close_chunks(chunks)
            raise SourceChanged(f"{about.key} changed while it was read: ask again")
    return StreamBody(await _begun(chunks), span.length)


def unverified(answer: Response) -> Response:
    """An answer from what is here, which its source could not be asked about."""
    return msgspec.structs.replace(answer, headers=[*answer.headers, UNVERIFIED])


async def anew_if_changed(
    remote: RemoteObjects, bucket: BucketInfo, key: bytes, answer: Callable[[], Awaitable[Response]]
) -> Response:
    """An answer of which nothing has been sent; made once more if the object changed at its source.

    Raises what `answer` raises.
    """
    try:
        return await answer()
    except SourceChanged:
        # What is on its way in is the older one.
        remote.cold.forget(bucket, key)
        return await answer()


async def told_of(remote: RemoteObjects, bucket: BucketInfo, key: bytes) -> RemoteObject:
    """What the source tells about an object: as its fetch was told, if there is one."""
    fetch = remote.cold.running(bucket, key)
    if fetch is not None and fetch.opened.done() and fetch.opened.exception() is None:
        return fetch.about
    return await remote.head(bucket, key)


async def _begun(chunks: AsyncIterator[bytes | FileSpan]) -> AsyncGenerator[bytes | FileSpan]:
    """The same chunks, the first of which is here: what fails before it can still be told.

    What fails later breaks the answer off.
    """
    first = await anext(chunks, b"")

    async def rest() -> AsyncGenerator[bytes | FileSpan]:
        try:
            yield first
            async for chunk in chunks:
                yield chunk
        except AisleError as error:
            raise BrokenAnswer(str(error)) from error
        finally:
            await close_chunks(chunks)

    return rest()
