"""When copies of remote objects have to go, how much, and which."""

import random

import pytest

from aisle.model.record import INLINE_BYTES_MAX
from aisle.rules.eviction import Ages, Cut, Need, Usage, footprint, need_of, staleness

HOUR_NS = 3_600_000_000_000
NOW_NS = 1_000_000 * HOUR_NS


@pytest.mark.parametrize(
    ("usage", "need"),
    [
        (Usage(1000, 900), None),
        (Usage(1000, 901), Need(151, files_only=False)),
        # What is about to be unlinked has gone already.
        (Usage(1000, 1000, leaving=100), None),
        (Usage(1000, 1000, leaving=50), Need(200, files_only=False)),
        # Pages of the index that are free serve small objects; files need what the file system has.
        (Usage(1000, 950, reusable=40), Need(160, files_only=False)),
        (Usage(1000, 950, reusable=50), Need(200, files_only=True)),
        (Usage(1000, 950, leaving=50, reusable=300), None),
        (Usage(0, 0), None),
    ],
)
def test_what_has_to_go_is_what_lies_above_the_low_level_once_the_high_one_is_passed(
    usage: Usage, need: Need | None
) -> None:
    assert need_of(usage, low=75, high=90) == need


def test_what_was_used_earlier_is_staler_and_what_nothing_is_known_of_is_stalest() -> None:
    def of(used_ns: int, sequence: int = 0) -> int:
        return staleness(used_ns, NOW_NS, sequence=sequence, last_sequence=10**12)

    times = [NOW_NS + HOUR_NS, NOW_NS, NOW_NS - 10**9, NOW_NS - 10**10, NOW_NS - HOUR_NS, 1]
    known = [of(used_ns) for used_ns in times]
    assert known == sorted(known)
    assert len(set(known)) == len(times) - 1, "all differ, but for what was used in the future"
    unknown = [of(0, sequence) for sequence in (10**12 + 1, 10**12, 10**12 - 100, 10**9, 0)]
    assert unknown == sorted(unknown)
    assert min(unknown) > max(known)


def test_there_are_few_classes_however_many_objects_there_are() -> None:
    dice = random.Random(1)
    classes = {
        staleness(NOW_NS - int(10 ** dice.uniform(0, 17)), NOW_NS, sequence=1, last_sequence=1)
        for _ in range(50_000)
    } | {staleness(0, NOW_NS, sequence=dice.randrange(10**9), last_sequence=10**9) for _ in range(50_000)}
    assert len(classes) < 8_000


def test_the_stalest_go_first_and_of_the_last_class_as_much_as_is_left() -> None:
    ages = Ages()
    for found, size in ((5, 10), (7, 30), (5, 10), (1, 100)):
        ages.add(found, size)
    assert ages.cut(30) == Cut(7, 30)
    assert ages.cut(31) == Cut(5, 1)
    assert ages.cut(50) == Cut(5, 20)
    assert ages.cut(51) == Cut(1, 1)
    assert ages.cut(1_000) == Cut(-1, 0), "everything goes"
    assert Ages().cut(10) == Cut(-1, 0)


def test_objects_take_whole_pages_and_blocks() -> None:
    assert footprint(0, is_inline=True) < footprint(1, is_inline=True) < 3 * 4096
    assert footprint(INLINE_BYTES_MAX, is_inline=True) > INLINE_BYTES_MAX
    assert 1_000_000 < footprint(1_000_000, is_inline=False) < 1_000_000 + 3 * 4096
