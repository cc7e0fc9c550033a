"""Small writes beside somebody who is served, large ones else."""

from aisle.storage.courtesy import LARGE_BYTES, SMALL_BYTES, Courtesy

_MS = 1_000_000


class Surroundings:
    """A clock and a number that changes when somebody is served."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.served = 7

    def courtesy(self) -> Courtesy:
        return Courtesy(lambda: self.served, lambda: self.now_ns)


def test_a_process_alone_writes_all_it_has() -> None:
    around = Surroundings()
    courtesy = around.courtesy()
    for _ in range(30):
        assert courtesy.bytes_at_once() == LARGE_BYTES
        around.now_ns += 50 * _MS


def test_who_is_served_meanwhile_makes_it_write_small_pieces() -> None:
    around = Surroundings()
    courtesy = around.courtesy()
    around.now_ns += 100 * _MS
    around.served += 1
    assert courtesy.bytes_at_once() == SMALL_BYTES
    around.now_ns += 900 * _MS
    around.served += 1
    assert courtesy.bytes_at_once() == SMALL_BYTES
    around.now_ns += 900 * _MS
    assert courtesy.bytes_at_once() == SMALL_BYTES  # of the second one
    around.now_ns += 100 * _MS
    assert courtesy.bytes_at_once() == LARGE_BYTES


def test_a_counter_that_steps_back_is_activity_too() -> None:
    """As when the page of a process that is gone has been cleared."""
    around = Surroundings()
    courtesy = around.courtesy()
    around.now_ns += 200 * _MS
    around.served = 0
    assert courtesy.bytes_at_once() == SMALL_BYTES
