"""The egress guard at work: no socket is opened towards an address that the policy refuses.

libcurl asks us for every socket it connects, redirects and second address families included, so the
check is about the address really used and a name that changes its mind gains nothing. A proxy hides
that address; then the names are resolved here first. (The proxy may resolve a name differently: who
configures one trusts it to keep what is behind it out of reach.)
"""

import socket
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

import pycurl

from aisle.errors import EgressDenied, SourceFailed
from aisle.rules.egress import EgressPolicy, refusal
from aisle.transfer.resolving import in_own_thread

Refused = Callable[[str], None]
"""Told why a socket was not opened."""


class EgressGuard:
    """Opens the sockets of outgoing requests. `proxy` is a URL, or empty for direct connections."""

    def __init__(self, policy: EgressPolicy, *, proxy: str = "") -> None:
        self._policy = policy
        self.proxy = proxy

    def open_socket(self, address: tuple[object, ...], refused: Refused) -> socket.socket | int:
        """A socket for libcurl's address tuple (family, type, protocol, (host, port, …)).

        When the address is refused, or no socket can be had, `refused` is told and libcurl gets its
        sign for "none".
        """
        family, kind, protocol, target = address
        assert isinstance(family, int)
        assert isinstance(kind, int)
        assert isinstance(protocol, int)
        if not self.proxy:
            # Names of Unix sockets come as bytes: nothing but IP may be connected to.
            host = target[0] if isinstance(target, tuple) and target else "a local socket"
            reason = refusal(str(host), self._policy)
            if reason is not None:
                refused(reason)
                return int(pycurl.SOCKET_BAD)
        return socket.socket(family, kind, protocol)

    async def check_link(self, link: str) -> None:
        """Resolve the host of a link that will go through the proxy, and check all its addresses.

        Raises EgressDenied if any is refused, SourceFailed if the name cannot be resolved.
        """
        host = urlsplit(link).hostname or ""
        try:
            found = await in_own_thread(partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise SourceFailed(f"cannot resolve {host}: {error}") from error
        for _, _, _, _, address in found:
            reason = refusal(str(address[0]), self._policy)
            if reason is not None:
                raise EgressDenied(reason)
