"""When an event loop counts as slow."""

from aisle.node.stall import StallWindows
from aisle.telemetry import LOOP_STALL_SECONDS, Telemetry


def window(windows: StallWindows, page: Telemetry, *, quick: int, slow: int, longest_ms: int = 0) -> None:
    for _ in range(quick):
        page.observe(LOOP_STALL_SECONDS, 300_000)
    for _ in range(slow):
        page.observe(LOOP_STALL_SECONDS, 8_000_000)
    windows.on_window(page.buckets(LOOP_STALL_SECONDS), longest_ms * 1_000_000)


def test_a_rare_stall_is_not_slow_and_a_frequent_one_is() -> None:
    windows, page = StallWindows(), Telemetry.private()
    window(windows, page, quick=500, slow=4)
    assert not windows.is_slow
    window(windows, page, quick=490, slow=10)
    assert windows.is_slow


def test_each_window_is_judged_by_itself() -> None:
    windows, page = StallWindows(), Telemetry.private()
    window(windows, page, quick=0, slow=500)
    assert windows.is_slow
    window(windows, page, quick=500, slow=0)
    assert not windows.is_slow


def test_the_longest_stall_is_forgotten_after_a_minute() -> None:
    windows, page = StallWindows(), Telemetry.private()
    window(windows, page, quick=1, slow=0, longest_ms=90)
    for _ in range(5):
        window(windows, page, quick=1, slow=0, longest_ms=2)
        assert windows.longest_ns == 90_000_000
    window(windows, page, quick=1, slow=0, longest_ms=2)
    assert windows.longest_ns == 2_000_000
