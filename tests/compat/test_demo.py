"""`make demo` as a newcomer runs it: on a terminal, and ended in the middle."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import processes

DEMO = Path(__file__).parents[2] / "demo" / "demo.py"
LIMIT_S = 500.0

pytestmark = pytest.mark.timeout(600)  # it measures: slowly beside others


def run_demo(
    folder: Path, mark: str, *arguments: str, until: Callable[[str], bool] = lambda _: False, path: str = ""
) -> tuple[int, str]:
    """Run it on a terminal, and end it politely as soon as `until` the output says so."""
    master, slave = pty.openpty()
    environment = os.environ | {processes.MARK_VARIABLE: mark, "TERM": "xterm-256color", "COLUMNS": "100"}
    environment |= {"PATH": path} if path else {}
    seen = ""
    with subprocess.Popen(
        [sys.executable, str(DEMO), *arguments],
        cwd=folder,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    ) as process:
        os.close(slave)
        deadline_s = time.monotonic() + LIMIT_S
        ended = False
        while time.monotonic() < deadline_s:
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                block = os.read(master, 65536)
            except OSError:  # the terminal is gone: the demo has ended
                break
            if not block:
                break
            seen += block.decode(errors="replace")
            if not ended and until(seen):
                ended = True
                process.send_signal(signal.SIGTERM)
        else:
            process.kill()
    os.close(master)
    return process.returncode, seen


def assert_nothing_runs(mark: str) -> None:
    left = {pid: " ".join(processes.command_line(pid)) for pid in processes.marked(mark)}
    processes.end_marked(mark)
    assert left == {}


@pytest.mark.program("nginx", "curl")
def test_the_demo_does_the_main_job_once_through(tmp_path: Path) -> None:
    mark = processes.new_mark()
    code, seen = run_demo(tmp_path, mark)
    assert code == 0, seen
    for expected in (
        "nginx serves the shards",
        "Files downloaded",
        "All 8 files successfully downloaded",
        "train/train-0007.tar",
        "8 of 8 shards are right",
        "which is what the web server has",
        "MiB/s",
        "All bytes were right",
        "make run",
    ):
        assert expected in seen, seen
    assert list(tmp_path.iterdir()) == []
    assert_nothing_runs(mark)


def test_the_demo_does_without_nginx_and_curl(tmp_path: Path) -> None:
    mark = processes.new_mark()
    empty = tmp_path / "bin"
    empty.mkdir()
    code, seen = run_demo(
        tmp_path, mark, "--without-nginx", path=str(empty), until=lambda text: "one large file" in text
    )
    assert code == 143, seen
    assert "Python's http.server serves the shards" in seen
    assert "curl is not installed here" in seen
    assert_nothing_runs(mark)


def test_a_demo_that_is_ended_takes_its_processes_along(tmp_path: Path) -> None:
    mark = processes.new_mark()
    code, seen = run_demo(tmp_path, mark, until=lambda text: "Started download job" in text)
    assert code == 143, seen
    assert "Traceback" not in seen
    assert_nothing_runs(mark)
