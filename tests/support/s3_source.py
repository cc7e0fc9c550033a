"""A small S3 endpoint of one bucket, `data`, whose writes can be held up, and which can be gone for a while.

It keeps objects in memory, honours conditions of writes, and stores nothing of a body that breaks off.
"""

import hashlib
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

WAIT_S = 60.0


class Bucket:
    """What the endpoint has, and where it is held up."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.dates: dict[str, str] = {}
        self.puts: list[str] = []
        self.go_on = threading.Event()
        """In the middle of a write."""
        self.go_on_behind = threading.Event()
        """When it is stored, before the answer."""
        self.half_received = threading.Event()
        self.stored = threading.Event()
        self.lock = threading.Lock()
        self.release()

    def release(self) -> None:
        """As if nothing had ever been held up; what is stored stays."""
        self.puts.clear()
        self.half_received.clear()
        self.stored.clear()
        self.go_on.set()
        self.go_on_behind.set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def log_message(self, *_: Any) -> None: ...

    def _key(self) -> str:
        return unquote(self.path.partition("?")[0]).partition("/data")[2].removeprefix("/")

    def _answer(self, status: int, content: bytes = b"", *, with_body: bool = True, of: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if of:
            self.send_header("ETag", f'"{hashlib.md5(self.server.bucket.objects[of]).hexdigest()}"')
            self.send_header("Last-Modified", self.server.bucket.dates[of])
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def do_HEAD(self) -> None:
        self.do_GET(with_body=False)

    def do_GET(self, *, with_body: bool = True) -> None:
        key, bucket = self._key(), self.server.bucket
        with bucket.lock:
            content = bucket.objects.get(key) if key else b""
            if content is None:
                self._answer(404)
            else:
                self._answer(200, content, with_body=with_body, of=key)

    def do_PUT(self) -> None:
        key, length, bucket = self._key(), int(self.headers["Content-Length"]), self.server.bucket
        bucket.puts.append(key)
        body = self.rfile.read(length // 2)
        bucket.half_received.set()
        bucket.go_on.wait(WAIT_S)
        body += self.rfile.read(length - len(body))
        if len(body) < length:
            self.close_connection = True
            return  # broken off: nothing is stored
        with bucket.lock:
            present = bucket.objects.get(key)
            tag = f'"{hashlib.md5(present).hexdigest()}"' if present is not None else ""
            wanted = self.headers.get("If-Match")
            if (self.headers.get("If-None-Match") and tag) or (wanted and wanted != tag):
                self._answer(412)
                return
            bucket.objects[key] = body
            bucket.dates[key] = formatdate(usegmt=True)
        bucket.stored.set()
        bucket.go_on_behind.wait(WAIT_S)
        with bucket.lock:
            self._answer(200, of=key)

    def do_DELETE(self) -> None:
        with self.server.bucket.lock:
            self.server.bucket.objects.pop(self._key(), None)
            self._answer(204)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    bucket: Bucket

    def handle_error(self, *_: Any) -> None: ...


class S3Source:
    """The endpoint on a port of 127.0.0.1, which can be gone and come back at its address."""

    def __init__(self) -> None:
        self.bucket = Bucket()
        self._port = 0
        self.come_back()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def come_back(self) -> None:
        self._server = _Server(("127.0.0.1", self._port), _Handler)
        self._server.bucket = self.bucket
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def leave(self) -> None:
        self._server.shutdown()
        self._server.server_close()
