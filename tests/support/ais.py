"""Running the real `ais` program."""

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

PROGRAM = str(Path(sys.executable).with_name("ais"))
TIMEOUT_S = 110.0


class Run(NamedTuple):
    """How it ended and what it printed."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode()

    @property
    def lines(self) -> list[str]:
        """Standard output by lines."""
        return self.text.splitlines()

    @property
    def json(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.stdout)


def environment(endpoint: str, **variables: str) -> dict[str, str]:
    """The environment for a command that talks to `endpoint`: nothing that whoever runs the tests has set."""
    # Unbuffered, Python takes a write that the closing reader cut short for a whole one.
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "PYTHONUNBUFFERED" and not name.startswith("AIS_")
    }
    ours = {"AIS_ENDPOINT": endpoint, "COLUMNS": "100", "XDG_CONFIG_HOME": "/nonexistent"}
    return inherited | ours | variables


def ais(endpoint: str, *arguments: str, stdin: bytes = b"", cwd: Path | None = None, **variables: str) -> Run:
    """Run a command, with more variables in its environment. No run may ever print a traceback."""
    ended = subprocess.run(
        [PROGRAM, *arguments],
        env=environment(endpoint, **variables),
        input=stdin,
        capture_output=True,
        cwd=cwd,
        timeout=TIMEOUT_S,
    )
    run = Run(ended.returncode, ended.stdout, ended.stderr.decode(errors="replace"))
    assert "Traceback" not in run.stderr, run.stderr
    return run


def ais_on_terminal(endpoint: str, *arguments: str, typed: bytes = b"") -> tuple[int, str]:
    """Run a command on a terminal of its own: its exit code, and all that appeared there."""
    master, slave = pty.openpty()
    variables = environment(endpoint) | {"TERM": "xterm-256color"}
    with subprocess.Popen(
        [PROGRAM, *arguments], env=variables, stdin=slave, stdout=slave, stderr=slave
    ) as process:
        os.close(slave)
        os.write(master, typed)
        seen = b""
        deadline_s = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline_s:
            if not select.select([master], [], [], 0.2)[0]:
                continue
            try:
                block = os.read(master, 65536)
            except OSError:  # the terminal is gone: the program has ended
                break
            if not block:
                break
            seen += block
        else:
            process.kill()
    os.close(master)
    return process.returncode, seen.decode(errors="replace")
