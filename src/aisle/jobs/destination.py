"""Where downloads go: one bucket of the storage engine, with the attributes that objects there get."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aisle.errors import ChecksumMismatch, CorruptObject, SourceFailed, Unavailable
from aisle.model.bucket import BucketInfo
from aisle.model.digests import plain_kind
from aisle.model.names import ObjectName, display
from aisle.model.record import COUNTED, Attributes, Record
from aisle.rules.download_digests import sized
from aisle.rules.download_known import has_checksum
from aisle.rules.download_metadata import content_type, custom_metadata, is_from, plain_metadata
from aisle.rules.download_plan import Item
from aisle.rules.download_reply import Reply, page_note
from aisle.storage.engine import (
    Draft,
    EngineLifecycle,
    SmallWriter,
    StorageEngine,
    ToldOfRecord,
    UploadStore,
)
from aisle.storage.hashing import hex_digest, is_digest_kind
from aisle.storage.results import when_done


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
        self._version = COUNTED if bucket.properties.versioning.enabled else ""

    def name(self, key: bytes) -> ObjectName:
        """What the engine knows an object by."""
        return ObjectName(self.bucket.number, key)

    def kinds(self, announced: Mapping[str, str]) -> tuple[str, ...]:
        """The digests to compute: the bucket's own, and those that can be checked."""
        if not announced:
            return self._own_kinds
        checked = (kind for kind in announced if is_digest_kind(kind) and kind != self._kind)
        return (*self._own_kinds, *checked)

    def check(
        self, key: bytes, announced: Mapping[str, str], computed: Mapping[str, str], *, note: str = ""
    ) -> None:
        """Raise ChecksumMismatch if the bytes are not those that the source or the item announced.

        Raises SourceFailed if that cannot be told. `note` is what else is known about the bytes.
        """
        for kind, digest in announced.items():
            found = computed.get(kind)
            if found == digest:
                continue
            where = display(self.bucket.bucket, key)
            if found is None:
                raise SourceFailed(f"{where}: its {kind} cannot be checked, its source tells no size")
            raise ChecksumMismatch(plain_kind(kind), announced=digest, received=found, name=where + note)

    def attributes(self, link: str, reply: Reply, computed: Mapping[str, str], *, size: int) -> Attributes:
        """The attributes of an object of `size` bytes made of this answer."""
        custom = custom_metadata(reply, link, computed, size=size)
        return self.own_attributes(computed, content_type=content_type(reply), custom=custom)

    def own_attributes(
        self,
        computed: Mapping[str, str],
        *,
        content_type: str,
        custom: dict[str, str],
        user: dict[str, str] | None = None,
    ) -> Attributes:
        """The attributes of a new object with these digests and this metadata."""
        digests = {plain_kind(kind): digest for kind, digest in computed.items() if kind != self._kind}
        if self._kind == "md5":
            digests["md5"] = computed["md5"]
        return Attributes(
            checksum_type=self._kind,
            checksum_value=computed.get(self._kind, ""),
            content_type=content_type,
            custom=custom,
            user=user or {},
            digests=digests,
            version=self._version,
        )

    def record(self, key: bytes) -> Record | None:
        """The record of the object of that name; None also where it is damaged, or that is not known yet."""
        try:
            stored = self.engine.open(self.name(key))
        except (CorruptObject, Unavailable):
            return None
        if stored is None:
            return None
        stored.close()
        return stored.record

    def look_up(self, key: bytes) -> Record | None:
        """The same without looking at the object's bytes: they may be damaged."""
        held = self.engine.look_up(self.name(key))
        return held.record if held else None

    def is_empty(self) -> bool:
        """Whether the bucket has no objects."""
        return not self.engine.counts(self.bucket.number).objects

    def stored_since(self, key: bytes, link: str, since_ns: int) -> Record | None:
        """The object's record, if it was made from this link at or after that time."""
        record = self.record(key)
        if record is None or record.written_ns < since_ns or not is_from(record.attributes, link):
            return None
        return record

    def put_small(self, key: bytes, link: str, reply: Reply, payload: bytes) -> "asyncio.Future[Record]":
        """Commit a whole body of at most INLINE_BYTES_MAX bytes. Raises ChecksumMismatch."""
        size = len(payload)
        announced = reply.digests()
        if announced:
            announced = sized(announced, size)
        computed = {kind: hex_digest(kind, payload) for kind in self.kinds(announced)}
        if announced:
            self.check(key, announced, computed, note=page_note(reply))
        attributes = self.attributes(link, reply, computed, size=size)
        return self.engine.put_small(self.name(key), payload, attributes)

    def store_plain(self, item: Item, reply: Reply, payload: bytes, told: ToldOfRecord) -> None:
        """The same for an answer that `is_plain_object` to an item for which nothing else is wanted.

        `told` is called once, later, with what came of it.
        """
        kind, size = self._kind, len(payload)
        if kind == "md5":
            when_done(self.put_small(item.key, item.link, reply, payload), told)
            return
        attributes = Attributes(
            checksum_type=kind,
            checksum_value=hex_digest(kind, payload) if kind else "",
            content_type=content_type(reply),
            custom=plain_metadata(reply, item.link, size=size),
            version=self._version,
        )
        self.engine.store_small(ObjectName(self.bucket.number, item.key), payload, attributes, told)

    def draft(self, key: bytes, announced: Mapping[str, str], *, size: int | None) -> Draft:
        """A draft for an object, with the digests that will be needed."""
        kinds = self.kinds(sized(announced, size))
        return self.engine.draft(self.name(key), size=size, digests=kinds, sync=self.bucket.payload_sync)

    def commit(self, key: bytes, link: str, reply: Reply, draft: Draft) -> "asyncio.Future[Record]":
        """Check and commit a finished draft. Raises ChecksumMismatch; the draft is then gone."""
        announced = sized(reply.digests(), draft.size)
        computed = {kind: draft.digest(kind) for kind in self.kinds(announced)}
        try:
            self.check(key, announced, computed, note=page_note(reply))
        except (ChecksumMismatch, SourceFailed):
            draft.abort()
            raise
        attributes = self.attributes(link, reply, computed, size=draft.size)
        return self.engine.commit(self.name(key), draft, attributes)


def is_as_wanted(record: Record, item: Item) -> bool:
    """Whether an object has the size and checksum that the item must have, where it must have any."""
    if item.size not in (-1, record.size):
        return False
    return not item.checksum or has_checksum(record.attributes, item.checksum)


def is_later_version(record: Record) -> bool:
    """Whether an object is known to have replaced another one: versions are counted from 1 on."""
    version = record.attributes.version
    return version.isascii() and version.isdigit() and int(version) > 1
