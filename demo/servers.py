"""The two servers of the demo: a node, and the web server that it downloads from."""

import functools
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

READY = "aisle ready "
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 40.0
# As fast as a good server on the Internet, so that there is something to watch.
RATE_BYTES_PER_S = 3_000_000

NGINX = """\
{user}worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
daemon off;
events {{}}
http {{
    access_log off;
    sendfile on;
    limit_rate {rate};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
    }}
}}
"""


@contextmanager
def node(folder: Path) -> Iterator[str]:
    """A node with its data below `folder`; its URL."""
    command = [sys.executable, "-m", "aisle.node", "--listen", "127.0.0.1:0", "--data", str(folder / "data")]
    with (
        (folder / "node.log").open("wb") as log,
        _running(command, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith(READY):
            raise SystemExit(f"The node did not start:\n{(folder / 'node.log').read_text()}")
        yield line.removeprefix(READY).split()[0]


@contextmanager
def web_server(folder: Path, root: Path, *, without_nginx: bool = False) -> Iterator[tuple[str, str]]:
    """A web server for the files in `root`: its name and URL. It is nginx where that is installed."""
    # A user's PATH often lacks the folders of system programs.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    program = None if without_nginx else shutil.which("nginx", path=path)
    port = _free_port()
    if program:
        settings = folder / "nginx.conf"
        # Started as root, nginx would serve as "nobody", who may not read this folder.
        user = "user root;\n" if os.geteuid() == 0 else ""
        settings.write_text(
            NGINX.format(user=user, folder=folder, root=root, port=port, rate=RATE_BYTES_PER_S)
        )
        command = [program, "-p", str(folder), "-e", str(folder / "nginx.log"), "-c", str(settings)]
        name = "nginx"
    else:
        command = [sys.executable, __file__, str(port), str(root)]
        name = "Python's http.server"
    with (folder / "web.log").open("wb") as log, _running(command, stdout=log, stderr=log) as process:
        _wait_for_port(process, port, folder / "web.log")
        yield name, f"http://127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], **streams: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is gone when the block ends, however it ends."""
    process = subprocess.Popen(command, **streams)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"The web server did not start:\n{log.read_text()}")


class _SlowHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files no faster than the rate above."""

    protocol_version = "HTTP/1.1"

    def copyfile(self, source, outputfile) -> None:
        """Send a file in pieces, with pauses."""
        piece_bytes = RATE_BYTES_PER_S // 20
        while piece := source.read(piece_bytes):
            outputfile.write(piece)
            time.sleep(len(piece) / RATE_BYTES_PER_S)


if __name__ == "__main__":
    handler = functools.partial(_SlowHandler, directory=sys.argv[2])
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
