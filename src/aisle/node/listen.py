"""The listening sockets: opened once by the supervisor, shared by all workers.

One socket for all, instead of one per worker (`SO_REUSEPORT`): when a worker dies, the connections
that wait in the queue are taken by the others instead of being reset.
"""

import ipaddress
import socket
from collections.abc import Sequence
from typing import NamedTuple

from aisle.errors import ConfigError, StartError

BACKLOG = 1024


class Address(NamedTuple):
    """Where to listen, as the user wrote it: `host` is empty for every address of the machine."""

    host: str
    port: int


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT` or `:PORT`; raises ConfigError."""
    host, colon, port = text.strip().rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError([f"listen: want HOST:PORT such as 127.0.0.1:8080, not {text!r}"])
    if ":" in host and not is_bracketed:
        raise ConfigError([f"listen: an IPv6 address needs brackets: [{host}]:{port}"])
    return Address(host[1:-1] if is_bracketed else host, int(port))


def resolve(address: Address) -> list[tuple[socket.AddressFamily, str, int]]:
    """Family, numeric address and port of each place to bind; raises StartError if there is none."""
    if not address.host:
        # One IPv6 socket takes both kinds; machines without IPv6 get the other.
        return [(socket.AF_INET6, "::", address.port), (socket.AF_INET, "0.0.0.0", address.port)]
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise StartError(f"listen: {address.host} cannot be resolved: {error}") from error
    places = [(family, str(sockaddr[0]), address.port) for family, _, _, _, sockaddr in found]
    return list(dict.fromkeys(places))


def is_loopback(address: Address) -> bool:
    """Whether only this machine reaches the address; raises StartError if it cannot be resolved."""
    hosts = [host.partition("%")[0] for _, host, _ in resolve(address)]
    return all(ipaddress.ip_address(host).is_loopback for host in hosts)


def refuse_strangers(addresses: Sequence[Address]) -> None:
    """Raises StartError if any address is reachable from elsewhere."""
    for address in addresses:
        if not is_loopback(address):
            shown = shown_address(address.host, address.port) if address.host else "every address"
            raise StartError(
                f"refusing to listen on {shown} without credentials: everybody who reaches it could "
                "read and change everything.\n"
                "Set AISLE_ROOT_ACCESS_KEY and AISLE_ROOT_SECRET_KEY, so that everybody needs a key; or "
                "listen on this machine only (--listen 127.0.0.1:8080); or say --insecure if the network "
                "in front of it is trusted."
            )


def open_listeners(address: Address) -> list[socket.socket]:
    """Bound, listening, non-blocking sockets for one address; raises StartError.

    A name such as `localhost` may stand for several addresses; all get the same port, also when it
    was free to choose.
    """
    listeners: list[socket.socket] = []
    port = address.port
    refusals: list[str] = []
    for family, host, _ in resolve(address):
        try:
            listener = _listen(family, host, port)
        except OSError as error:
            refusals.append(f"{shown_address(host, port)}: {error.strerror or error}")
            continue
        listeners.append(listener)
        port = listener.getsockname()[1]
        if not address.host:
            break
    if not listeners:
        raise StartError(
            f"cannot listen on {'; '.join(refusals)}\nChoose another address with --listen HOST:PORT."
        )
    return listeners


def shown_address(host: str, port: int) -> str:
    """`HOST:PORT` as it stands in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted node takes its port at once, although old connections still linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
