"""Renaming a bucket: only its document moves, as storage knows the bucket by a number.

The old document is marked first, then the new one is written, then the old one goes. In between the
bucket is found under both names, never under neither, and both documents are marked: nobody can destroy
it, or set its properties, under one name only. After a crash anywhere the same call ends what is left.
"""

import asyncio
from typing import Final

import msgspec

from aisle.cluster.store import Document, MetadataStore
from aisle.errors import BucketExists, BucketNotFound, StaleVersion, TooBusy
from aisle.gateway.buckets import document_key
from aisle.model.bucket import BucketDocument, BucketState, decode_document, encode_document
from aisle.model.names import Bucket

_ATTEMPTS_MAX: Final = 100
_CLOSING_WAIT_S: Final = 0.02


async def rename_bucket(store: MetadataStore, bucket: Bucket, to: Bucket, *, number: int) -> None:
    """Give the bucket of this number the name `to`; harmless when it has it already.

    Raises BucketNotFound if the bucket is gone, BucketExists if another one has the new name, and
    TooBusy, OutOfSpace, Unavailable.
    """
    for _ in range(_ATTEMPTS_MAX):
        try:
            if await _step(store, bucket, to, number):
                return
        except StaleVersion:
            continue  # somebody changed a document: look again
    raise TooBusy(f'bucket "{bucket.cname}" is being changed by others: try again')


async def _step(store: MetadataStore, bucket: Bucket, to: Bucket, number: int) -> bool:
    """One change; whether nothing is left to do."""
    old, new = _load(store, bucket, number), _load(store, to, number)
    if old is None:
        if new is None:
            raise BucketNotFound(bucket.cname)
        return await _unmark(store, new)
    present = store.load(document_key(to))
    if present is not None and new is None:
        await _unmark(store, old)
        raise BucketExists(to.cname)
    state = decode_document(old.value).state
    if state is BucketState.CLOSING:
        # Storage is about to say whether it is empty; under a new name it would outlive its number.
        await asyncio.sleep(_CLOSING_WAIT_S)
        return False
    moving = msgspec.structs.replace(decode_document(old.value), state=BucketState.MOVING)
    if state is not BucketState.MOVING:
        await _swap(store, old, moving)
    elif new is None:
        await _swap(store, Document(document_key(to), b"", 0), moving)
    else:
        await _swap(store, old, None)
    return False


def _load(store: MetadataStore, bucket: Bucket, number: int) -> Document | None:
    """The document of a bucket, if it is the one of this number and is not being destroyed."""
    document = store.load(document_key(bucket))
    if document is None:
        return None
    decoded = decode_document(document.value)
    is_it = decoded.number == number and decoded.state is not BucketState.DESTROYING
    return document if is_it else None


async def _unmark(store: MetadataStore, document: Document) -> bool:
    """Let the bucket be destroyed again; True."""
    decoded = decode_document(document.value)
    if decoded.state is BucketState.MOVING:
        await _swap(store, document, msgspec.structs.replace(decoded, state=BucketState.OPEN))
    return True


async def _swap(store: MetadataStore, present: Document, value: BucketDocument | None) -> None:
    await asyncio.to_thread(
        store.swap,
        present.key,
        None if value is None else encode_document(value),
        expected_version=present.version,
    )
