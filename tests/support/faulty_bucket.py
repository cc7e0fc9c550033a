"""A bucket at an S3 endpoint that fails on purpose, on a real socket, as each object's script says.

    with faulty_bucket() as bucket:
        bucket.objects["a"] = b"..."
        bucket.scripts["a"] = [Fault(status=503), Fault(sent=100, then="reset")]

Each GET of an object takes the next fault of its script; when there is none left, it is answered well.
"""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any
from urllib.parse import unquote

WAIT_S = 60.0
TRICKLE_S = 0.2
PIECE_BYTES = 256 * 1024
NAME = "data"


@dataclass
class Fault:
    """What goes wrong with one GET."""

    status: int = 0
    """Answer this, and no object."""
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    """The code of the error's document."""
    etag: str = ""
    """Another entity tag than the object's."""
    longer_by: int = 0
    """Announce so many bytes more than there are."""
    sent: int | None = None
    """Send so many bytes, then do as `then` says; None sends all."""
    then: str = "go on"
    """`reset`, `close`, `stall` (until the test is over), `hold` (until `FaultyBucket.go_on`; a few bytes
    come meanwhile)."""


@dataclass
class Asked:
    """A request as it came."""

    method: str
    key: str
    start: int
    headers: Mapping[str, str]


@dataclass
class FaultyBucket:
    """Where it listens, what it holds, what it was asked."""

    url: str = ""
    port: int = 0
    objects: dict[str, bytes] = field(default_factory=dict)
    scripts: dict[str, list[Fault]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)
    """Set when a GET is held."""
    go_on: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    pause_s: float = 0.0
    """How long to wait between two pieces of an object."""
    refuses: bool = False
    """Close every connection without an answer."""

    def gets(self, key: str) -> list[int]:
        """Where the reads of an object began."""
        return [asked.start for asked in self.asked if asked.method == "GET" and asked.key == key]

    def reads(self) -> int:
        """How many reads of objects there were."""
        return sum(asked.method == "GET" and bool(asked.key) for asked in self.asked)

    def hold(self, key: str, sent: int) -> None:
        """Hold the next GET of an object after so many bytes."""
        self.held.clear()
        self.go_on.clear()
        self.scripts[key] = [Fault(sent=sent, then="hold")]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bucket: FaultyBucket

    def log_message(self, *_: Any) -> None: ...

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._note("DELETE", self._key(), 0)
        self.bucket.objects.pop(self._key(), None)
        self._head(204, {})

    def do_PUT(self) -> None:
        self._note("PUT", self._key(), 0)
        length = int(self.headers["Content-Length"])
        content = self.rfile.read(length)
        if len(content) < length:
            return  # whoever wrote it is gone
        self.bucket.objects[self._key()] = content
        self._head(200, {"ETag": f'"{hashlib.md5(content).hexdigest()}"'})

    def _key(self) -> str:
        return unquote(self.path.partition("?")[0].lstrip("/").partition("/")[2])

    def _note(self, method: str, key: str, start: int) -> None:
        fields = {name.lower(): value for name, value in self.headers.items()}
        self.bucket.asked.append(Asked(method, key, start, fields))

    def _head(self, status: int, fields: Mapping[str, str], *, length: int = 0) -> None:
        self.send_response(status)
        # One connection for each request, so that it can be seen who is being served.
        for name, value in {"Content-Length": str(length), "Connection": "close", **fields}.items():
            self.send_header(name, value)
        self.end_headers()

    def _answer(self) -> None:
        bucket, key = self.bucket, self._key()
        start, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        self._note(self.command, key, int(start))
        if bucket.refuses:
            self._break(politely=False)
            return
        script = bucket.scripts.get(key) if self.command == "GET" else None
        fault = script.pop(0) if script else Fault()
        if fault.status:
            self._refuse(fault.status, fault.code or "Refused", fault.headers)
        elif not key:
            self._head(200, {})
        elif key not in bucket.objects:
            self._refuse(404, "NoSuchKey", {})
        else:
            self._serve(bucket.objects[key], int(start), last, fault)

    def _refuse(self, status: int, code: str, fields: Mapping[str, str]) -> None:
        body = f"<Error><Code>{code}</Code><Message>on purpose</Message></Error>".encode()
        self._head(status, fields, length=len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _serve(self, content: bytes, start: int, last: str, fault: Fault) -> None:
        etag = fault.etag or hashlib.md5(content).hexdigest()
        if self.headers.get("If-Match", f'"{etag}"') != f'"{etag}"':
            self._refuse(412, "PreconditionFailed", {})
            return
        end = min(int(last) + 1, len(content)) if last else len(content)
        fields = {"ETag": f'"{etag}"', "Last-Modified": "Fri, 20 Nov 2026 16:13:27 GMT"}
        is_part = "Range" in self.headers
        if is_part:
            fields["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        body = content[start:end]
        self._head(206 if is_part else 200, fields, length=len(body) + fault.longer_by)
        if self.command == "HEAD":
            return
        sent = len(body) if fault.sent is None else fault.sent
        self.wfile.write(body[:sent])
        self.wfile.flush()
        if fault.then == "hold":
            self.bucket.held.set()
            # Not in silence: who waits for too long takes that for a stall.
            while sent < len(body) - 1 and not self.bucket.go_on.wait(TRICKLE_S):
                self.wfile.write(body[sent : sent + 1])
                sent += 1
            self.bucket.go_on.wait(WAIT_S)
        elif fault.then == "stall":
            self.bucket.held.set()
            self.bucket.over.wait(WAIT_S)
        elif fault.then != "go on":
            self._break(politely=fault.then == "close")
            return
        while self.bucket.pause_s and sent < len(body):
            self.wfile.write(body[sent : sent + PIECE_BYTES])
            sent += PIECE_BYTES
            time.sleep(self.bucket.pause_s)
        self.wfile.write(body[sent:])
        if fault.longer_by:
            self._break(politely=True)

    def _break(self, *, politely: bool) -> None:
        self.close_connection = True
        if not politely:
            self.connection.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
        self.connection.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: Any) -> None: ...


@contextmanager
def faulty_bucket() -> Iterator[FaultyBucket]:
    """Listen on a free port of 127.0.0.1 until the block ends."""
    bucket = FaultyBucket()
    handler = type("Handler", (_Handler,), {"bucket": bucket})
    server = _Server(("127.0.0.1", 0), handler)
    bucket.port = server.server_address[1]
    bucket.url = f"http://127.0.0.1:{bucket.port}"
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield bucket
    finally:
        bucket.over.set()
        bucket.go_on.set()
        with suppress(OSError):
            server.shutdown()
            server.server_close()
        serving.join()
