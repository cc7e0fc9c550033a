"""What S3 shows as an object's entity tag.

Clients take 32 hexadecimal digits for the MD5 of the payload and compare it with their own; so only
a real MD5 looks like that. Everything needed is in the part of a record that listings decode, so
that LIST, HEAD and GET always say the same.
"""

from typing import Final, Protocol

import xxhash

from aisle.model.record import Attributes

_STRONG: Final = frozenset({"xxhash", "xxhash2", "sha256", "sha512"})
"""Checksums that two different payloads do not share by chance."""


class Tagged(Protocol):
    """What an entity tag is made of: a `Record` or a `Listed`."""

    @property
    def size(self) -> int:
        """Payload bytes."""

    @property
    def written_ns(self) -> int:
        """Time of the write, Unix nanoseconds."""

    @property
    def attributes(self) -> Attributes:
        """What the writer said."""


def s3_etag(record: Tagged) -> str:
    """The entity tag in its quotes, as headers carry it."""
    return f'"{bare_etag(record)}"'


def bare_etag(record: Tagged) -> str:
    """The entity tag without quotes.

    The one that is kept with the object (multipart uploads, remote sources), else its MD5, else one
    of the form `HEX-1`, stable for this payload or at least for this write.
    """
    attributes = record.attributes
    if attributes.etag:
        return attributes.etag
    if attributes.digests and (md5 := attributes.digests.get("md5")):
        return md5
    kind = attributes.checksum_type
    if kind in _STRONG:
        return f"{attributes.checksum_value}-1"
    if kind == "md5":
        return attributes.checksum_value
    facts = f"{record.written_ns}/{record.size}/{attributes.checksum_value}"
    return f"{xxhash.xxh3_128_hexdigest(facts.encode())}-1"
