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

from aisle.errors import SourceFailed
from aisle.rules.download_names import authority_of

Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, for a port. Blocks; raises OSError or UnicodeError."""

_KEPT_S = 50.0  # libcurl forgets after 60 s: it should not come to look names up itself
_REMEMBERED_MAX = 10_000
_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_ADDRESSES_MAX = 8


class Names:
    """The names that this process has asked for. `lookup_s` is the longest that one may take."""

    def __init__(self, *, lookup_s: float, resolve: Resolve | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._lookup_s = lookup_s
        self._resolve = resolve or _system_addresses
        self._known_until_s: dict[str, float] = {}  # by scheme and authority, as they stand in links
        self._lookups: dict[str, asyncio.Future[str]] = {}

    def is_known(self, link: str) -> bool:
        """Whether libcurl need not look for the server of a normalised link."""
        return self._known_until_s.get(_server(link), 0.0) > self._loop.time()

    async def entry(self, link: str) -> str:
        """What to tell libcurl about the server of a link; empty where there is nothing to look up.

        Raises SourceFailed if the name has no address, or nobody tells it in time.
        """
        host, port = _host_and_port(link)
        if not host:
            self._remember(link, float("inf"))
            return ""
        lookup = self._lookups.get(f"{host}:{port}") or self._look_up(host, port)
        try:
            async with asyncio.timeout(self._lookup_s):
                found = await asyncio.shield(lookup)
        except TimeoutError as error:
            raise SourceFailed(f"the host's name cannot be resolved ({host}: no answer in time)") from error
        self._remember(link, self._loop.time() + _KEPT_S)
        return found

    def _remember(self, link: str, until_s: float) -> None:
        if len(self._known_until_s) >= _REMEMBERED_MAX:
            self._known_until_s.clear()
        self._known_until_s[_server(link)] = until_s

    def _look_up(self, host: str, port: int) -> "asyncio.Future[str]":
        key = f"{host}:{port}"
        future: asyncio.Future[str] = self._loop.create_future()
        self._lookups[key] = future
        future.add_done_callback(lambda done: self._forget(key, done))

        def settle(addresses: Sequence[str], error: Exception | None) -> None:
            if future.done():
                return
            if error is None and addresses:
                shown = (f"[{address}]" if ":" in address else address for address in addresses)
                future.set_result(f"+{key}:{','.join(shown)}")
            else:
                failed = SourceFailed(f"the host's name cannot be resolved ({host}: {error or 'no address'})")
                failed.__cause__ = error
                future.set_exception(failed)

        def work() -> None:
            addresses: Sequence[str] = ()
            failed: Exception | None = None
            try:
                addresses = self._resolve(host, port)
            except (OSError, UnicodeError) as error:
                failed = error
            try:
                self._loop.call_soon_threadsafe(settle, addresses, failed)
            except RuntimeError:  # the loop is closed: nobody wants to know any more
                pass

        # A daemon: a process that ends does not wait for a name server.
        threading.Thread(target=work, name=f"resolve {host}", daemon=True).start()
        return future

    def _forget(self, key: str, done: "asyncio.Future[str]") -> None:
        del self._lookups[key]
        if not done.cancelled():
            done.exception()  # seen, also when all who waited have gone


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


def _is_local(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _system_addresses(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    # A link-local address with its interface cannot be written down here, and is refused anyway.
    return [address for address in addresses if "%" not in address][:_ADDRESSES_MAX]
