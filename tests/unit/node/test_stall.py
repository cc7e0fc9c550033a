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
    assert not any(window(judge, page, quick=500, slow=4) for _ in range(9))
    assert not judge.is_slow
    assert [window(judge, page, quick=490, slow=10) for _ in range(3)] == [False, False, True]
    assert judge.is_slow


def test_a_moment_changes_nothing() -> None:
    judge, page = StallJudge(), Telemetry.private()
    for _ in range(5):
        assert not window(judge, page, quick=0, slow=500)
        assert not window(judge, page, quick=0, slow=500)
        assert not window(judge, page, quick=500, slow=0)
    assert not judge.is_slow


def test_a_loop_that_keeps_up_again_is_told_once() -> None:
    judge, page = StallJudge(), Telemetry.private()
    assert [window(judge, page, quick=0, slow=500) for _ in range(4)] == [False, False, True, False]
    assert [window(judge, page, quick=500, slow=0) for _ in range(4)] == [False, False, True, False]
    assert not judge.is_slow


def test_windows_without_observations_are_not_slow() -> None:
    judge, page = StallJudge(), Telemetry.private()
    assert not any(window(judge, page, quick=0, slow=0) for _ in range(5))
