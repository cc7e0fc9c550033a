"""When an event loop counts as slow."""

from aisle.node.stall import StallJudge
from aisle.telemetry import LOOP_STALL_SECONDS, Telemetry


def window(judge: StallJudge, page: Telemetry, *, quick: int, slow: int) -> bool:
    for _ in range(quick):
        page.observe(LOOP_STALL_SECONDS, 300_000)
    for _ in range(slow):
        page.observe(LOOP_STALL_SECONDS, 8_000_000)
    return judge.on_window(page.buckets(LOOP_STALL_SECONDS))


def test_a_rare_stall_is_not_slow_and_a_frequent_one_is() -> None:
    judge, page = StallJudge(), Telemetry.private()
    assert not window(judge, page, quick=500, slow=4)
    assert not judge.is_slow
    assert window(judge, page, quick=490, slow=10)
    assert judge.is_slow


def test_each_window_is_judged_by_itself() -> None:
    judge, page = StallJudge(), Telemetry.private()
    assert window(judge, page, quick=0, slow=500)
    assert not window(judge, page, quick=0, slow=500)
    assert window(judge, page, quick=500, slow=0)
    assert not judge.is_slow


def test_a_window_without_observations_is_not_slow() -> None:
    judge, page = StallJudge(), Telemetry.private()
    assert not window(judge, page, quick=0, slow=0)
