"""Web servers that list folders: `python -m http.server`, and one that shows whatever pages it is given."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_SERVING = re.compile(r"port (\d+)")


@contextmanager
def running_http_server(root: Path) -> Iterator[str]:
    """Serve a folder with Python's own server; its URL."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = _SERVING.search(process.stdout.readline())
        assert found is not None, "it said no port"
        yield f"http://127.0.0.1:{found[1]}"
    finally:
        process.kill()
        process.wait()


class Site:
    """Pages by path: HTML as text, files as bytes, a status with fields for anything else."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.pages: dict[str, str | bytes | tuple[int, Mapping[str, str]]] = {}
        self.asked: list[str] = []
        """The paths that were asked for, in order."""
        self.fields: list[Mapping[str, str]] = []
        """The header fields of these requests, in lower case."""
        self.held: set[str] = set()
        """Paths whose answers wait until `release`."""
        self._all_released = False
        self._changed = threading.Condition()

    def release(self, *paths: str) -> None:
        """Let the answers of these paths go; without any, all answers from now on."""
        with self._changed:
            self._all_released = self._all_released or not paths
            self.held = self.held - set(paths)
            self._changed.notify_all()

    def wait_if_held(self, path: str) -> None:
        """Wait with an answer as long as it is held."""
        with self._changed:
            self._changed.wait_for(lambda: self._all_released or path not in self.held, timeout=300)

    def note(self, path: str, fields: Mapping[str, str]) -> None:
        """A request has come."""
        with self._changed:
            self.asked.append(path)
            self.fields.append(fields)
            self._changed.notify_all()

    def wait_for(self, path: str, *, times: int = 1) -> None:
        """Wait until a path was asked for so many times."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.asked.count(path) >= times, timeout=100), self.asked


@contextmanager
def running_site() -> Iterator[Site]:
    """A site without pages yet; `{url}` in a page stands for where it listens."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body leave together

        def do_GET(self) -> None:
            site.note(self.path, {name.lower(): value for name, value in self.headers.items()})
            site.wait_if_held(self.path)
            page = site.pages.get(self.path, (404, {}))
            if isinstance(page, tuple):
                self._send(page[0], {name: text.format(url=site.url) for name, text in page[1].items()}, b"")
            elif isinstance(page, bytes):
                self._send(200, {"Content-Type": "application/octet-stream"}, page)
            else:
                self._send(200, {"Content-Type": "text/html; charset=utf-8"}, page.encode())

        def _send(self, status: int, fields: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            try:
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # whoever asked is gone: killed, as a test wanted

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        site.release()
        server.shutdown()
        server.server_close()
        thread.join()
