"""Counters as tables."""

from aisle.cli.performance import Reading, _counters, _latency, _parsed, _span, _throughput

COUNTS = {
    "get.n": 4,
    "get.size": 4096,
    "get.ns.total": 8_000_000,
    "put.n": 0,
    "err.get.n": 1,
    "del.n": 2,
    "up.ns.time": 5,
}


def test_counters_have_aistores_names_and_zeros_have_no_column() -> None:
    span = _span(Reading(10.0, COUNTS), None)
    assert _counters(span) == {"GET(n)": "4", "GET(size)": "4.00KiB", "ERR-GET(n)": "1", "DELETE(n)": "2"}


def test_of_all_time_there_are_means_and_no_rates() -> None:
    span = _span(Reading(10.0, COUNTS), None)
    assert _throughput(span) == {"GET(n)": "4", "GET(total/avg size)": "4.00KiB 1.00KiB"}
    assert _latency(span) == {"GET(n)": "4", "GET(t)": "2ms"}


def test_between_two_readings_only_what_happened_then_counts() -> None:
    later = COUNTS | {"get.n": 6, "get.size": 6144, "get.ns.total": 8_000_600}
    span = _span(Reading(12.0, later), Reading(10.0, COUNTS))
    assert _throughput(span) == {
        "GET(n)": "2",
        "GET(bw)": "1.00KiB/s",
        "GET(total/avg size)": "2.00KiB 1.00KiB",
    }
    assert _latency(span) == {"GET(n)": "2", "GET(t)": "0.0003ms"}


def test_a_node_that_began_anew_has_done_nothing_negative() -> None:
    span = _span(Reading(12.0, {"get.n": 1}), Reading(10.0, COUNTS))
    assert _counters(span) == {}


def test_sections_and_nodes_are_told_apart() -> None:
    assert _parsed(("latency", "t[x]")) == (("latency",), "t[x]")
    assert _parsed(("t[x]",))[1] == "t[x]"
