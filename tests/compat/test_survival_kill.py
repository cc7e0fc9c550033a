"""Short forms of the kill rounds; `make soak` has the long ones."""

import pytest

from soak.kill import kill_rounds


@pytest.mark.timeout(300)  # job workers start at the lowest priority: slowly beside others
@pytest.mark.program("nginx")
@pytest.mark.parametrize("victim", ["worker", "jobs", "all"])
def test_nothing_acknowledged_is_lost_when_it_is_killed(victim: str) -> None:
    assert kill_rounds(victim, 1).acknowledged > 25
