"""What the committer remembers of removals."""

import pytest

from aisle.errors import ConditionFailed
from aisle.storage.removals import Removals


def is_refused(removals: Removals, packed: bytes, since: int) -> bool:
    try:
        removals.require_none(packed, since)
    except ConditionFailed:
        return True
    return False


def test_only_what_was_removed_behind_a_place_is_refused() -> None:
    removals = Removals()
    removals.remember(b"a", 10)
    assert is_refused(removals, b"a", 9)
    assert not is_refused(removals, b"a", 10)
    assert not is_refused(removals, b"b", 9)
    removals.remember(b"a", 20)
    assert is_refused(removals, b"a", 19)


def test_what_it_cannot_remember_counts_as_removed() -> None:
    removals = Removals(remembered_max=2)
    for place, packed in enumerate((b"a", b"b", b"c"), 10):
        removals.remember(packed, place)
    assert is_refused(removals, b"a", 11)
    assert is_refused(removals, b"never removed", 11)
    assert not is_refused(removals, b"a", 12)


@pytest.mark.parametrize(("since", "refused"), [(99, True), (100, False)])
def test_an_earlier_committer_may_have_removed_anything(since: int, refused: bool) -> None:
    removals = Removals()
    removals.begin(100)
    removals.begin(50)
    assert is_refused(removals, b"a", since) is refused
