"""The oracle of the soak tests: it must see every loss and must not see one that is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.content import payload
from support.oracle import Oracle, Violation


def put(oracle: Oracle, name: str, size: int) -> bytes:
    operation = oracle.begin(name, size)
    oracle.acknowledge(name, operation)
    return payload(name, operation.sequence, size)


def test_an_acknowledged_write_must_be_there() -> None:
    oracle = Oracle()
    body = put(oracle, "a", 100)
    oracle.settle("a", body)
    with pytest.raises(Violation, match="no object"):
        oracle.settle("a", None)


def test_an_older_version_is_a_lost_write() -> None:
    oracle = Oracle()
    old = put(oracle, "a", 100)
    put(oracle, "a", 100)
    with pytest.raises(Violation, match="#1 100 bytes"):
        oracle.check("a", old)


def test_a_mixture_of_two_versions_is_torn() -> None:
    oracle = Oracle()
    old, new = put(oracle, "a", 10_000), put(oracle, "a", 10_000)
    oracle.begin("a", 10_000)
    with pytest.raises(Violation):
        oracle.check("a", new[:4096] + old[4096:])


def test_an_unanswered_write_may_show_or_not_even_after_a_later_one() -> None:
    oracle = Oracle()
    lost = oracle.begin("a", 10)
    newer = put(oracle, "a", 20)
    assert oracle.check("a", newer).sequence == 2
    assert oracle.check("a", payload("a", lost.sequence, 10)).sequence == 1
    with pytest.raises(Violation):
        oracle.check("a", None)


def test_once_settled_an_unanswered_write_is_out_of_the_question() -> None:
    oracle = Oracle()
    lost = oracle.begin("a", 10)
    oracle.settle("a", None)
    with pytest.raises(Violation):
        oracle.check("a", payload("a", lost.sequence, 10))


def test_a_refused_write_must_never_show() -> None:
    oracle = Oracle()
    refused = oracle.begin("a", 10)
    oracle.refuse("a", refused)
    with pytest.raises(Violation):
        oracle.check("a", payload("a", refused.sequence, 10))


def test_a_read_may_show_what_was_possible_at_any_moment_while_it_ran() -> None:
    oracle = Oracle()
    first = put(oracle, "a", 10)
    before = oracle.moment("a")
    second, third = put(oracle, "a", 11), put(oracle, "a", 12)
    for body in (first, second, third):
        oracle.check("a", body, before)
    with pytest.raises(Violation):
        oracle.check("a", None, before)
    with pytest.raises(Violation):
        oracle.check("a", first, oracle.moment("a"))


def test_a_deletion_that_found_nothing_is_a_loss_if_there_was_something() -> None:
    oracle = Oracle()
    put(oracle, "a", 10)
    with pytest.raises(Violation):
        oracle.deletion_found_nothing("a", oracle.moment("a"))
    oracle.acknowledge("a", oracle.begin("a", None))
    oracle.deletion_found_nothing("a", oracle.moment("a"))


def test_listings_are_checked_for_order_duplicates_sizes_and_gaps() -> None:
    oracle = Oracle()
    put(oracle, "a", 1)
    put(oracle, "b", 2)
    moments = oracle.moments()
    assert oracle.check_listing([("a", 1), ("b", 2)], moments) == 2
    for wrong in (
        [("b", 2), ("a", 1)],
        [("a", 1), ("a", 1), ("b", 2)],
        [("a", 1)],
        [("a", 1), ("b", 3)],
        [("a", 1), ("b", 2), ("c", 3)],
    ):
        with pytest.raises(Violation):
            oracle.check_listing(wrong, moments)


def test_a_name_created_while_the_listing_ran_may_be_in_it_or_not() -> None:
    oracle = Oracle()
    put(oracle, "a", 1)
    moments = oracle.moments()
    put(oracle, "new", 7)
    assert oracle.check_listing([("a", 1), ("new", 7)], moments) == 2
    assert oracle.check_listing([("a", 1)], moments) == 1
    with pytest.raises(Violation):
        oracle.check_listing([("a", 1), ("new", 8)], moments)


def test_totals_count_what_is_present() -> None:
    oracle = Oracle()
    put(oracle, "a", 1)
    put(oracle, "b", 20)
    oracle.acknowledge("a", oracle.begin("a", None))
    assert oracle.totals() == (1, 20)


@given(size=st.integers(0, 3_000_000), sequence=st.integers(1, 10_000))
def test_payloads_have_their_size_and_differ_from_the_next_version(size: int, sequence: int) -> None:
    one, two = payload("n", sequence, size), payload("n", sequence + 1, size)
    assert len(one) == len(two) == size
    assert one == payload("n", sequence, size)
    if size > 4096:
        assert all(
            one[start : start + 4096] != two[start : start + 4096] for start in range(0, size - 4095, 4096)
        )
