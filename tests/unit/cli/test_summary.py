"""`ais bucket summary` and `ais ls --summary`: polled for, and printed as a table or as JSON."""

import json

from aisle.client.summaries import BucketSummary, poll


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
