"""What the supervisor decides, told by events and times alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.node.boot import COMMITTER, DRAIN, JOBS, STOP, WORKER
from aisle.node.family import (
    PAUSE_MAX_S,
    STABLE_AFTER_S,
    STOP_GRACE_S,
    Announce,
    Family,
    Finish,
    Kill,
    Phase,
    Spawn,
    Tell,
)

ROLES = (COMMITTER, JOBS, WORKER, WORKER)
GRACE_S = 30.0


def serving() -> Family:
    family = Family(ROLES, GRACE_S)
    family.on_start()
    for slot in range(4):
        family.on_ready(slot, 0)
    assert family.phase is Phase.SERVING
    return family


def test_everybody_starts_at_once_and_readiness_is_announced_once() -> None:
    family = Family(ROLES, GRACE_S)
    assert family.on_start() == [Spawn(2), Spawn(3), Spawn(0), Spawn(1)]
    assert [family.on_ready(slot, 1) for slot in (3, 1, 0)] == [[], [], []]
    assert family.on_ready(2, 1) == [Announce()]
    assert family.on_ready(1, 1) == []
    assert family.on_exit(2, 2) == [Spawn(2)]
    assert family.on_ready(2, 3) == []


def test_serving_does_not_wait_for_the_job_worker() -> None:
    family = Family(ROLES, GRACE_S)
    family.on_start()
    assert [family.on_ready(slot, 1) for slot in (0, 2, 3)] == [[], [], [Announce()]]
    assert family.on_exit(1, 2) == [Spawn(1)]


def test_a_child_that_cannot_start_ends_the_node() -> None:
    family = Family(ROLES, GRACE_S)
    family.on_start()
    family.on_ready(0, 0)
    assert family.on_exit(2, 1) == [Tell(0, STOP), Tell(1, STOP), Tell(3, STOP)]
    assert family.on_exit(0, 1) == []
    assert family.on_exit(1, 1) == []
    assert family.on_tick(1 + STOP_GRACE_S) == [Kill(3)]
    assert family.on_exit(3, 3) == [Finish(1)]


def test_the_first_death_is_repaired_at_once_and_further_ones_with_growing_pauses() -> None:
    family = serving()
    now_s, pauses = 1.0, []
    assert family.on_exit(2, now_s) == [Spawn(2)]
    for _ in range(10):
        assert family.on_exit(2, now_s) == []
        due_s = family.next_tick_s()
        assert due_s is not None
        assert family.on_tick(due_s - 0.001) == []
        assert family.on_tick(due_s) == [Spawn(2)]
        pauses.append(round(due_s - now_s, 6))
        now_s = due_s
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, *[PAUSE_MAX_S] * 4]


def test_a_child_that_served_for_long_is_replaced_at_once_again() -> None:
    family = serving()
    for now_s in (1, 2, 3):
        family.on_exit(2, now_s)
        family.on_tick(100)
    family.on_ready(2, 100)
    assert family.on_exit(2, 100 + STABLE_AFTER_S) == [Spawn(2)]


def test_draining_asks_the_committer_last() -> None:
    family = serving()
    assert family.on_terminate(5) == [Tell(1, DRAIN), Tell(2, DRAIN), Tell(3, DRAIN)]
    assert family.on_exit(1, 6) == []
    assert family.on_exit(3, 6) == []
    assert family.on_exit(2, 7) == [Tell(0, DRAIN)]
    assert family.on_exit(0, 8) == [Finish(0)]


def test_who_does_not_end_within_the_grace_is_killed() -> None:
    family = serving()
    family.on_terminate(5)
    for slot in (1, 2):
        family.on_exit(slot, 6)
    assert family.on_tick(5 + GRACE_S - 0.1) == []
    assert family.on_tick(5 + GRACE_S) == [Kill(3)]
    assert family.on_exit(3, 36) == [Tell(0, DRAIN)]


def test_a_second_signal_ends_at_once() -> None:
    family = serving()
    family.on_terminate(5)
    family.on_exit(1, 5)
    assert family.on_terminate(6) == [Tell(2, STOP), Tell(3, STOP)]
    assert family.next_tick_s() == 6 + STOP_GRACE_S
    # A third one gives no more time.
    family.on_terminate(6.5)
    assert family.on_tick(6 + STOP_GRACE_S) == [Kill(2), Kill(3)]
    assert family.on_exit(2, 7) == []
    assert family.on_exit(3, 7) == [Tell(0, DRAIN)]
    assert family.next_tick_s() == 7 + STOP_GRACE_S


def test_a_committer_that_dies_while_draining_is_not_replaced() -> None:
    family = serving()
    family.on_terminate(5)
    assert family.on_exit(0, 6) == []
    assert [family.on_exit(slot, 7) for slot in (1, 2, 3)] == [[], [], [Finish(0)]]


def test_a_signal_during_the_start_ends_without_an_error() -> None:
    family = Family(ROLES, GRACE_S)
    family.on_start()
    assert family.on_terminate(0.1) == [Tell(1, STOP), Tell(2, STOP), Tell(3, STOP)]
    for slot in (1, 2, 3):
        family.on_exit(slot, 0.2)
    assert family.on_exit(0, 0.3) == [Finish(0)]


def test_a_pending_replacement_is_given_up_when_draining() -> None:
    family = serving()
    family.on_exit(2, 1)
    family.on_exit(2, 1)
    family.on_terminate(1.01)
    assert family.on_tick(50) == [Kill(1), Kill(3)]


def test_a_reload_replaces_one_child_after_another() -> None:
    family = serving()
    asked = family.on_reload(1)
    for slot in range(4):
        assert asked == [Tell(slot, DRAIN)]
        assert family.on_exit(slot, 2) == [Spawn(slot)]
        asked = family.on_ready(slot, 3)
    assert asked == []
    assert family.next_tick_s() is None


def test_a_reload_waits_for_a_replacement_that_does_not_come_up() -> None:
    family = serving()
    family.on_reload(1)
    family.on_exit(0, 1)
    assert family.on_exit(0, 1) == [Spawn(0)]
    assert family.on_exit(0, 1) == []
    assert family.on_tick(9) == [Spawn(0)]
    assert family.on_ready(0, 9) == [Tell(1, DRAIN)]


def test_reloads_before_and_after_serving_do_nothing() -> None:
    family = Family(ROLES, GRACE_S)
    family.on_start()
    assert family.on_reload(0) == []
    family.on_terminate(0)
    assert family.on_reload(0) == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ready", "exit", "terminate", "reload", "tick"]),
        st.integers(min_value=0, max_value=3),
        st.floats(min_value=0, max_value=40),
    ),
    max_size=60,
)


@given(events=EVENTS)
def test_no_history_leaves_a_child_alive_when_finished_or_spawns_one_twice(
    events: list[tuple[str, int, float]],
) -> None:
    family = Family(ROLES, GRACE_S)
    alive: set[int] = set()
    now_s = 0.0

    def perform(actions: list[object]) -> None:
        for action in actions:
            match action:
                case Spawn(slot):
                    assert slot not in alive
                    alive.add(slot)
                case Tell(slot, _) | Kill(slot):
                    assert slot in alive
                case Finish():
                    assert not alive

    perform(list(family.on_start()))
    for what, slot, elapsed_s in events:
        now_s += elapsed_s
        if what == "ready" and slot in alive:
            perform(list(family.on_ready(slot, now_s)))
        elif what == "exit" and slot in alive:
            alive.discard(slot)
            perform(list(family.on_exit(slot, now_s)))
        elif what == "terminate" and family.phase is not Phase.FINISHED:
            perform(list(family.on_terminate(now_s)))
        elif what == "reload":
            perform(list(family.on_reload(now_s)))
        perform(list(family.on_tick(now_s)))
    if family.phase is Phase.SERVING:
        perform(list(family.on_tick(now_s + PAUSE_MAX_S)))
        assert alive == {0, 1, 2, 3}


@pytest.mark.parametrize("roles", [(COMMITTER, JOBS), (COMMITTER, JOBS, WORKER)])
def test_small_families_end_too(roles: tuple[str, ...]) -> None:
    family = Family(roles, GRACE_S)
    family.on_start()
    for slot in range(len(roles)):
        family.on_ready(slot, 0)
    family.on_terminate(1)
    for slot in range(1, len(roles)):
        family.on_exit(slot, 2)
    assert family.on_exit(0, 3) == [Finish(0)]
