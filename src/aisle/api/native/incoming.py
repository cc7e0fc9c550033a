"""What a native write says about its payload, from its headers."""

from aisle.api.native.records import declared_type, parse_custom, seen
from aisle.errors import ConditionFailed
from aisle.httpd.request import Request
from aisle.model.record import ABSENT, Condition, Expect, Record
from aisle.rules.preconditions import CONDITIONAL_FIELDS, Verdict, judge_write
from aisle.target.objects import Incoming

_PARTICULAR = frozenset({"range", *CONDITIONAL_FIELDS})


def incoming_of(request: Request) -> Incoming:
    """What the headers say."""
    headers = request.headers
    custom = headers.get("ais-custom-md")
    return Incoming(
        declared_type(headers),
        parse_custom(custom) if custom else {},
        headers.get("ais-checksum-type", ""),
        headers.get("ais-checksum-value", ""),
        None if _PARTICULAR.isdisjoint(headers) else lambda record: _write_condition(request, record),
    )


def _write_condition(request: Request, record: Record | None) -> Condition:
    """What must still hold of the object when the write commits. Raises ConditionFailed."""
    if judge_write(request.headers, seen(record) if record else None) is Verdict.FAILED:
        raise ConditionFailed("the object is not in the required state")
    return Condition(Expect.PRESENT, record.generation) if record else ABSENT
