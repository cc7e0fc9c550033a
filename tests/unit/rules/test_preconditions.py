"""Conditions of requests, in the order of RFC 9110."""

import pytest

from aisle.rules.preconditions import Seen, Verdict, judge_read, judge_write, range_applies

SEEN = Seen('"tag"', 1_795_191_158_999_999_999)  # Fri, 20 Nov 2026 16:12:38 GMT
THEN, BEFORE, AFTER = (f"Fri, 20 Nov 2026 16:12:{second} GMT" for second in (38, 37, 39))
PROCEED, NOT_MODIFIED, FAILED = Verdict.PROCEED, Verdict.NOT_MODIFIED, Verdict.FAILED


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, PROCEED),
        ({"if-match": '"tag"'}, PROCEED),
        ({"if-match": '"x", "tag"'}, PROCEED),
        ({"if-match": "*"}, PROCEED),
        ({"if-match": '"x"'}, FAILED),
        ({"if-match": 'W/"tag"'}, FAILED),
        ({"if-none-match": '"tag"'}, NOT_MODIFIED),
        ({"if-none-match": 'W/"tag"'}, NOT_MODIFIED),
        ({"if-none-match": "*"}, NOT_MODIFIED),
        ({"if-none-match": '"x"'}, PROCEED),
        ({"if-modified-since": THEN}, NOT_MODIFIED),
        ({"if-modified-since": AFTER}, NOT_MODIFIED),
        ({"if-modified-since": BEFORE}, PROCEED),
        ({"if-modified-since": "never"}, PROCEED),
        ({"if-unmodified-since": THEN}, PROCEED),
        ({"if-unmodified-since": AFTER}, PROCEED),
        ({"if-unmodified-since": BEFORE}, FAILED),
        ({"if-unmodified-since": "never"}, PROCEED),
        # The tag decides where both it and a date are given.
        ({"if-none-match": '"x"', "if-modified-since": AFTER}, PROCEED),
        ({"if-match": '"tag"', "if-unmodified-since": BEFORE}, PROCEED),
        ({"if-match": '"tag"', "if-none-match": '"tag"'}, NOT_MODIFIED),
    ],
)
def test_reads(headers: dict[str, str], verdict: Verdict) -> None:
    assert judge_read(headers, SEEN) is verdict


@pytest.mark.parametrize(
    ("headers", "present", "absent"),
    [
        ({}, PROCEED, PROCEED),
        ({"if-none-match": "*"}, FAILED, PROCEED),
        ({"if-none-match": '"x"'}, PROCEED, PROCEED),
        ({"if-none-match": '"tag"'}, FAILED, PROCEED),
        ({"if-match": "*"}, PROCEED, FAILED),
        ({"if-match": '"tag"'}, PROCEED, FAILED),
        ({"if-match": '"x"'}, FAILED, FAILED),
        ({"if-unmodified-since": BEFORE}, FAILED, PROCEED),
        ({"if-modified-since": AFTER}, PROCEED, PROCEED),
    ],
)
def test_writes(headers: dict[str, str], present: Verdict, absent: Verdict) -> None:
    assert judge_write(headers, SEEN) is present
    assert judge_write(headers, None) is absent


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        ('"tag"', True),
        ('"x"', False),
        ('W/"tag"', False),
        (THEN, True),
        (AFTER, False),
        (BEFORE, False),
        ("nonsense", False),
    ],
)
def test_a_range_is_honoured_only_of_the_same_object(if_range: str | None, applies: bool) -> None:
    assert range_applies(if_range, SEEN) is applies
