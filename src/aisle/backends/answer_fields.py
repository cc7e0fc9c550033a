"""What header fields and members of answers say, whichever source sends them: times, tags, digests, waits.

What is not as it should be counts as not told.
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from aisle.rules.preconditions import parse_date

FIELD_MEMBERS: Final = {
    "cache-control": "cacheControl",
    "content-disposition": "contentDisposition",
    "content-encoding": "contentEncoding",
    "content-language": "contentLanguage",
}
"""Header fields that objects have at Azure, Google and Oracle, and the members that say them in documents.

`Expires` is not among them: of all sources only S3 keeps it.
"""

_DATE_CHARS_MAX: Final = 64
_FIELD_NAME: Final = re.compile("[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


def describing(fields: Mapping[str, str]) -> dict[str, str]:
    """What describes an object's bytes to readers: those of `fields` that these three keep."""
    return {name: fields[name] for name in FIELD_MEMBERS if fields.get(name)}


def header_text(told: str) -> str:
    """Text of a document as header fields bring it: the bytes of its UTF-8, each as the Latin-1 character.

    Empty where no field can hold it: documents can have line breaks and other control characters.
    """
    return "" if breaks_out(told) else told.encode().decode("latin-1")


def breaks_out(told: str) -> bool:
    """Whether text of a document would break out of its line as a header field."""
    return bool(_CONTROL.search(told))


def document_text(field: str) -> str:
    """A header field's text for a document, which has characters where a field has the bytes of their UTF-8.

    What is no UTF-8 is taken for what it looks like.
    """
    try:
        return field.encode("latin-1").decode()
    except UnicodeError:
        return field


def is_field_name(text: str) -> bool:
    """Whether a header field can have this name: of ASCII, without what would end it."""
    return bool(_FIELD_NAME.fullmatch(text))


def plain_etag(text: str) -> str:
    """An entity tag without its quotes."""
    return text.removeprefix("W/").strip('"')


def http_time_ns(text: str) -> int:
    """An HTTP date in Unix nanoseconds; 0 for none."""
    # What is remembered must not be as long as a source likes.
    return _time_ns(text) if len(text) <= _DATE_CHARS_MAX else 0


@lru_cache(maxsize=1024)
def _time_ns(text: str) -> int:
    return _kept_ns(parse_date(text) or 0)


def iso_time_ns(text: str) -> int:
    """A time as RFC 3339 has it, in Unix nanoseconds, of whole seconds as in HTTP; 0 for none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return _kept_ns(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def _kept_ns(seconds: float) -> int:
    """A time in nanoseconds where records can keep it; 0 before 1970 and after 2262."""
    found = int(seconds) * 1_000_000_000
    return found if 0 <= found < 1 << 63 else 0


def retry_after_s(text: str) -> float | None:
    """How many seconds a source wants to be left alone, if it says so."""
    return float(text) if text.isascii() and text.isdigit() else None


def count_of(text: str) -> int:
    """A number of bytes; 0 for none."""
    return int(text) if text.isascii() and text.isdigit() else 0


def digest_hex(text: str, size: int) -> str:
    """A digest of `size` bytes that came in base64, in lower-case hex; empty if it is none of that size."""
    if not text:
        return ""
    try:
        raw = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return ""
    return raw.hex() if len(raw) == size else ""
