"""Answers of the committer as the values that callers get."""

from aisle.model.record import Record, decode_record
from aisle.storage.messages import Answer


def as_record(answer: Answer) -> Record:
    """An encoded record."""
    assert isinstance(answer, bytes)
    return decode_record(answer)


def as_bool(answer: Answer) -> bool:
    """Whether there was something."""
    assert isinstance(answer, bool)
    return answer


def as_nothing(answer: Answer) -> None:
    """Success without a value."""
    assert answer is None
