"""Print the interpreter to set up with: of the Pythons of one version that are here, the fastest build.

    python3 tools/fastest_python.py

Builds of one version differ: as a shared library without link-time optimisation (what pyenv makes unless told
otherwise) CPython takes 1.6 times as long for the same bytecode as in Debian's build, and the download of a
small object takes a sixth longer. The first `python3` of PATH decides on the version, and is taken where no
other is clearly faster. The choice alone goes to standard output; why, to standard error.

Any Python from 3.6 on can run this file, as whatever is there has to.
"""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
CLEARLY_FASTER = 1.1
_PLACES = ["/usr/local/bin/python3", "/usr/bin/python3"]
_ROUNDS = 8  # each with all interpreters in turn: what disturbs one of them for a moment is not its speed
_TIMEOUT_S = 60

# What a node does all day: calls, attributes, dicts, short strings.
_PROBE = """
import ensurepip, sys, time, venv

class Item:
    __slots__ = ("name", "size")

    def __init__(self, name, size):
        self.name, self.size = name, size

    def of(self, sizes):
        return sizes.get(self.name, 0) + self.size

def work(count):
    sizes = {}
    for number in range(count):
        item = Item(number & 255, number)
        sizes[item.name] = item.of(sizes) & 1023
        ("%d" % number).encode().find(b"1")

best = 1e9
for _ in range(30):
    began = time.process_time()
    work(4_000)
    best = min(best, time.process_time() - began)
print(sys.version_info[0], sys.version_info[1], best)
"""


class Build:
    """An interpreter, its version (major and minor), and the seconds that it took for the same work."""

    def __init__(self, command: str, version: tuple, seconds: float) -> None:
        self.command = command
        self.version = version
        self.seconds = seconds


def measured(command: str) -> "Build | None":
    """The interpreter behind a command, or None when it cannot make a virtual environment for Aisle."""
    try:
        done = subprocess.run(
            [command, "-c", _PROBE],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = done.stdout.split()
    if done.returncode != 0 or len(words) != 3:
        return None
    version = (int(words[0]), int(words[1]))
    return Build(command, version, float(words[2])) if version >= OLDEST else None


def all_measured(commands: "list[str]") -> "list[Build]":
    """Those of the commands that can be taken, in their order, each at its best."""
    builds = {}
    for _ in range(_ROUNDS):
        for build in filter(None, map(measured, commands)):
            build.seconds = min(build.seconds, builds.get(build.command, build).seconds)
            builds[build.command] = build
    return [builds[command] for command in commands if command in builds]


def chosen(builds: "list[Build]") -> "Build":
    """The build to take of these, which stand in the order in which they are preferred."""
    first = builds[0]
    fastest = min((build for build in builds if build.version == first.version), key=lambda it: it.seconds)
    return fastest if first.seconds > CLEARLY_FASTER * fastest.seconds else first


def main() -> int:
    """Choose among the Pythons that are here; the exit code."""
    commands = []
    for command in [shutil.which("python3"), *_PLACES]:
        if command and os.path.exists(command) and command not in commands:
            commands.append(command)
    builds = all_measured(commands)
    if not builds:
        print(
            f"Aisle needs Python {OLDEST[0]}.{OLDEST[1]} or later with its venv module, which is none of: "
            f"{', '.join(commands)}\n"
            "Install one (Debian: apt-get install python3-venv), or name one: make PYTHON=…",
            file=sys.stderr,
        )
        return 1
    first, build = builds[0], chosen(builds)
    if build is not first:
        ratio = first.seconds / build.seconds
        print(
            f"Taking {build.command}, which runs the same bytecode {ratio:.1f} times as fast as "
            f"{first.command}; to take another: make PYTHON=…",
            file=sys.stderr,
        )
    print(build.command)
    return 0


if __name__ == "__main__":
    sys.exit(main())
