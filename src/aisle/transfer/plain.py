"""Plain HTTP/1.1 without libcurl: the path of datasets made of many small files.

A request costs two thirds of what it costs by libcurl, which has to be told in a dozen calls what to ask for
and calls back for every head and body (decision 0023). Only the usual case is known: `http://`, no proxy, an
answer that tells its length and is not encoded. Whoever asked is handed over to libcurl in all others, before
anything was told: when a server's answers are of another kind (it is not asked here again for a while), when
it does not let us connect, when a kept connection turns out to be closed. Nor is anything known of names
here: where a server is was found out before, and each socket is opened by the egress guard.
"""

import asyncio
import re
import select
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from aisle.rules.courtesy import never
from aisle.transfer.carriers import Carrier, Header, Receiver, RequestOptions
from aisle.transfer.guard import EgressGuard
from aisle.transfer.plain_connection import RECEIVE_BYTES, SCHEME, Connection, Server, Waiting
from aisle.transfer.resolving import Names

_READY_MAX: Final = 256  # sockets served per wake-up; those left over wake us again
_ODD: Final = re.compile(r"""[^!-~]|#|/\.|/%2[eE]""")
"""In a target: what libcurl would send otherwise than it stands there."""
_RESTING_S: Final = 30.0
_REMEMBERED_MAX: Final = 10_000


class PlainLane:
    """Sends requests over connections of its own, which are kept; belongs to one event loop."""

    def __init__(
        self,
        names: Names,
        guard: EgressGuard,
        *,
        connections_max: int,
        connections_per_host_max: int,
        gives_way: Callable[[], bool] = never,
    ) -> None:
        """See `Fetcher` for `gives_way`."""
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray(RECEIVE_BYTES)
        self.view = memoryview(self.buffer)
        """The same, to be cut."""
        self.round = 0
        """Another number whenever answers begin or cease to be told."""
        self.in_round = False
        """Whether answers are being told: what they lead to is done once, after all of them."""
        self.gives_way = gives_way
        self._names = names
        self._guard = guard
        self._connections_max = connections_max
        self._per_host_max = connections_per_host_max
        self._servers: dict[str, Server] = {}
        self._connections: dict[int, Connection] = {}
        self._closed: list[socket.socket] = []
        self._afterwards: list[Callable[[], None]] = []
        self._crowded: dict[Server, None] = {}  # for whose connections requests wait
        self._is_serving = False
        self._sweep: asyncio.TimerHandle | None = None
        self._epoll = select.epoll()
        self.loop.add_reader(self._epoll.fileno(), self._wake)

    def send(
        self, receiver: Receiver, link: str, options: RequestOptions, condition: Header | None = None
    ) -> Carrier | None:
        """Ask for a normalised link; None if that is libcurl's business. `condition` is a further header."""
        end = link.find("/", len(SCHEME))
        if end < 0:
            return None
        server = self._servers.get(link[:end]) or self._meet(link[:end])
        target = link[end:]
        if server is None or _ODD.search(target):
            return None
        if server.is_left_alone and not self._may_ask_again(server):
            return None
        if options is not server.options and not server.prepare(options):
            return None
        further = _further(condition)
        if further is None:
            return None
        request = b"GET %b%b%b\r\n" % (target.encode(), server.rest, further)
        if server.waiting or not (server.idle or self._may_connect(server)):
            return self._wait(server, Waiting(receiver, request, decodes=server.decodes))
        return self._try(server, receiver, request, decodes=server.decodes)

    def afterwards(self, act: Callable[[], None]) -> None:
        """From within a round: call this once all answers of the round have been told."""
        self._afterwards.append(act)

    def close(self) -> None:
        """Close all connections; no receiver is told."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._connections.values()):
            connection.drop()
        self.loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _meet(self, name: str) -> Server | None:
        """A server that was not asked here before, if its address is known.

        One that is written in another way than usual might be asked here twice at a time.
        """
        is_usual = name.startswith(SCHEME) and "@" not in name and name == name.lower()
        if not is_usual or name.endswith(":80") or self._names.address(name) is None:
            return None
        if len(self._servers) >= _REMEMBERED_MAX:
            return None
        server = self._servers[name] = Server(name)
        if self._sweep is None:
            self._sweep = self.loop.call_later(_RESTING_S, self._close_unused)
        return server

    def _may_ask_again(self, server: Server) -> bool:
        """Whether a server was left alone for long enough."""
        server.is_left_alone = server.left_alone_until_s > self.loop.time()
        return not server.is_left_alone

    def _wait(self, server: Server, waiting: Waiting) -> Carrier | None:
        """Have a request wait for its turn; None if nothing would end for it to have one."""
        if not server.open:
            return None
        server.waiting.append(waiting)
        self._crowded[server] = None
        self.freed()
        return waiting

    def _try(self, server: Server, receiver: Receiver, request: bytes, *, decodes: bool) -> Carrier | None:
        """Ask over a connection that rests, or a new one; None if neither can be had."""
        while server.idle:
            kept = server.idle.pop()
            if kept.ask(receiver, request, decodes):
                return kept
        opened = self._open(server) if self._may_connect(server) else None
        if opened is None:
            return None
        connection = Connection(self, server, opened[0])
        return connection if connection.connect(opened[1], receiver, request, decodes) else None

    def _may_connect(self, server: Server) -> bool:
        return server.open < self._per_host_max and self._has_room()

    def _has_room(self) -> bool:
        """Whether there may be one connection more; one that rests is closed for it, if need be."""
        if len(self._connections) < self._connections_max:
            return True
        idle = next((server.idle[0] for server in self._servers.values() if server.idle), None)
        if idle is not None:
            idle.drop()
        return idle is not None

    def _open(self, server: Server) -> tuple[socket.socket, tuple[str, int]] | None:
        """A socket to connect to a server, and its address; None if there can be none."""
        address = self._names.address(server.name)
        if address is None:
            return None
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        refused: list[str] = []
        try:
            asked = (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, address)
            opened = self._guard.open_socket(asked, refused.append)
        except OSError:
            return None
        # If it is refused, so is libcurl, and tells why.
        return None if isinstance(opened, int) else (opened, address)

    def _close_unused(self) -> None:
        """Close connections that nobody uses, and forget servers that have none."""
        for name, server in list(self._servers.items()):
            for connection in list(server.idle):
                connection.close_if_unused()
            is_wanted = server.is_left_alone and not self._may_ask_again(server)
            if not (server.open or server.waiting or is_wanted):
                del self._servers[name]
        self._sweep = self.loop.call_later(_RESTING_S, self._close_unused) if self._servers else None

    # For connections.

    def add(self, fd: int, connection: Connection, server: Server) -> None:
        """Watch a new connection: it is ready once it can be written to."""
        self._connections[fd] = connection
        server.open += 1
        self._epoll.register(fd, select.EPOLLOUT)

    def connected(self, fd: int) -> None:
        """From now on, watch for what comes."""
        self._epoll.modify(fd, select.EPOLLIN)

    def pause(self, fd: int) -> None:
        """Watch for nothing."""
        self._epoll.unregister(fd)

    def go_on(self, fd: int) -> None:
        """After `pause`: watch for what comes."""
        self._epoll.register(fd, select.EPOLLIN)

    def remove(self, fd: int, opened: socket.socket, server: Server) -> None:
        """Close a connection's socket; harmless when done before."""
        if opened in self._closed or opened.fileno() < 0:
            return
        del self._connections[fd]
        server.open -= 1
        self.freed()
        if self.in_round:
            # Its number must not be another connection's while this round's events are told.
            self._closed.append(opened)
        else:
            opened.close()

    def freed(self) -> None:
        """There may be a connection for who waits for one."""
        if self._crowded and not self._is_serving:
            self._is_serving = True
            self.loop.call_soon(self._serve_waiting)

    def _serve_waiting(self) -> None:
        self._is_serving = False
        for server in list(self._crowded):
            while server.waiting and self._has_turn(server):
                waiting = server.waiting.popleft()
                if waiting.receiver is not None:
                    self._checked(partial(self._serve, server, waiting, waiting.receiver))
            if not server.waiting:
                del self._crowded[server]

    def _has_turn(self, server: Server) -> bool:
        """Whether the first who waits need not wait any more."""
        is_hopeless = server.is_left_alone or not server.open or server.waiting[0].receiver is None
        return is_hopeless or bool(server.idle) or self._may_connect(server)

    def _serve(self, server: Server, waiting: Waiting, receiver: Receiver) -> None:
        if not server.is_left_alone:
            waiting.carrier = self._try(server, receiver, waiting.request, decodes=waiting.decodes)
        if waiting.carrier is None:
            receiver.hand_over()

    def leave_alone(self, server: Server, time_s: float) -> None:
        """Ask a server no more for a while."""
        server.is_left_alone = True
        server.left_alone_until_s = max(server.left_alone_until_s, self.loop.time() + time_s)
        for connection in list(server.idle):
            connection.drop()
        self.freed()

    def _wake(self) -> None:
        connections = self._connections
        self.in_round = True
        self.round += 1
        try:
            for fd, _ in self._epoll.poll(0, _READY_MAX):
                connection = connections.get(fd)
                if connection is not None:
                    try:
                        connection.ready()
                    except Exception as error:  # noqa: BLE001 - an outermost loop: the others go on
                        self._tell_broken(error)
            while self._afterwards:
                self._checked(self._afterwards.pop())
        finally:
            self.in_round = False
            self.round += 1
            while self._closed:
                self._closed.pop().close()

    def _checked(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - an outermost loop: the others go on
            self._tell_broken(error)

    def _tell_broken(self, error: Exception) -> None:
        self.loop.call_exception_handler({"message": "an answer over HTTP", "exception": error})


def _further(condition: Header | None) -> bytes | None:
    """The line of a further header; None if that is none that can be sent."""
    if condition is None:
        return b""
    line = f"{condition[0]}: {condition[1]}"
    return line.encode() + b"\r\n" if line.isascii() and line.isprintable() else None
