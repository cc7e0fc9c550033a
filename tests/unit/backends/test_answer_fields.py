"""What header fields of sources say, and what they must not do to a node."""

import pytest

from aisle.backends.answer_fields import http_time_ns, iso_time_ns


def test_dates_are_whole_seconds() -> None:
    assert http_time_ns("Fri, 20 Nov 2026 16:13:27 GMT") == 1_795_191_207_000_000_000
    assert http_time_ns("Fri, 20 Nov 2026 16:13:27 GMT") == 1_795_191_207_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "Fri, 99 Nov 2026 16:13:27 GMT", "Fri, 31 Dec 99999 23:59:59 GMT", "1" * 5000),
        *("1 Jan 99999999999999 1:1:1", "99999999999999999999 Jan 1 1:1:1", "1 Jan 2020 1:1:9999999999 GMT"),
    ],
)
def test_what_is_no_date_counts_as_not_told(text: str) -> None:
    assert http_time_ns(text) == 0


def test_a_long_field_is_not_remembered() -> None:
    """A source may send fields of 300 KB, another one each time."""
    assert http_time_ns("Fri, 20 Nov 2026 16:13:27 GMT" + " " * 100_000) == 0


@pytest.mark.parametrize(
    "day", ["Fri, 31 Dec 9999", "Mon, 01 Jan 1900", "Mon, 01 Jan 0100", "Mon, 01 Jan 2300"]
)
def test_a_time_that_no_record_can_keep_counts_as_not_told(day: str) -> None:
    assert http_time_ns(f"{day} 23:59:59 GMT") == 0


@pytest.mark.parametrize("day", ["9999-12-31", "1900-01-01", "0001-01-02"])
def test_nor_can_it_be_written_otherwise(day: str) -> None:
    assert iso_time_ns(f"{day}T00:00:00Z") == 0
