"""A real node as a test fixture: started, watched, killed in parts, restarted, and always cleaned up.

    with running_node(workers=2) as node:
        requests.get(f"{node.url}/v1/health")
        node.kill("worker")

The node runs in a session of its own and listens on a free port of 127.0.0.1. Its standard error is
kept in a file; when the block ends with an exception the text is shown with the failing test.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from support import processes

NODE_COMMAND = (sys.executable, "-m", "aisle.node")
READY_PREFIX = "aisle ready "
# As long as a slow machine with much else to do may take; whoever waits in vain is told why in time.
START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 75.0  # the node's own grace for draining is 30 s
_REAP_TIMEOUT_S = 60.0
SHOWN_CHARS_MAX = 20_000

failure_logs: list[tuple[str, str]] = []
"""(title, text) of nodes whose block ended with an exception; the test report takes and empties it."""


class NodeDidNotStart(AssertionError):
    """The node ended, or said nothing, before it was ready. `code` is None if it still ran."""

    def __init__(self, code: int | None, stderr: str) -> None:
        what = "did not become ready in time" if code is None else f"ended with status {code}"
        super().__init__(f"the node {what}; its standard error:\n{stderr[-SHOWN_CHARS_MAX:]}")
        self.code = code
        self.stderr = stderr


class RunningNode:
    """One node: `url`, `host`, `port` and `pid` (of the supervisor) are those of the present run."""

    def __init__(
        self,
        data: Sequence[Path],
        folder: Path,
        *,
        workers: int,
        env: Mapping[str, str],
        config: str,
        args: Sequence[str],
        command: Sequence[str],
    ) -> None:
        self.data = list(data)
        self.folder = folder
        self.workers = workers
        self.args = list(args)
        self.url = ""
        self.host = ""
        self.port = 0
        self.mark = processes.new_mark()
        self.ready_s = 0.0
        """Seconds from the start of the process to its ready line."""
        self._command = list(command)
        self._env = {name: value for name, value in os.environ.items() if not name.startswith("AISLE_")}
        self._env |= {
            "PYTHONUNBUFFERED": "1",
            "XDG_STATE_HOME": str(folder / "state"),
            **env,
            processes.MARK_VARIABLE: self.mark,
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._config_path = folder / "node.toml" if config else None
        if self._config_path:
            self._config_path.write_text(config)
        self._stderr_path = folder / "stderr.txt"
        self._stdout_path = folder / "stdout.txt"

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None, "the node was never started"
        return self._process.pid

    def start(self, *, timeout_s: float = START_TIMEOUT_S, end: bool = True) -> None:
        """Start and wait for the ready line. Raises NodeDidNotStart; unless `end` is false, nothing
        then runs.
        """
        assert self._process is None or self._process.poll() is not None, "the node is running"
        command = [*self._command, "--listen", "127.0.0.1:0", "--workers", str(self.workers)]
        for path in self.data:
            command += ["--data", str(path)]
        if self._config_path:
            command += ["--config", str(self._config_path)]
        began = time.monotonic()
        with self._stdout_path.open("wb") as stdout, self._stderr_path.open("ab") as stderr:
            self._process = subprocess.Popen(
                [*command, *self.args],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self._env,
                start_new_session=True,
                cwd=self.folder,
            )
        if not processes.wait_until(self._is_settled, timeout_s=timeout_s) or not self._ready_url():
            code = self._process.poll()
            if end:
                self.end()
            raise NodeDidNotStart(code, self.stderr_text())
        self.ready_s = time.monotonic() - began
        self.url = self._ready_url()
        parts = urlsplit(self.url)
        assert parts.hostname, self.url
        assert parts.port, self.url
        self.host, self.port = parts.hostname, parts.port

    def _is_settled(self) -> bool:
        return bool(self._ready_url()) or (self._process is not None and self._process.poll() is not None)

    def _ready_url(self) -> str:
        for line in self._stdout_path.read_text(errors="replace").splitlines(keepends=True):
            if line.startswith(READY_PREFIX) and line.endswith("\n"):
                return line.removeprefix(READY_PREFIX).split()[0].rstrip("/")
        return ""

    def processes(self) -> list[int]:
        """Every living process of this node, the supervisor included, orphans too."""
        return processes.marked(self.mark)

    def children(self, role: str = "") -> list[int]:
        """Living children (of one role: `committer`, `worker` or `jobs`), lowest index first."""
        found = []
        for pid in self.processes():
            words = processes.command_line(pid)
            if "aisle.node.child" not in words or "--role" not in words:
                continue
            index = int(words[words.index("--index") + 1]) if "--index" in words else 0
            if role in ("", words[words.index("--role") + 1]):
                found.append((index, pid))
        return [pid for _, pid in sorted(found)]

    def kill(
        self, which: str = "all", number: int = signal.SIGKILL, *, index: int | None = None
    ) -> list[int]:
        """Send a signal to `supervisor`, one role's children (or the `index`-th of them), or `all`."""
        if which == "all":
            pids = self.processes()
        elif which == "supervisor":
            pids = [self.pid]
        else:
            pids = self.children(which)
            pids = pids if index is None else [pids[index]]
        processes.send(pids, number)
        if number == signal.SIGKILL and self.pid in pids:
            self._reap(timeout_s=_REAP_TIMEOUT_S)
        return pids

    def is_running(self) -> bool:
        """Whether the supervisor lives."""
        return self._process is not None and self._process.poll() is None

    def wait_gone(self, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait until no process of the node lives; AssertionError names those that do not go."""
        self._reap(timeout_s=timeout_s)
        if not processes.wait_until(lambda: not self.processes(), timeout_s=timeout_s, poll_s=0.02):
            left = {pid: " ".join(processes.command_line(pid)) for pid in self.processes()}
            raise AssertionError(f"still running after {timeout_s} s: {left}\n{self.stderr_text()}")

    def stop(self, *, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """SIGTERM, wait for all its processes to go; the supervisor's exit status."""
        assert self._process is not None, "the node was never started"
        processes.send([self._process.pid] if self.is_running() else [], signal.SIGTERM)
        self.wait_gone(timeout_s=timeout_s)
        return self._process.wait()

    def restart(self, *, data: Sequence[Path] | None = None, timeout_s: float = START_TIMEOUT_S) -> None:
        """Stop if it runs, wait for orphans to go, start again on the same (or other) mountpaths."""
        if self.is_running():
            self.stop()
        self.wait_gone()
        self.data = self.data if data is None else list(data)
        self.start(timeout_s=timeout_s)

    def stderr_text(self) -> str:
        """All that the runs so far wrote to standard error."""
        try:
            return self._stderr_path.read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def end(self) -> None:
        """Kill and reap whatever is left of the node."""
        processes.end_marked(self.mark)
        self._reap(timeout_s=_REAP_TIMEOUT_S)

    def _reap(self, *, timeout_s: float) -> None:
        if self._process is not None:
            try:
                self._process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                raise AssertionError(
                    f"the supervisor runs on after {timeout_s} s\n{self.stderr_text()[-SHOWN_CHARS_MAX:]}"
                ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            failure_logs.append((f"node on {self.data[0]}", self.stderr_text()[-SHOWN_CHARS_MAX:]))
        self.end()


@contextmanager
def running_node(
    data: Sequence[Path] | None = None,
    workers: int = 1,
    *,
    env: Mapping[str, str] | None = None,
    config: str = "",
    args: Sequence[str] = (),
    command: Sequence[str] = NODE_COMMAND,
    start: bool = True,
) -> Iterator[RunningNode]:
    """A node that is ready. Without `data` it has one mountpath in a folder that goes with it.

    `config` is the text of a TOML file, `args` are further flags, `env` adds variables (those that
    begin with AISLE_ are not inherited). Folders given in `data` are the caller's to remove.
    """
    folder = Path(tempfile.mkdtemp(prefix="aisle-test-"))
    try:
        with RunningNode(
            [folder / "data"] if data is None else data,
            folder,
            workers=workers,
            env=env or {},
            config=config,
            args=args,
            command=command,
        ) as node:
            if start:
                node.start()
            yield node
    finally:
        shutil.rmtree(folder, ignore_errors=True)
