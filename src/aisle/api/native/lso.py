"""Listings on the wire: MessagePack and JSON (ais-native-api.md §5.2).

Pages of names and sizes, which nearly all listings are, are put together from bytes: a record starts
with its size, already as MessagePack, so an entry is a handful of spliced pieces (0.4 µs where a
decoded record and an encoded struct take 1.9). Other properties go through structs.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import field

from aisle.api.native.records import listing_date
from aisle.gateway.listing import ListedPage
from aisle.model.record import Listed, decode_listed, decode_listed_size
from aisle.storage.engine import Entry

PRESENT: Final = 64
"""Entry flag of an object that is held here."""
VIRTUAL_FOLDER: Final = 256
"""Entry flag of a common prefix."""

_NAMES_ONLY: Final[frozenset[str]] = frozenset()
_NAMES_AND_SIZES: Final = frozenset({"size"})


class PackedEntry(msgspec.Struct, omit_defaults=True):
    """An entry of a MessagePack listing: empty members are left out."""

    n: str
    cs: str = ""
    a: str = ""
    v: str = ""
    t: str = ""
    m: str = ""
    s: int = 0
    c: int = 0
    f: int = 0


class JsonEntry(msgspec.Struct, omit_defaults=True):
    """An entry of a JSON listing: empty members are left out, the size is a string."""

    name: str
    checksum: str = ""
    atime: str = ""
    version: str = ""
    location: str = ""
    custom: str = field(name="custom-md", default="")
    size: str = ""
    copies: int = 0
    flags: int = 0


class JsonPage(msgspec.Struct):
    """A JSON listing; an empty page has null entries."""

    uuid: str
    continuation_token: str
    entries: Sequence[JsonEntry] | None
    flags: int = 0


_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


def _text_head(length: int) -> bytes:
    """How a MessagePack string of that many bytes begins."""
    if length < 32:
        return bytes((0xA0 | length,))
    if length < 256:
        return bytes((0xD9, length))
    return b"\xda" + length.to_bytes(2, "big")


# "n" and its string's head, by the length of the name, for maps of two and of three members.
_TWO: Final = tuple(b"\x82\xa1n" + _text_head(length) for length in range(1025))
_THREE: Final = tuple(b"\x83\xa1n" + _text_head(length) for length in range(1025))
_SIZE: Final = b"\xa1s"
_HELD: Final = b"\xa1f" + _pack(PRESENT)
_FOLDER: Final = b"\xa1f" + _pack(VIRTUAL_FOLDER)

# Where the size ends in a record: an array's head (one byte), then an unsigned integer whose own
# first byte tells its length.
_SIZE_END: Final = tuple({0xCC: 3, 0xCD: 4, 0xCE: 6, 0xCF: 10}.get(first, 2) for first in range(256))


def packed_listing(page: ListedPage, shown: frozenset[str], location: str) -> bytes:
    """A page as MessagePack."""
    if shown == _NAMES_AND_SIZES:
        entries = _names_and_sizes(page.entries)
    elif shown == _NAMES_ONLY:
        entries = [
            b"%b%b%b" % (_TWO[len(key)], key, _FOLDER if encoded is None else _HELD)
            for key, encoded in page.entries
        ]
    else:
        entries = [_pack(_packed_entry(entry, shown, location)) for entry in page.entries]
    head = b"\x84\xa4UUID%b\xb1ContinuationToken%b\xa7Entries\xdd%b" % (
        _pack(page.uuid),
        _pack(page.token),
        len(entries).to_bytes(4, "big"),
    )
    return b"".join((head, *entries, b"\xa5Flags\x00"))


def _names_and_sizes(entries: Sequence[Entry]) -> list[bytes]:
    return [
        b"%b%b\xa1s%b\xa1f\x40" % (_THREE[len(key)], key, encoded[1 : _SIZE_END[encoded[1]]])
        # An empty object's size is left out.
        if encoded and encoded[1]
        else b"%b%b%b" % (_TWO[len(key)], key, _FOLDER if encoded is None else _HELD)
        for key, encoded in entries
    ]


def json_listing(page: ListedPage, shown: frozenset[str], location: str) -> bytes:
    """A page as JSON, with AIStore's newline at its end."""
    entries = [_json_entry(entry, shown, location) for entry in page.entries]
    return _json(JsonPage(page.uuid, page.token, entries or None)) + b"\n"


def _packed_entry(entry: Entry, shown: frozenset[str], location: str) -> PackedEntry:
    key, encoded = entry
    if encoded is None:
        return PackedEntry(key.decode(), f=VIRTUAL_FOLDER)
    listed = decode_listed(encoded)
    attributes = listed.attributes
    return PackedEntry(
        key.decode(),
        cs=attributes.checksum_value if "checksum" in shown else "",
        a=_written(listed) if "atime" in shown else "",
        v=attributes.version if "version" in shown else "",
        t=location if "location" in shown else "",
        m=_custom(attributes.custom) if "custom" in shown else "",
        s=listed.size if "size" in shown else 0,
        c=1 if "copies" in shown else 0,
        f=PRESENT,
    )


def _json_entry(entry: Entry, shown: frozenset[str], location: str) -> JsonEntry:
    key, encoded = entry
    if encoded is None:
        return JsonEntry(key.decode(), flags=VIRTUAL_FOLDER)
    if shown <= _NAMES_AND_SIZES:
        size = decode_listed_size(encoded).size if shown else 0
        return JsonEntry(key.decode(), size=str(size) if size else "", flags=PRESENT)
    packed = _packed_entry(entry, shown, location)
    return JsonEntry(
        packed.n,
        checksum=packed.cs,
        atime=packed.a,
        version=packed.v,
        location=packed.t,
        custom=packed.m,
        size=str(packed.s) if packed.s else "",
        copies=packed.c,
        flags=packed.f,
    )


def _written(listed: Listed) -> str:
    # Times of access are kept apart from records and are coarse; a listing shows that of the write.
    return listing_date(listed.written_ns // 60_000_000_000)


def _custom(custom: dict[str, str]) -> str:
    """Custom metadata as Go prints a map: `[k:v k2:v2]`."""
    return f"[{' '.join(f'{key}:{value}' for key, value in custom.items())}]" if custom else ""
