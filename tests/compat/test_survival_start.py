"""Short forms of the broken starts; `make soak` has the long ones."""

from pathlib import Path

import pytest

from soak.starts import cut_starts, killed_starts
from support import volumes


def test_the_start_after_a_killed_start_succeeds(tmp_path: Path) -> None:
    assert killed_starts(3, tmp_path).objects == 3


@pytest.mark.root
def test_the_start_after_a_power_cut_in_a_start_succeeds() -> None:
    if reason := volumes.missing_for_loop_images():
        pytest.skip(f"ext4: {reason}")
    assert cut_starts(2).objects == 2
