"""Answers of the committer as the values that callers get."""

from asyncio import Future
from collections.abc import Callable
from typing import TypeVar

from aisle.errors import AisleError, Unavailable
from aisle.model.record import Record, decode_record
from aisle.storage.engine import ToldOfRecord
from aisle.storage.messages import Answer

Result = TypeVar("Result")


def to_future(future: "Future[Result]") -> Callable[[Result | AisleError], None]:
    """Who is told what came of an operation, for one who waits for a future."""

    def told(outcome: Result | AisleError) -> None:
        if future.done():
            return
        if isinstance(outcome, AisleError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    return told


def when_done(written: "Future[Record]", told: ToldOfRecord) -> None:
    """Tell what came of a write whose future is there."""

    def done(future: "Future[Record]") -> None:
        error = future.exception()
        if error is None:
            told(future.result())
        else:
            told(error if isinstance(error, AisleError) else Unavailable(repr(error)))

    written.add_done_callback(done)


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
