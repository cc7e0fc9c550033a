"""A large file behind HTTP that leaves only as far as a test lets it: with ranges, and with what was sent."""

import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import MSG_DONTWAIT, MSG_PEEK

_SLICE = 64 * 1024
_ETAG = '"v1"'


@dataclass
class Sent:
    """An answer: its status, and how many bytes of its body have left."""

    status: int
    bytes: int = 0


class HeldFile:
    """Its bytes before `limit` are sent to whoever asks, the others once the limit is raised."""

    def __init__(self, url: str, body: bytes, bytes_per_second: float) -> None:
        self.url = url
        self.body = body
        self.bytes_per_second = bytes_per_second
        """Of each connection; 0 is as fast as can be."""
        self.sent: list[Sent] = []
        self._limit = 0
        self._raised = threading.Condition()

    def let(self, limit: int) -> None:
        """Send the bytes before this one."""
        with self._raised:
            self._limit = limit
            self._raised.notify_all()

    def release(self) -> None:
        """Send all, as fast as can be."""
        self.bytes_per_second = 0
        self.let(len(self.body))

    def wait_for(self, position: int) -> int:
        """Where the bytes from a position on end that may be sent; the position itself if there are none."""
        with self._raised:
            self._raised.wait_for(lambda: self._limit > position, timeout=0.1)
            return max(position, min(self._limit, position + _SLICE))


@contextmanager
def held_file(body: bytes, *, bytes_per_second: float = 0) -> Iterator[HeldFile]:
    """Serve it on a free port of 127.0.0.1; nothing of it leaves yet."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            if self.headers.get("If-Range", _ETAG) != _ETAG:
                wanted = ""
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end = int(first or 0), int(last) + 1 if last else len(body)
            sent = Sent(206 if wanted else 200)
            file.sent.append(sent)
            self.send_response(sent.status)
            self.send_header("ETag", _ETAG)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(end - start))
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
            self.end_headers()
            try:
                self._send(start, end, sent)
            except OSError:
                self.close_connection = True  # whoever asked is gone: killed, as a test wanted

        def _send(self, position: int, end: int, sent: Sent) -> None:
            while position < end:
                upto = min(end, file.wait_for(position))
                if upto == position and self._is_left():
                    raise ConnectionAbortedError
                self.wfile.write(body[position:upto])
                sent.bytes += upto - position
                if file.bytes_per_second:
                    time.sleep((upto - position) / file.bytes_per_second)
                position = upto

        def _is_left(self) -> bool:
            """Whether whoever asked has closed the connection."""
            if not select.select([self.connection], [], [], 0)[0]:
                return False
            return not self.connection.recv(1, MSG_PEEK | MSG_DONTWAIT)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    file = HeldFile(f"http://127.0.0.1:{server.server_port}/file", body, bytes_per_second)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield file
    finally:
        file.release()
        server.shutdown()
        server.server_close()
        thread.join()
