"""Lists of downloads: one JSON object a line, `{"link", "name", "checksum", "size"}`, a million and more.

Lines are read as they come, some thousands at a time, and become items with links and names as they will
be used. What is wrong is told with the number of its line. Names that come twice are found with eight
bytes a name: the keys' hashes are kept, and only keys whose hashes are equal need to be compared.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

import msgspec
from xxhash import xxh3_64_intdigest

from aisle.errors import BadRequest, InvalidName, Unsupported
from aisle.model.names import OBJECT_NAME_BYTES_MAX, Bucket, parse_object_key
from aisle.rules.download_names import LINK_CHARS_MAX, base_name, check_link, object_key, public_link
from aisle.rules.huggingface import ENDPOINT, web_link
from aisle.rules.provider_links import (
    SOURCES_MAX,
    Reaches,
    Remembering,
    anywhere,
    is_provider_link,
    normal_source,
    parse_provider_link,
    reached,
)
from aisle.rules.templates import NAMES_MAX

LINE_BYTES_MAX: Final = 64 * 1024
"""Of one item. It is shorter than that by far: a link and a name have bounds of their own."""
ITEMS_MAX: Final = NAMES_MAX
"""More items than this are refused."""

_DIGEST_CHARS: Final = {"md5": 32, "crc32c": 8, "sha1": 40, "sha256": 64, "sha512": 128, "gitblob": 40}
_HEX: Final = re.compile(r"[0-9a-f]+")
# Links and names that are as they must be, which nearly all are: one look at them is enough.
_PLAIN_LINK: Final = re.compile(
    r"https?://[A-Za-z0-9.-]+(?::(?:[1-5][0-9]{4}|[0-9]{1,4}))?+/"
    r"(?:[A-Za-z0-9._~%!$&'()*+,;=:@-]*+/)*+([A-Za-z0-9_-][A-Za-z0-9._-]*+)"
)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._=-]*+(?:/[A-Za-z0-9_-][A-Za-z0-9._=-]*+)*+")
_SIZE_MAX: Final = 2**63 - 1
_PARTITION_BITS: Final = 12


class ListedItem(NamedTuple):
    """One item of a list. With an `error` it cannot be had, and fails when its turn comes."""

    key: bytes
    link: str
    checksum: str = ""
    """As in `download_plan.Item`."""
    size: int = -1
    error: str = ""


class _WireItem(msgspec.Struct):
    link: str | None = None
    name: str | None = None
    checksum: str | None = None
    size: int | None = None


_LINES: Final = msgspec.json.Decoder(_WireItem)
_encode: Final = msgspec.json.Encoder().encode


class ItemMaker:
    """Makes items of what lists say. Objects are named below the folder `subdir`, if there is one.

    A name is taken as it is written, without any decoding; an item without one is called as a link of a
    download always is. An `hf://` address becomes a link to the hub at that URL; `reaches` says which
    remote buckets can be asked for through their providers.
    """

    def __init__(self, subdir: str = "", *, hub: str = ENDPOINT, reaches: Reaches = anywhere) -> None:
        """Raises BadRequest for a folder that no object can lie in."""
        self._hub = hub
        self._reaches = Remembering(reaches)
        self.sources: set[Bucket] = set()
        """The remote buckets that items lead to."""
        self._subdir = folder_prefix(subdir)
        self._folder = self._subdir.encode()

    def item(self, link: str, name: str = "", checksum: str = "", size: int = -1) -> ListedItem:
        """An item; the checksum as in `parse_checksum`, a size of -1 is not known.

        Raises BadRequest, and Unsupported for a remote bucket that cannot be asked for.
        """
        if not link:
            raise BadRequest("'link' is missing")
        plain = _PLAIN_LINK.fullmatch(link) if len(link) <= LINK_CHARS_MAX else None
        if plain is not None and not name:
            key = self._folder + plain[1].encode()
        elif plain is not None and _PLAIN_NAME.fullmatch(name):
            key = self._folder + name.encode()
        else:
            key = b""
        if not key or len(key) > OBJECT_NAME_BYTES_MAX:
            check_link(link)
            link = normal_source(reached(web_link(link, self._hub), self._reaches))
            if is_provider_link(link):
                self._note_source(parse_provider_link(link)[0])
            key = literal_key(self._subdir + (name or object_key(base_name(link)).decode()))
        if not checksum and size == -1:
            return ListedItem(key, link)
        if not -1 <= size <= _SIZE_MAX:
            raise BadRequest(f"'size' cannot be {size}")
        return ListedItem(key, link, parse_checksum(checksum), size)

    def _note_source(self, bucket: Bucket) -> None:
        self.sources.add(bucket)
        if len(self.sources) > SOURCES_MAX:
            raise BadRequest(f"the list leads to more than {SOURCES_MAX} remote buckets")


class ListReader:
    """Reads a list that comes in pieces; see ItemMaker for `subdir`, `hub` and `reaches`.

    `first_line` is the number of the first line, as it is told in errors.
    """

    def __init__(
        self,
        *,
        subdir: str = "",
        first_line: int = 1,
        hub: str = ENDPOINT,
        reaches: Reaches = anywhere,
    ) -> None:
        maker = ItemMaker(subdir, hub=hub, reaches=reaches)
        self.sources = maker.sources
        """The remote buckets that items lead to."""
        self._make = maker.item
        self._line = first_line
        self._rest = b""
        self.count = 0
        """Items so far."""

    def feed(self, data: bytes) -> list[ListedItem]:
        """The items of the lines that are complete with these bytes. Raises BadRequest."""
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > LINE_BYTES_MAX:
            number = self._line + data.count(b"\n")
            raise BadRequest(f"line {number}: longer than {LINE_BYTES_MAX} bytes")
        return self._read(data[:end]) if end else []

    def finish(self) -> list[ListedItem]:
        """The items of a last line that no line break ends. Raises BadRequest."""
        rest, self._rest = self._rest, b""
        return self._read(rest + b"\n") if rest.strip() else []

    def _read(self, lines: bytes) -> list[ListedItem]:
        count = lines.count(b"\n")
        try:
            wires = _LINES.decode_lines(lines)
        except (msgspec.DecodeError, UnicodeDecodeError):
            wires = []
        if len(wires) != count:
            return self._read_singly(lines)
        items: list[ListedItem] = []
        try:
            for wire in wires:
                items.append(self._item(wire))  # noqa: PERF401 - how many there are tells the line
        except (BadRequest, Unsupported) as error:
            raise BadRequest(f"line {self._line + len(items)}: {error}") from error
        self._line += count
        self._counted(len(items))
        return items

    def _read_singly(self, lines: bytes) -> list[ListedItem]:
        """The same, a line at a time: some are empty, or wrong."""
        items = []
        for line in lines[:-1].split(b"\n"):
            if line.strip():
                try:
                    items.append(self._item(_LINES.decode(line)))
                except (msgspec.DecodeError, UnicodeDecodeError, BadRequest, Unsupported) as error:
                    raise BadRequest(f"line {self._line}: {error}") from error
            self._line += 1
        self._counted(len(items))
        return items

    def _item(self, wire: _WireItem) -> ListedItem:
        size = -1 if wire.size is None else wire.size
        return self._make(wire.link or "", wire.name or "", wire.checksum or "", size)

    def _counted(self, more: int) -> None:
        self.count += more
        if self.count > ITEMS_MAX:
            raise BadRequest(f"the list has more than {ITEMS_MAX} items")


def folder_prefix(subdir: str) -> str:
    """What precedes the names of objects in a folder: it with one slash, or nothing if it is empty.

    Raises BadRequest for a folder that no object can lie in.
    """
    folder = subdir.strip("/")
    if not folder:
        return ""
    try:
        literal_key(folder)
    except InvalidName as error:
        raise InvalidName(f"subdir: {error}") from error
    return f"{folder}/"


def literal_key(name: str) -> bytes:
    """The key for a name that is meant as it is written.

    Raises InvalidName for what no object of a download can be called: see `object_key`.
    """
    try:
        key = parse_object_key(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidName("object name is not valid UTF-8") from error
    if key.endswith(b"/") or key.startswith((b"~/", b"/")) or {b".", b".."} & set(key.split(b"/")):
        raise InvalidName(f'"{name[:200]}" cannot be the name of an object')
    return key


def parse_checksum(text: str) -> str:
    """A checksum as an item has it, `KIND:HEX` in lower case; empty stays empty.

    Raises BadRequest for a kind that cannot be verified, and for a digest of another length than its
    kind's.
    """
    if not text:
        return ""
    kind, _, digest = text.strip().lower().partition(":")
    if kind not in _DIGEST_CHARS:
        raise BadRequest(
            f'checksum "{text[:160]}": expected one of {", ".join(_DIGEST_CHARS)}, as in sha256:HEX'
        )
    if len(digest) != _DIGEST_CHARS[kind] or not _HEX.fullmatch(digest):
        raise BadRequest(f'checksum "{text[:160]}": {kind} has {_DIGEST_CHARS[kind]} hexadecimal digits')
    return f"{kind}:{digest}"


class KeyHashes:
    """Finds keys that come more than once among very many, with eight bytes a key.

    The seed is to be secret where keys come from others: they cannot make hashes collide then.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._parts = [array("Q") for _ in range(1 << _PARTITION_BITS)]

    def add(self, items: Iterable[ListedItem]) -> None:
        """Take the keys of further items."""
        parts, seed, shift = self._parts, self._seed, 64 - _PARTITION_BITS
        for item in items:
            found = xxh3_64_intdigest(item.key, seed)
            parts[found >> shift].append(found)

    def repeated(self) -> frozenset[int]:
        """The hashes that came more than once, nearly always those of equal keys."""
        found: set[int] = set()
        for part in self._parts:
            if len(set(part)) != len(part):
                found.update(value for value, count in Counter(part).items() if count > 1)
        return frozenset(found)

    def refuse_equal(self, items: Iterable[ListedItem], repeated: frozenset[int]) -> None:
        """Raise BadRequest if two of the items, which are those that were added, have one key."""
        firsts: dict[bytes, tuple[int, str]] = {}
        for number, item in enumerate(items, start=1):
            if xxh3_64_intdigest(item.key, self._seed) not in repeated:
                continue
            first, link = firsts.setdefault(item.key, (number, item.link))
            if first != number:
                name = item.key.decode("utf-8", "backslashreplace")
                raise BadRequest(
                    f'items {first} ("{public_link(link)}") and {number} ("{public_link(item.link)}") would '
                    f'both become object "{name}"'
                )


def wire_line(item: ListedItem) -> bytes:
    """An item as a line of a list."""
    told: dict[str, str | int] = {"link": item.link, "name": item.key.decode()}
    if item.checksum:
        told["checksum"] = item.checksum
    if item.size >= 0:
        told["size"] = item.size
    return _encode(told) + b"\n"
