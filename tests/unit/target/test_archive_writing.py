"""Archives that grow, chunk by chunk."""

import asyncio
import io
import tarfile
from collections.abc import AsyncIterator

import pytest

from aisle.errors import BadRequest
from aisle.rules.archives import ArchiveFormat
from aisle.target.archive_writing import GeneratedSource, Growing


class Pieces:
    """Content that arrives piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    async def read(self) -> bytes:
        return next(self._pieces, b"")


async def written(content: Pieces, size: int) -> bytes:
    growing = Growing(ArchiveFormat.TAR)

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in growing.begin():
            yield chunk
        async for chunk in growing.add("a", size, content, modified_s=1):
            yield chunk
        yield growing.close()

    source = GeneratedSource(chunks())
    assert source.buffered() is None
    found = []
    while chunk := await source.read():
        found.append(chunk)
    await source.aclose()
    return b"".join(found)


def test_content_in_pieces_becomes_one_file() -> None:
    data = asyncio.run(written(Pieces(b"one", b"two"), 6))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.extractfile("a").read() == b"onetwo"  # type: ignore[union-attr]


@pytest.mark.parametrize("pieces", [(b"one",), (b"one", b"twothree"), ()])
def test_content_of_another_size_than_announced_makes_no_archive(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(BadRequest, match="announced"):
        asyncio.run(written(Pieces(*pieces), 6))
