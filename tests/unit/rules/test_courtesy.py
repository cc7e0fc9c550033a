"""A process gives way while somebody is served, and not else."""

from aisle.rules.courtesy import Courtesy

_MS = 1_000_000


class Surroundings:
    """A clock and a number that changes when somebody is served."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.served = 7

    def courtesy(self) -> Courtesy:
        return Courtesy(lambda: self.served, lambda: self.now_ns)


def test_a_process_alone_gives_way_to_nobody() -> None:
    around = Surroundings()
    courtesy = around.courtesy()
    for _ in range(30):
        assert not courtesy.gives_way()
        around.now_ns += 50 * _MS


def test_it_gives_way_for_a_second_to_who_is_served() -> None:
    around = Surroundings()
    courtesy = around.courtesy()
    around.now_ns += 100 * _MS
    around.served += 1
    assert courtesy.gives_way()
    around.now_ns += 900 * _MS
    around.served += 1
    assert courtesy.gives_way()
    around.now_ns += 900 * _MS
    assert courtesy.gives_way()  # of the second one
    around.now_ns += 100 * _MS
    assert not courtesy.gives_way()


def test_a_counter_that_steps_back_is_activity_too() -> None:
    """As when the page of a process that is gone has been cleared."""
    around = Surroundings()
    courtesy = around.courtesy()
    around.now_ns += 200 * _MS
    around.served = 0
    assert courtesy.gives_way()
