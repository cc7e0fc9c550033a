"""When the committer waits for more operations of patient processes."""

from aisle.storage.gathering import ENOUGH, WORTH, Gathering


def pauses(gathering: Gathering, *, held: int, gained: int, groups: int) -> int:
    """How many of so many groups waited, if each pause brings as many more."""
    waited = 0
    for _ in range(groups):
        if gathering.is_worth(held):
            waited += 1
            gathering.paused(gained)
    return waited


def test_every_group_waits_while_pauses_bring_more() -> None:
    assert pauses(Gathering(), held=1, gained=WORTH, groups=100) == 100


def test_nothing_and_a_large_group_do_not_wait() -> None:
    gathering = Gathering()
    assert not gathering.is_worth(0)
    assert not gathering.is_worth(ENOUGH)
    assert gathering.is_worth(ENOUGH - 1)


def test_who_sends_one_after_the_other_hardly_waits() -> None:
    assert pauses(Gathering(), held=1, gained=0, groups=10_000) < 50


def test_what_was_not_worth_it_is_tried_again() -> None:
    gathering = Gathering()
    pauses(gathering, held=1, gained=0, groups=10_000)
    while not gathering.is_worth(1):
        pass
    gathering.paused(WORTH)
    assert gathering.is_worth(1)
