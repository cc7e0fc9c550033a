"""Errors and conditions survive the way to the other process."""

import pytest

from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotEmpty,
    ConditionFailed,
    NotFound,
    OutOfSpace,
    SourceFailed,
    Unavailable,
    UploadNotFound,
)
from aisle.model.record import ABSENT, ANY, PRESENT, Attributes, Condition
from aisle.storage.messages import (
    Amend,
    Answer,
    CompleteUpload,
    Failure,
    Put,
    condition_of,
    decode_answers,
    decode_operation,
    encode_message,
    error_of,
    expect_number,
    failure_of,
)


@pytest.mark.parametrize(
    "error",
    [
        BadRequest("wrong"),
        ConditionFailed("not so"),
        NotFound("gone"),
        OutOfSpace("full"),
        Unavailable("later"),
        UploadNotFound("id"),
        BucketNotEmpty("12"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_arrives_as_itself(error: AisleError) -> None:
    arrived = error_of(failure_of(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)


def test_an_error_nobody_expected_is_worth_another_try() -> None:
    assert isinstance(error_of(failure_of(SourceFailed("?"))), Unavailable)


@pytest.mark.parametrize("condition", [ANY, ABSENT, PRESENT, Condition(generation=b"g" * 16)])
def test_a_condition_arrives_as_itself(condition: Condition) -> None:
    assert condition_of(expect_number(condition), condition.generation) == condition


def test_messages_arrive_as_themselves() -> None:
    for message in (
        Put(b"g" * 16, 1, b"key", b"head", b"tail", 5),
        Put(b"g" * 16, 1, b"key", b"head", b"tail", 5, 17, unsynced="delayed", replaced_version="41"),
        Amend(b"g" * 16, 0, b"key", Attributes(custom={"a": "b"}), 2, b"h" * 16),
        CompleteUpload(b"g" * 16, 0, "id", [1, 2], Attributes(), 7, 0, None, [3, 4]),
    ):
        assert decode_operation(encode_message(message)) == message


def test_answers_of_every_kind_arrive_as_themselves() -> None:
    answers: list[Answer] = [1, True, False, b"record", None, Failure("bad", "why")]
    arrived = decode_answers(encode_message(answers))
    assert arrived == answers
    assert [type(answer) for answer in arrived] == [type(answer) for answer in answers]
