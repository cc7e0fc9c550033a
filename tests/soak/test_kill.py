"""Nothing acknowledged is lost, whatever is killed: 50 rounds for each part of a node."""

import pytest

from soak.counts import count
from soak.kill import VICTIMS, kill_rounds


@pytest.mark.program("nginx")
@pytest.mark.parametrize("victim", VICTIMS)
def test_nothing_acknowledged_is_lost_when_it_is_killed(victim: str) -> None:
    print("\n" + kill_rounds(victim, count("rounds", 50)).describe(victim))
