"""`ais storage …` on the folders of a stopped node."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

AIS = Path(sys.executable).with_name("ais")


class Checked(NamedTuple):
    """Exit status (0 means nothing is wrong) and all that was printed."""

    code: int
    text: str


def storage(verb: str, data: Sequence[Path], *options: str, timeout_s: float = 300.0) -> Checked:
    """Run `ais storage VERB` with these mountpaths."""
    folders = [word for path in data for word in ("--data", str(path))]
    done = subprocess.run(
        [AIS, "storage", verb, *folders, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Checked(done.returncode, done.stdout)


def assert_clean(data: Sequence[Path]) -> None:
    """`ais storage fsck` must find nothing."""
    checked = storage("fsck", data)
    assert checked.code == 0, f"fsck: status {checked.code}\n{checked.text}"
