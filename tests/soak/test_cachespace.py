"""Three times 3 GiB of remote data through a disk of 1 GiB."""

from pathlib import Path

import pytest

from soak.cachespace import MIB, Sizes, read_through
from soak.counts import count
from support import volumes


@pytest.mark.root
def test_three_times_a_disk_of_remote_data_goes_through_it(tmp_path: Path) -> None:
    if reason := volumes.missing_for_loop_images():
        pytest.skip(f"cache space: {reason}")
    image_mib = count("cache_mib", 1024)
    sizes = Sizes(image_mib * MIB, 3 * image_mib * MIB, 4 * MIB, count("passes", 3))
    outcome = read_through(sizes, tmp_path)
    print("\n" + outcome.describe(sizes))
    assert outcome.evicted > 0
    assert outcome.kept_bytes > image_mib * MIB // 3
