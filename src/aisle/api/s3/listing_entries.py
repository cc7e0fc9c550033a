"""The entries of a listing as XML: what a page consists of, written as fast as Python can.

Each object costs one decoded record, one look-up of its second and one formatted string; whether any
name needs escaping is found out once per page, by what is left of all names without the harmless bytes.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

import msgspec

from aisle.api.s3.etags import made_up_etag
from aisle.api.s3.times import second_text
from aisle.api.s3.xml import escape
from aisle.model.record import Attributes, Listed
from aisle.storage.engine import Entry

_URL_SAFE: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~/"
_XML_SPECIAL: Final = b"&<>\"'\x7f" + bytes(set(range(32)) - {9, 10})
_XML_SAFE: Final = bytes(set(range(256)) - set(_XML_SPECIAL))
_SEPARATOR: Final = b"\0"  # special in both spellings, so no name that is left as it is holds it
DEFAULT_STORAGE_CLASS: Final = "STANDARD"


class ShownAttributes(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`Attributes` without decoding what listings do not show."""

    checksum_type: str
    checksum_value: str
    content_type: msgspec.Raw
    custom: msgspec.Raw
    user: msgspec.Raw
    digests: dict[str, str]
    version: msgspec.Raw
    fields: dict[str, str] = {}
    etag: str = ""


class ShownRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of a record that a listing shows, decoded from the same bytes."""

    size: int
    written_ns: int
    attributes: ShownAttributes


_decode = msgspec.msgpack.Decoder(ShownRecord).decode


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


def contents(entries: Sequence[Entry], owner: str, spelling: Spelling) -> str:
    """A `Contents` element for each object; `owner` is the element to show or empty."""
    if not entries:
        return ""
    names = spelling.names([entry.key for entry in entries])
    written: list[str] = []
    add = written.append
    for name, (_, encoded) in zip(names, entries, strict=True):
        assert encoded is not None
        shown = _decode(encoded)
        attributes = shown.attributes
        seconds, rest_ns = divmod(shown.written_ns, 1_000_000_000)
        digests = attributes.digests
        etag = attributes.etag or (digests.get("md5") if digests else "") or _other_etag(shown)
        storage_class = (
            escape(attributes.fields.get("x-amz-storage-class", DEFAULT_STORAGE_CLASS))
            if attributes.fields
            else DEFAULT_STORAGE_CLASS
        )
        add(
            f"<Contents><Key>{name}</Key>"
            f"<LastModified>{second_text(seconds)}.{rest_ns // 1_000_000:03}Z</LastModified>"
            f"<ETag>&quot;{etag}&quot;</ETag><Size>{shown.size}</Size>{owner}"
            f"<StorageClass>{storage_class}</StorageClass></Contents>"
        )
    return "".join(written)


def common_prefixes(keys: Sequence[bytes], spelling: Spelling) -> str:
    """A `CommonPrefixes` element for each."""
    if not keys:
        return ""
    return "".join(
        f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>" for name in spelling.names(keys)
    )


def _other_etag(shown: ShownRecord) -> str:
    attributes = shown.attributes
    kind, value = attributes.checksum_type, attributes.checksum_value
    if kind == "md5":
        return value
    return made_up_etag(
        Listed(shown.size, shown.written_ns, Attributes(checksum_type=kind, checksum_value=value))
    )
