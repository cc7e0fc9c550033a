"""A small disk as a cache of more than it holds: short form; `make soak` has the long one."""

from pathlib import Path

import pytest

from soak.cachespace import MIB, Sizes, read_through
from support import volumes


@pytest.mark.root
def test_more_remote_data_than_the_disk_holds_is_read_through_it(tmp_path: Path) -> None:
    if reason := volumes.missing_for_loop_images():
        pytest.skip(f"cache space: {reason}")
    sizes = Sizes(80 * MIB, 96 * MIB, MIB, passes=2)
    outcome = read_through(sizes, tmp_path)
    assert outcome.evicted > 0, outcome
