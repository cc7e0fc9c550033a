"""The one gate: whether a caller may do what a route names.

Every route names an action; a route without one is never reached. Until credentials exist everybody
who reaches the node may do everything, so the gate's work is to keep web pages from using a browser
as their way in: on loopback a request must be addressed to loopback or to a configured name (a page
whose name was rebound to 127.0.0.1 sends its own), and a request that carries an Origin must come
from a page of ours. Authorization headers and signatures are ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import ip_address

from aisle.errors import Denied


class Action(IntFlag):
    """What a route does, in AIStore's access bits (ais-native-api.md §10.2)."""

    OPEN = 0
    """Tells nothing that needs a right: liveness, and which program answers."""
    GET = 1
    HEAD_OBJECT = 2
    PUT = 4
    APPEND = 8
    DELETE_OBJECT = 16
    MOVE_OBJECT = 32
    PROMOTE = 64
    UPDATE_OBJECT = 128
    HEAD_BUCKET = 256
    LIST_OBJECTS = 512
    PATCH = 1024
    SET_BUCKET_ACL = 2048
    LIST_BUCKETS = 4096
    SHOW_CLUSTER = 8192
    CREATE_BUCKET = 16_384
    DESTROY_BUCKET = 32_768
    MOVE_BUCKET = 65_536
    ADMIN = 131_072


ALL = Action(2**18 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Whom the gate lets in."""

    insecure: bool = False
    """The node serves other addresses than loopback, without credentials, by its owner's wish."""
    hosts: tuple[str, ...] = ()
    """Names, without port, by which the node may be addressed beside loopback."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, and what they may do."""

    name: str
    allowed: Action


ANONYMOUS = Principal("anonymous", ALL)
"""Whoever reaches a node that has no credentials."""

_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@]+)(?::\d*)?")
_REMEMBERED_MAX = 1024


class Gate:
    """Decides on each request; the same instance for every dialect."""

    def __init__(self, settings: GateSettings) -> None:
        self._insecure = settings.insecure
        self._hosts = frozenset(host.lower().strip("[]") for host in settings.hosts)
        self._allowed_hosts: set[str] = set()

    def admit(self, headers: Mapping[str, str]) -> Principal:
        """Who asks. Raises Denied for a request that a foreign web page may have caused."""
        host = headers.get("host", "")
        if host not in self._allowed_hosts:
            self._check_host(host)
        if "origin" in headers:
            self._check_origin(headers["origin"], host)
        return ANONYMOUS

    def authorize(self, principal: Principal, action: Action | None) -> None:
        """Raises Denied unless the principal may do what a route names; naming nothing closes it."""
        # The flags' own `&` is written in Python and takes as long as a look-up in the index.
        if action is None or int.__and__(action, principal.allowed) != action:
            raise Denied(f"{principal.name}: access denied")

    def _check_host(self, host: str) -> None:
        # HTTP/1.0 needs no Host, and no browser sends such requests.
        if host and not self._insecure and not self._is_ours(host):
            raise Denied(
                f'Host "{host[:80]}" is not a name of this node: use localhost or 127.0.0.1, or configure it'
            )
        if len(self._allowed_hosts) >= _REMEMBERED_MAX:
            self._allowed_hosts.clear()
        self._allowed_hosts.add(host)

    def _check_origin(self, origin: str, host: str) -> None:
        scheme, separator, authority = origin.partition("://")
        if not separator or scheme not in ("http", "https") or authority.lower() != host.lower():
            raise Denied(f'Origin "{origin[:80]}" is foreign: pages of other sites may not use this node')

    def _is_ours(self, authority: str) -> bool:
        found = _AUTHORITY.fullmatch(authority)
        if not found:
            return False
        name = found[1].strip("[]").lower().rstrip(".")
        if name in self._hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False
