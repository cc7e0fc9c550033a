"""Where the time goes: py-spy's samples of a node's processes, summed per function.

Optional: `pip install 'aisle[bench]'`. The samples of each node go to `bench/out/ROW-N.txt` as
collapsed stacks (flame graph input); a summary is printed.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

_ROLE = re.compile(r"--role (\w+)")
_LINE = re.compile(r":\d+\)$")  # of `function (file.py:123)`
_RATE_HZ = 200
_SHOWN = 25
_STOP_TIMEOUT_S = 60.0


class Sampler:
    """Samples one node at a time, from `attach` to `detach`."""

    def __init__(self, folder: Path, row: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._row, self._number = folder, row, 0
        self._process: subprocess.Popen[bytes] | None = None
        self._path = folder

    @staticmethod
    def program() -> str | None:
        """py-spy beside this interpreter or on the path, or None."""
        beside = Path(sys.executable).with_name("py-spy")
        return str(beside) if beside.exists() else shutil.which("py-spy")

    def attach(self, pid: int) -> None:
        """Sample the process and its descendants from now on; ends an earlier sampling."""
        self.detach()
        self._number += 1
        self._path = self._folder / f"{self._row}-{self._number}.txt"
        command = [self.program() or "py-spy", "record", "--pid", str(pid), "--subprocesses", "--native"]
        command += ["--format", "raw", "--rate", str(_RATE_HZ), "--duration", "100000"]
        self._process = subprocess.Popen(
            [*command, "--output", str(self._path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def detach(self) -> None:
        """End the sampling and print what it found."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        self._process.wait(_STOP_TIMEOUT_S)
        self._process = None
        if self._path.exists():
            print(summary(self._path.read_text(encoding="utf-8")), file=sys.stderr)


def summary(stacks: str) -> str:
    """Shares of the samples, per kind of process: functions themselves, and with their callees."""
    by_role: dict[str, Counter[tuple[str, ...]]] = {}
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        if count.isdigit():  # a command line with a line break in it is cut up
            frames = stack.split(";")
            processes = [frame for frame in frames if frame.startswith("process ")]
            found = _ROLE.search(processes[-1]) if processes else None
            inner = tuple(_LINE.sub(")", frame) for frame in frames if frame not in processes)
            by_role.setdefault(found[1] if found else "supervisor", Counter())[inner] += int(count)
    total = sum(counts.total() for counts in by_role.values()) or 1
    lines = []
    for role, counts in sorted(by_role.items(), key=lambda item: -item[1].total()):
        lines.append(f"{role}: {counts.total() / total:.1%} of {total} samples")
        lines += _shares(counts)
    return "\n".join(lines)


def _shares(counts: Counter[tuple[str, ...]]) -> list[str]:
    """Two lists, of the functions that were running and of those that were being called."""
    alone: Counter[str] = Counter()
    inclusive: Counter[str] = Counter()
    for frames, count in counts.items():
        alone[frames[-1] if frames else "?"] += count
        for frame in set(frames):
            inclusive[frame] += count
    total = counts.total()
    lines = ["  itself"]
    lines += [f"  {count / total:6.1%}  {frame}" for frame, count in alone.most_common(_SHOWN)]
    lines += ["  with callees"]
    return lines + [f"  {count / total:6.1%}  {frame}" for frame, count in inclusive.most_common(2 * _SHOWN)]
