"""Copies of objects that are here into remote buckets: a write like any other, which reaches their source.

What is read is checked on the way against the checksum that it carries; a damaged object is copied nowhere.
"""

from contextlib import closing

from aisle.errors import ChecksumMismatch, CorruptObject, ObjectNotFound
from aisle.model.record import Attributes, Record
from aisle.model.unwritten import unmarked
from aisle.rules.ranges import Span
from aisle.rules.remote_metadata import user_metadata
from aisle.storage.engine import Stored
from aisle.storage.hashing import DIGEST_KINDS
from aisle.target.copying import CopyTerms, Place
from aisle.target.objects import Incoming
from aisle.target.remote_objects import RemoteObjects
from aisle.target.stored_source import StoredSource


class RemoteCopier:
    """Copies objects into remote buckets."""

    def __init__(self, remote: RemoteObjects) -> None:
        self._remote = remote

    async def copy(self, source: Place, to: Place, terms: CopyTerms) -> Record:
        """Make the object at `source` also that at `to`; the record of the copy.

        Raises ObjectNotFound, CorruptObject for a source that is not what was stored, and as
        `RemoteObjects.put` does.
        """
        stored = self._remote.engine.open(source.name)
        if stored is None:
            raise ObjectNotFound(str(source))
        with closing(stored):
            wanted = unmarked(terms.attributes(stored.record))
            payload = StoredSource(stored, Span(0, stored.record.size))
            try:
                return await self._remote.put(to.bucket, to.key, payload, _incoming(stored, wanted, terms))
            except ChecksumMismatch as error:
                raise CorruptObject(f"{source} is not what was stored: it was not copied") from error


def _incoming(stored: Stored, wanted: Attributes, terms: CopyTerms) -> Incoming:
    """The write that makes a copy with the attributes that are `wanted`."""
    told = stored.record.attributes
    kinds = dict.fromkeys((*terms.digests, *wanted.digests))
    expected = {}
    if told.checksum_value and told.checksum_type in DIGEST_KINDS:
        kinds[told.checksum_type] = None
        expected[told.checksum_type] = told.checksum_value
    return Incoming(
        wanted.content_type,
        condition=terms.condition,
        user=user_metadata(wanted),
        fields=wanted.fields,
        digests=tuple(kind for kind in kinds if kind in DIGEST_KINDS),
        expected=lambda: expected,
    )
