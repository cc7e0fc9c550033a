"""Requests that are addressed to other names than the node's own: buckets as hosts, sources, web servers.

A bucket may be named by its host (`BUCKET.s3.example.com`, for the domains of `s3.domains`). And a node may
stand where the source of a bucket is: who has signed a request for that source then only has to reach the
node instead, and the Host field says what was signed. Both become requests for `/s3/BUCKET/KEY`; what is
signed is checked as it came.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from aisle.api.credentials import shows_s3_credentials, shows_version_2
from aisle.api.forward_proxy import ForwardProxy
from aisle.api.gate import Gate
from aisle.api.payload import verified_body
from aisle.api.s3.errors import s3_refusal
from aisle.api.s3.names import OWN_FIRST, alias_of
from aisle.api.s3.origins import OriginOf, places_of_bucket
from aisle.errors import AisleError
from aisle.gateway.buckets import Buckets
from aisle.httpd.head import ABSOLUTE
from aisle.httpd.request import NO_BODY, Request
from aisle.httpd.response import Answer
from aisle.model.bucket import BucketInfo
from aisle.model.principal import PASS_THROUGH
from aisle.rules.s3_places import Place

_PORTS: Final = (":443", ":80")


class OwnNames(NamedTuple):
    """How clients may address the node and its buckets."""

    authorities: frozenset[str] = frozenset()
    """Hosts with ports that are certainly the node itself: nothing else is looked for there."""
    domains: tuple[str, ...] = ()
    """Names whose subdomains are buckets of the S3 dialect."""
    order: tuple[str, ...] = OWN_FIRST
    """Providers, as their buckets take precedence where S3 clients name one that several have."""


class Arrivals:
    """Finds out what requests for other names mean; one per process."""

    def __init__(
        self,
        buckets: Buckets,
        gate: Gate,
        s3: Callable[[Request], Answer],
        *,
        names: OwnNames,
        origin_of: OriginOf | None,
        forward: ForwardProxy | None = None,
    ) -> None:
        """`forward` answers requests whose target is a whole URL; None where nobody does."""
        self._gate = gate
        self._s3 = s3
        self._domains = tuple(f".{domain.lower().strip('.')}" for domain in names.domains)
        self._origin_of = origin_of
        self._forward = forward
        self._snapshot: Callable[[], Mapping[str, BucketInfo | None]] = buckets.snapshot
        self._seen: Mapping[str, BucketInfo | None] = {}
        self._places: dict[str, list[tuple[Place, bytes]]] = {}

    def answer(self, request: Request) -> Answer | None:
        """The answer to a request for one of those names; None if it is for the node itself."""
        host = request.headers.get("host", "").lower()
        path = self._path_at_source(request, host)
        if path is not None and shows_s3_credentials(request):
            return self._passed(request, path)
        if ABSOLUTE in request.headers and self._forward is not None and self._forward.is_meant(request):
            return self._forward.answer(request)
        path = self._path_of_domain(request, host)
        if path is not None:
            return self._addressed(request, path)
        return None

    def _passed(self, request: Request, path: bytes) -> Answer:
        """The answer to what is signed for the source of a bucket."""
        try:
            principal = self._gate.admit_passed(request)
            request.path = path
            if principal is not PASS_THROUGH:
                _verify_body(request)
        except AisleError as error:
            return s3_refusal(error, request)
        return self._s3(request)

    def _addressed(self, request: Request, path: bytes) -> Answer:
        """The answer to a request whose host names the bucket."""
        try:
            if shows_version_2(request):
                request.path = path  # it signs the bucket's name before the key
            self._gate.admit(request)
            request.path = path
            _verify_body(request)
        except AisleError as error:
            return s3_refusal(error, request)
        return self._s3(request)

    def _path_at_source(self, request: Request, host: str) -> bytes | None:
        """What a path means that was addressed to the source of a bucket."""
        if self._snapshot() is not self._seen:
            self._learn()
        if not self._places:
            return None
        for port in _PORTS:
            host = host.removesuffix(port)
        for place, name in self._places.get(host, ()):
            rest = place.rest_of(request.path)
            if rest is not None:
                return b"/s3/%b%b" % (name, rest)
        return None

    def _learn(self) -> None:
        self._seen = self._snapshot()
        self._places.clear()
        for info in self._seen.values():
            if info is None or not info.passes_signed or self._origin_of is None:
                continue
            if info.bucket.namespace:
                continue  # no name leads S3 clients there
            try:
                places = places_of_bucket(info, self._origin_of(info))
            except AisleError:
                continue  # it cannot be reached: told to those who ask for the bucket
            name = quote(alias_of(info)).encode()
            for place in places:
                self._places.setdefault(place.authority, []).append((place, name))

    def _path_of_domain(self, request: Request, host: str) -> bytes | None:
        """What a path means at a name below one of the domains."""
        if not self._domains:
            return None
        name = host.rpartition(":")[0] if host[-1:].isdigit() and ":" in host else host
        for domain in self._domains:
            if name.endswith(domain) and len(name) > len(domain):
                return b"/s3/%b%b" % (quote(name[: -len(domain)], safe="").encode(), request.path)
        return None


def _verify_body(request: Request) -> None:
    if request.body is not NO_BODY:
        request.body = verified_body(request)
