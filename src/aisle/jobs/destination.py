"""Where downloads go: one bucket of the storage engine, with the attributes that objects there get."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aisle.errors import ChecksumMismatch, CorruptObject
from aisle.model.bucket import BucketInfo
from aisle.model.names import ObjectName, display
from aisle.model.record import COUNTED, Attributes, Record
from aisle.rules.download_metadata import content_type, custom_metadata, is_from
from aisle.rules.download_reply import Reply
from aisle.storage.engine import Draft, EngineLifecycle, SmallWriter, StorageEngine, UploadStore
from aisle.storage.hashing import DIGEST_KINDS, hex_digest


class DownloadEngine(StorageEngine, SmallWriter, UploadStore, EngineLifecycle, Protocol):
    """What downloads need of an engine."""


class Destination:
    """A bucket, as downloads write to it."""

    def __init__(self, engine: DownloadEngine, bucket: BucketInfo) -> None:
        self.engine = engine
        self.bucket = bucket
        kind = bucket.properties.checksum.type
        self._kind = kind if kind != "none" else ""
        self._own_kinds = (self._kind,) if self._kind else ()
        self._counts_versions = bucket.properties.versioning.enabled

    def name(self, key: bytes) -> ObjectName:
        """What the engine knows an object by."""
        return ObjectName(self.bucket.number, key)

    def kinds(self, announced: Mapping[str, str]) -> tuple[str, ...]:
        """The digests to compute: the bucket's own, and those that can be checked."""
        if not announced:
            return self._own_kinds
        checked = (kind for kind in announced if kind in DIGEST_KINDS and kind != self._kind)
        return (*self._own_kinds, *checked)

    def check(self, key: bytes, announced: Mapping[str, str], computed: Mapping[str, str]) -> None:
        """Raise ChecksumMismatch if the bytes are not those that the source announced."""
        for kind, digest in announced.items():
            if kind in computed and computed[kind] != digest.lower():
                where = display(self.bucket.bucket, key)
                raise ChecksumMismatch(kind, announced=digest, received=computed[kind], name=where)

    def attributes(self, link: str, reply: Reply, computed: Mapping[str, str]) -> Attributes:
        """The attributes of an object made of this answer."""
        return Attributes(
            checksum_type=self._kind,
            checksum_value=computed.get(self._kind, ""),
            content_type=content_type(reply),
            custom=custom_metadata(reply, link, computed),
            digests={"md5": computed["md5"]} if "md5" in computed else {},
            version=COUNTED if self._counts_versions else "",
        )

    def record(self, key: bytes) -> Record | None:
        """The record of the object of that name; None also where it is damaged."""
        try:
            stored = self.engine.open(self.name(key))
        except CorruptObject:
            return None
        if stored is None:
            return None
        stored.close()
        return stored.record

    def stored_since(self, key: bytes, link: str, since_ns: int) -> Record | None:
        """The object's record, if it was made from this link at or after that time."""
        record = self.record(key)
        if record is None or record.written_ns < since_ns or not is_from(record.attributes, link):
            return None
        return record

    def put_small(self, key: bytes, link: str, reply: Reply, payload: bytes) -> "asyncio.Future[Record]":
        """Commit a whole body of at most INLINE_BYTES_MAX bytes. Raises ChecksumMismatch."""
        announced = reply.digests()
        computed = {kind: hex_digest(kind, payload) for kind in self.kinds(announced)}
        if announced:
            self.check(key, announced, computed)
        return self.engine.put_small(self.name(key), payload, self.attributes(link, reply, computed))

    def draft(self, key: bytes, announced: Mapping[str, str], *, size: int | None) -> Draft:
        """A draft for an object, with the digests that will be needed."""
        kinds = self.kinds(announced)
        return self.engine.draft(self.name(key), size=size, digests=kinds, sync=self.bucket.payload_sync)

    def commit(self, key: bytes, link: str, reply: Reply, draft: Draft) -> "asyncio.Future[Record]":
        """Check and commit a finished draft. Raises ChecksumMismatch; the draft is then gone."""
        announced = reply.digests()
        computed = {kind: draft.digest(kind) for kind in self.kinds(announced)}
        try:
            self.check(key, announced, computed)
        except ChecksumMismatch:
            draft.abort()
            raise
        return self.engine.commit(self.name(key), draft, self.attributes(link, reply, computed))
