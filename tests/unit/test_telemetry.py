"""Counters of several processes add up, and the dead ones' are kept."""

import os
import re
from pathlib import Path

import pytest

from aisle import telemetry
from aisle.errors import StartError
from aisle.telemetry import COMMIT_SECONDS, GET_COUNT, HTTP_CONNECTIONS, LOOP_STALL_MAX, Telemetry


@pytest.fixture
def shared() -> list[Telemetry]:
    fd = telemetry.create_shared(3)
    try:
        return [Telemetry.attach(fd, slot) for slot in range(3)]
    finally:
        os.close(fd)


def value(text: str, name: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(name + " ")]
    return float(line.split()[1])


def test_rendering_sums_all_processes(shared: list[Telemetry]) -> None:
    for page in shared:
        page.slots[GET_COUNT] += 2
    assert value(shared[1].render(), "ais_target_get_count") == 6
    assert shared[2].total(GET_COUNT) == 6


def test_a_dead_process_keeps_its_counts_and_loses_its_gauges(shared: list[Telemetry]) -> None:
    shared[0].slots[GET_COUNT] += 5
    shared[0].slots[HTTP_CONNECTIONS] += 7
    shared[0].observe(COMMIT_SECONDS, 300_000)
    shared[1].retire(0)
    text = shared[1].render()
    assert value(text, "ais_target_get_count") == 5
    assert value(text, "aisle_http_connections") == 0
    assert value(text, "aisle_commit_seconds_count") == 1
    shared[0].slots[GET_COUNT] += 1
    assert value(shared[2].render(), "ais_target_get_count") == 6


def test_histograms_are_cumulative_and_in_seconds() -> None:
    page = Telemetry.private()
    for elapsed_ns in (50_000, 100_000, 100_001, 10**12):
        page.observe(COMMIT_SECONDS, elapsed_ns)
    text = page.render()
    assert 'aisle_commit_seconds_bucket{le="0.0001"} 2' in text
    assert 'aisle_commit_seconds_bucket{le="0.00025"} 3' in text
    assert 'aisle_commit_seconds_bucket{le="10.0"} 3' in text
    assert 'aisle_commit_seconds_bucket{le="+Inf"} 4' in text
    assert value(text, "aisle_commit_seconds_count") == 4
    assert value(text, "aisle_commit_seconds_sum") == pytest.approx(1000.000250001)


def test_labelled_counters_have_a_slot_for_each_combination() -> None:
    page = Telemetry.private()
    put = telemetry.METHODS.index("PUT")
    page.slots[telemetry.HTTP_REQUESTS + put * 5 + 1] += 3
    assert 'aisle_http_requests_total{method="PUT",code="2xx"} 3' in page.render()


def test_the_node_id_is_a_label_of_everything() -> None:
    fd = telemetry.create_shared(1)
    page = Telemetry.attach(fd, 0, node_id="n1")
    os.close(fd)
    samples = [line for line in page.render().splitlines() if not line.startswith("#")]
    assert all('{node_id="n1"' in line for line in samples)


def test_the_longest_stall_is_not_a_sum(shared: list[Telemetry]) -> None:
    shared[0].slots[LOOP_STALL_MAX] = 2_000_000_000
    shared[1].slots[LOOP_STALL_MAX] = 3_000_000_000
    assert value(shared[2].render(), "aisle_loop_stall_max_seconds") == 3


def test_metrics_have_distinct_names_and_slots() -> None:
    names = [metric.name for metric in telemetry.METRICS]
    indexes = [index for metric in telemetry.METRICS for index, _ in metric.children()]
    assert len(set(names)) == len(names)
    assert indexes == sorted(set(indexes))
    assert indexes[-1] < telemetry.WORDS


def test_every_metric_is_counted_somewhere() -> None:
    registry = Path(telemetry.__file__)
    names = re.findall(r"^([A-Z_]+) = _define\(", registry.read_text(), re.MULTILINE)
    others = (file.read_text() for file in registry.parent.rglob("*.py") if file != registry)
    used = set(re.findall(r"\b[A-Z_]+\b", "".join(others)))
    # The uptime is worked out when it is shown.
    assert set(names) - used == {"UPTIME"}


def test_another_layout_is_refused() -> None:
    fd = telemetry.create_shared(1)
    os.pwrite(fd, b"\1\2\3\4\5\6\7\0", 0)
    with pytest.raises(StartError, match="restart"):
        Telemetry.attach(fd, 0)
    os.close(fd)


def test_a_quantile_is_its_buckets_bound() -> None:
    page = Telemetry.private()
    for _ in range(99):
        page.observe(COMMIT_SECONDS, 2_000_000)
    page.observe(COMMIT_SECONDS, 40_000_000)
    counts = page.buckets(COMMIT_SECONDS)
    assert telemetry.quantile_bound_ns(counts, 0.99) == 2_500_000
    assert telemetry.quantile_bound_ns(counts, 1.0) == 50_000_000
    assert telemetry.quantile_bound_ns([0] * len(counts), 0.99) == 0


def test_a_worker_compares_itself_with_the_least_loaded(shared: list[Telemetry]) -> None:
    first, second = shared[0].load(), shared[1].load()
    assert not first.is_above_least()
    first.opened()
    assert first.is_above_least()
    assert not second.is_above_least()
    second.opened()
    assert not first.is_above_least()
    second.closed()
    assert first.is_above_least()


def test_dead_and_leaving_workers_do_not_count_as_idle(shared: list[Telemetry]) -> None:
    first, second, third = (page.load() for page in shared)
    first.opened()
    second.leave()
    second.closed()
    shared[0].retire(2)
    assert not first.is_above_least()
    first.closed()
    first.closed()
    assert not first.is_above_least()
    assert third is not None
