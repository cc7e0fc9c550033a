"""Amounts as documents write them, and texts that are none."""

import pytest

from aisle.model.quantities import BITS_MAX, bits, duration_s, size_bytes

DIGITS = "9" * 5000


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30.0), ("2h45m", 9900.0), ("100ms", 0.1), ("1.5m", 90.0), ("0", 0.0)]
)
def test_time_spans(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("0B", 0), ("7", 7), ("256KiB", 262_144), ("1GiB", 2**30), ("2KB", 2000), ("3k", 3072)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_bytes(text) == size


def test_bits() -> None:
    assert (bits("0"), bits(str(BITS_MAX))) == (0, BITS_MAX)


@pytest.mark.parametrize(
    "text", ["", "x", "-1", DIGITS, f"{DIGITS}s", f"{DIGITS}KiB", f"1{' ' * 5000}B", "٣"]
)
def test_what_is_no_amount(text: str) -> None:
    assert bits(text) is None
    assert duration_s(text) is None
    assert text == "٣" or size_bytes(text) is None


def test_more_than_64_bits_are_too_many() -> None:
    assert bits(str(BITS_MAX + 1)) is None
