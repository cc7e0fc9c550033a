"""A start that was killed or cut from power leaves nothing that the next one stumbles over."""

from pathlib import Path

import pytest

from soak.counts import count
from soak.starts import cut_starts, killed_starts
from support import volumes


def test_the_start_after_a_killed_start_succeeds(tmp_path: Path) -> None:
    print("\n" + killed_starts(count("rounds", 50), tmp_path).describe("kill -9"))


@pytest.mark.root
def test_the_start_after_a_power_cut_in_a_start_succeeds() -> None:
    if reason := volumes.missing_for_loop_images():
        pytest.skip(f"power cut: {reason}")
    print("\n" + cut_starts(count("cuts", 20)).describe("a power cut"))
