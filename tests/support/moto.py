"""A stand-in for Amazon: moto's server as a process, on a free port of 127.0.0.1."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.nginx import web_server

_PROGRAM = "from moto.server import main; import sys; main(sys.argv[1:])"


def _command(_: Path, port: int) -> list[str]:
    return [sys.executable, "-c", _PROGRAM, "-H", "127.0.0.1", "-p", str(port)]


@contextmanager
def running_moto() -> Iterator[str]:
    """Its URL, while it runs."""
    with web_server(_command, politely=False) as port:
        yield f"http://127.0.0.1:{port}"
