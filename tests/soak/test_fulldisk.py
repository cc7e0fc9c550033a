"""A full disk refuses writes and loses nothing."""

from pathlib import Path

import pytest

from soak.counts import count
from soak.fulldisk import FILE_SYSTEMS, FILLERS, fill
from support import volumes


@pytest.mark.root
@pytest.mark.parametrize("filler", FILLERS)
@pytest.mark.parametrize("file_system", FILE_SYSTEMS)
def test_a_full_disk_refuses_writes_and_loses_nothing(file_system: str, filler: str, tmp_path: Path) -> None:
    if file_system == "ext4" and (reason := volumes.missing_for_loop_images()):
        pytest.skip(f"full disk: {reason}")
    print(
        "\n"
        + fill(file_system, filler, tmp_path, size_bytes=count("disk_mib", 256) << 20).describe(
            file_system, filler
        )
    )
