"""Outgoing requests of any method, with bodies both ways: how remote buckets are reached.

An exchange is sent once and never redirected: what an answer means, and whether to ask again, is for
the caller to know. Both bodies are held back by whoever is slower: at most `BUFFERED_BYTES_MAX` of
each wait in memory.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import pycurl

from aisle import __version__
from aisle.errors import AisleError, EgressDenied, SourceFailed, SourceUnreachable
from aisle.rules.download_names import public_link
from aisle.transfer.failures import failure, whole_head
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from aisle.transfer.multi import Multi

BUFFERED_BYTES_MAX: Final = 1024 * 1024

_RECEIVE_BYTES: Final = 128 * 1024
"""What is read from a socket at once: more is not faster, and keeps others waiting (decision 0027)."""
_CHUNK_BYTES: Final = 256 * 1024
"""Chunks of an answer's body are about so large where it comes faster than it is taken."""
_SMALL_BYTES: Final = 64 * 1024
"""Answers so short are told of when they are whole: one turn of the event loop instead of three."""
_KNOWN_LINE_BYTES_MAX: Final = 256
_NO_FIELDS: Final[Mapping[str, str]] = {}
_BEFORE_ASKING: Final = frozenset(
    (pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_RESOLVE_PROXY, pycurl.E_COULDNT_CONNECT)
)


class Outgoing(NamedTuple):
    """What to send. `link` is sent as it is: percent-encoded, with its query."""

    method: str
    link: str
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncIterator[bytes] | bytes = b""
    length: int = 0
    """Bytes of a body that is an iterator; exactly as many must come."""
    target: str = ""
    """Path and query word for word, where libcurl must not spell the link's its own way."""


class Answered:
    """The answer to an exchange: its head, and its body as it comes.

    Read it to its end or close it: an open one holds a connection. One that is let go of is closed: `aclose`
    of chunks that nobody has begun to read runs nothing.
    """

    def __init__(self, exchange: "_Exchange") -> None:
        self._exchange = exchange
        self.status = exchange.status
        self.fields = exchange.fields
        """Header fields, names in lower case."""

    def whole(self) -> bytes | None:
        """The body if all of it has come, in place of `chunks`; the answer is closed then."""
        found = self._exchange.whole()
        if found is not None:
            self.close()
        return found

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body. Raises SourceUnreachable if it ends too early; closes the answer in any case."""
        try:
            while chunk := await self._exchange.next_chunk():
                yield chunk
        finally:
            self.close()

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises SourceFailed if it is longer than `limit`, and what `chunks` raises."""
        pieces: list[bytes] = []
        size = 0
        chunks = self.chunks()
        async for piece in chunks:
            size += len(piece)
            if size > limit:
                await chunks.aclose()  # type: ignore[attr-defined]
                raise SourceFailed(f"{self._exchange.shown} answers with more than {limit} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def close(self) -> None:
        """Nothing more is wanted; harmless when everything has been read."""
        self._exchange.finish()

    def __del__(self) -> None:
        self._exchange.let_go()


class _Handle:
    """A libcurl handle, and the exchange that has it now. What is the same for all GETs is set once."""

    def __init__(self, owner: "Exchanges") -> None:
        self.easy = pycurl.Curl()
        self.lines: list[bytes] = []
        """The head of the answer as it comes."""
        self.exchange: _Exchange | None = None
        self._owner = owner
        self._is_set = False

    def prepare(self, exchange: "_Exchange") -> None:
        """Belong to an exchange."""
        self.exchange = exchange
        self.lines.clear()
        if not self._is_set:
            self._is_set = True
            self._set()

    def reset(self) -> None:
        """Forget what an exchange other than a plain GET has set."""
        self.easy.reset()
        self._is_set = False

    def _set(self) -> None:
        owner, easy = self._owner, self.easy
        for option, value in (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.PATH_AS_IS, 1),
            (pycurl.PROXY, owner.guard.proxy),
            # The guard leaves to the proxy what is connected to: nothing may go past it.
            (pycurl.NOPROXY, ""),
            (pycurl.USERAGENT, f"aisle/{__version__}"),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1),
            (pycurl.CONNECTTIMEOUT_MS, int(owner.config.connect_timeout_s * 1000)),
            # Less than a byte a second for so long; what is paused by ourselves does not count.
            (pycurl.LOW_SPEED_LIMIT, 1),
            (pycurl.LOW_SPEED_TIME, max(1, round(owner.config.stall_timeout_s))),
            (pycurl.BUFFERSIZE, _RECEIVE_BYTES),
            (pycurl.TCP_KEEPALIVE, 1),
            (pycurl.HEADERFUNCTION, self.lines.append),
            (pycurl.WRITEFUNCTION, self._on_body),
            (pycurl.OPENSOCKETFUNCTION, self._on_socket),
        ):
            easy.setopt(option, value)
        if owner.certificates:
            easy.setopt(pycurl.CAINFO, owner.certificates)

    def _on_body(self, chunk: bytes) -> int | None:
        assert self.exchange is not None
        return self.exchange.on_body(chunk)

    def _on_socket(self, _purpose: int, address: tuple[object, ...]) -> object:
        assert self.exchange is not None
        self._owner.multi.socket_opened()
        return self._owner.guard.open_socket(address, self.exchange.on_refused)


class Exchanges:
    """Sends requests, over connections that are kept; belongs to one event loop."""

    def __init__(self, config: FetchConfig, guard: EgressGuard, *, ca_file: str = "") -> None:
        """`ca_file` names certificates to trust instead of the machine's."""
        self.loop = asyncio.get_running_loop()
        self.config = config
        self.guard = guard
        self.certificates = ca_file or ssl.get_default_verify_paths().cafile or ""
        self.multi = Multi(
            connections_max=config.connections_max,
            connections_per_host_max=config.connections_per_host_max,
        )
        self._idle: list[_Handle] = []
        self._active: set[_Exchange] = set()

    async def send(self, request: Outgoing) -> Answered:
        """Send a request; its answer once the head is here.

        Raises SourceUnreachable where another attempt may succeed, SourceFailed where not, EgressDenied
        for an address that the guard refuses, and what the request's body raises.
        """
        if self.guard.proxy:
            await self.guard.check_link(request.link)
        exchange = _Exchange(self, request, self._idle.pop() if self._idle else _Handle(self))
        self._active.add(exchange)
        try:
            await exchange.begin()
        except BaseException:
            exchange.finish()
            raise
        return Answered(exchange)

    def release(self, exchange: "_Exchange", handle: _Handle) -> None:
        """Take the handle of an exchange back; for exchanges only."""
        self._active.discard(exchange)
        self.multi.remove(handle.easy)
        if not exchange.is_plain:
            handle.reset()
        handle.exchange = None
        self._idle.append(handle)

    def close(self) -> None:
        """Break all exchanges off and close all connections."""
        for exchange in list(self._active):
            exchange.fail(SourceUnreachable("the node is stopping"))
            exchange.finish()
        self.multi.close()
        for handle in self._idle:
            handle.easy.close()
        self._idle.clear()


class _Exchange:
    """One request and its answer on their way."""

    # What few exchanges change is not set for each of thousands a second.
    status = 0
    fields: Mapping[str, str] = _NO_FIELDS
    is_finished = False
    """Whether its handle was given back."""
    _received_bytes = 0
    _reading_paused = False
    _is_whole = False
    _waiting: asyncio.Future[None] | None = None
    _error: BaseException | None = None
    _refused = ""
    _outbox_bytes = 0
    _sending_paused = False
    _feeder: asyncio.Task[None] | None = None
    _room: asyncio.Event | None = None

    def __init__(self, owner: Exchanges, request: Outgoing, handle: _Handle) -> None:
        self.is_plain = request.method == "GET" and not (request.length or request.body or request.target)
        """Whether it sets nothing of its handle but link and headers."""
        self._owner = owner
        self._request = request
        self._handle = handle
        self._easy = handle.easy
        self._head: asyncio.Future[None] = owner.loop.create_future()
        self._received: deque[bytes] = deque()
        self._outbox: deque[bytes] = deque()

    @property
    def shown(self) -> str:
        """The link as people are told of it."""
        return public_link(self._request.link)

    async def begin(self) -> None:
        """Send the request and wait for the head of its answer. Raises what `Exchanges.send` does."""
        self._configure()
        self._owner.multi.add(self._easy, self._on_done)
        if not isinstance(self._request.body, bytes):
            self._feeder = self._owner.loop.create_task(self._feed(self._request.body))
        await self._head

    def whole(self) -> bytes | None:
        """All of the answer's body if all is here, which may be had once."""
        if not self._is_whole or self._error is not None:
            return None
        received = self._received
        return received.popleft() if len(received) == 1 else b"".join(received)

    async def next_chunk(self) -> bytes:
        """The next bytes of the answer's body, empty at its end. Raises what broke it off."""
        while not self._received:
            if self._error is not None:
                raise self._error
            if self._is_whole:
                return b""
            self._waiting = self._owner.loop.create_future()
            await self._waiting
        chunk = self._received.popleft()
        if self._received:
            # libcurl gives 16 KiB at a time: taken one by one, their way would cost more than the copy.
            pieces, size = [chunk], len(chunk)
            while self._received and size < _CHUNK_BYTES:
                pieces.append(self._received.popleft())
                size += len(pieces[-1])
            chunk = b"".join(pieces)
        self._received_bytes -= len(chunk)
        if self._reading_paused and self._received_bytes < BUFFERED_BYTES_MAX // 2:
            self._reading_paused = False
            self._owner.multi.resume(self._easy)
        return chunk

    def fail(self, error: BaseException) -> None:
        """The exchange has no good end."""
        self._error = self._error or error
        if not self._head.done():
            if self.status:
                self._head.set_result(None)  # what has come of a small answer can be had before the error
            else:
                self._head.set_exception(self._error)
        self._wake()

    def finish(self) -> None:
        """Give the handle back; breaks off what is still on its way."""
        if self.is_finished:
            return
        self.is_finished = True
        if self._feeder is not None:
            self._feeder.cancel()
        if self._head.done() and not self._head.cancelled():
            self._head.exception()  # it was raised where somebody waited for it
        self._owner.release(self, self._handle)

    def let_go(self) -> None:
        """Nobody has the answer any more: `finish`, maybe in a thread that happens to collect garbage."""
        if not (self.is_finished or self._owner.loop.is_closed()):
            self._owner.loop.call_soon_threadsafe(self.finish)

    # What libcurl calls.

    def on_body(self, chunk: bytes) -> int | None:
        """The next bytes of the answer."""
        if not self.status:
            self._read_head(self._handle.lines)
        if self._received_bytes >= BUFFERED_BYTES_MAX:
            self._reading_paused = True
            return int(pycurl.WRITEFUNC_PAUSE)  # the same bytes come again
        self._received.append(chunk)
        self._received_bytes += len(chunk)
        self._wake()
        return None

    def _on_room(self, size: int) -> bytes | int:
        """Libcurl takes up to `size` bytes of the request's body."""
        if not self._outbox:
            if self._feeder is None or self._feeder.done():
                return b""
            self._sending_paused = True
            return int(pycurl.READFUNC_PAUSE)
        chunk = self._outbox.popleft()
        if len(chunk) > size:
            self._outbox.appendleft(chunk[size:])
            chunk = chunk[:size]
        self._outbox_bytes -= len(chunk)
        if self._room is not None and self._outbox_bytes < BUFFERED_BYTES_MAX:
            self._room.set()
        return chunk

    def _on_rewind(self, offset: int, _origin: int) -> int:
        whole = self._request.body
        if offset or not isinstance(whole, bytes):
            return int(pycurl.SEEKFUNC_FAIL)
        self._outbox.clear()
        self._outbox.append(whole)
        self._outbox_bytes = len(whole)
        return int(pycurl.SEEKFUNC_OK)

    def on_refused(self, reason: str) -> None:
        """No socket was opened: its address may not be connected to."""
        self._refused = reason

    def _on_done(self, code: int, message: str) -> None:
        lines = self._handle.lines if self.status or code else whole_head(self._handle.lines)
        if not (self.status or code or lines):
            code, message = pycurl.E_GOT_NOTHING, "in the middle of its head"
        if code == 0:
            self._is_whole = True
            if not self.status:
                self._read_head(lines)
            if not self._head.done():
                self._head.set_result(None)
            self._wake()
        elif self._refused:
            self.fail(EgressDenied(self._refused))
        else:
            failed = failure(self.shown, code, message)
            text = str(failed.error).replace("failed to download", "no answer from", 1)
            error = SourceUnreachable(text) if failed.transient else SourceFailed(text)
            error.is_unasked = code in _BEFORE_ASKING
            self.fail(error)

    # The rest is ours.

    def _configure(self) -> None:
        request, easy = self._request, self._easy
        # A field without a value is written with a semicolon: with a colon libcurl leaves it out.
        fields = [f"{name}: {value}" if value else f"{name};" for name, value in request.headers]
        if not any(name.lower() == "accept-encoding" for name, _ in request.headers):
            fields.append("Accept-Encoding: identity")
        if not self.is_plain:
            fields.append("Expect:")  # libcurl would add it, unsigned, and wait for an interim answer
        self._handle.prepare(self)
        easy.setopt(pycurl.URL, request.link)
        easy.setopt(pycurl.HTTPHEADER, [field.encode("latin-1") for field in fields])
        if not self.is_plain:
            self._configure_further()

    def _configure_further(self) -> None:
        """Set what no other exchange must find set: the handle is reset afterwards."""
        request, easy = self._request, self._easy
        whole = request.body if isinstance(request.body, bytes) else None
        length = request.length if whole is None else len(whole)
        if request.target and not self._owner.guard.proxy:
            easy.setopt(pycurl.REQUEST_TARGET, request.target)
        if request.method == "HEAD":
            easy.setopt(pycurl.NOBODY, 1)
        elif length or request.method in ("PUT", "POST"):
            if whole:
                self._outbox.append(whole)
                self._outbox_bytes = len(whole)
            easy.setopt(pycurl.UPLOAD, 1)
            easy.setopt(pycurl.INFILESIZE_LARGE, length)
            easy.setopt(pycurl.READFUNCTION, self._on_room)
            # A kept connection may turn out to be closed. What can be had again is sent again by libcurl.
            easy.setopt(pycurl.SEEKFUNCTION, self._on_rewind)
            easy.setopt(pycurl.FRESH_CONNECT, int(whole is None))
        if request.method not in ("GET", "HEAD") or length:
            easy.setopt(pycurl.CUSTOMREQUEST, request.method)

    async def _feed(self, body: AsyncIterator[bytes]) -> None:
        """Bring the request's body, as fast as it is taken."""
        room = self._room = asyncio.Event()
        try:
            async for chunk in body:
                if not chunk:
                    continue
                self._outbox.append(chunk)
                self._outbox_bytes += len(chunk)
                self._go_on_sending()
                while self._outbox_bytes >= BUFFERED_BYTES_MAX:
                    room.clear()
                    await room.wait()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever sent the request is told
            self._break_off(error)
            return
        # Behind this task's end: only then is the body known to be over.
        self._owner.loop.call_soon(self._go_on_sending)

    def _break_off(self, error: BaseException) -> None:
        self._owner.multi.remove(self._easy)
        self.fail(error)

    def _go_on_sending(self) -> None:
        if self._sending_paused and not self.is_finished:
            self._sending_paused = False
            self._owner.multi.resume(self._easy)

    def _read_head(self, lines: Sequence[bytes]) -> None:
        """Take the answer's head, and tell of it unless all of the answer comes in a moment."""
        try:
            self.status, self.fields = _parse_head(lines)
        except AisleError as error:
            self.fail(error)
            return
        length = self.fields.get("content-length", "")
        is_small = length.isascii() and length.isdigit() and int(length) <= _SMALL_BYTES
        if not (is_small or self._head.done()):
            self._head.set_result(None)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _parse_head(lines: Sequence[bytes]) -> tuple[int, Mapping[str, str]]:
    """Status and fields of the last head in these lines; interim answers come before it."""
    status = 0
    fields: dict[str, str] = {}
    for line in lines:
        name, value = _known_field(line) if len(line) <= _KNOWN_LINE_BYTES_MAX else _field(line)
        if name:
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
        elif value:
            status, fields = int(value), {}
    if not status:
        raise SourceFailed("what answers does not speak HTTP")
    return status, fields


def _field(line: bytes) -> tuple[str, str]:
    """A line's field, in lower case, and its value; the status has no name, and other lines have neither."""
    text = line.decode("latin-1").rstrip("\r\n")
    if text.startswith("HTTP/"):
        code = text.partition(" ")[2][:3]
        return "", (code if code.isascii() and code.isdigit() else "0")
    name, colon, value = text.partition(":")
    return (name.strip().lower(), value.strip()) if colon else ("", "")


# Most lines of a server's answers come again in the next one.
_known_field: Final = lru_cache(maxsize=1024)(_field)
