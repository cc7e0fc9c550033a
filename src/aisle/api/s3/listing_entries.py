"""The entries of a listing as XML: what a page consists of, written as fast as Python can.

Each object costs one decoded record, one look-up of its second and one formatted string; whether any
name needs escaping is found out once per page, by what is left of all names without the harmless bytes.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from aisle.api.s3.etags import bare_etag
from aisle.api.s3.times import MILLISECONDS, second_text
from aisle.api.s3.xml import escape
from aisle.model.record import decode_listed
from aisle.storage.engine import Entry

_URL_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
_XML_SPECIAL: Final = b"&<>\"'\x7f" + bytes(set(range(32)) - {9, 10})
_XML_SAFE: Final = bytes(set(range(256)) - set(_XML_SPECIAL))
_SEPARATOR: Final = b"\0"  # special in both spellings, so no name that is left as it is holds it
DEFAULT_STORAGE_CLASS: Final = "STANDARD"
CURRENT_VERSION: Final = "null"
"""The id of the only version that an object has, as Amazon names one that was written without an id."""


class Spelling(NamedTuple):
    """How names stand in a document: as XML text, or percent-encoded (`encoding-type=url`)."""

    is_url: bool

    def text(self, name: str) -> str:
        """A name as the content of an element, before XML's own escaping."""
        return quote(name, safe="/") if self.is_url else name

    def names(self, keys: Sequence[bytes]) -> list[str]:
        """Names as they stand in the document."""
        joined = _SEPARATOR.join(keys)
        left = joined.translate(None, _URL_SAFE if self.is_url else _XML_SAFE)
        if len(left) == len(keys) - 1 and not left.strip(_SEPARATOR):
            return joined.decode().split("\0")
        if self.is_url:
            return [quote(key, safe="/") for key in keys]
        return [escape(key.decode()) for key in keys]


class Shape(NamedTuple):
    """What stands around an object's name and behind all else of it."""

    opening: str
    behind_name: str
    closing: str


CONTENTS: Final = Shape("<Contents><Key>", "</Key>", "</Contents>")
VERSION: Final = Shape(
    "<Version><Key>",
    f"</Key><VersionId>{CURRENT_VERSION}</VersionId><IsLatest>true</IsLatest>",
    "</Version>",
)


def contents(entries: Sequence[Entry], owner: str, spelling: Spelling, shape: Shape = CONTENTS) -> list[str]:
    """An element of that shape for each object; `owner` is the element to show or empty."""
    if not entries:
        return []
    names = spelling.names([entry.key for entry in entries])
    opening, behind_name, closing = shape
    written: list[str] = []
    add, decode, second, fraction = written.append, decode_listed, second_text, MILLISECONDS
    for name, (_, encoded) in zip(names, entries, strict=True):
        assert encoded is not None
        listed = decode(encoded)
        attributes, time_ns = listed.attributes, listed.written_ns
        # The one that came with the object may hold anything; digests are ours.
        etag = escape(attributes.etag) if attributes.etag else bare_etag(listed)
        storage_class = (
            escape(attributes.fields.get("x-amz-storage-class", DEFAULT_STORAGE_CLASS))
            if attributes.fields
            else DEFAULT_STORAGE_CLASS
        )
        add(
            f"{opening}{name}{behind_name}"
            f"<LastModified>{second(time_ns // 1_000_000_000)}{fraction[time_ns // 1_000_000 % 1000]}"
            f"</LastModified><ETag>&quot;{etag}&quot;</ETag><Size>{listed.size}</Size>{owner}"
            f"<StorageClass>{storage_class}</StorageClass>{closing}"
        )
    return written


def common_prefixes(keys: Sequence[bytes], spelling: Spelling) -> list[str]:
    """A `CommonPrefixes` element for each."""
    if not keys:
        return []
    return [f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in spelling.names(keys)]
