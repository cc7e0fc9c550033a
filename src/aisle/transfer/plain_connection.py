"""One connection to a plain HTTP/1.1 server: requests out, answers in, one after the other.

It reads heads and bodies of the usual kind. What is unusual ends it: its receiver is handed over to libcurl,
or told how the answer broke off, as libcurl would tell it.
"""

import asyncio
import errno
import socket
from collections import deque
from typing import Final, Protocol

import pycurl

from aisle.rules.download_reply import REDIRECTS, Reply, read_clear_reply
from aisle.transfer.carriers import ABORT, PAUSE, SMALL_RECEIVE_BYTES, Carrier, Receiver, RequestOptions
from aisle.transfer.slots import USER_AGENT

RECEIVE_BYTES: Final = 256 * 1024
"""What is taken from a socket at most in one call."""
SCHEME: Final = "http://"
_HEAD_BYTES_MAX: Final = 64 * 1024
_INTERIM_MAX: Final = 16
_VERSION: Final = b"HTTP/1."
_PATIENCE_S: Final = 1.0  # with a server that is connected to
_UNSUITED_S: Final = 600.0
_UNREACHABLE_S: Final = 10.0
_WITHOUT_BODY: Final = (204, 304)
_CURRENT: Final = b"HTTP/1.1"
_OURS: Final = frozenset({"accept", "accept-encoding", "host", "user-agent"})


class Keeper(Protocol):
    """Who keeps the connections of all servers and watches their sockets."""

    loop: asyncio.AbstractEventLoop
    buffer: bytearray
    """What comes next is received here; for all connections, one at a time."""
    view: memoryview
    """The same, to be cut."""
    round: int
    """Another number whenever answers begin or cease to be told."""

    def gives_way(self) -> bool:
        """Whether little is to be taken from a socket at once."""

    def add(self, fd: int, connection: "Connection", server: "Server") -> None:
        """Watch a new connection: it is ready once it can be written to."""

    def connected(self, fd: int) -> None:
        """From now on, watch for what comes."""

    def pause(self, fd: int) -> None:
        """Watch for nothing."""

    def go_on(self, fd: int) -> None:
        """After `pause`: watch for what comes."""

    def remove(self, fd: int, opened: socket.socket, server: "Server") -> None:
        """Close a connection's socket; harmless when done before."""

    def freed(self) -> None:
        """There may be a connection for who waits for one."""

    def leave_alone(self, server: "Server", time_s: float) -> None:
        """Ask a server no more for a while."""


class Server:
    """One server, its kept connections, and how it is asked."""

    __slots__ = (
        "_authority",
        "decodes",
        "idle",
        "is_left_alone",
        "left_alone_until_s",
        "name",
        "open",
        "options",
        "rest",
        "waiting",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.open = 0
        """How many connections there are."""
        self.idle: list[Connection] = []
        """Those that rest."""
        self.waiting: deque[Waiting] = deque()
        """Requests for which there is no connection."""
        self.is_left_alone = False
        """Whether it is asked no more until then, by the event loop's clock."""
        self.left_alone_until_s = 0.0
        self.options: RequestOptions | None = None
        """Those of the last request."""
        self.rest = b""
        """What followed its target, up to the line that ends its head."""
        self.decodes = True
        """Whether an encoding of the answer was to be undone."""
        self._authority = name[len(SCHEME) :]

    def prepare(self, options: RequestOptions) -> bool:
        """Have the next requests sent with these options; False if that is for libcurl to do."""
        headers = options.headers + options.private_headers
        if options.timeout_s or any(not value or name.lower() in _OURS for name, value in headers):
            return False
        lines = [" HTTP/1.1", f"Host: {self._authority}", f"User-Agent: {USER_AGENT}", "Accept: */*"]
        lines += ["Accept-Encoding: identity", *(f"{name}: {value}" for name, value in headers)]
        if not all(line.isascii() and line.isprintable() for line in lines):
            return False
        self.options, self.decodes = options, options.decode
        self.rest = "\r\n".join((*lines, "")).encode()
        return True


class Waiting:
    """A request that waits for a connection; a Carrier, also once it has one."""

    is_multiplexed = False

    def __init__(self, receiver: Receiver, request: bytes, *, decodes: bool) -> None:
        self.receiver: Receiver | None = receiver
        self.request = request
        self.decodes = decodes
        self.carrier: Carrier | None = None

    def hand_to(self, receiver: Receiver) -> None:
        """From now on, tell this receiver instead."""
        self.receiver = receiver
        if self.carrier is not None:
            self.carrier.hand_to(receiver)

    def resume(self) -> None:
        """Go on after the receiver answered PAUSE. Never from within its callbacks."""
        if self.carrier is not None:
            self.carrier.resume()

    def release(self) -> None:
        """Nothing more is wanted of this answer; it is broken off if it has not ended."""
        self.receiver = None
        if self.carrier is not None:
            self.carrier.release()


class Connection:
    """One connection, and who is told of the answer that comes over it; a Carrier."""

    __slots__ = (
        "_decodes",
        "_fd",
        "_head",
        "_held",
        "_is_fresh",
        "_keeper",
        "_keeps",
        "_left",
        "_patience",
        "_receiver",
        "_request",
        "_rested_in",
        "_server",
        "_socket",
        "_was_resting",
    )

    def __init__(self, keeper: Keeper, server: Server, opened: socket.socket) -> None:
        self._keeper = keeper
        self._server = server
        self._socket = opened
        self._fd = opened.fileno()
        self._receiver: Receiver | None = None
        self._request = b""  # waits until the connection is made
        self._patience: asyncio.TimerHandle | None = None
        self._decodes = True
        self._is_fresh = True
        self._keeps = True
        self._head = b""  # what has come of a head
        self._held = b""  # what the receiver could not take
        self._left = -1  # bytes of the body that have not come; -1 before the head
        self._rested_in = -1  # the round in which its last answer ended
        self._was_resting = False

    is_multiplexed = False

    def connect(self, address: tuple[str, int], receiver: Receiver, request: bytes, decodes: bool) -> bool:
        """Begin to connect, and ask then; whether that is possible."""
        opened = self._socket
        opened.setblocking(False)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if opened.connect_ex(address) not in (0, errno.EINPROGRESS):
            opened.close()
            return False
        self._receiver, self._request = receiver, request
        self._decodes = decodes
        self._keeper.add(self._fd, self, self._server)
        self._patience = self._keeper.loop.call_later(_PATIENCE_S, self._not_connected)
        return True

    def ask(self, receiver: Receiver, request: bytes, decodes: bool) -> bool:
        """Send a request over a connection that rests; False if it is closed."""
        try:
            if self._rested_in != self._keeper.round and self._has_unread():
                sent = 0
            else:
                sent = self._socket.send(request)
        except OSError:
            sent = 0
        if sent < len(request):
            self._close()
            return False
        self._receiver = receiver
        self._decodes = decodes
        self._was_resting = False
        return True

    def hand_to(self, receiver: Receiver) -> None:
        """From now on, tell this receiver instead."""
        self._receiver = receiver

    def _has_unread(self) -> bool:
        """Whether something came while nothing was asked: what, would be taken for the next answer."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        return True

    def resume(self) -> None:
        """Go on after the receiver answered PAUSE. Never from within its callbacks."""
        if self._receiver is not None and self._held:
            held, self._held = self._held, b""
            self._keeper.go_on(self._fd)
            self._take(held)

    def release(self) -> None:
        """Nothing more is wanted of this answer; it is broken off if it has not ended."""
        if self._receiver is not None:
            self._receiver = None
            self._close()

    def close_if_unused(self) -> None:
        """Close a connection that rests and over which nothing was asked since this was called last."""
        if self._was_resting:
            self._close()
        self._was_resting = True

    def drop(self) -> None:
        """Close, whatever is under way; the receiver is not told."""
        self._receiver = None
        self._close()

    # Called when the socket is ready.

    def ready(self) -> None:
        """Go on with what comes next."""
        if self._left > 0:
            self._receive_body()
        elif self._request:
            self._connected()
        else:
            self._receive_head()

    def _receive_head(self) -> None:
        keeper = self._keeper
        try:
            count = self._socket.recv_into(keeper.buffer)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken(pycurl.E_RECV_ERROR, f"receiving: {error.strerror}")
            return
        if not count:
            self._broken(pycurl.E_GOT_NOTHING, "")
        elif self._receiver is None:
            self._close()  # nothing was asked
        elif self._head:
            data = self._head + bytes(keeper.view[:count])
            self._head = b""
            self._read_head(data, memoryview(data))
        else:
            self._read_head(keeper.buffer, keeper.view[:count])

    def _receive_body(self) -> None:
        left = self._left
        most = SMALL_RECEIVE_BYTES if self._keeper.gives_way() else RECEIVE_BYTES
        try:
            chunk = self._socket.recv(_wanted(left, most))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._broken(pycurl.E_RECV_ERROR, f"receiving: {error.strerror}")
            return
        if not chunk:
            self._broken(pycurl.E_PARTIAL_FILE, f"{left} bytes are missing")
            return
        if len(chunk) > left:
            self._keeps = False
            chunk = chunk[:left]
        self._take(chunk)

    def _connected(self) -> None:
        request, self._request = self._request, b""
        self._stop_waiting()
        try:
            refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            sent = 0 if refused else self._socket.send(request)
        except OSError:
            sent = 0
        if sent < len(request):
            self._not_connected()
        else:
            self._keeper.connected(self._fd)

    def _not_connected(self) -> None:
        self._keeper.leave_alone(self._server, _UNREACHABLE_S)
        self._hand_over()

    def _read_head(self, data: bytes | bytearray, view: memoryview) -> None:
        """Take the answer's head, and what has come behind it; `view` is the part of `data` that is valid."""
        start = 0
        for _ in range(_INTERIM_MAX):
            end = data.find(b"\r\n\r\n", start, len(view))
            if end < 0:
                self._await_head(bytes(view[start:]))
                return
            head = bytes(view[start:end])
            start = end + len(b"\r\n\r\n")
            reply = read_clear_reply(head) if len(head) <= _HEAD_BYTES_MAX else None
            if reply is None:
                break
            if reply.status < 200:
                continue
            if reply.status in REDIRECTS and head.lower().count(b"\nlocation:") > 1:
                break
            rest = view[start:]
            # Behind a full buffer there may be bytes that belong to no answer of ours.
            is_sure = len(view) < RECEIVE_BYTES or len(rest) != reply.length
            self._begin(reply, rest, keeps=is_sure and head.startswith(_CURRENT))
            return
        self._is_unsuited()

    def _await_head(self, begun: bytes) -> None:
        """Only the beginning of a head is here, maybe nothing of it."""
        self._head = begun
        is_odd = not begun.startswith(_VERSION[: len(begun)]) or b"\n\n" in begun or b"\n\r\n" in begun
        if is_odd or len(begun) > _HEAD_BYTES_MAX:
            self._is_unsuited()

    def _begin(self, reply: Reply, rest: memoryview, *, keeps: bool) -> None:
        """Tell the answer's head, and as much of its body as is here.

        `keeps` says that nothing so far speaks against asking over the connection again.
        """
        receiver, length, came = self._receiver, self._body_length(reply), len(rest)
        assert receiver is not None
        if length is None:
            self._is_unsuited()
            return
        self._keeps = keeps and came <= length and "Connection" not in reply.fields
        if came == length:
            self._receiver = None  # whoever has all of it lets go of us
            try:
                is_taken = receiver.on_whole(reply, bytes(rest))
            except Exception:
                self._close()
                raise
            if is_taken:
                self._rest()
                return
            self._receiver = receiver
        self._left = length
        receiver.on_head(reply)
        if not length:
            self._end()
        elif came:
            self._take(bytes(rest[:length]))

    def _body_length(self, reply: Reply) -> int | None:
        """Bytes of the answer's body; None where it does not tell, or they are not what is wanted."""
        if reply.status in _WITHOUT_BODY:
            return 0
        if "Transfer-Encoding" in reply.fields or (self._decodes and reply.encoded):
            return None
        return reply.length

    def _take(self, chunk: bytes) -> None:
        """Tell the next bytes of the body; at its end the connection rests, or is closed."""
        answer = ABORT if self._receiver is None else self._receiver.on_body(chunk)
        if answer == PAUSE:
            self._held = chunk
            self._keeper.pause(self._fd)
        elif answer == ABORT:
            self._broken(pycurl.E_WRITE_ERROR, "no more is wanted")
        else:
            self._left -= len(chunk)
            if not self._left:
                self._end()

    # How answers end.

    def _end(self) -> None:
        """The answer is here to its last byte."""
        receiver = self._receiver
        assert receiver is not None
        self._rest()
        receiver.on_done(0, "")

    def _rest(self) -> None:
        """Wait for what is asked next, if the connection can be used again."""
        keeper, server = self._keeper, self._server
        self._receiver = None
        self._left = -1
        self._is_fresh = False
        if self._keeps and not server.is_left_alone:
            self._rested_in = keeper.round
            server.idle.append(self)  # at once: what follows from this end may ask over it
            keeper.freed()
        else:
            self._close()

    def _broken(self, code: int, message: str) -> None:
        """No more will come."""
        if self._left < 0 and not (self._head or self._is_fresh):
            self._hand_over()  # it was closed while it rested, most likely
            return
        receiver, self._receiver = self._receiver, None
        self._close()
        if receiver is not None:
            receiver.on_done(code, message)

    def _is_unsuited(self) -> None:
        """The answer is of another kind than what is known here."""
        self._keeper.leave_alone(self._server, _UNSUITED_S)
        self._hand_over()

    def _hand_over(self) -> None:
        receiver, self._receiver = self._receiver, None
        self._stop_waiting()
        self._close()
        if receiver is not None:
            receiver.hand_over()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _close(self) -> None:
        self._stop_waiting()
        if self in self._server.idle:
            self._server.idle.remove(self)
        self._keeper.remove(self._fd, self._socket, self._server)


def _wanted(left: int, most: int) -> int:
    """How much to take from a socket when so many bytes of a body are missing.

    At its end a byte more than may come: one that does belongs to no answer of ours. Before that whole
    buffers, as pieces of odd sizes cost more to write.
    """
    if left == most:
        return left - 1
    return min(left + 1, most)
