"""When to try again: after which failures, and how much later.

Delays double with every attempt that made no headway, are spread at random so that many clients do
not come back together, and are never shorter than what the server asked for.
"""

import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

TRANSIENT_STATUSES = frozenset({408, 425, 429})
"""Client errors that a later attempt may not meet; so may most server errors, see `is_transient`."""

_PERMANENT_SERVER_ERRORS = frozenset({501, 505, 511})
_USED_UP = re.compile(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*([0-9]{1,9})(?![0-9])")
_BASE_S = 0.5
_LONGEST_S = 60.0
RETRY_AFTER_MAX_S = 3600.0
"""A server that asks for more patience than this is asked again after this long."""


def is_transient(status: int) -> bool:
    """Whether the same request may succeed later."""
    return status in TRANSIENT_STATUSES or (status >= 500 and status not in _PERMANENT_SERVER_ERRORS)


def delay_s(failures: int, *, chance: float, retry_after_s: float | None = None) -> float:
    """Seconds to wait after the nth failure in a row (1 or more); `chance` is random in [0, 1).

    Half of the delay is random. A server's own wish is a lower bound, spread by a tenth.
    """
    assert failures > 0
    longest = min(_LONGEST_S, _BASE_S * 2.0 ** min(failures - 1, 16))
    delay = longest * (0.5 + chance / 2)
    if retry_after_s is None:
        return delay
    return max(delay, min(retry_after_s, RETRY_AFTER_MAX_S) * (1 + chance / 10))


def wished_wait(fields: Mapping[str, str]) -> str:
    """What an answer says about when to come again, in the form of `Retry-After`; empty if nothing.

    Beside that header it may be the rest of a window in which no request remains: `RateLimit:
    "api";r=0;t=55` (draft-ietf-httpapi-ratelimit-headers; the Hugging Face hub).
    """
    if asked := fields.get("Retry-After"):
        return asked
    window = _USED_UP.search(fields.get("RateLimit", ""))
    return window[1] if window else ""


def parse_retry_after(text: str, *, now_s: float) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110 §10.2.3); None if it is unreadable.

    Both forms are read: seconds, and a date, which counts from `now_s` (Unix seconds).
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:10]), 10**9))
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None
