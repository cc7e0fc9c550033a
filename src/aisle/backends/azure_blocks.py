"""Large objects, written to Azure in blocks: nothing is visible before their list is committed.

A block is in memory while it is sent, with its MD5: the service keeps none that arrived otherwise than
it was sent. Blocks that no list names are dropped by the service after a week.
"""

import asyncio
import hashlib
import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

from aisle.backends.azure_protocol import Ask, about_of, described, md5_base64
from aisle.backends.pieces import Pieces
from aisle.backends.provider import RemoteObject
from aisle.transfer.exchange import Answered

BLOCK_BYTES: Final = 8 * 1024 * 1024
BLOCKS_MAX: Final = 50_000
_ANSWER_BYTES_MAX: Final = 1024 * 1024


class Uploading(NamedTuple):
    """What is to be written, and how."""

    bucket: str
    key: str
    about: RemoteObject
    conditions: tuple[tuple[str, str], ...]
    """Fields that the list of blocks carries."""
    block_bytes: int


async def upload(
    checked: Callable[[Ask], Awaitable[Answered]], wanted: Uploading, chunks: AsyncIterator[bytes]
) -> RemoteObject:
    """Write an object in blocks; what the source then tells. Raises what asking raises, and BadRequest."""
    bucket, key, about = wanted.bucket, wanted.key, wanted.about
    headers = [*described(about), *wanted.conditions]
    if md5 := md5_base64(about):
        headers.append(("x-ms-blob-content-md5", md5))
    block_bytes = max(wanted.block_bytes, -(-about.size // BLOCKS_MAX))
    # Others may write blocks of the same blob at the same time: no two uploads use the same ids.
    upload_id = secrets.token_hex(8)
    pieces = Pieces(chunks)
    listed: list[str] = []
    for start in range(0, about.size, block_bytes):
        length = min(block_bytes, about.size - start)
        block = b"".join([piece async for piece in pieces.next(length)])
        block_id = b64encode(f"{upload_id}-{len(listed):07}".encode()).decode()
        md5 = await asyncio.to_thread(_md5_base64, block)
        query = (("comp", "block"), ("blockid", block_id))
        answered = await checked(Ask("PUT", bucket, key, query, (("Content-MD5", md5),), block))
        await answered.read(_ANSWER_BYTES_MAX)
        listed.append(f"<Uncommitted>{block_id}</Uncommitted>")
    await pieces.check_end()
    document = f'<?xml version="1.0" encoding="utf-8"?><BlockList>{"".join(listed)}</BlockList>'.encode()
    answered = await checked(Ask("PUT", bucket, key, (("comp", "blocklist"),), tuple(headers), document))
    await answered.read(_ANSWER_BYTES_MAX)
    told = about_of(key, answered.status, answered.fields)
    # The MD5 of the answer is that of the list.
    digests = {"md5": about.digests["md5"]} if md5_base64(about) else {}
    return about._replace(
        key=key, etag=told.etag, version=told.etag, modified_ns=told.modified_ns, digests=digests
    )


def _md5_base64(block: bytes) -> str:
    return b64encode(hashlib.md5(block, usedforsecurity=False).digest()).decode()
