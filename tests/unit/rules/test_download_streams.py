import random

import pytest

from aisle.rules.download_streams import Claim, Claims, StreamGauge, claim_bytes, split_bytes_min

MIB = 1024 * 1024


def spans(claims: Claims) -> list[tuple[int, int]]:
    found = []
    while claim := claims.take(2**62):
        found.append((claim.start, claim.end))
    return found


def test_claims_are_taken_from_the_front() -> None:
    claims = Claims(100)
    taken = [claims.take(30) for _ in range(5)]
    assert [(claim.start, claim.end) for claim in taken if claim] == [(0, 30), (30, 60), (60, 90), (90, 100)]
    assert not claims


def test_an_empty_object_has_nothing_to_claim() -> None:
    assert Claims(0).take(10) is None


def test_what_is_there_already_is_left_out() -> None:
    claims = Claims(100)
    claims.exclude(0, 10)
    claims.exclude(40, 60)
    claims.exclude(90, 100)
    assert claims.bytes == 60
    assert spans(claims) == [(10, 40), (60, 90)]


def test_a_claim_that_is_cut_gives_back_what_follows() -> None:
    claims = Claims(100)
    first, second = claims.take(50), claims.take(20)
    assert first is not None
    assert second is not None
    first.position = 10
    claims.cut(first, 15)
    claims.cut(second, 500)  # longer than it is: nothing changes
    assert (first.end, first.left) == (25, 15)
    assert spans(claims) == [(25, 50), (70, 100)]


def test_what_is_given_back_joins_what_is_free() -> None:
    claims = Claims(100)
    claim = claims.take(50)
    assert claim is not None
    claims.cut(claim, 20)
    assert spans(claims) == [(20, 100)]


def test_a_claim_that_is_given_up_joins_both_its_neighbours() -> None:
    claims = Claims(100)
    first, second = claims.take(20), claims.take(20)
    assert first is not None
    assert second is not None
    first.position = 5
    claims.give_back(second)
    claims.give_back(first)
    assert spans(claims) == [(5, 100)]


def test_a_claim_goes_on_only_where_nobody_else_fetches() -> None:
    claims = Claims(100)
    first, second = claims.take(20), claims.take(20)
    assert first is not None
    assert second is not None
    assert not claims.extend(first, 10)
    assert claims.extend(second, 10)
    assert second.end == 50
    assert claims.extend(second, 1000)
    assert second.end == 100
    assert not claims.extend(second, 1)


@pytest.mark.parametrize("seed", range(50))
def test_every_byte_is_fetched_once_however_claims_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    total = chance.randrange(1, 2_000)
    claims, running = Claims(total), list[Claim]()
    fetched = [0] * total
    while claims or running:
        action = chance.random()
        if action < 0.3 and (taken := claims.take(chance.randrange(1, 200))) is not None:
            running.append(taken)
        if running:
            claim = chance.choice(running)
            if action > 0.95:
                claims.give_back(claim)
                claim.end = claim.position
            elif action > 0.8:
                claims.cut(claim, chance.randrange(0, 100))
            elif action > 0.7:
                claims.extend(claim, chance.randrange(1, 100))
            for _ in range(min(claim.left, chance.randrange(0, 50))):
                fetched[claim.position] += 1
                claim.position += 1
            if not claim.left:
                running.remove(claim)
    assert fetched == [1] * total


def test_claims_are_seconds_long_and_shorter_at_the_end() -> None:
    limits = {"total": 4096 * MIB, "part_bytes": 64 * MIB}
    assert claim_bytes(4096 * MIB, 8, 16 * MIB, **limits) == 16 * MIB
    assert claim_bytes(4096 * MIB, 8, 1024 * MIB, **limits) == 64 * MIB
    assert claim_bytes(2048 * MIB, 8, 1024 * MIB, **limits) == 64 * MIB
    assert claim_bytes(320 * MIB, 8, 1024 * MIB, **limits) == 20 * MIB
    assert claim_bytes(32 * MIB, 8, 16 * MIB, total=64 * MIB, part_bytes=64 * MIB) == 2 * MIB
    assert claim_bytes(100, 8, 16 * MIB, total=64 * MIB, part_bytes=64 * MIB) == 1 * MIB


@pytest.mark.parametrize("total", [1024 * MIB, 8192 * 1024 * MIB])
def test_an_object_is_not_cut_into_too_many_files(total: int) -> None:
    assert claim_bytes(total, 8, 1.0, total=total, part_bytes=64 * MIB) * 256 >= total
    assert claim_bytes(100, 8, 1.0, total=total, part_bytes=64 * MIB) * 256 >= total


def test_small_parts_may_be_claimed_where_parts_are_small() -> None:
    assert claim_bytes(10_000, 4, 100.0, total=10_000, part_bytes=1_000) == 1_000
    assert split_bytes_min(1_000) == 2_000


class Line:
    """A source whose connections together bring `speed(connections)` bytes a second."""

    def __init__(self, speed, streams_max: int = 16, left: int = 2**40) -> None:
        self.speed, self.left, self.received, self.now_s = speed, left, 0.0, 50.0
        self.gauge = StreamGauge(streams_max, self.now_s, 0)

    def run(self, seconds: int, available: int = 64) -> list[int]:
        wanted = []
        for _ in range(seconds * 10):
            running = min(self.gauge.wanted, available)
            self.now_s += 0.1
            self.received += self.speed(running) / 10
            self.gauge.look(self.now_s, int(self.received), self.left - int(self.received), running)
            wanted.append(self.gauge.wanted)
        return wanted


def test_connections_are_added_as_long_as_they_pay() -> None:
    line = Line(lambda connections: connections * 2 * MIB)
    assert line.run(20)[-1] == 16
    assert line.gauge.bytes_per_second == pytest.approx(32 * MIB, rel=0.1)


def test_a_limit_of_all_connections_together_is_found() -> None:
    wanted = Line(lambda connections: min(connections, 4) * 2 * MIB).run(25)
    assert max(wanted) == 8
    assert wanted[-1] == 4


def test_a_limit_is_looked_for_again_after_a_while() -> None:
    line = Line(lambda connections: min(connections, 4) * 2 * MIB)
    line.run(25)
    line.speed = lambda connections: min(connections, 16) * 2 * MIB
    assert line.run(30)[-1] == 16


def test_of_what_will_soon_be_there_two_connections_fetch() -> None:
    assert max(Line(lambda connections: connections * 2 * MIB, left=8 * MIB).run(2)) == 2


def test_a_line_that_is_full_keeps_its_one_connection() -> None:
    wanted = Line(lambda _: 5 * MIB).run(60)
    assert max(wanted) == 4
    assert wanted.count(1) > 0.9 * len(wanted)


def test_a_fast_source_needs_no_second_connection() -> None:
    assert max(Line(lambda connections: connections * 600 * MIB).run(5)) == 1


def test_nothing_is_added_for_the_last_second() -> None:
    assert max(Line(lambda connections: connections * 2 * MIB, left=3 * MIB).run(1)) == 1


def test_what_we_could_not_take_faster_says_nothing_about_the_source() -> None:
    line = Line(lambda connections: connections * 2 * MIB)
    for _ in range(10):
        line.gauge.held_back()
        assert max(line.run(1)) == 1
    assert line.run(10)[-1] > 1


def test_connections_that_cannot_be_had_are_not_taken_for_useless() -> None:
    line = Line(lambda connections: connections * 2 * MIB)
    assert line.run(10, available=1)[-1] == 4
    assert line.run(20)[-1] == 16


def test_a_refused_connection_is_not_asked_for_again_soon() -> None:
    line = Line(lambda connections: connections * 2 * MIB)
    line.run(4)
    line.gauge.refused(2)
    assert set(line.run(20)) == {2}


def test_an_object_recovers_from_connections_that_failed() -> None:
    line = Line(lambda connections: connections * 2 * MIB)
    line.run(20)
    for running in (15, 14, 13):
        line.gauge.refused(running)
        assert line.run(1)[-1] == running
    assert line.run(60)[-1] == 16


def test_one_connection_is_kept_where_more_are_not_allowed() -> None:
    assert max(Line(lambda connections: connections * MIB, streams_max=1).run(5)) == 1
