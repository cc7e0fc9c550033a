"""Short forms of the power cuts and full disks; `make soak` has the long ones."""

from pathlib import Path

import pytest

from soak.deletions import cut_after_unlinking
from soak.fulldisk import fill
from soak.powercut import power_cuts
from support import volumes
from support.node import NodeDidNotStart, failure_logs
from support.oracle import Violation

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def loop_images() -> None:
    if reason := volumes.missing_for_loop_images():
        pytest.skip(f"ext4: {reason}")


@pytest.mark.usefixtures("loop_images")
@pytest.mark.parametrize("volatile", [False, True], ids=["plain disk", "volatile disk"])
def test_every_acknowledged_write_survives_a_power_cut(volatile: bool) -> None:
    assert power_cuts(2, volatile=volatile).acknowledged > 30


@pytest.mark.usefixtures("loop_images")
@pytest.mark.parametrize("unsynced", ["payload", "index"])
def test_without_a_sync_the_same_test_fails(unsynced: str, tmp_path: Path) -> None:
    with pytest.raises((Violation, NodeDidNotStart)):
        power_cuts(10, unsynced=unsynced, log=tmp_path / "omitted")
    failure_logs.clear()
    assert (tmp_path / "omitted").stat().st_size > 0


@pytest.mark.usefixtures("loop_images")
def test_what_was_deleted_is_not_back_after_a_power_cut() -> None:
    cut_after_unlinking()


@pytest.mark.usefixtures("loop_images")
def test_a_full_ext4_refuses_payloads_and_loses_nothing(tmp_path: Path) -> None:
    assert fill("ext4", "payloads", tmp_path).refusals > 0
