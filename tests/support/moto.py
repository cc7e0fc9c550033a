"""A stand-in for Amazon: moto's server as a process, on a free port of 127.0.0.1."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support import processes


@contextmanager
def running_moto() -> Iterator[str]:
    """Its URL, while it runs."""
    mark = processes.new_mark()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = "from moto.server import main; import sys; main(sys.argv[1:])"
    server = subprocess.Popen(
        [sys.executable, "-c", program, "-H", "127.0.0.1", "-p", str(port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", processes.MARK_VARIABLE: mark},
    )
    try:
        assert processes.wait_until(lambda: _connects(port), timeout_s=60), "moto does not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()
        processes.end_marked(mark)


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
