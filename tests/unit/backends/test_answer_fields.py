"""What header fields of sources say, and what they must not do to a node."""

import pytest

from aisle.backends.answer_fields import document_text, header_text, http_time_ns, iso_time_ns


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


@pytest.mark.parametrize("text", ["", "plain", "ä", "日本 😀"])
def test_text_of_documents_and_header_fields_are_made_from_each_other(text: str) -> None:
    assert header_text(text).encode("latin-1") == text.encode()
    assert document_text(header_text(text)) == text


@pytest.mark.parametrize("text", ["a\nb", "a\r\nX: y", "\x00", "a\x7f", "a\x85b"])
def test_a_header_field_holds_no_control_character(text: str) -> None:
    assert header_text(text) == ""


@pytest.mark.parametrize("field", ["\xe4", "\xff\xfe", "日"])
def test_a_field_that_is_no_utf_8_says_what_it_seems_to_say(field: str) -> None:
    assert document_text(field) == field
