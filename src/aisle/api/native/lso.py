"""Listings on the wire: MessagePack and JSON (ais-native-api.md §5.2).

Pages of names and sizes, which nearly all listings are, have a path of their own: only the size is
decoded of each record, into structs of three members (0.38 µs a key; splicing the bytes by hand, as a
record starts with its size, took 0.36 and was not worth its code).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import field

from aisle.api.native.records import listing_date
from aisle.gateway.listing import ListedPage
from aisle.model.record import Listed, decode_listed, decode_listed_size
from aisle.storage.engine import Entry

Where = Callable[[bytes], str]
"""The location of the object of a name; asked only for listings that show it."""

Marks = Mapping[bytes, int]
"""Further flags of some entries, by name."""

PRESENT: Final = 64
"""Entry flag of an object that is held here."""
CHUNKED: Final = 8192
"""Entry flag of an object that was made of parts; not in listings of names and sizes only, which do not
look further into records."""
VIRTUAL_FOLDER: Final = 256
"""Entry flag of a common prefix."""

_UNMARKED: Final[Marks] = {}
_NAMES_ONLY: Final[frozenset[str]] = frozenset()
_NAMES_AND_SIZES: Final = frozenset({"size"})


class SizedEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """An entry of a MessagePack listing of names and sizes; an empty object's size is left out."""

    n: str
    s: int = 0
    f: int = 0


class PackedEntry(msgspec.Struct, omit_defaults=True, gc=False):
    """An entry of a MessagePack listing of more: empty members are left out."""

    n: str
    cs: str = ""
    a: str = ""
    v: str = ""
    t: str = ""
    m: str = ""
    s: int = 0
    c: int = 0
    f: int = 0


class JsonEntry(msgspec.Struct, omit_defaults=True, gc=False):
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


class PackedPage(msgspec.Struct):
    """A MessagePack listing: clients refuse one without any of these keys."""

    UUID: str
    ContinuationToken: str
    Entries: Sequence[SizedEntry | PackedEntry]
    Flags: int = 0


_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode


def packed_listing(page: ListedPage, shown: frozenset[str], where: Where, marks: Marks = _UNMARKED) -> bytes:
    """A page as MessagePack."""
    entries: Sequence[SizedEntry | PackedEntry]
    if page.flags is not None and shown <= _NAMES_AND_SIZES:
        entries = _sized_of_source(page.entries, shown, page.flags)
    elif page.flags is not None:
        entries = [_of_source(entry, shown, where, page.flags) for entry in page.entries]
    elif marks:
        entries = [_packed_entry(entry, shown, where, marks) for entry in page.entries]
    elif shown == _NAMES_AND_SIZES:
        entries = [
            SizedEntry(key.decode(), decode_listed_size(encoded).size, PRESENT)
            if encoded is not None
            else SizedEntry(key.decode(), 0, VIRTUAL_FOLDER)
            for key, encoded in page.entries
        ]
    elif shown == _NAMES_ONLY:
        entries = [
            SizedEntry(key.decode(), 0, PRESENT if encoded is not None else VIRTUAL_FOLDER)
            for key, encoded in page.entries
        ]
    else:
        entries = [_packed_entry(entry, shown, where, marks) for entry in page.entries]
    return _pack(PackedPage(page.uuid, page.token, entries))


def json_listing(page: ListedPage, shown: frozenset[str], where: Where, marks: Marks = _UNMARKED) -> bytes:
    """A page as JSON, with AIStore's newline at its end."""
    if page.flags is not None and shown <= _NAMES_AND_SIZES:
        entries = [
            JsonEntry(sized.n, size=str(sized.s) if sized.s else "", flags=sized.f)
            for sized in _sized_of_source(page.entries, shown, page.flags)
        ]
    elif page.flags is not None:
        entries = [_as_json(_of_source(entry, shown, where, page.flags)) for entry in page.entries]
    else:
        entries = [_json_entry(entry, shown, where, marks) for entry in page.entries]
    return _json(JsonPage(page.uuid, page.token, entries or None)) + b"\n"


def _packed_entry(entry: Entry, shown: frozenset[str], where: Where, marks: Marks) -> PackedEntry:
    key, encoded = entry
    if encoded is None:
        return PackedEntry(key.decode(), f=VIRTUAL_FOLDER)
    listed = decode_listed(encoded)
    attributes = listed.attributes
    flags = PRESENT | CHUNKED if attributes.upload else PRESENT
    return PackedEntry(
        key.decode(),
        cs=attributes.checksum_value if "checksum" in shown else "",
        a=_written(listed) if "atime" in shown else "",
        v=attributes.version if "version" in shown else "",
        t=where(key) if "location" in shown else "",
        m=_custom(attributes.custom) if "custom" in shown else "",
        s=listed.size if "size" in shown else 0,
        c=1 if "copies" in shown else 0,
        f=flags | marks.get(key, 0),
    )


def _json_entry(entry: Entry, shown: frozenset[str], where: Where, marks: Marks) -> JsonEntry:
    key, encoded = entry
    if encoded is None:
        return JsonEntry(key.decode(), flags=VIRTUAL_FOLDER)
    if shown <= _NAMES_AND_SIZES and not marks:
        size = decode_listed_size(encoded).size if shown else 0
        return JsonEntry(key.decode(), size=str(size) if size else "", flags=PRESENT)
    return _as_json(_packed_entry(entry, shown, where, marks))


def _of_source(entry: Entry, shown: frozenset[str], where: Where, flags: Mapping[bytes, int]) -> PackedEntry:
    """An entry of a remote bucket: what is not here has no place and no time of its own."""
    packed = _packed_entry(entry, shown, where, _UNMARKED)
    if entry.encoded is None:
        return packed
    told = flags[entry.key]
    if not told & PRESENT:
        return PackedEntry(packed.n, cs=packed.cs, v=packed.v, m=packed.m, s=packed.s)
    packed.f |= told
    return packed


def _sized_of_source(
    entries: Sequence[Entry], shown: frozenset[str], flags: Mapping[bytes, int]
) -> list[SizedEntry]:
    """Entries of a remote bucket, of which only names and perhaps sizes are told."""
    if not shown:
        return [
            SizedEntry(key.decode(), 0, flags[key] if encoded is not None else VIRTUAL_FOLDER)
            for key, encoded in entries
        ]
    return [
        SizedEntry(key.decode(), decode_listed_size(encoded).size, flags[key])
        if encoded is not None
        else SizedEntry(key.decode(), 0, VIRTUAL_FOLDER)
        for key, encoded in entries
    ]


def _as_json(packed: PackedEntry) -> JsonEntry:
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
