"""Mountpaths come and stay: nothing is lost when the set grows, and a missing one is an error."""

from pathlib import Path

from soak.counts import count
from soak.mountpaths import add_mountpaths


def test_objects_stay_readable_while_mountpaths_are_added(tmp_path: Path) -> None:
    spread = add_mountpaths(count("objects", 1000), tmp_path)
    print(f"\nmountpaths 1, 2, 3: {spread.objects} objects at the end, {spread.passes} complete passes")
