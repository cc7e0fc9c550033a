"""A connection without a socket: bytes go in, bytes come out, time is a number."""

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass, field

from aisle.config import HttpConfig
from aisle.httpd.connection import Connection
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, Response
from aisle.httpd.sendfile import FileReads
from aisle.httpd.worker import Worker
from aisle.telemetry import Telemetry

UNIX_TIME_S = 1_700_000_000.0


class FakeTransport:
    """Takes everything until it is told to be full."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.held = bytearray()
        self.full = False
        self.high = 64 * 1024
        self.reading = True
        self.closed = False
        self.aborted = False
        self.eof_sent = False
        self.writes = 0
        self.connection: Connection | None = None
        self.paused = False
        self.peer_is_gone = False

    def write(self, data: bytes) -> None:
        assert not self.eof_sent
        self.writes += 1
        if self.closed:
            return
        (self.held if self.full else self.sent).extend(data)
        self._tell()

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.write(b"".join(pieces))

    def _tell(self) -> None:
        assert self.connection is not None
        if not self.paused and len(self.held) > self.high:
            self.paused = True
            self.connection.pause_writing()

    def take(self) -> None:
        """The peer reads again: what was held leaves."""
        assert self.connection is not None
        self.full = False
        self.sent += self.held
        self.held.clear()
        if self.paused:
            self.paused = False
            self.connection.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.held)

    def set_write_buffer_limits(self, high: int | None = None) -> None:
        self.high = 64 * 1024 if high is None else high
        self._tell()

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self.peer_is_gone:
            raise OSError(errno.ENOTCONN, "not connected")
        self.eof_sent = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True


@dataclass
class Seen:
    """A request as its handler saw it, with its body once that was read."""

    method: str
    path: bytes
    query: bytes
    headers: dict[str, str]
    body: bytes | None = None


@dataclass
class Echo:
    """A handler that notes every request and answers with its path."""

    seen: list[Seen] = field(default_factory=list)

    def __call__(self, request: Request) -> Answer:
        seen = Seen(request.method, request.path, request.query, dict(request.headers))
        self.seen.append(seen)
        body = request.body.buffered()
        if body is None:
            return self._read(request, seen)
        seen.body = body
        return Response(200, (), request.path)

    async def _read(self, request: Request, seen: Seen) -> Response:
        body = bytearray()
        while chunk := await request.body.read():
            body += chunk
        seen.body = bytes(body)
        return Response(200, (), request.path)


class Wire:
    """One connection of one worker."""

    def __init__(
        self,
        handler: Callable[[Request], Answer],
        config: HttpConfig | None = None,
        *,
        telemetry: Telemetry | None = None,
        worker: Worker | None = None,
    ) -> None:
        self.telemetry = telemetry or Telemetry.private()
        self.loop = asyncio.new_event_loop() if worker is None else worker.loop
        self.now_s = 1000.0
        self.worker = worker or Worker(
            handler,
            config or HttpConfig(),
            self.telemetry,
            loop=self.loop,
            files=FileReads("copy", loop=self.loop, executor=None, telemetry=self.telemetry),  # type: ignore[arg-type]
        )
        self.worker.set_time(self.now_s, UNIX_TIME_S)
        self.lost = 0
        self.transport = FakeTransport()
        self.connection = Connection(
            self.worker, None, peer="192.0.2.1:5000", secure=False, on_lost=self._on_lost
        )  # type: ignore[arg-type]
        self.transport.connection = self.connection
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    def _on_lost(self) -> None:
        self.lost += 1

    def feed(self, data: bytes, *, one_by_one: bool = False) -> bytes:
        """Bytes arrive, as far as they are read; everything that was sent since the last call."""
        pieces = [data[i : i + 1] for i in range(len(data))] if one_by_one else [data]
        for piece in pieces:
            if self.transport.closed:
                break
            if not self.transport.reading:
                self.settle()
            self.loop.run_until_complete(self._receive(piece))
        return self.settle()

    async def _receive(self, piece: bytes) -> None:
        self.connection.data_received(piece)

    def settle(self) -> bytes:
        """Let all tasks run as far as they can; everything that was sent since the last call."""
        for _ in range(30):
            self.loop.run_until_complete(asyncio.sleep(0))
        sent = bytes(self.transport.sent)
        self.transport.sent.clear()
        return sent

    def pass_time(self, seconds: float) -> bytes:
        """Time passes, tick by tick."""
        step = self.worker.tick_s
        for _ in range(int(seconds / step) + 1):
            self.now_s += step
            self.worker.set_time(self.now_s, UNIX_TIME_S)
            self.worker.check_deadlines()
        return self.settle()

    def end_of_input(self) -> bool:
        """The peer closes its side; whether the connection stays open for the answer."""
        stays = bool(self.connection.eof_received())
        if not stays:
            self.transport.close()
        return stays

    def lose(self) -> None:
        """The connection is gone."""
        self.transport.closed = True
        self.connection.connection_lost(None)
        self.settle()

    def close(self) -> None:
        """End of the test."""
        self.settle()
        self.loop.close()


def statuses(sent: bytes) -> list[int]:
    """The status codes of all answers in a byte stream of answers without `HTTP/1.1` in bodies."""
    return [int(part[:3]) for part in sent.split(b"HTTP/1.1 ")[1:]]
