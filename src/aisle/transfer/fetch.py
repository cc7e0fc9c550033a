"""Outgoing GETs: one answer each, delivered piece by piece to whoever asked.

A fetch follows redirects itself instead of leaving them to libcurl: each hop passes the same checks
as the first, and headers meant for one host never reach another. Bodies of answers that nobody wants
are read to their end when they are short, which keeps the connection; else it is closed.

Nothing here waits: an intake that cannot take a chunk says so, and the connection is not read until
`resume`, so the sender is slowed down by TCP itself.
"""

import asyncio
import select
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol
from urllib.parse import urljoin

import msgspec
import pycurl

from aisle.errors import AisleError, BadRequest, EgressDenied, SourceFailed
from aisle.rules.courtesy import never
from aisle.rules.download_names import have_one_server, normal_link, public_link
from aisle.rules.download_reply import REDIRECTS, Reply, carried
from aisle.transfer.carriers import ABORT, PAUSE, Carrier, Header, Receiver, RequestOptions
from aisle.transfer.failures import Failure, failure
from aisle.transfer.guard import EgressGuard
from aisle.transfer.multi import Multi, Poller, Ready
from aisle.transfer.plain import PlainLane
from aisle.transfer.rates import Throttle
from aisle.transfer.resolving import Names, Resolve
from aisle.transfer.slots import Slots

_REDIRECTS_MAX = 10
_DISCARDED_BYTES_MAX = 64 * 1024
_WATCH_INTERVAL_S = 0.5
_NOTHING: Mapping[str, str] = MappingProxyType({})


class FetchConfig(NamedTuple):
    """Limits of all fetches of a process."""

    connections_max: int
    connections_per_host_max: int
    connect_timeout_s: float
    stall_timeout_s: float


PLAIN = RequestOptions()


class FetchRequest(msgspec.Struct, frozen=True):
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


class Watched(Receiver, Protocol):
    """A receiver that is broken off if nothing comes."""

    def stalled(self, now_s: float, limit_s: float) -> bool:
        """Whether nothing has moved for too long although we were ready to take it."""

    def fail(self, failed: Failure) -> None:
        """Break off, and tell whoever waits why."""

    def drop(self) -> None:
        """Break off, and tell nobody."""


class Fetch:
    """One fetch on its way; a Receiver."""

    __slots__ = (
        "_carried",
        "_carrier",
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
        "_timer",
        "_wanted",
    )

    def __init__(self, fetcher: "Fetcher", request: FetchRequest, intake: Intake) -> None:
        self._fetcher = fetcher
        self._request = request
        self._intake = intake
        self._link = request.link
        self._hops = 0
        self._reply: Reply | None = None
        self._carrier: Carrier | None = None
        self._carried: Mapping[str, str] = _NOTHING  # what answers that redirected said about the object
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
        return self._carrier is not None and self._carrier.is_multiplexed

    def cancel(self) -> None:
        """Break off; nothing more is delivered, `ended` is not called. Never from within callbacks."""
        if not self._done:
            self._finish()

    def drop(self) -> None:
        """The same, for the fetcher when it is closed."""
        self.cancel()

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

    def take_over(self, carrier: Carrier | None) -> None:
        """Go on with what was asked for already."""
        self._carrier = carrier
        if carrier is not None:
            carrier.hand_to(self)

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
        """Ask; `entry` tells libcurl the addresses of the link's server, if they have just been found."""
        lane = self._fetcher.lane
        # Libcurl hands on 16 KiB at a time: a slow throttle holds no connection up for long.
        if lane is not None and self._request.throttle is None:
            self._carrier = lane.send(self, self._link, self._options())
        if self._carrier is None:
            self._send_by_libcurl(entry)

    def _send_by_libcurl(self, entry: str = "") -> None:
        fetcher, link = self._fetcher, self._link
        entry = entry or fetcher.names.untold(link)
        self._carrier = fetcher.slots.send(self, link, self._options(), entry)

    def _options(self) -> RequestOptions:
        options, link = self._request.options, self._request.link
        if self._hops and options.private_headers and not have_one_server(self._link, link):
            return options._replace(private_headers=())
        return options

    # Called by the carrier.

    def hand_over(self) -> None:
        """Whoever was asked cannot bring the answer, and nothing was told of it: ask libcurl."""
        self._send_by_libcurl()

    def on_head(self, reply: Reply) -> None:
        """The answer's head."""
        if self._carried:
            reply = msgspec.structs.replace(reply, fields={**self._carried, **reply.fields})
        self._reply = reply
        if not _is_redirect(reply):
            self._wanted = self._intake.head(reply)

    def on_body(self, chunk: bytes) -> int:
        """The next bytes, maybe the same again after a pause."""
        self._moved = True
        if not self._wanted:
            self._discarded += len(chunk)
            return ABORT if self._discarded > _DISCARDED_BYTES_MAX else 0
        throttle = self._request.throttle
        if throttle is not None and self._granted < len(chunk):
            wait_s = throttle.reserve(len(chunk) - self._granted, self._fetcher.now_s())
            self._granted = len(chunk)
            if wait_s > 0:
                self._paused = True
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._throttle_passed)
                return PAUSE
        if not self._intake.body(chunk):
            self._paused = True
            return PAUSE
        self._granted = 0
        return 0

    def on_whole(self, reply: Reply, body: bytes) -> bool:
        """Piece by piece is what a fetch wants."""
        del reply, body
        return False

    def on_refused(self, reason: str) -> None:
        """No socket was opened: its address may not be connected to."""
        self._refused = reason

    def on_done(self, code: int, message: str) -> None:
        """The exchange is over; we may be not, after a redirect."""
        reply = self._reply
        if code != 0 and not (code == pycurl.E_WRITE_ERROR and reply is not None and not self._wanted):
            if self._refused:
                self._end(Failure(EgressDenied(self._refused), transient=False))
            else:
                self._end(failure(public_link(self._link), code, message))
        elif reply is not None and _is_redirect(reply):
            self._redirect(reply.fields["Location"])
        else:
            self._end(None)

    # The rest is ours.

    def _throttle_passed(self) -> None:
        self._timer = None
        self._unpause()

    def _unpause(self) -> None:
        self._paused = False
        self._moved = True
        if self._carrier is not None:
            self._carrier.resume()

    def _redirect(self, location: str) -> None:
        shown = public_link(self._request.link)
        if self._reply is not None:
            self._carried = {**self._carried, **carried(self._reply.fields)}
        self._hops += 1
        if self._hops > _REDIRECTS_MAX:
            self._end(
                Failure(SourceFailed(f"failed to download {shown}: too many redirects"), transient=False)
            )
            return
        self._let_go()
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
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._resolving is not None and not self._resolving.done():
            self._resolving.cancel()
        self._let_go()
        self._fetcher.forget(self)

    def _let_go(self) -> None:
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            carrier.release()


def _is_redirect(reply: Reply) -> bool:
    return reply.status in REDIRECTS and "Location" in reply.fields


class Fetcher:
    """Runs fetches over connections that are kept and shared by all."""

    def __init__(
        self,
        config: FetchConfig,
        guard: EgressGuard,
        *,
        poller: Callable[[asyncio.AbstractEventLoop, Ready], Poller] | None = None,
        resolve: Resolve | None = None,
        plain: bool = True,
        gives_way: Callable[[], bool] = never,
    ) -> None:
        """`resolve` finds the addresses of servers; the system does if it is not given.

        `plain` allows that requests for `http://` are sent without libcurl. Whenever `gives_way` says so,
        little is taken from a connection at once.
        """
        self._loop = asyncio.get_running_loop()
        self.names = Names(lookup_s=config.connect_timeout_s, resolve=resolve)
        self._config = config
        self.guard = guard
        self.now_s = self._loop.time
        self._multi = Multi(
            connections_max=config.connections_max,
            connections_per_host_max=config.connections_per_host_max,
            poller=poller,
        )
        self.slots = Slots(
            self._multi, guard, connect_timeout_s=config.connect_timeout_s, gives_way=gives_way
        )
        self.lane: PlainLane | None = None
        """What asks servers that need no libcurl; None where there is no epoll, or a proxy."""
        if plain and not guard.proxy and hasattr(select, "epoll"):
            self.lane = PlainLane(
                self.names,
                guard,
                connections_max=config.connections_max,
                connections_per_host_max=config.connections_per_host_max,
                gives_way=gives_way,
            )
        self._active: set[Watched] = set()
        self._watchdog: asyncio.TimerHandle | None = None

    def start(self, request: FetchRequest, intake: Intake) -> Fetch:
        """Send a request. The intake hears of it from later turns of the event loop on."""
        fetch = Fetch(self, request, intake)
        self._active.add(fetch)
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(_WATCH_INTERVAL_S, self._watch)
        fetch.submit()
        return fetch

    def ask(
        self, receiver: Watched, link: str, options: RequestOptions, condition: Header | None = None
    ) -> Carrier | None:
        """Ask without a fetch, if that can be done at once; whoever asks is told of the first answer only.

        What it is told of redirects, failures and the like is for `take_over`. It tells `forget` when it
        is done.
        """
        lane = self.lane
        carrier = lane.send(receiver, link, options, condition) if lane is not None else None
        if carrier is None:
            if self.guard.proxy or not self.names.is_known(link):
                return None
            if condition is not None:
                options = options._replace(headers=(*options.headers, condition))
            carrier = self.slots.send(receiver, link, options, self.names.untold(link))
        self._active.add(receiver)
        if self._watchdog is None:
            self._watchdog = self._loop.call_later(_WATCH_INTERVAL_S, self._watch)
        return carrier

    def take_over(self, carrier: Carrier | None, request: FetchRequest, intake: Intake) -> Fetch:
        """Make a fetch of what `ask` has begun, of which nothing was told to the intake."""
        fetch = Fetch(self, request, intake)
        self._active.add(fetch)  # the watch goes on since it was asked
        fetch.take_over(carrier)
        return fetch

    def forget(self, watched: Watched) -> None:
        """It is over."""
        self._active.discard(watched)

    def afterwards(self, act: Callable[[], None]) -> None:
        """Call this once all fetches that end at this moment have been told so.

        What it starts takes over their connections. At other times it is called from the next turn of the
        event loop.
        """
        if self.lane is not None and self.lane.in_round:
            self.lane.afterwards(act)
        else:
            self._multi.afterwards(act)

    def close(self) -> None:
        """Break all fetches off and close all connections."""
        for fetch in list(self._active):
            fetch.drop()
        if self._watchdog is not None:
            self._watchdog.cancel()
        if self.lane is not None:
            self.lane.close()
        self._multi.close()
        self.slots.close()

    def _watch(self) -> None:
        """Break off what has stalled. One pass over all costs less than a timer for each."""
        now_s, limit_s = self.now_s(), self._config.stall_timeout_s
        for fetch in [fetch for fetch in self._active if fetch.stalled(now_s, limit_s)]:
            stalled = SourceFailed(f"no bytes for {limit_s:g} s")
            fetch.fail(Failure(stalled, transient=True))
        self._watchdog = self._loop.call_later(_WATCH_INTERVAL_S, self._watch) if self._active else None
