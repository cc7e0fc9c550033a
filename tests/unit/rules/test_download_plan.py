import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest
from aisle.model.job import DownloadSpec
from aisle.model.names import Bucket
from aisle.rules.download_names import normal_link, object_key
from aisle.rules.download_plan import Item, NumberSet, Plan
from aisle.rules.range_names import RangeNames
from aisle.rules.templates import parse_template

BUCKET = Bucket("b")


def ranged(template: str, subdir: str = "") -> Plan:
    return Plan(DownloadSpec(kind="range", bucket=BUCKET, template=template, subdir=subdir))


@pytest.mark.parametrize("subdir", ["", "s", "s/t/", "a b", "a%20b"])
@pytest.mark.parametrize(
    "template",
    [
        "http://h/d/o{0..9}.tar",
        "http://h/d{0..1}/{0..4}/o",
        "http://h/{00..09}",
        "http://h/.{0..9}",
        "h/d/o{0..9}",
        "http://h/a b/o{0..9}",
        "http://h/d/a b{0..9}",
        "http://h/d/a%20b{0..9}",
        "http://h/d/o{0..9}?x=y",
        "http://h{0..9}/d/o",
    ],
)
def test_items_of_a_range_follow_the_rule_for_names(template: str, subdir: str) -> None:
    plan = ranged(template, subdir)
    names = RangeNames(parse_template(template), subdir)
    assert plan.total == 10
    assert len({plan.item(number).key for number in range(10)}) == 10
    for number in (0, 3, 9):
        link = normal_link(plan.label(number))
        item = plan.item(number)
        assert item == Item(number, object_key(names.name(link)), link)


def test_an_item_that_cannot_be_concerns_no_other() -> None:
    plan = ranged("http://h/{8..10}x", "s" * 1021)
    assert plan.item(1).key == b"s" * 1021 + b"/9x"
    with pytest.raises(BadRequest):
        plan.item(2)
    assert plan.label(2) == "http://h/10x"


def test_single_and_multi() -> None:
    plan = Plan(DownloadSpec(kind="single", bucket=BUCKET, link="http://h/x", object_name="caf\u00e9"))
    assert (plan.total, plan.item(0)) == (1, Item(0, "caf\u00e9".encode(), "http://h/x"))
    plan = Plan(DownloadSpec(kind="multi", bucket=BUCKET, objects=(("a", "http://h/1"), ("b", "http://h/2"))))
    assert (plan.total, plan.item(1)) == (2, Item(1, b"b", "http://h/2"))


@given(st.lists(st.integers(0, 40)))
def test_a_number_set_is_a_set(numbers: list[int]) -> None:
    held, model = NumberSet(), set[int]()
    for number in numbers:
        assert held.add(number) == (number not in model)
        model.add(number)
    assert [number in held for number in range(42)] == [number in model for number in range(42)]
    assert held.count == len(model)
    assert list(held.missing(30)) == [number for number in range(30) if number not in model]
    spans = held.spans()
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))
    again = NumberSet(spans)
    assert (again.spans(), again.count) == (spans, held.count)


def test_in_order_it_stays_small() -> None:
    held = NumberSet()
    for number in range(10_000):
        held.add(number ^ 1)  # pairs swapped
        assert len(held.spans()) <= 2
    assert held.spans() == ((0, 10_000),)
