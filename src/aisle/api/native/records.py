"""An object's record in the headers of the native dialect (ais-native-api.md §3)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from aisle.api.bodies import INERT
from aisle.httpd.response import header_lines
from aisle.model.record import Record
from aisle.model.unwritten import is_unwritten
from aisle.rules.preconditions import Seen

Headers = list[tuple[str, str]]

DEFAULT_CONTENT_TYPE: Final = "application/octet-stream"
SDK_AGENT: Final = "ais/python"
"""How the User-Agent of AIStore's SDK begins."""
_TOLD_MAX: Final = 2048
"""Records whose headers are remembered; some 1 KiB each."""
_SDK_CONTENT_TYPE: Final = "application/json"

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Location(NamedTuple):
    """Where a target keeps objects, as `Ais-Location` says it."""

    target: str
    mountpath: str
    """Shown where the engine does not know better."""

    def of(self, mountpath: str) -> str:
        """The location on a mountpath; AIStore adds its disk and medium, for tools of its own."""
        return f"t[{self.target}]:mp[{mountpath}, , ]"


class RecordHeaders:
    """What GETs tell of the records of one engine, remembered: what was read is often read again."""

    def __init__(self) -> None:
        self._told: dict[tuple[bytes, int], str] = {}

    def of(self, record: Record) -> str:
        """All that follows from the record alone, as the `lines` of a response."""
        key = (record.generation, record.sequence)
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            told = self._told[key] = header_lines([*_record_headers(record), *INERT])
        return told


def read_headers(record: Record, accessed_ns: int) -> Headers:
    """What a GET tells beside the bytes."""
    return [*head_headers(record, accessed_ns), *INERT]


def head_headers(record: Record, accessed_ns: int) -> Headers:
    """What every HEAD without `props` tells of the record."""
    return [*_record_headers(record), ("Ais-Atime", str(accessed_ns))]


def _record_headers(record: Record) -> Headers:
    attributes = record.attributes
    headers = [
        ("Content-Type", attributes.content_type or DEFAULT_CONTENT_TYPE),
        ("ETag", etag(record)),
        ("Last-Modified", http_date(record.written_ns // 1_000_000_000)),
    ]
    if attributes.checksum_type:
        headers.append(("Ais-Checksum-Type", attributes.checksum_type))
        headers.append(("Ais-Checksum-Value", attributes.checksum_value))
    if attributes.version:
        headers.append(("Ais-Version", attributes.version))
    if attributes.custom:
        headers += custom_headers(attributes.custom)
    if is_unwritten(attributes):
        headers.append(("Ais-Unwritten", "true"))
    return headers


def written_headers(record: Record) -> Headers:
    """What a PUT tells of the object that it wrote."""
    headers = [*checksum_headers(record), ("Ais-Atime", str(record.written_ns)), ("ETag", etag(record))]
    if record.attributes.version:
        headers.append(("Ais-Version", record.attributes.version))
    if record.attributes.custom:
        headers += custom_headers(record.attributes.custom)
    return headers


def checksum_headers(record: Record) -> Headers:
    """The object's checksum; nothing for an object that has none."""
    attributes = record.attributes
    if not attributes.checksum_type:
        return []
    return [
        ("Ais-Checksum-Type", attributes.checksum_type),
        ("Ais-Checksum-Value", attributes.checksum_value),
    ]


def custom_headers(custom: Mapping[str, str]) -> Headers:
    """One field per pair, unescaped as in AIStore."""
    return [("Ais-Custom-Md", header_text(f"{key}={value}")) for key, value in custom.items()]


def etag(record: Record) -> str:
    """The entity tag, quoted: the MD5 where there is one, else the generation, unique to a write."""
    attributes = record.attributes
    if attributes.etag and (not attributes.upload or "source" in attributes.custom):
        return f'"{attributes.etag}"'  # its source's, as S3 shows it
    if attributes.checksum_type == "md5":
        return f'"{attributes.checksum_value}"'
    md5 = attributes.digests.get("md5") if attributes.digests else None
    return f'"{md5}"' if md5 else f'"{record.generation.hex()}"'


def seen(record: Record) -> Seen:
    """What conditional requests are compared with."""
    return Seen(etag(record), record.written_ns)


@lru_cache(4096)
def http_date(seconds: int) -> str:
    """A time in the form of HTTP headers: `Fri, 20 Nov 2026 16:10:32 GMT`."""
    from time import gmtime

    time = gmtime(seconds)
    return (
        f"{_DAYS[time.tm_wday]}, {time.tm_mday:02} {_MONTHS[time.tm_mon - 1]} {time.tm_year} "
        f"{time.tm_hour:02}:{time.tm_min:02}:{time.tm_sec:02} GMT"
    )


@lru_cache(4096)
def listing_date(minutes: int) -> str:
    """A time, in Unix minutes, as listings show it: RFC 822, `20 Nov 26 16:10 UTC`."""
    from time import gmtime

    time = gmtime(minutes * 60)
    return (
        f"{time.tm_mday:02} {_MONTHS[time.tm_mon - 1]} {time.tm_year % 100:02} "
        f"{time.tm_hour:02}:{time.tm_min:02} UTC"
    )


def header_text(text: str) -> str:
    """Text for a header field: its UTF-8 bytes, as Latin-1 characters, which is how they leave."""
    return text if text.isascii() else text.encode().decode("latin-1")


def header_name(key: bytes) -> str:
    """An object's name for a header field; control characters, which would end it, are escaped."""
    if key.isascii() and key.decode("ascii").isprintable():
        return key.decode("ascii")
    shown = b"".join(b"%%%02X" % byte if byte < 0x20 or byte == 0x7F else bytes((byte,)) for byte in key)
    return shown.decode("latin-1")


def declared_type(headers: Mapping[str, str]) -> str:
    """The content type that a writer means, or none.

    It is kept as sent, except that AIStore's SDK marks every request as `application/json`, raw
    bytes included: from the SDK this says nothing about the object.
    """
    declared = headers.get("content-type", "")
    from_sdk = declared == _SDK_CONTENT_TYPE and headers.get("user-agent", "").startswith(SDK_AGENT)
    return "" if from_sdk else declared


def parse_custom(field: str) -> dict[str, str]:
    """The pairs of `Ais-Custom-Md` fields, joined by `, ` where there were several.

    What follows a comma and holds no `=` belongs to the value before it.
    """
    custom: dict[str, str] = {}
    key = ""
    for part in _as_utf8(field).split(", "):
        name, separator, value = part.partition("=")
        if separator:
            key = name
            custom[key] = value
        elif key:
            custom[key] += f", {part}"
    return custom


def _as_utf8(field: str) -> str:
    """A field's text: what arrived as UTF-8 was handed on as Latin-1."""
    if field.isascii():
        return field
    return field.encode("latin-1", "replace").decode("utf-8", "replace")


def base36(number: int) -> str:
    """A positive number in base 36, as redirects carry their time."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits
