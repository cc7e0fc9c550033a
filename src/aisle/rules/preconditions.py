"""Conditional requests: whether a read is answered, and whether a write may happen (RFC 9110 §13)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import NamedTuple

CONDITIONAL_FIELDS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
"""Header fields that make a request conditional, in lower case."""


class Verdict(Enum):
    """What becomes of a conditional request."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    FAILED = "failed"


class Seen(NamedTuple):
    """What conditions are compared with: a quoted entity tag, and the time of the write in ns."""

    etag: str
    written_ns: int


def judge_read(headers: Mapping[str, str], seen: Seen) -> Verdict:
    """Whether a read of an existing object proceeds, in the order that RFC 9110 §13.2.2 gives."""
    if (wanted := headers.get("if-match")) is not None:
        if not _names(wanted, seen.etag, weak=False):
            return Verdict.FAILED
    elif _changed_since(headers.get("if-unmodified-since"), seen) is True:
        return Verdict.FAILED
    if (unwanted := headers.get("if-none-match")) is not None:
        return Verdict.NOT_MODIFIED if _names(unwanted, seen.etag, weak=True) else Verdict.PROCEED
    if _changed_since(headers.get("if-modified-since"), seen) is False:
        return Verdict.NOT_MODIFIED
    return Verdict.PROCEED


def judge_write(headers: Mapping[str, str], seen: Seen | None) -> Verdict:
    """Whether a write may replace what is there; `seen` is None where nothing is."""
    if (wanted := headers.get("if-match")) is not None:
        if seen is None or not _names(wanted, seen.etag, weak=False):
            return Verdict.FAILED
    elif seen is not None and _changed_since(headers.get("if-unmodified-since"), seen) is True:
        return Verdict.FAILED
    unwanted = headers.get("if-none-match")
    if unwanted is not None and seen is not None and _names(unwanted, seen.etag, weak=True):
        return Verdict.FAILED
    return Verdict.PROCEED


def range_applies(if_range: str | None, seen: Seen) -> bool:
    """Whether a `Range` may be honoured: the client's part is of the same object as ours."""
    if if_range is None:
        return True
    if if_range.startswith(('"', "W/")):
        return if_range == seen.etag
    # A date is a strong validator only if it is exactly the one that we show.
    since = parse_date(if_range)
    return since is not None and since == seen.written_ns // 1_000_000_000


def _names(listed: str, etag: str, *, weak: bool) -> bool:
    """Whether a list of entity tags names this one; our own tags are always strong."""
    if listed.strip() == "*":
        return True
    tags = (tag.strip() for tag in listed.split(","))
    return any((tag.removeprefix("W/") if weak else tag) == etag for tag in tags)


def _changed_since(date: str | None, seen: Seen) -> bool | None:
    """Whether the object was written after a date; None without one, or with one that is none."""
    since = parse_date(date) if date else None
    return None if since is None else seen.written_ns // 1_000_000_000 > since


def parse_date(text: str) -> int | None:
    """An HTTP date in Unix seconds, or None for what is none."""
    try:
        parsed = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the latter for numbers that no calendar has
        return None
    # "GMT" is parsed as UTC, "-0000" as a naive time that means UTC too.
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return int((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
