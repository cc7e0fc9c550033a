"""The one gate: who asks, and whether they may do what a route names.

Every route names an action; a route without one is never reached. There are two cases.

Until credentials exist, everybody who reaches the node may do everything, and signatures that clients
send are ignored. The gate's work is then to keep web pages from using a browser as their way in: on
loopback a request must be addressed to loopback or to a configured name (a page whose name was
rebound to 127.0.0.1 sends its own), a request that carries an Origin must come from a page of ours, and
one that a browser says another site has led it to (Sec-Fetch-Site), be it by a mere link, is refused.

Once credentials exist, whoever shows none is a stranger, who may do what public buckets allow and ask
whether the node lives; wrong ones are refused whatever they are shown for. Browsers hold no
credentials of ours, so there is nothing that a foreign page could borrow.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from time import time
from typing import Final

from aisle.api.credentials import KeyRing, authenticate, authenticate_proxied
from aisle.errors import BucketAccessDenied, Denied, Unauthenticated, UnknownAccessKey
from aisle.httpd.request import Request
from aisle.model.access import access_names
from aisle.model.bucket import ALL_ACCESS, BucketInfo
from aisle.model.principal import (
    ALL,
    ANONYMOUS,
    CLUSTER,
    PASS_THROUGH,
    PASSED,
    READ,
    SETTLE,
    STRANGER,
    Action,
    Principal,
    granted,
)

__all__ = ["ALL", "ANONYMOUS", "Action", "Gate", "GateSettings", "Principal", "authorize", "permits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSettings:
    """Whom the gate lets in."""

    insecure: bool = False
    """The node serves other addresses than loopback, without credentials, by its owner's wish."""
    hosts: tuple[str, ...] = ()
    """Names, without port, by which the node may be addressed beside loopback."""
    domains: tuple[str, ...] = ()
    """Names whose subdomains are buckets; the node may be addressed by them too."""


_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@]+)(?::\d*)?")
_FETCH_SITE: Final = "sec-fetch-site"
"""Says what led a browser to a request; pages cannot set it."""
_LED_BY_OTHERS: Final = frozenset({"cross-site", "same-site"})
_REMEMBERED_MAX: Final = 1024
# Without credentials these are never refused: whoever may change a bucket's rights may give them back,
# and AIStore never blocks reads then (ais-native-api.md §10.1).
_OPEN_WITHOUT_CREDENTIALS: Final = READ | SETTLE


def authorize(principal: Principal, action: Action | None, bucket: BucketInfo | None = None) -> None:
    """Raises Denied unless the principal may do that to the bucket; naming nothing closes a route.

    `bucket` is the one that the action is done to, None if there is none. To strangers the refusal
    is Unauthenticated: they may come back with credentials. This is the one place that decides.
    """
    # The flags' own `&` is written in Python and takes as long as a look-up in the index.
    if action is None:
        raise Denied(f"{principal.name}: access denied")
    lacking = int.__and__(action, ~int(principal.allowed))
    if lacking and bucket is not None:
        if principal is not PASS_THROUGH:
            lacking &= ~int(granted(principal, owner=bucket.owner, acl=bucket.acl))
        elif bucket.passes_signed:
            lacking &= ~int(PASSED)
    if lacking:
        raise _refusal(principal, action, bucket)
    if bucket is not None and bucket.properties.access != ALL_ACCESS:
        _check_property(principal, action, bucket)


def permits(principal: Principal, action: Action | None, bucket: BucketInfo | None = None) -> bool:
    """Whether `authorize` would let it pass."""
    try:
        authorize(principal, action, bucket)
    except Denied:
        return False
    return True


def _refusal(principal: Principal, action: Action, bucket: BucketInfo | None) -> Denied:
    what = ",".join(access_names(action))
    if principal is STRANGER:
        # The bucket is not named: strangers learn nothing of which ones there are.
        return Unauthenticated(f"token required: {what} needs credentials")
    where = f"{bucket.bucket.cname}: " if bucket else ""
    return Denied(f"{where}access denied: {principal.name} may not {what}")


def _check_property(principal: Principal, action: Action, bucket: BucketInfo) -> None:
    """Refuse what the bucket's `access` property closes to everybody. Raises BucketAccessDenied."""
    left_open = int(bucket.properties.access)
    # Whoever may do everything may also open the bucket again.
    always = 0
    if principal.allowed == ALL:
        always = int(_OPEN_WITHOUT_CREDENTIALS if principal is ANONYMOUS else SETTLE)
    closed = int(action) & ~(left_open | always | int(CLUSTER))
    if closed:
        raise BucketAccessDenied(
            bucket.bucket.cname,
            denied=access_names(closed),
            allowed=access_names(left_open & int(ALL)),
        )


class Gate:
    """Decides on each request; the same instance for every dialect."""

    authorize = staticmethod(authorize)

    def __init__(
        self,
        settings: GateSettings | None = None,
        *,
        keys: KeyRing | None = None,
        now_s: Callable[[], float] = time,
    ) -> None:
        """`keys` knows all credentials; without it none exist."""
        settings = settings or GateSettings()
        self._insecure = settings.insecure
        self._hosts = frozenset(host.lower().strip("[]") for host in settings.hosts)
        self._domains = (".localhost", *(f".{domain.lower().strip('.')}" for domain in settings.domains))
        self._allowed_hosts: set[str] = set()
        self._keys = keys
        self._now_s = now_s
        self.passes: Callable[[Request], bool] = lambda _: False
        """Whether a request with a key that nobody has here is for the source of its bucket to judge."""

    @property
    def asks_for_credentials(self) -> bool:
        """Whether credentials exist, so that everybody has to show some."""
        return self._keys is not None

    def admit(self, request: Request) -> Principal:
        """Who asks; kept in the request as its `caller`, with the `seal` of a signed body.

        Raises Denied for a request that a foreign web page may have caused, and Unauthenticated for
        wrong credentials where some exist.
        """
        headers = request.headers
        if self._keys is None:
            host = headers.get("host", "")
            if host not in self._allowed_hosts:
                self._check_host(host)
            if "origin" in headers:
                self._check_origin(headers["origin"], host)
            if _FETCH_SITE in headers:
                _check_fetch_site(headers[_FETCH_SITE])
            return ANONYMOUS
        if request.caller is not ANONYMOUS:
            # It comes again, now that its bucket has been found, and an easy URL is another path by then.
            return request.caller
        return self._authenticated(request, self._keys, self.passes)

    def admit_passed(self, request: Request) -> Principal:
        """Who sends a signed request to a node that stands where the source of a bucket is.

        Only those whom this node knows are more than PASS_THROUGH. Raises as `admit`.
        """
        if self._keys is not None:
            return self._authenticated(request, self._keys, lambda _: True)
        if "origin" in request.headers:
            raise Denied("pages of other sites may not use this node")
        _check_fetch_site(request.headers.get(_FETCH_SITE, ""))
        request.caller = PASS_THROUGH
        return PASS_THROUGH

    def admit_proxied(self, request: Request) -> Principal:
        """Who sends a request to the node as a proxy. Raises as `admit`; `Authorization` is not for us."""
        if self._keys is not None:
            return authenticate_proxied(request, self._keys, now_s=self._now_s())
        if "origin" in request.headers:
            raise Denied("pages of other sites may not use this node")
        _check_fetch_site(request.headers.get(_FETCH_SITE, ""))
        return ANONYMOUS

    def is_own_host(self, host: str) -> bool:
        """Whether a Host field is one by which the node may be addressed while there are no credentials."""
        return self._is_ours(host)

    def _authenticated(self, request: Request, keys: KeyRing, passes: Callable[[Request], bool]) -> Principal:
        """Who shows these credentials; PASS_THROUGH for a key of nobody's in a request that `passes`."""
        try:
            principal, request.seal = authenticate(request, keys, now_s=self._now_s())
        except UnknownAccessKey:
            if not passes(request):
                raise
            principal = PASS_THROUGH
        request.caller = principal
        return principal

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
        # A domain of buckets itself is where clients list them.
        if name in self._hosts or f".{name}".endswith(self._domains):
            return True
        try:
            return ip_address(name).is_loopback
        except ValueError:
            return False


def _check_fetch_site(site: str) -> None:
    """Refuse what a page or a link of another site, or of another port of this host, has led a browser to."""
    if site.lower() in _LED_BY_OTHERS:
        raise Denied(
            f"Sec-Fetch-Site is {site[:20]}: pages of other sites may not use this node, nor lead to it by "
            "links: to open this address, type it into the browser yourself"
        )
