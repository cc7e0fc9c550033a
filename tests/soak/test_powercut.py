"""Every acknowledged write survives a power cut, and the test would notice if one did not."""

from pathlib import Path

import pytest

from soak.counts import count
from soak.policy import cuts_with_policy
from soak.powercut import power_cuts
from support import volumes
from support.node import NodeDidNotStart, failure_logs
from support.oracle import Violation

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _loop_images() -> None:
    if reason := volumes.missing_for_loop_images():
        pytest.skip(f"power cut: {reason}")


@pytest.mark.parametrize("volatile", [False, True], ids=["plain disk", "volatile disk"])
def test_every_acknowledged_write_survives_a_power_cut(volatile: bool) -> None:
    print("\n" + power_cuts(count("cuts", 20), volatile=volatile).describe())


@pytest.mark.parametrize("unsynced", ["payload", "index"])
def test_without_a_sync_the_same_test_fails(unsynced: str, tmp_path: Path) -> None:
    with pytest.raises((Violation, NodeDidNotStart)) as caught:
        power_cuts(count("cuts", 20), unsynced=unsynced, log=tmp_path / "omitted")
    failure_logs.clear()
    assert (tmp_path / "omitted").stat().st_size > 0
    print(f"\npower cut without the {unsynced} sync: {str(caught.value)[-300:]}")


@pytest.mark.parametrize("policy", ["never", "delayed"])
def test_without_payload_syncs_objects_may_be_lost_but_never_wrong(policy: str) -> None:
    losses = cuts_with_policy(policy, count("cuts", 20))
    print("\n" + losses.describe(policy))
    assert losses.lost > 0
