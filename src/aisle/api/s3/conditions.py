"""Conditions on reads, writes and copies, as S3 has them: RFC 9110's, with tags that may lack quotes."""

from collections.abc import Callable, Mapping
from typing import Final

from aisle.api.s3.errors import S3Error
from aisle.api.s3.etags import s3_etag
from aisle.errors import ConditionFailed
from aisle.model.record import ABSENT, Condition, Expect, Record
from aisle.rules.preconditions import CONDITIONAL_FIELDS, Seen, Verdict, judge_read, judge_write

Judged = Callable[[Record | None], Condition]
"""What must hold of the object that a write replaces, decided from its record; may raise."""

_SOURCE: Final = "x-amz-copy-source-"


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


def removal_condition(headers: Mapping[str, str]) -> Callable[[Record], Condition] | None:
    """What a removal's `If-Match` demands of the object; None if it demands nothing."""
    wanted = headers.get("if-match")
    return None if wanted is None else removal_of(wanted)


def removal_of(etag: str) -> Callable[[Record], Condition]:
    """What must hold of an object that is to be removed only if it has this entity tag."""
    conditions = {"if-match": _quoted(etag)}

    def judged(record: Record) -> Condition:
        if judge_write(conditions, seen(record)) is Verdict.FAILED:
            raise ConditionFailed("At least one of the preconditions you specified did not hold")
        return Condition(generation=record.generation)

    return judged


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
