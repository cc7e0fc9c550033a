"""The gateways of attached clusters: which one is asked, and who is asked when it does not answer.

Requests are spread over all gateways that are known: those that were attached, and those of the
cluster's own map, which is followed. One that does not answer is left alone for a while.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol
from urllib.parse import urljoin

import msgspec

from aisle.backends.visited import VIA_FIELD, visited
from aisle.errors import AisleError, ClusterNotAttached, SourceDenied, SourceFailed, SourceUnreachable
from aisle.model.attachment import CLUSTER_ID, Attachment, Json

if TYPE_CHECKING:
    from aisle.transfer.exchange import Answered, Exchanges

PROBE_TIMEOUT_S: Final = 5.0
"""How long a cluster may take to say that it lives."""
SHUNNED_S: Final = 10.0
"""How long a gateway that did not answer is not asked, unless there is no other."""

_MAP: Final = "/v1/daemon?what=smap"
_HEALTH: Final = "/v1/health"
_ABOUT_ITSELF: Final = (_MAP, _HEALTH)
"""What a cluster tells of itself, it tells even to itself."""
_FRESH_S: Final = 2.0
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_REDIRECTS_MAX: Final = 3
_MAP_BYTES_MAX: Final = 8 * 1024 * 1024


class Call(NamedTuple):
    """A request to a cluster, without the address of a gateway."""

    method: str
    target: str
    """Path and query, percent-encoded."""
    headers: tuple[tuple[str, str], ...] = ()
    body: AsyncIterator[bytes] | bytes = b""
    length: int = 0
    """Bytes of a body that is an iterator."""


class Contact(NamedTuple):
    """What came of asking a cluster how it is."""

    is_online: bool
    uptime_ns: int = 0


class Attachments(Protocol):
    """What is attached."""

    def find(self, name: str) -> Attachment | None:
        """The attachment of this alias or UUID."""

    def token(self, attachment: Attachment) -> str:
        """The bearer token to show; empty for none. Raises Unavailable where it cannot be unwrapped."""

    async def learn(self, alias: str, document: Json) -> None:
        """Keep a cluster's map. Raises SourceFailed if it is another cluster's than before."""


class Gateways:
    """Asks attached clusters, for one event loop."""

    def __init__(
        self,
        attachments: Attachments,
        *,
        connect: Callable[[str], "Exchanges"],
        cluster_id: str,
        now_s: Callable[[], float] = monotonic,
    ) -> None:
        """`connect` opens a transport that trusts certificates of a file; `cluster_id` is our own."""
        self._attachments = attachments
        self._connect = connect
        self._cluster_id = cluster_id
        self._now_s = now_s
        self._exchanges: dict[str, Exchanges] = {}
        self._failed_s: dict[str, float] = {}
        self._answered_s: dict[str, float] = {}
        self._turns = count()

    async def send(self, name: str, call: Call) -> "Answered":
        """The answer of the cluster of this alias or UUID, whatever its status.

        Raises ClusterNotAttached, SourceUnreachable where no gateway answers,
        SourceFailed for an answer that leads elsewhere, and what the body raises.
        """
        attachment = self._attached(name)
        if not attachment.uuid:
            await self.refresh(attachment.alias)
            attachment = self._attached(name)
        if isinstance(call.body, bytes):
            return await self._redirected(attachment, call, await self._any(attachment, call))
        base = await self._alive(attachment)
        if attachment.redirects:
            # Its gateways only say where the bytes go, and would throw away those that came along.
            asked = await self._exchange(attachment, base, call._replace(body=b"", length=0))
            location = asked.fields.get("location", "")
            if asked.status not in _REDIRECTS or not location:
                return asked
            asked.close()
            base, target = _split(attachment, urljoin(base + call.target, location))
            call = call._replace(target=target)
        return await self._exchange(attachment, base, call)

    async def refresh(self, name: str, *, strictly: bool = False) -> Contact:
        """Ask a cluster for its map and keep it. Raises SourceUnreachable, SourceFailed, ClusterNotAttached.

        One gateway that answers is enough; `strictly` if what answers at any other must be one, too.
        """
        attachment = self._attached(name)
        answers = await asyncio.gather(
            *(self._map(attachment, url) for url in attachment.gateways), return_exceptions=True
        )
        found: list[tuple[int, Json]] = []
        failures: list[BaseException] = []
        for answer in answers:
            if not isinstance(answer, BaseException):
                found.append((msgspec.structs.replace(attachment, map=answer).version, answer))
            elif not isinstance(answer, AisleError) or (
                strictly and not isinstance(answer, SourceUnreachable)
            ):
                raise answer
            else:
                failures.append(answer)
        if not found:
            raise failures[0]
        for _, document in sorted(found, key=lambda each: each[0]):
            await self._attachments.learn(attachment.alias, document)
        health = await self._any(self._attached(attachment.alias), Call("GET", _HEALTH))
        health.close()
        uptime = health.fields.get("ais-cluster-uptime", "")
        return Contact(True, int(uptime) if uptime.isascii() and uptime.isdigit() else 0)

    async def _map(self, attachment: Attachment, url: str) -> Json:
        answer = await self._probe(attachment, url, _MAP)
        return _map_of(answer.status, await answer.read(_MAP_BYTES_MAX))

    def close(self) -> None:
        """Give connections back."""
        opened, self._exchanges = list(self._exchanges.values()), {}
        for exchanges in opened:
            exchanges.close()

    def _attached(self, name: str) -> Attachment:
        attachment = self._attachments.find(name)
        if attachment is None:
            raise ClusterNotAttached(name)
        return attachment

    async def _any(self, attachment: Attachment, call: Call) -> "Answered":
        """The answer of the first gateway that gives one."""
        failure: SourceUnreachable | None = None
        for base in self._in_turn(attachment):
            try:
                return await self._exchange(attachment, base, call)
            except SourceUnreachable as error:
                failure = error
        assert failure is not None
        raise failure

    async def _alive(self, attachment: Attachment) -> str:
        """A gateway that answers: what is sent there can be sent only once."""
        failure: AisleError | None = None
        for base in self._in_turn(attachment):
            if self._now_s() - self._answered_s.get(base, -_FRESH_S) < _FRESH_S:
                return base
            try:
                (await self._probe(attachment, base, _HEALTH)).close()
            except SourceUnreachable as error:
                failure = error
            else:
                return base
        assert failure is not None
        raise failure

    async def _probe(self, attachment: Attachment, base: str, target: str) -> "Answered":
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self._exchange(attachment, base, Call("GET", target))
        except TimeoutError as error:
            self._failed_s[base] = self._now_s()
            raise SourceUnreachable(f"{base} does not answer within {PROBE_TIMEOUT_S:g} s") from error

    def _in_turn(self, attachment: Attachment) -> list[str]:
        """All gateways, another one first each time, and those last that did not answer lately."""
        known = attachment.gateways
        turn = next(self._turns) % len(known)
        now_s = self._now_s()
        known = known[turn:] + known[:turn]
        return sorted(known, key=lambda url: now_s - self._failed_s.get(url, -SHUNNED_S) < SHUNNED_S)

    async def _exchange(self, attachment: Attachment, base: str, call: Call) -> "Answered":
        # Most nodes have no other cluster attached, and load no transport in their workers.
        from aisle.transfer.exchange import Outgoing

        exchanges = self._exchanges.get(attachment.ca_file)
        if exchanges is None:
            exchanges = self._exchanges[attachment.ca_file] = self._connect(attachment.ca_file)
        headers = list(call.headers)
        if not call.target.startswith(_ABOUT_ITSELF):
            headers.append((VIA_FIELD, ",".join((*visited.get(), self._cluster_id))))
        if token := self._attachments.token(attachment):
            headers.append(("Authorization", f"Bearer {token}"))
        request = Outgoing(call.method, base + call.target, tuple(headers), call.body, call.length)
        try:
            answered = await exchanges.send(request)
        except SourceUnreachable:
            self._failed_s[base] = self._now_s()
            self._answered_s.pop(base, None)
            raise
        self._failed_s.pop(base, None)
        self._answered_s[base] = self._now_s()
        return answered

    async def _redirected(self, attachment: Attachment, call: Call, answered: "Answered") -> "Answered":
        """The answer of whom a gateway names instead of itself."""
        base = attachment.gateways[0]
        for _ in range(_REDIRECTS_MAX):
            location = answered.fields.get("location", "")
            if answered.status not in _REDIRECTS or not location:
                return answered
            answered.close()
            base, target = _split(attachment, urljoin(base + call.target, location))
            call = call._replace(target=target)
            answered = await self._exchange(attachment, base, call)
        answered.close()
        raise SourceFailed(f"{base} leads to nowhere")


def _split(attachment: Attachment, link: str) -> tuple[str, str]:
    """Base and target of an address to which a gateway leads: nothing is sent to strangers."""
    for base in (*attachment.targets, *attachment.gateways):
        if link.startswith(f"{base}/"):
            return base, link[len(base) :]
    raise SourceFailed(f"cluster {attachment.alias} leads to {link[:200]}, which is not in its map")


def _map_of(status: int, body: bytes) -> Json:
    if status in (401, 403):
        raise SourceDenied("the remote cluster wants another token")
    document: object = None
    with suppress(msgspec.DecodeError, UnicodeDecodeError):
        document = msgspec.json.decode(body)
    uuid = document.get("uuid") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(uuid, str) or not CLUSTER_ID.fullmatch(uuid):
        raise SourceFailed("what answers there is no cluster: it has no map")
    return document
