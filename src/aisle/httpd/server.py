"""The HTTP server of one process: accepts, keeps time, drains.

Listening sockets are shared with other processes, so nothing here closes them. One connection is
accepted per wake-up; a process that holds more connections than the least loaded one first waits a
millisecond, once, so that the others get the chance.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol

from aisle import telemetry as metric
from aisle.config import HttpConfig, TlsConfig
from aisle.httpd.connection import Connection
from aisle.httpd.lost_peers import LostPeers
from aisle.httpd.response import Handler
from aisle.httpd.sendfile import FileReads, choose_implementation
from aisle.httpd.stalls import StallGauge
from aisle.httpd.tls import Certificates
from aisle.httpd.transports import open_transport
from aisle.httpd.worker import Worker
from aisle.telemetry import Telemetry

_POLITE_WAIT_S: Final = 0.001
_RETRY_ACCEPT_S: Final = 0.2
_READ_THREADS_MAX: Final = 8
_BUSY_TICK_S: Final = 0.05
_CLEANUP_S: Final = 2.0
_REFUSAL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 1\r\nConnection: close\r\n\r\n"
)

_log = logging.getLogger("aisle.http")


class ConnectionLoad(Protocol):
    """How many connections each process of the node holds."""

    def is_above_least(self) -> bool:
        """Whether another accepting process holds fewer connections than this one."""

    def opened(self) -> None:
        """Count a connection that was accepted."""

    def closed(self) -> None:
        """A connection of this process is gone."""


class Server:
    """Serves HTTP on sockets that are listening already. Made inside the running event loop."""

    def __init__(
        self,
        handler: Handler,
        config: HttpConfig,
        *,
        telemetry: Telemetry,
        load: ConnectionLoad | None = None,
    ) -> None:
        self._telemetry = telemetry
        self._load = load
        self._executor = ThreadPoolExecutor(_READ_THREADS_MAX, thread_name_prefix="file-read")
        loop = asyncio.get_running_loop()
        implementation = choose_implementation(config.sendfile, secure=False)
        files = FileReads(implementation, loop=loop, executor=self._executor, telemetry=telemetry)
        self._loop = loop
        self._worker = Worker(handler, config, telemetry, loop=loop, files=files)
        self._worker.set_time(time.monotonic(), time.time())
        self._listeners: list[socket.socket] = []
        self._open_connections = 0
        self._emptied = asyncio.Event()
        self._origins: Counter[bytes] = Counter()
        """Connections by client address."""
        self._opening: set[asyncio.Task[None]] = set()
        self._certificates: Certificates | None = None
        self._stalls = StallGauge(telemetry)
        self._lost_peers = LostPeers(self._worker.connections)
        self._timer: asyncio.TimerHandle | None = None
        self._tick_due_s = 0.0
        self._scan_due_s = 0.0

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return self._open_connections

    async def start(self, sockets: Sequence[socket.socket], tls: TlsConfig | None = None) -> None:
        """Accept connections from now on. Raises ConfigError for certificates that cannot be used."""
        if tls is not None and tls.certificate:
            self._certificates = Certificates(tls)
            setting = self._worker.config.sendfile
            self._worker.files.implementation = choose_implementation(setting, secure=True)
        for listener in sockets:
            listener.setblocking(False)
            self._listeners.append(listener)
            self._loop.add_reader(listener.fileno(), self._on_acceptable, listener)
        self._tick()

    async def drain(self, grace_s: float) -> None:
        """Accept no more, let the exchanges in progress end, then close what is left after `grace_s`."""
        self._worker.draining = True
        for listener in self._listeners:
            self._loop.remove_reader(listener.fileno())
        self._listeners.clear()
        for connection in list(self._worker.connections):
            connection.retire()
        if self._open_connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._emptied.wait()
        for task in self._opening:
            task.cancel()
        for connection in list(self._worker.connections):
            connection.abort()
        # What was cancelled cleans up: closes files, abandons drafts.
        tasks = [*self._opening, *self._worker.tasks]
        if tasks:
            await asyncio.wait(tasks, timeout=_CLEANUP_S)
        if self._timer is not None:
            self._timer.cancel()
        self._executor.shutdown(wait=False, cancel_futures=True)

    # Accepting ------------------------------------------------------------------------------------

    def _on_acceptable(self, listener: socket.socket) -> None:
        if self._load is not None and self._load.is_above_least():
            self._pause_accepting(listener, _POLITE_WAIT_S)
        else:
            self._accept(listener)

    def _pause_accepting(self, listener: socket.socket, wait_s: float) -> None:
        self._loop.remove_reader(listener.fileno())
        self._loop.call_later(wait_s, self._go_on_accepting, listener)

    def _go_on_accepting(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener.fileno(), self._on_acceptable, listener)
            self._accept(listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the peer is gone
        except OSError as error:  # no descriptors left, or no memory
            _log.error("cannot accept connections: %s", error)
            self._pause_accepting(listener, _RETRY_ACCEPT_S)
            return
        sock.setblocking(False)
        peer, origin = _names(sock, address)
        config = self._worker.config
        crowded = self._open_connections >= config.connections_max
        if crowded or self._origins[origin] >= config.connections_per_address_max:
            self._telemetry.slots[metric.HTTP_CONNECTIONS_REFUSED] += 1
            _turn_away(sock, plain=self._certificates is None)
            return
        self._on_opened(origin)
        task = self._loop.create_task(self._open(sock, peer, origin))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, sock: socket.socket, peer: str, origin: bytes) -> None:
        certificates = self._certificates
        connection = Connection(
            self._worker,
            sock,
            peer=peer,
            secure=certificates is not None,
            on_lost=lambda: self._on_closed(origin),
        )
        try:
            await open_transport(
                sock,
                connection,
                implementation=self._worker.files.implementation,
                context=certificates.context if certificates is not None else None,
                handshake_timeout_s=self._worker.config.header_timeout_s,
            )
        except OSError as error:
            _log.debug("connection from %s failed: %s", peer, error)
        finally:
            if not connection.was_made:
                self._on_closed(origin)

    def _on_opened(self, origin: bytes) -> None:
        self._open_connections += 1
        self._emptied.clear()
        self._origins[origin] += 1
        slots = self._telemetry.slots
        slots[metric.HTTP_CONNECTIONS_OPENED] += 1
        slots[metric.HTTP_CONNECTIONS] = self._open_connections
        if self._load is not None:
            self._load.opened()

    def _on_closed(self, origin: bytes) -> None:
        self._open_connections -= 1
        self._origins[origin] -= 1
        if not self._origins[origin]:
            del self._origins[origin]
        if not self._open_connections:
            self._emptied.set()
        self._telemetry.slots[metric.HTTP_CONNECTIONS] = self._open_connections
        if self._load is not None:
            self._load.closed()

    # Time -----------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """The one timer of the process: coarse time, deadlines, certificates, the stall gauge."""
        now_s = time.monotonic()
        worker = self._worker
        if self._tick_due_s:
            self._stalls.note(now_s - self._tick_due_s, now_s)
        worker.set_time(now_s, time.time())
        if now_s >= self._scan_due_s:
            self._scan_due_s = now_s + worker.tick_s
            worker.check_deadlines()
            if worker.files.implementation == "aiofastnet":
                self._lost_peers.sweep()
            if self._certificates is not None:
                self._certificates.refresh()
        # An idle process wakes up twice a second; a busy one looks more often, to see its stalls.
        delay_s = min(worker.tick_s, _BUSY_TICK_S) if worker.count_traffic() else worker.tick_s
        self._tick_due_s = now_s + delay_s
        self._timer = self._loop.call_later(delay_s, self._tick)


def _names(
    sock: socket.socket, address: tuple[str, int] | tuple[str, int, int, int] | str
) -> tuple[str, bytes]:
    """The peer as logs show it, and what its connections are counted by."""
    if sock.family == socket.AF_INET:
        return f"{address[0]}:{address[1]}", str(address[0]).encode()
    if sock.family == socket.AF_INET6:
        host = str(address[0])
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        # One IPv6 client commands a whole /64; mapped IPv4 addresses are clients of their own.
        mapped = packed.startswith(b"\0" * 10 + b"\xff\xff")
        return f"[{host}]:{address[1]}", packed if mapped else packed[:8]
    return "unix", b"unix"


def _turn_away(sock: socket.socket, *, plain: bool) -> None:
    """Say that there are too many connections, without keeping one more."""
    with contextlib.suppress(OSError), sock:
        if plain:
            sock.send(_REFUSAL)
            sock.shutdown(socket.SHUT_WR)
            # Unread bytes would turn our close into a reset, which destroys the answer.
            sock.recv(65536)
