"""Delayed writes: what was acknowledged arrives at the source, whatever is killed."""

from soak.counts import count
from soak.delayed import delayed_rounds


def test_what_was_acknowledged_arrives() -> None:
    print(f"\n{delayed_rounds(count('rounds', 40), seed=count('seed', 1))}")
