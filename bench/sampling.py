"""Where the time goes, in a node's processes, while they are under load.

Two views in turn: py-spy shows the Python functions that hold the processor (`pip install
'aisle[bench]'`), perf the compiled and the kernel's functions, where it is installed. Raw data goes
to `bench/out`; summaries are printed.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.measure import process_tree

_ROLE = re.compile(r"--role (\w+)")
_LINE = re.compile(r":\d+\)$")  # of `function (file.py:123)`
_WAITING = {"watch", "_worker", "select", "wait"}  # functions that do nothing but wait
_RATE_HZ = 250
_SHOWN = 25
_STOP_TIMEOUT_S = 60.0


class Sampler:
    """Samples one node during the block of `over`; the first block by py-spy, the next by perf."""

    def __init__(self, folder: Path, row: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._row, self._number = folder, row, 0

    @staticmethod
    def program() -> str | None:
        """py-spy beside this interpreter or on the path, or None."""
        beside = Path(sys.executable).with_name("py-spy")
        return str(beside) if beside.exists() else shutil.which("py-spy")

    @contextmanager
    def over(self, pid: int) -> Iterator[None]:
        """Sample the process and its descendants while the block runs, then print a summary."""
        self._number += 1
        path = self._folder / f"{self._row}-{self._number}"
        with_perf = self._number % 2 == 0 and shutil.which("perf") is not None
        with (self._perf if with_perf else self._py_spy)(pid, path):
            yield

    @contextmanager
    def _py_spy(self, pid: int, path: Path) -> Iterator[None]:
        path = path.with_suffix(".stacks.txt")
        command = [self.program() or "py-spy", "record", "--pid", str(pid), "--subprocesses"]
        command += ["--format", "raw", "--rate", str(_RATE_HZ), "--duration", "100000"]
        with subprocess.Popen([*command, "--output", str(path)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for line in process.stdout:  # it says when it begins
                if b"Sampling" in line:
                    break
            try:
                yield
            finally:
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=_STOP_TIMEOUT_S)
        if path.exists():
            print(summary(path.read_text(encoding="utf-8")), file=sys.stderr)

    @contextmanager
    def _perf(self, pid: int, path: Path) -> Iterator[None]:
        path = path.with_suffix(".perf")
        pids = ",".join(map(str, process_tree(pid)))
        command = ["perf", "record", "-F", str(_RATE_HZ), "-p", pids, "-o", str(path)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(_STOP_TIMEOUT_S)
        report = ["perf", "report", "-i", str(path), "--stdio", "--no-children", "-s", "pid,dso,symbol"]
        shown = subprocess.run(
            [*report, "--percent-limit", "0.7"], capture_output=True, text=True, check=False, timeout=60
        )
        lines = [line for line in shown.stdout.splitlines() if line and not line.startswith("#")]
        print("\n".join(["perf", *lines[: 3 * _SHOWN]]), file=sys.stderr)


def summary(stacks: str) -> str:
    """Shares of the samples, per kind of process: functions themselves, and with their callees."""
    by_role: dict[str, Counter[tuple[str, ...]]] = {}
    for line in stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        # A command line with a line break in it is cut up: no count.
        if count.isdigit() and frames[-1].partition(" (")[0].rpartition(".")[2] not in _WAITING:
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
