"""What the results depend on: the machine, the disk, the interpreter, the peers' versions."""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from datetime import UTC, datetime
from pathlib import Path

from bench.disk import flush_ms

_VERSION_FLAGS = {
    "nginx": "-v",
    "wrk": "-v",
    "curl": "--version",
    "aria2c": "--version",
    "openssl": "version",
}


def program(name: str) -> str | None:
    """The path of a peer, or None: beside Python, or where an ordinary user's path does not lead."""
    return shutil.which(name) or shutil.which(name, path=f"{sys.prefix}/bin:/usr/sbin:/sbin")


def _version(name: str) -> str:
    path = program(name)
    if path is None:
        return f"{name}: missing"
    done = subprocess.run(
        [path, _VERSION_FLAGS[name]], capture_output=True, text=True, timeout=10, check=False
    )
    found = re.search(r"\d+\.\d+[\w.\-]*", done.stdout + done.stderr)
    return f"{name} {found[0] if found else '?'}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _build() -> str:
    flags = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    told = [flag for flag in ("--enable-optimizations", "--with-lto") if flag in flags]
    # Debian optimises its build in another way, and leaves no trace of it here.
    return f"built with {' '.join(told)}" if told else "no --enable-optimizations on record"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return done.stdout.strip() or "unknown"


def describe(folder: Path) -> list[str]:
    """Lines for the head of the results."""
    middle, worst = flush_ms(folder)
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    load_1, load_5, _ = os.getloadavg()
    busy = f"load average at the start {load_1:.1f} (1 min), {load_5:.1f} (5 min)"
    return [
        f"Date: {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}",
        f"Machine: {_processor()}, {os.cpu_count()} cores, {memory_gib:.0f} GiB; {busy}",
        f"Kernel: {platform.system()} {platform.release()}",
        f"Disk: fdatasync of 4 KiB takes {middle:.2f} ms (p99 {worst:.2f} ms)",
        f"Python: {platform.python_implementation()} {platform.python_version()}, {_build()}",
        f"Peers: {', '.join(_version(name) for name in _VERSION_FLAGS)}",
    ]
