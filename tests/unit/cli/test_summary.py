"""`ais bucket summary` and `ais ls --summary`: polled for, and printed as a table or as JSON."""

import json

import pytest

from aisle.client.summaries import BucketSummary, poll
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode


def body(**more: object) -> bytes:
    return json.dumps([{"name": "b", "provider": "ais", **more}]).encode()


def test_polling_ends_with_the_complete_summary() -> None:
    answers = [(202, b"job"), (206, body()), (206, body()), (200, body(used_pct=7))]
    asked: list[str] = []
    pauses: list[float] = []

    def ask(job: str) -> tuple[int, bytes]:
        asked.append(job)
        return answers[len(asked) - 1]

    (found,) = poll(ask, pause=pauses.append)
    assert found == BucketSummary("b", percent_used=7)
    assert asked == ["", "job", "job", "job"]
    assert pauses == sorted(pauses)
    assert len(pauses) == 2


def test_pauses_grow_to_a_bound() -> None:
    pauses: list[float] = []

    def ask(job: str) -> tuple[int, bytes]:
        return (200, body()) if len(pauses) == 12 else (206 if job else 202, b"job")

    poll(ask, pause=pauses.append)
    assert (pauses[0], pauses[-1]) == (0.05, 2.0)


@pytest.mark.parametrize(
    ("what", "cached"),
    [("s3://b", False), ("s3:", False), ("", True), ("s3://b --cached", True)],
)
def test_sources_are_asked_where_something_is_named(what: str, cached: bool) -> None:
    told = {"uuid": "far", "name": ""}
    node = FakeNode(answers=[FakeAnswer(202, b"job"), FakeAnswer(200, body(namespace=told))])
    result = run_ais(node, "bucket", "summary", *what.split())
    assert result.stdout.splitlines()[1].split()[0] == "ais://@far/b"
    asked = [json.loads(b"".join(call.body.blocks())) for call in node.calls]
    assert [message["value"]["cached"] for message in asked] == [cached, cached]
