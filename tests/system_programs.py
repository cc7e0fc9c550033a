"""Make sure that the programs which tests compare with or run against are there.

    python tests/system_programs.py [--bench]

As root on a system with apt the missing ones are installed; elsewhere a line says which tests will be
skipped. Programs of Node.js go into a folder of the virtual environment, where there is `npm`. It never
fails: a machine without them still runs every other test.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

_SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"  # not on every user's PATH
_APT_TIMEOUT_S = 240
_NPM_TIMEOUT_S = 240
NODE_FOLDER = Path(sys.prefix) / "node"
"""Where programs of Node.js are installed."""


class Program(NamedTuple):
    """A program, the Debian package that has it, and what is skipped without it."""

    name: str
    package: str
    skipped: str


class NodeProgram(NamedTuple):
    """A program of Node.js, the package and version that has it, and what is skipped without it."""

    name: str
    package: str
    skipped: str

    @property
    def path(self) -> Path:
        """Where it is, if it is installed."""
        return NODE_FOLDER / "node_modules" / ".bin" / self.name


AZURITE = NodeProgram("azurite-blob", "azurite@3.35.0", "buckets of Azure")
NODE_PROGRAMS = (AZURITE,)
TEST_PROGRAMS = (
    Program("nginx", "nginx", "downloads from a real web server"),
    Program("apache2", "apache2-bin", "folders of a real Apache"),
    Program("curl", "curl", "reading back with curl"),
    Program("rclone", "rclone", "rclone as an S3 client"),
    Program("mkfs.ext4", "e2fsprogs", "power cuts and full disks on ext4"),
    Program("losetup", "mount", "power cuts and full disks on ext4"),
)
BENCH_PROGRAMS = (
    Program("wrk", "wrk", "`make bench`"),
    Program("aria2c", "aria2", "the comparison with aria2c"),
)


def missing(programs: Sequence[Program]) -> list[Program]:
    """Those that are not installed."""
    path = f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM_FOLDERS}"
    return [program for program in programs if shutil.which(program.name, path=path) is None]


def can_install() -> bool:
    """Whether packages can be installed without asking anybody."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


@contextmanager
def no_services_started() -> Iterator[None]:
    """Keep packages from starting their daemons: a test run must not open port 80."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def install(programs: Sequence[Program]) -> None:
    """Install their packages, quietly and within bounded time; whatever goes wrong is only shown."""
    packages = sorted({program.package for program in programs})
    print(f"installing {' '.join(packages)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "-qq", "update"],
        ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *packages],
    ):
        if not _run(command, timeout_s=_APT_TIMEOUT_S, env=environment):
            return


def _run(command: Sequence[str], *, timeout_s: float, env: Mapping[str, str] | None = None) -> bool:
    """Run a command that installs; whether it came to an end."""
    try:
        done = subprocess.run(
            command,
            env=env,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"  {' '.join(command[:3])}: {error}")
        return False
    if done.returncode != 0:
        print(f"  {' '.join(command[:3])} failed:\n{done.stdout[-1000:]}")
    return True


def install_node_programs() -> None:
    """Install what is missing of them into the virtual environment, within bounded time."""
    packages = [program.package for program in NODE_PROGRAMS if not program.path.exists()]
    if not packages or shutil.which("npm") is None or sys.prefix == sys.base_prefix:
        return
    print(f"installing {' '.join(packages)}", flush=True)
    NODE_FOLDER.mkdir(exist_ok=True)
    command = ["npm", "install", "--prefix", str(NODE_FOLDER), "--no-save", "--no-audit", "--no-fund"]
    command += ["--omit=dev", "--omit=optional", "--fetch-retries=1", "--loglevel=error", *packages]
    _run(command, timeout_s=_NPM_TIMEOUT_S)


def main(arguments: Sequence[str]) -> None:
    """Install what is missing if possible, then say what is not there."""
    install_node_programs()
    wanted = TEST_PROGRAMS + (BENCH_PROGRAMS if "--bench" in arguments else ())
    if missing(wanted) and can_install():
        with no_services_started():
            install(missing(wanted))
    for program in missing(wanted):
        print(f"{program.name} is not installed (package {program.package}): skipped: {program.skipped}")
    for program in NODE_PROGRAMS:
        if not program.path.exists():
            print(f"{program.name} is not installed (npm, {program.package}): skipped: {program.skipped}")


if __name__ == "__main__":
    main(sys.argv[1:])
