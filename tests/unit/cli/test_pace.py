import pytest

from aisle.cli.pace import Pace
from aisle.client.downloads import DownloadJob, Task

MIB = 1024 * 1024


def state(**told: object) -> DownloadJob:
    return DownloadJob(id="dnl-x", **told)  # type: ignore[arg-type]


def test_bytes_foretell_the_end_where_all_sizes_are_known() -> None:
    pace = Pace()
    pace.update(state(total=10, done=9, bytes=25 * MIB, total_bytes=100 * MIB, rate=5 * MIB), 0.0)
    assert pace.share == 0.25  # nine small files of ten are not nine tenths
    assert pace.bytes_per_second == 5 * MIB
    assert pace.remaining_s == 15.0


def test_files_foretell_the_end_where_sizes_are_not_known() -> None:
    pace = Pace()
    for second in range(5):
        pace.update(state(total=100, done=10 * second), float(second))
    assert pace.share == 0.4
    assert pace.remaining_s == pytest.approx(6.0)


def test_files_that_are_under_way_count_for_their_part() -> None:
    pace = Pace()
    tasks = [Task(name="a", downloaded=1, total=2), Task(name="b", downloaded=7)]
    pace.update(state(total=10, done=1, current_tasks=tasks), 0.0)
    assert pace.share == pytest.approx(0.15)


def test_nothing_is_foretold_of_what_nobody_knows() -> None:
    pace = Pace()
    for second in range(3):
        pace.update(state(total=-1, done=second), float(second))
        assert (pace.share, pace.remaining_s) == (None, None)


def test_a_pause_does_not_count_once_it_is_long_ago() -> None:
    pace = Pace()
    for second in range(1000):
        pace.update(state(total=1000, done=0), float(second))
    for second in range(1000, 1020):
        pace.update(state(total=1000, done=10 * (second - 1000)), float(second))
    assert pace.remaining_s == pytest.approx(81, abs=1)


def test_a_node_that_tells_no_rate_is_measured() -> None:
    pace = Pace()
    for second in range(5):
        task = Task(name="a", downloaded=second * MIB, total=100 * MIB)
        pace.update(state(total=1, current_tasks=[task]), float(second))
    assert pace.bytes_per_second == MIB
    assert pace.file_rate("a") == MIB
    assert pace.file_rate("other") == 0
