"""Conditions on reads, writes and copies, as S3 has them: RFC 9110's, with tags that may lack quotes."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.errors import ConditionFailed
from aisle.model.record import ABSENT, Condition, Expect, Record
from aisle.rules.preconditions import (
    CONDITIONAL_FIELDS,
    Seen,
    Verdict,
    judge_read,
    judge_write,
    parse_date,
)

Judged = Callable[[Record | None], Condition]
"""What must hold of the object that a write replaces, decided from its record; may raise."""

_SOURCE: Final = "x-amz-copy-source-"
_IF_WRITTEN: Final = "x-amz-if-match-last-modified-time"
_IF_SIZE: Final = "x-amz-if-match-size"
_DIGITS_MAX: Final = 18


def seen(record: Record) -> Seen:
    """What conditions are compared with."""
    return Seen(s3_etag(record), record.written_ns)


def read_verdict(headers: Mapping[str, str], record: Record) -> Verdict:
    """Whether a read of an object proceeds."""
    return judge_read(_conditions(headers), seen(record))


def check_source(headers: Mapping[str, str], record: Record) -> None:
    """Raise S3Error PreconditionFailed unless a copy's source is as `x-amz-copy-source-if-…` wants it."""
    conditions = _conditions(headers, _SOURCE)
    if conditions and judge_read(conditions, seen(record)) is not Verdict.PROCEED:
        raise S3Error("PreconditionFailed")


def write_condition(headers: Mapping[str, str]) -> Judged | None:
    """What a write's headers demand of the object that is there; None if they demand nothing.

    The function that is returned raises ConditionFailed, and S3Error NoSuchKey where `If-Match` asks
    for an object that does not exist. What it returns holds the committing transaction to it.
    """
    conditions = _conditions(headers)
    if not conditions:
        return None

    def judged(record: Record | None) -> Condition:
        if record is None and "if-match" in conditions:
            raise S3Error("NoSuchKey")
        if judge_write(conditions, seen(record) if record else None) is Verdict.FAILED:
            raise ConditionFailed("At least one of the preconditions you specified did not hold")
        return Condition(Expect.PRESENT, record.generation) if record else ABSENT

    return judged


class Meant(NamedTuple):
    """Which state of an object a removal means; what is empty is not compared."""

    etag: str | None = None
    written: str | None = None
    """The time of the write as an HTTP date."""
    size: str | None = None
    """In bytes."""


def removal_condition(headers: Mapping[str, str]) -> Callable[[Record], Condition] | None:
    """What a removal's headers demand of the object; None if they demand nothing.

    Raises S3Error InvalidArgument.
    """
    return removal_of(Meant(headers.get("if-match"), headers.get(_IF_WRITTEN), headers.get(_IF_SIZE)))


def removal_of(meant: Meant) -> Callable[[Record], Condition] | None:
    """What must hold of an object that is to be removed only if it is the one that is meant.

    None if any is. Raises S3Error InvalidArgument for a time or a size that is none.
    """
    if meant == Meant():
        return None
    conditions = {} if meant.etag is None else {"if-match": _quoted(meant.etag)}
    size = None if meant.size is None else _parse_size(meant.size)
    written_s = None if meant.written is None else _parse_time(meant.written)

    def judged(record: Record) -> Condition:
        is_another = size not in (None, record.size)
        is_another |= written_s not in (None, record.written_ns // 1_000_000_000)
        if is_another or judge_write(conditions, seen(record)) is Verdict.FAILED:
            raise ConditionFailed("At least one of the preconditions you specified did not hold")
        return Condition(generation=record.generation)

    return judged


def _parse_size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX):
        raise S3Error("InvalidArgument", ArgumentName=_IF_SIZE, ArgumentValue=text[:80])
    return int(text)


def _parse_time(text: str) -> int:
    seconds = parse_date(text)
    if seconds is None:
        raise S3Error("InvalidArgument", ArgumentName=_IF_WRITTEN, ArgumentValue=text[:80])
    return seconds


def _conditions(headers: Mapping[str, str], prefix: str = "") -> dict[str, str]:
    """The conditional fields among headers, without their prefix, entity tags quoted."""
    found = {}
    for field in CONDITIONAL_FIELDS:
        value = headers.get(prefix + field)
        if value is not None:
            found[field] = _quoted(value) if field.endswith("match") else value
    return found


def _quoted(listed: str) -> str:
    """A list of entity tags, each in its quotes: clients leave them out, and Amazon lets them."""
    if '"' in listed or listed.strip() == "*":
        return listed
    return ", ".join(f'"{tag.strip()}"' for tag in listed.split(","))
