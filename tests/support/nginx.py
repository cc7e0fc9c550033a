"""A real nginx for tests: static files with ranges, on a free port of 127.0.0.1, ended by pid."""

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support import processes

_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        {extra}
    }}
}}
"""


class RunningNginx(NamedTuple):
    """Where it listens, and the folder that it serves."""

    url: str
    port: int
    root: Path


@contextmanager
def running_nginx(root: Path, *, extra: str = "") -> Iterator[RunningNginx]:
    """Serve the folder `root`; `extra` is configuration for the server block.

    As root, nginx's worker becomes another user: the folder must be readable for all.
    """
    program = shutil.which("nginx") or "/usr/sbin/nginx"

    def command(folder: Path, port: int) -> list[str]:
        config = folder / "nginx.conf"
        config.write_text(_CONFIG.format(folder=folder, port=port, root=root, extra=extra))
        return [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]

    with web_server(command) as port:
        yield RunningNginx(f"http://127.0.0.1:{port}", port, root)


@contextmanager
def web_server(command: Callable[[Path, int], list[str]], *, politely: bool = True) -> Iterator[int]:
    """Run a server on a free port, which is yielded; `command` writes its configuration to a folder.

    It is asked to end `politely` first: nginx then ends its worker, which others would have to look for.
    """
    with tempfile.TemporaryDirectory(prefix="aisle-web-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        mark = processes.new_mark()
        with (folder / "stderr.txt").open("wb") as stderr:
            for _ in range(5):  # the free port may be taken by somebody else before the server has it
                port = _free_port()
                server = subprocess.Popen(
                    command(folder, port),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    env={
                        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                        "HOME": "/nonexistent",
                        processes.MARK_VARIABLE: mark,
                    },
                )
                if _is_listening(server, port):
                    break
                server.kill()
                server.wait()
            else:
                raise AssertionError(f"no web server: {(folder / 'stderr.txt').read_text()}")
        try:
            yield port
        finally:
            if politely:
                server.terminate()
            else:
                server.kill()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            processes.end_marked(mark)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(server: "subprocess.Popen[bytes]", port: int) -> bool:
    def settled() -> bool:
        return server.poll() is not None or _connects(port)

    return processes.wait_until(settled, timeout_s=60, poll_s=0.02) and server.poll() is None


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
