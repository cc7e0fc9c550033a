"""Records: what is stored about one generation of an object.

A record is small, immutable and encoded as a MessagePack array: fields are only ever appended, with
defaults, so that older records stay readable. The first fields are those that listings need; a
listing decodes `Listed`, which stops there.
"""

from enum import Enum
from typing import NamedTuple

import msgspec

INLINE_BYTES_MAX = 16 * 1024
"""Payloads up to this size live in the index, larger ones in files."""

CUSTOM_BYTES_MAX = 2048
"""All keys and values of an object's custom metadata together (ais-native-api.md §6.6)."""

Generation = bytes
"""One write of an object: 16 bytes, unique for ever; its hex form names the payload file."""


class Segment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A span of one payload file."""

    generation: Generation
    offset: int
    length: int
    xxh3: bytes
    """XXH3-64 of the span, 8 bytes big-endian."""


class Inline(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=0):
    """A payload kept in the index itself, in `pieces` pieces."""

    pieces: int
    xxh3: bytes


class Files(msgspec.Struct, frozen=True, array_like=True, gc=False, tag=1):
    """A payload kept in files: its segments in order, usually one."""

    segments: tuple[Segment, ...]


Payload = Inline | Files


COUNTED = "+"
"""As the version of a write: one more than that of the object which it replaces, decided by who commits."""


class Attributes(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What the writer says about an object, kept as given."""

    checksum_type: str = ""
    """The native checksum (`xxhash2`, `md5`, …) or empty for none."""
    checksum_value: str = ""
    """Lower-case hex."""
    content_type: str = ""
    custom: dict[str, str] = {}
    """AIStore's custom metadata: the user's own and the source's (`source`, `ETag`, `md5`, …)."""
    user: dict[str, str] = {}
    """S3 user metadata (`x-amz-meta-*`), names in lower case without the prefix."""
    digests: dict[str, str] = {}
    """Further digests by name, lower-case hex: `md5` (what S3 shows as ETag), `crc64nvme`, …"""
    version: str = ""
    """AIStore's version (a counter) or the source's; empty when versioning is off. A writer that wants it
    counted gives COUNTED, which is never stored."""
    fields: dict[str, str] = {}
    """Representation headers of S3 writes as given, names in lower case: `cache-control`, …"""
    etag: str = ""
    """S3's entity tag without quotes, only where it is not the MD5: multipart uploads, remote sources."""
    upload: str = ""
    """The id of the upload that made the object, so that whoever completes it twice is told so."""


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One generation of an object, as committed."""

    size: int
    written_ns: int
    """Time of the write, Unix nanoseconds; never the time of an access."""
    attributes: Attributes
    generation: Generation
    sequence: int
    """The committer's order: later writes have larger numbers, whatever the clock says."""
    payload: Payload
    boot_id: str = ""
    """Set when the payload file was not synced: the machine's boot id at the time of the write."""


class Listed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of a record that listings show; decoded from the same bytes."""

    size: int
    written_ns: int
    attributes: Attributes


class ListedSize(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of a record that the cheapest listings show; decoded from the same bytes."""

    size: int


class Expect(Enum):
    """What a write requires of the object it replaces."""

    ANYTHING = "anything"
    ABSENT = "absent"
    PRESENT = "present"


class Condition(NamedTuple):
    """Checked inside the committing transaction; `generation` (if given) must be the current one."""

    expect: Expect = Expect.ANYTHING
    generation: Generation | None = None
    since: int | None = None
    """A place as `EngineLifecycle.place` gives it: no removal behind it may have asked to be respected."""
    sequence: int | None = None
    """For amending only: the record must be the one with this number, not amended since either."""


ANY = Condition()
ABSENT = Condition(Expect.ABSENT)
PRESENT = Condition(Expect.PRESENT)

encode_record = msgspec.msgpack.Encoder().encode
decode_record = msgspec.msgpack.Decoder(Record).decode
decode_listed = msgspec.msgpack.Decoder(Listed).decode
decode_listed_size = msgspec.msgpack.Decoder(ListedSize).decode
