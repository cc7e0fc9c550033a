"""What header fields and members of answers say, whichever source sends them: times, tags, digests, waits.

What is not as it should be counts as not told.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache


def plain_etag(text: str) -> str:
    """An entity tag without its quotes."""
    return text.removeprefix("W/").strip('"')


@lru_cache(maxsize=1024)
def http_time_ns(text: str) -> int:
    """An HTTP date in Unix nanoseconds; 0 for none."""
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except ValueError:
        return 0


def iso_time_ns(text: str) -> int:
    """A time as RFC 3339 has it, in Unix nanoseconds, of whole seconds as in HTTP; 0 for none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()) * 1_000_000_000


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
