"""Outgoing GETs: one answer each, delivered piece by piece to whoever asked.

A fetch follows redirects itself instead of leaving them to libcurl: each hop passes the same checks
as the first, and headers meant for one host never reach another. Bodies of answers that nobody wants
are read to their end when they are short, which keeps the connection; else it is closed.

Nothing here waits: an intake that cannot take a chunk says so, and the connection is not read until
`resume`, so the sender is slowed down by TCP itself.
"""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol
from urllib.parse import urljoin

import pycurl

from aisle import __version__
from aisle.errors import AisleError, BadRequest, EgressDenied, SourceFailed
from aisle.rules.download_names import host_of, normal_link, public_link
from aisle.rules.download_reply import REDIRECTS, Reply, carried, read_reply
from aisle.transfer.failures import Failure, failure
from aisle.transfer.guard import EgressGuard
from aisle.transfer.multi import Multi, Poller, Ready
from aisle.transfer.rates import Throttle
from aisle.transfer.resolving import Names, Resolve

_REDIRECTS_MAX = 10
_DISCARDED_BYTES_MAX = 64 * 1024
_RECEIVE_BYTES = 512 * 1024  # what libcurl reads from a socket at once; it hands on 16 KiB at a time
_WATCH_INTERVAL_S = 0.5
_ABORT = -1  # a write callback's answer for "close the connection"


class FetchConfig(NamedTuple):
    """Limits of all fetches of a process."""

    connections_max: int
    connections_per_host_max: int
    connect_timeout_s: float
    stall_timeout_s: float


class RequestOptions(NamedTuple):
    """What differs between requests beside their links; the same object for many costs least."""

    headers: tuple[tuple[str, str], ...] = ()
    """Sent to every host that the request is redirected to."""
    private_headers: tuple[tuple[str, str], ...] = ()
    """Sent to the link's own host only: credentials."""
    decode: bool = True
    """Undo a content encoding that the server uses although none was asked for."""
    timeout_s: float = 0.0
    """Longest time for the whole exchange, 0 for none."""


PLAIN = RequestOptions()


class FetchRequest(NamedTuple):
    """What to ask for, and how fast to take it."""

    link: str
    options: RequestOptions = PLAIN
    throttle: Throttle | None = None


class Intake(Protocol):
    """Who takes the answer. Called from the event loop, never concurrently; must not raise.

    The calls come in this order: `head` at most once, `body` for each chunk, `ended` once, always.
    """

    def head(self, reply: Reply) -> bool:
        """The final answer's head; whether its body is wanted."""

    def body(self, chunk: bytes) -> bool:
        """The next bytes, or False when they cannot be taken now: they come again after `resume`."""

    def ended(self, failed: Failure | None) -> None:
        """The answer has come whole (None), or no more of it will come."""


class _Slot:
    """A libcurl handle, and the fetch that has it now. What never changes is set once."""

    __slots__ = ("_fetcher", "easy", "fetch", "lines", "options", "resolved", "shares")

    def __init__(self, fetcher: "Fetcher", easy: pycurl.Curl) -> None:
        self.easy = easy
        self.fetch: Fetch | None = None
        self.lines: list[bytes] = []
        """The answer's head as it comes."""
        self.options: RequestOptions | None = None
        """What the handle was last set to."""
        self.resolved = False
        """Whether it was told the addresses of a server."""
        self.shares = False
        """Whether it rather waits for a connection that may turn out to be HTTP/2 than opens another."""
        self._fetcher = fetcher
        easy.setopt(pycurl.WRITEFUNCTION, self._on_body)
        # No frame of ours per line; libcurl itself refuses heads of more than 300 KB.
        easy.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        easy.setopt(pycurl.OPENSOCKETFUNCTION, self._on_socket)

    def _on_body(self, chunk: bytes) -> int | None:
        assert self.fetch is not None
        return self.fetch.on_body(chunk)

    def _on_socket(self, _purpose: int, address: tuple[object, ...]) -> object:
        """Libcurl's callback for a new socket."""
        assert self.fetch is not None
        self._fetcher.multi.socket_opened()
        return self._fetcher.guard.open_socket(address, self.fetch.on_refused)


class Fetch:
    """One fetch on its way."""

    __slots__ = (
        "_carried",
        "_discarded",
        "_done",
        "_fetcher",
        "_granted",
        "_hops",
        "_intake",
        "_link",
        "_moved",
        "_moved_s",
        "_paused",
        "_refused",
        "_reply",
        "_request",
        "_resolving",
        "_slot",
        "_timer",
        "_wanted",
    )

    def __init__(self, fetcher: "Fetcher", request: FetchRequest, intake: Intake, slot: _Slot) -> None:
        self._fetcher = fetcher
        self._request = request
        self._intake = intake
        self._slot = slot
        self._link = request.link
        self._hops = 0
        self._reply: Reply | None = None
        self._carried: dict[str, str] = {}  # what answers that redirected said about the object
        self._wanted = False
        self._discarded = 0
        self._granted = 0  # bytes that the throttle has let through and that have not been taken
        self._paused = False
        self._refused = ""
        self._done = False
        self._timer: asyncio.TimerHandle | None = None
        self._resolving: asyncio.Task[None] | None = None
        # Bytes moved, or were held back by ourselves, since the watchdog looked; it asks the clock, once
        # for all.
        self._moved = True
        self._moved_s = 0.0

    def resume(self) -> None:
        """Go on after `body` returned False. Never from within the intake's callbacks."""
        if self._paused and self._timer is None and not self._done:
            self._unpause()

    def enough(self) -> None:
        """From within `body`: no more bytes are wanted. `ended` follows, with None, when all is over."""
        # What little is left of the answer is read, as with one that nobody wanted: the connection is kept.
        self._wanted = False

    @property
    def link(self) -> str:
        """The link that was asked for last: after a redirect, where that led."""
        return self._link

    @property
    def is_multiplexed(self) -> bool:
        """Whether the answer comes over a connection that many share; known once its head has come."""
        return any(line.startswith((b"HTTP/2", b"HTTP/3")) for line in self._slot.lines)

    def cancel(self) -> None:
        """Break off; nothing more is delivered, `ended` is not called. Never from within callbacks."""
        if not self._done:
            self._finish()

    def stalled(self, now_s: float, limit_s: float) -> bool:
        """Whether nothing has moved for too long although we were ready to take it; for the watchdog."""
        if self._moved or self._paused:
            self._moved = False
            self._moved_s = now_s
            return False
        return now_s - self._moved_s > limit_s

    def fail(self, failed: Failure) -> None:
        """Break off, and tell the intake why."""
        if not self._done:
            self._finish()
            self._intake.ended(failed)

    # Below: from submission to the end.

    def submit(self) -> None:
        """Ask for the present link; through a proxy, after its host was checked."""
        if self._fetcher.guard.proxy:
            self._resolving = asyncio.get_running_loop().create_task(self._check_then_send())
        elif self._fetcher.names.is_known(self._link):
            self._send()
        else:
            self._resolving = asyncio.get_running_loop().create_task(self._resolve_then_send())

    async def _check_then_send(self) -> None:
        try:
            await self._fetcher.guard.check_link(self._link)
        except AisleError as error:
            self.fail(Failure(error, transient=not isinstance(error, EgressDenied)))
        else:
            self._send()

    async def _resolve_then_send(self) -> None:
        try:
            entry = await self._fetcher.names.entry(self._link)
        except AisleError as error:
            failed = SourceFailed(f"failed to download {public_link(self._link)}: {error}")
            self.fail(Failure(failed, transient=True))
        else:
            self._send(entry)

    def _send(self, entry: str = "") -> None:
        """Ask libcurl; `entry` tells it the addresses of the link's server, if it has not heard of them."""
        slot, request = self._slot, self._request
        if entry or slot.resolved:
            slot.resolved = bool(entry)
            slot.easy.setopt(pycurl.RESOLVE, [entry] if entry else [])
        slot.lines.clear()
        slot.easy.setopt(pycurl.URL, self._link)
        # Without TLS that is known only when the first request is answered: a silent one would hold up all.
        shares = self._link[:5].lower() == "https"
        if slot.shares is not shares:
            slot.shares = shares
            slot.easy.setopt(pycurl.PIPEWAIT, int(shares))
        options = request.options
        if self._hops and options.private_headers and host_of(self._link) != host_of(request.link):
            options = options._replace(private_headers=())
        if slot.options is not options:
            _configure(slot, options)
        self._fetcher.multi.add(slot.easy, self._on_done)

    def on_body(self, chunk: bytes) -> int | None:
        """Libcurl's write callback; it may be called with the same bytes again after a pause."""
        self._moved = True
        if self._reply is None:
            self._deliver_head()
        if not self._wanted:
            self._discarded += len(chunk)
            return _ABORT if self._discarded > _DISCARDED_BYTES_MAX else None
        throttle = self._request.throttle
        if throttle is not None and self._granted < len(chunk):
            wait_s = throttle.reserve(len(chunk) - self._granted, self._fetcher.now_s())
            self._granted = len(chunk)
            if wait_s > 0:
                self._paused = True
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._throttle_passed)
                return int(pycurl.WRITEFUNC_PAUSE)
        if not self._intake.body(chunk):
            self._paused = True
            return int(pycurl.WRITEFUNC_PAUSE)
        self._granted = 0
        return None

    def on_refused(self, reason: str) -> None:
        """No socket was opened: its address may not be connected to."""
        self._refused = reason

    def _throttle_passed(self) -> None:
        self._timer = None
        self._unpause()

    def _unpause(self) -> None:
        self._paused = False
        self._moved = True
        self._fetcher.multi.resume(self._slot.easy)

    def _deliver_head(self) -> None:
        reply = self._reply = read_reply(self._slot.lines)
        if self._carried:
            reply = self._reply = reply._replace(fields={**self._carried, **reply.fields})
        if not _is_redirect(reply):
            self._wanted = self._intake.head(reply)

    def _on_done(self, code: int, message: str) -> None:
        """Libcurl is through with the transfer; we may be not, after a redirect."""
        if code == 0 and self._reply is None:
            self._deliver_head()  # there was no body
        reply = self._reply
        dropped = code == pycurl.E_WRITE_ERROR and reply is not None and not self._wanted
        if self._refused and code != 0 and not dropped:
            self._end(Failure(EgressDenied(self._refused), transient=False))
        elif code != 0 and not dropped:
            self._end(failure(public_link(self._link), code, message))
        elif reply is not None and _is_redirect(reply):
            self._redirect(reply.fields["Location"])
        else:
            self._end(None)

    def _redirect(self, location: str) -> None:
        shown = public_link(self._request.link)
        if self._reply is not None:
            self._carried.update(carried(self._reply.fields))
        self._hops += 1
        if self._hops > _REDIRECTS_MAX:
            self._end(
                Failure(SourceFailed(f"failed to download {shown}: too many redirects"), transient=False)
            )
            return
        self._reply = None
        self._wanted = False
        self._refused = ""
        self._discarded = 0
        try:
            self._link = normal_link(urljoin(self._link, location))
        except (BadRequest, ValueError) as error:
            failed = SourceFailed(f"failed to download {shown}: it redirects to something else: {error}")
            self._end(Failure(failed, transient=False))
            return
        self.submit()

    def _end(self, failed: Failure | None) -> None:
        self._finish()
        self._intake.ended(failed)

    def _finish(self) -> None:
        """Give the handle back; harmless for libcurl when it has ended the transfer itself."""
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resolving is not None and not self._resolving.done():
            self._resolving.cancel()
        self._fetcher.release(self, self._slot)


def _is_redirect(reply: Reply) -> bool:
    return reply.status in REDIRECTS and "Location" in reply.fields


class Fetcher:
    """Runs fetches over a pool of libcurl handles; connections are kept and shared by all."""

    def __init__(
        self,
        config: FetchConfig,
        guard: EgressGuard,
        *,
        poller: Callable[[asyncio.AbstractEventLoop, Ready], Poller] | None = None,
        resolve: Resolve | None = None,
    ) -> None:
        """`resolve` finds the addresses of servers; the system does if it is not given."""
        self._loop = asyncio.get_running_loop()
        self.names = Names(lookup_s=config.connect_timeout_s, resolve=resolve)
        self._config = config
        self.guard = guard
        self.now_s = self._loop.time
        self.multi = Multi(
            connections_max=config.connections_max,
            connections_per_host_max=config.connections_per_host_max,
            poller=poller,
        )
        self._slots: list[_Slot] = []
        self._idle: list[_Slot] = []
        self._active: set[Fetch] = set()
        self._watchdog: asyncio.TimerHandle | None = None
        self._certificates = ssl.get_default_verify_paths().cafile

    def start(self, request: FetchRequest, intake: Intake) -> Fetch:
        """Send a request. The intake hears of it from later turns of the event loop on."""
        slot = self._idle.pop() if self._idle else self._new_slot()
        fetch = slot.fetch = Fetch(self, request, intake, slot)
        self._active.add(fetch)
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(_WATCH_INTERVAL_S, self._watch)
        fetch.submit()
        return fetch

    def release(self, fetch: Fetch, slot: _Slot) -> None:
        """Take the handle of an ended fetch back; for fetches only."""
        self._active.discard(fetch)
        self.multi.remove(slot.easy)
        slot.fetch = None
        self._idle.append(slot)

    def close(self) -> None:
        """Break all fetches off and close all connections."""
        for fetch in list(self._active):
            fetch.cancel()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self.multi.close()
        for slot in self._slots:
            slot.easy.close()

    def _watch(self) -> None:
        """Break off what has stalled. One pass over all costs less than a timer for each."""
        now_s, limit_s = self.now_s(), self._config.stall_timeout_s
        for fetch in [fetch for fetch in self._active if fetch.stalled(now_s, limit_s)]:
            stalled = SourceFailed(f"no bytes for {limit_s:g} s")
            fetch.fail(Failure(stalled, transient=True))
        self._watchdog = self._loop.call_later(_WATCH_INTERVAL_S, self._watch) if self._active else None

    def _new_slot(self) -> _Slot:
        easy = pycurl.Curl()
        options: Sequence[tuple[int, object]] = (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.PROXY, self.guard.proxy),  # empty also switches libcurl's own reading of http_proxy off
            (pycurl.NOPROXY, ""),  # nor is no_proxy read: what a proxy was to reach is not guarded as well
            (pycurl.USERAGENT, f"aisle/{__version__}"),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
            (pycurl.CONNECTTIMEOUT_MS, int(self._config.connect_timeout_s * 1000)),
            (pycurl.BUFFERSIZE, _RECEIVE_BYTES),
            (pycurl.TCP_KEEPALIVE, 1),
        )
        for option, value in options:
            easy.setopt(option, value)
        if self._certificates:
            easy.setopt(pycurl.CAINFO, self._certificates)
        slot = _Slot(self, easy)
        self._slots.append(slot)
        return slot


def _configure(slot: _Slot, options: RequestOptions) -> None:
    """Set the options of the next request, where they differ from the last one's."""
    known, slot.options = slot.options, options
    if known == options:
        return
    easy = slot.easy
    headers = [f"{name}: {value}" for name, value in options.headers + options.private_headers]
    if options.decode:
        easy.setopt(pycurl.ENCODING, "identity")
    else:
        easy.unsetopt(pycurl.ENCODING)
        headers.append("Accept-Encoding: identity")
    easy.unsetopt(pycurl.HTTPHEADER)  # setting an empty list would leave the last request's headers
    if headers:
        easy.setopt(pycurl.HTTPHEADER, headers)
    easy.setopt(pycurl.TIMEOUT_MS, int(options.timeout_s * 1000))
