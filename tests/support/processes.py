"""What /proc tells about processes that a test started, and how they are all ended.

Processes are found by a mark in their environment, which children inherit: it still finds them when
their parent was killed and they belong to init. Nothing is ever ended by name.
"""

import os
import secrets
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path

MARK_VARIABLE = "TEST_PROCESS_MARK"


def new_mark() -> str:
    """A mark that no other process carries."""
    return f"{os.getpid()}-{secrets.token_hex(8)}"


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    return _state(pid) not in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """Whether the process is halted by SIGSTOP."""
    return _state(pid) == "T"


def _state(pid: int) -> str:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[0]


def command_line(pid: int) -> list[str]:
    """The arguments the process was started with; empty when it is gone."""
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode("utf-8", "replace") for part in raw.split(b"\0")[:-1]]


def marked(mark: str) -> list[int]:
    """Living processes that carry the mark, lowest pid first."""
    wanted = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            variables = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if wanted in variables and is_alive(int(entry)):
            found.append(int(entry))
    return sorted(found)


def send(pids: Iterable[int], number: int) -> None:
    """Send a signal to each; one that is gone already is fine."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def wait_until(condition: Callable[[], bool], *, timeout_s: float, poll_s: float = 0.005) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def end_marked(mark: str, *, timeout_s: float = 60.0) -> None:
    """SIGKILL whatever carries the mark until nothing does."""

    def none_left() -> bool:
        left = marked(mark)
        send(left, signal.SIGKILL)
        return not left

    if not wait_until(none_left, timeout_s=timeout_s, poll_s=0.02):
        raise AssertionError(f"processes survive SIGKILL: {marked(mark)}")


def peer_ports(pid: int) -> set[int]:
    """The other ends' ports of the TCP connections that a process holds."""
    inodes = set()
    folder = f"/proc/{pid}/fd"
    for entry in os.listdir(folder):
        try:
            target = os.readlink(f"{folder}/{entry}")
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:[") : -1])
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        # Columns: number, local address, remote address (both HEX:PORT), state, ..., inode (10th).
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes:
                ports.add(int(fields[2].rpartition(":")[2], 16))
    return ports - {0}
