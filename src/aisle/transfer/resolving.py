"""Addresses of servers, looked up so that a slow name server holds up nobody but who asked for that name.

libcurl looks names up in a few threads (20 for all transfers of a process, two for a name): ten names whose
servers do not answer would hold up all others. Here each name has a thread of its own; what it finds is
handed to libcurl, which keeps it for a minute as if it had found it itself. There are never more threads
than requests under way, and a few that nobody waits for any more.
"""

import asyncio
import re
import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import IPv4Address
from typing import NamedTuple, TypeVar

from aisle.errors import SourceFailed
from aisle.rules.download_names import authority_of

T = TypeVar("T")

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, for a port. Blocks; raises OSError or UnicodeError."""

_KEPT_S = 50.0  # libcurl forgets after 60 s: it should not come to look names up itself
_REMEMBERED_MAX = 10_000
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_ADDRESSES_MAX = 8


class _Known(NamedTuple):
    """Where a server is, for a while."""

    until_s: float
    entry: str
    """What libcurl is told."""
    addresses: Sequence[str]
    port: int


class Names:
    """The names that this process has asked for. `lookup_s` is the longest that one may take."""

    def __init__(self, *, lookup_s: float, resolve: Resolve | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._lookup_s = lookup_s
        self._resolve = resolve or _system_addresses
        self._known: dict[str, _Known] = {}  # by scheme and authority, as they stand in links
        self._told_until_s: dict[str, float] = {}  # what libcurl has heard of them
        self._lookups: dict[tuple[str, int], asyncio.Future[Sequence[str]]] = {}

    def is_known(self, link: str) -> bool:
        """Whether nobody need look for the server of a normalised link."""
        known = self._known.get(_server(link))
        return known is not None and known.until_s > self._loop.time()

    def address(self, link: str) -> tuple[str, int] | None:
        """An address of a link's server and its port; None if there is nothing known, or only to libcurl."""
        known = self._known.get(_server(link))
        if known is None or known.until_s <= self._loop.time() or not known.addresses:
            return None
        return known.addresses[0], known.port

    def untold(self, link: str) -> str:
        """What libcurl was not told yet about a link's server, empty if nothing; it counts as told then."""
        server = _server(link)
        known = self._known.get(server)
        if known is None or not known.entry or self._told_until_s.get(server) == known.until_s:
            return ""
        self._told_until_s[server] = known.until_s
        return known.entry

    async def entry(self, link: str) -> str:
        """What to tell libcurl about the server of a link; empty where there is nothing to look up.

        Raises SourceFailed if the name has no address, or nobody tells it in time.
        """
        host, port = _host_and_port(link)
        if not host:
            self._remember(link, _Known(float("inf"), "", *_literal(link)))
            return ""
        lookup = self._lookups.get((host, port)) or self._look_up(host, port)
        try:
            async with asyncio.timeout(self._lookup_s):
                addresses = await asyncio.shield(lookup)
        except TimeoutError as error:
            raise SourceFailed(f"the host's name cannot be resolved ({host}: no answer in time)") from error
        except (OSError, UnicodeError) as error:
            raise SourceFailed(f"the host's name cannot be resolved ({host}: {error})") from error
        if not addresses:
            raise SourceFailed(f"the host's name cannot be resolved ({host}: no address)")
        shown = (f"[{address}]" if ":" in address else address for address in addresses)
        entry = f"+{host}:{port}:{','.join(shown)}"
        self._remember(link, _Known(self._loop.time() + _KEPT_S, entry, addresses, port))
        return entry

    def _remember(self, link: str, known: "_Known") -> None:
        if len(self._known) >= _REMEMBERED_MAX:
            self._known.clear()
            self._told_until_s.clear()
        self._known[_server(link)] = known

    def _look_up(self, host: str, port: int) -> "asyncio.Future[Sequence[str]]":
        lookup = self._lookups[host, port] = in_own_thread(partial(self._resolve, host, port))
        lookup.add_done_callback(lambda _: self._lookups.pop((host, port)))
        return lookup


def in_own_thread(work: Callable[[], T]) -> "asyncio.Future[T]":
    """Run what may wait for a name server in a thread of its own; what it raises, the future raises."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()
    future.add_done_callback(_seen)

    def settle(act: Callable[[], None]) -> None:
        if not future.done():
            act()

    def run() -> None:
        try:
            act = partial(future.set_result, work())
        except Exception as error:  # noqa: BLE001 - it is handed on
            act = partial(future.set_exception, error)
        try:
            loop.call_soon_threadsafe(settle, act)
        except RuntimeError:  # the loop is closed: nobody wants to know any more
            pass

    # A daemon: a process that ends does not wait for a name server.
    threading.Thread(target=run, name="resolve", daemon=True).start()
    return future


def _seen(future: "asyncio.Future[T]") -> None:
    """Nobody may have waited for its end."""
    if not future.cancelled():
        future.exception()


def _server(link: str) -> str:
    end = link.find("/", len("https://"))
    return link if end < 0 else link[:end]


def _host_and_port(link: str) -> tuple[str, int]:
    """The name to look up, and its port; no name for an address, or one that libcurl reads in its own way."""
    host, colon, digits = authority_of(link).rpartition("@")[2].partition(":")
    host = host.lower()
    if not _NAME.fullmatch(host) or (colon and not digits.isdigit()) or _is_local(host):
        return "", 0
    return host, int(digits) if digits else 443 if link[:5].lower() == "https" else 80


def _literal(link: str) -> tuple[Sequence[str], int]:
    """The address and port that stand in a link without a name; no address if only libcurl can read it."""
    host, colon, digits = authority_of(link).rpartition("@")[2].partition(":")
    if colon and not digits.isdigit():
        return (), 0
    port = int(digits) if digits else 443 if link[:5].lower() == "https" else 80
    if _NAME.fullmatch(host) and _is_local(host.lower()):
        return ("127.0.0.1",), port
    try:
        return (str(IPv4Address(host)),), port
    except ValueError:
        return (), 0


def _is_local(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _system_addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    # A link-local address with its interface cannot be written down here, and is refused anyway.
    return [address for address in addresses if "%" not in address][:_ADDRESSES_MAX]
