"""One request: kept connections, retries, redirects.

A request that can be made twice is made again when its connection breaks before any answer, and when
the node says that it is busy or restarting. Creating things (POST) is never repeated. Gateways of a
cluster redirect object requests to the target that holds the name; a large body therefore waits for
the node's `100 Continue`, which also makes a refusal cheap.
"""

import io
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast
from urllib.parse import urljoin, urlsplit

from aisle import __version__
from aisle.client.bodies import BLOCK_BYTES, Body
from aisle.client.wire import Head, IncomingBody, Malformed, read_head, request_head
from aisle.errors import BadRequest, NodeFailed, NodeUnreachable

if TYPE_CHECKING:
    import ssl

USER_AGENT = f"aisle/{__version__}"
EXPECT_BYTES_MIN = 1024 * 1024  # below this, sending the body costs less than asking first
EXPECT_WAIT_S = 1.0  # for servers that never say `100 Continue`
ATTEMPTS_MAX = 4
FIRST_PAUSE_S = 0.1
REDIRECTS_MAX = 5
DRAINED_BYTES_MAX = 64 * 1024  # reading this much off costs less than a new connection
REPEATABLE_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE"})
REDIRECT_STATUSES = frozenset({301, 302, 307, 308})
BUSY_STATUSES = frozenset({429, 503})


class Origin(NamedTuple):
    """Where a node listens."""

    secure: bool
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> "Origin":
        """The origin of a URL. Raises BadRequest if it is not one of HTTP."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            port = parts.port
        except ValueError as error:
            raise BadRequest(f'"{url}" is not the URL of a node: {error}') from error
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadRequest(f'"{url}" is not the URL of a node such as http://127.0.0.1:8080')
        secure = parts.scheme == "https"
        return cls(secure, parts.hostname, port or (443 if secure else 80))

    def __str__(self) -> str:
        return f"{'https' if self.secure else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port as the `Host` field has them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request; `target` is its path and query, percent-encoded."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=Body)


class Credentials(Protocol):
    """What shows a node who asks."""

    def fields(self, method: str, target: str, authority: str) -> Mapping[str, str]:
        """The header fields that a request for `target` at that host and port needs."""


class Trust(NamedTuple):
    """Which certificates are trusted over TLS, and which one is shown. Empty paths mean what is usual."""

    authority_path: str = ""
    """Certificates of authorities beside those that the system trusts, in PEM."""
    certificate_path: str = ""
    private_key_path: str = ""
    """Of the certificate; empty where the certificate's file holds it."""
    verifies: bool = True
    """Whether the node must show a certificate that is trusted; else anybody may answer in its place."""

    def context(self) -> "ssl.SSLContext":
        """What connections are made with. Raises BadRequest for files that hold no certificate."""
        import ssl

        context = ssl.create_default_context()
        try:
            if self.authority_path:
                context.load_verify_locations(self.authority_path)
        except OSError as error:
            raise BadRequest(f"{self.authority_path} holds no certificates") from error
        try:
            if self.certificate_path:
                context.load_cert_chain(self.certificate_path, self.private_key_path or None)
        except OSError as error:
            text = f"{self.certificate_path} holds no certificate with the private key that belongs to it"
            raise BadRequest(text) from error
        if not self.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class BrokenOff(NodeUnreachable):
    """The connection broke before any answer: nobody knows whether the node acted."""


class Connection:
    """One connection, and the stream of what comes from it."""

    def __init__(self, socket_: socket.socket) -> None:
        self.socket = socket_
        self.reader = cast("io.BufferedReader", socket_.makefile("rb", buffering=64 * 1024))

    def close(self) -> None:
        """Close it; harmless when done before."""
        self.reader.close()
        self.socket.close()


class Answer:
    """A status, header fields and a body to be read. Close it: a drained connection is kept."""

    def __init__(
        self, head: Head, body: IncomingBody, origin: Origin, release: Callable[[bool], None]
    ) -> None:
        self.status = head.status
        self.reason = head.reason
        self.headers = head.fields
        """Names in lower case."""
        self.origin = origin
        self.is_bodiless = False
        """Whether it can have no body, as for HEAD; an error is then told in a header."""
        self.repeated = False
        """Whether the request was made more than once: an earlier one may have been carried out."""
        self._keeps = head.keeps
        self._body = body
        self._release = release
        self._closed = False

    def read(self) -> bytes:
        """The whole body; only for answers that are small by nature. Raises NodeUnreachable."""
        return b"".join([bytes(block) for block in self.blocks()])

    def blocks(self) -> Iterator[memoryview]:
        """The body in blocks, each valid until the next. Raises NodeUnreachable if it breaks off."""
        announced, received = self._body.length, 0
        if announced == 0:
            return
        buffer = memoryview(bytearray(min(BLOCK_BYTES, announced or BLOCK_BYTES)))
        try:
            while count := self._body.readinto(buffer):
                received += count
                yield buffer[:count]
        except (Malformed, OSError) as error:
            of_all = "" if announced is None else f" of {announced}"
            # That it ended is the whole story; anything else is worth a word.
            why = "" if isinstance(error, ConnectionResetError) else f": {reason_of(error)}"
            reason = f"the connection broke after {received}{of_all} bytes{why}"
            raise NodeUnreachable(str(self.origin), reason) from error

    def close(self, *, drain: bool = False) -> None:
        """Give the connection back; harmless when done before.

        With `drain` a short rest of the body is read, so that the connection can be kept. Without,
        it never waits: it may be called because the user has had enough.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if drain and (self._body.left or 0) <= DRAINED_BYTES_MAX and self._body.length is not None:
                for _ in self.blocks():
                    pass
        except NodeUnreachable:
            self._release(False)
        else:
            self._release(self._body.is_over and self._keeps)


class Requester(Protocol):
    """What makes requests for a client."""

    def request(self, call: Call) -> Answer:
        """Make the request and return its answer, whatever its status."""

    def close(self) -> None:
        """Release what it holds."""


class Connections:
    """Kept connections to the nodes behind one endpoint; threads may share it."""

    def __init__(
        self,
        endpoint: str,
        *,
        timeout_s: float,
        credentials: Credentials | None = None,
        trust: Trust | None = None,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.origin = Origin.of(endpoint)
        self._credentials = credentials
        self._trust = trust or Trust()
        self._timeout_s = timeout_s
        self._pause = pause
        # list.append and list.pop are atomic: no lock is needed.
        self._idle: dict[Origin, list[Connection]] = {}

    def request(self, call: Call) -> Answer:
        """Make the request and return its answer, whatever its status; redirects are followed.

        Raises NodeUnreachable when there is none, and NodeFailed when it is not HTTP.
        """
        origin = self.origin
        for _ in range(REDIRECTS_MAX):
            answer = self._persist(origin, call)
            location = answer.headers.get("location")
            if answer.status not in REDIRECT_STATUSES or not location:
                return answer
            answer.close(drain=True)
            if not call.body.rewind():
                raise BadRequest(f"{origin} redirects, and a pipe cannot be sent twice: use a file")
            url = urlsplit(urljoin(f"{origin}{call.target}", location))
            origin = Origin.of(url.geturl())
            call = replace(call, target=f"{url.path}?{url.query}" if url.query else url.path)
        raise NodeFailed(f"{self.origin} redirects without end", status=answer.status)

    def close(self) -> None:
        """Close the kept connections."""
        for connections in self._idle.values():
            while connections:
                connections.pop().close()

    @cached_property
    def _tls(self) -> "ssl.SSLContext":
        return self._trust.context()

    def _persist(self, origin: Origin, call: Call) -> Answer:
        """Try until there is an answer that is not "busy", as often as the request allows."""
        attempts_max = ATTEMPTS_MAX if call.method in REPEATABLE_METHODS else 1
        for attempt in range(1, attempts_max + 1):
            try:
                # A kept connection may be gone by now: what cannot be repeated gets a fresh one.
                answer = self._exchange(origin, call, fresh=attempt == attempts_max)
            except BrokenOff:
                if attempt == attempts_max or not call.body.rewind():
                    raise
            else:
                answer.repeated = attempt > 1
                if answer.status not in BUSY_STATUSES or attempt == attempts_max or not call.body.rewind():
                    return answer
                answer.close(drain=True)
            self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _exchange(self, origin: Origin, call: Call, *, fresh: bool) -> Answer:
        is_bodiless = call.method == "HEAD"
        connection = self._connect(origin, fresh=fresh)
        try:
            sent_whole = _send(connection, self._with_credentials(origin, call), origin)
            head = read_head(connection.reader)
            body = IncomingBody(connection.reader, head, is_bodiless=is_bodiless)
        except BaseException as error:
            connection.close()
            if isinstance(error, OSError | Malformed):
                raise self._translated(origin, error) from error
            raise

        def release(reusable: bool) -> None:
            if reusable and sent_whole:
                self._idle.setdefault(origin, []).append(connection)
            else:
                connection.close()

        answer = Answer(head, body, origin, release)
        answer.is_bodiless = is_bodiless
        return answer

    def _with_credentials(self, origin: Origin, call: Call) -> Call:
        if self._credentials is None:
            return call
        fields = self._credentials.fields(call.method, call.target, origin.authority)
        return replace(call, headers={**call.headers, **fields})

    def _translated(self, origin: Origin, error: Exception) -> NodeUnreachable | NodeFailed:
        match error:
            case ConnectionResetError() | BrokenPipeError():
                return BrokenOff(str(origin), "it closed the connection before it answered")
            case TimeoutError():
                return NodeUnreachable(str(origin), f"no answer within {self._timeout_s:g} s")
            case Malformed():
                return NodeFailed(f"what answers at {origin} does not speak HTTP", status=0)
        return NodeUnreachable(str(origin), reason_of(error))

    def _connect(self, origin: Origin, *, fresh: bool) -> Connection:
        if not fresh:
            try:
                return self._idle[origin].pop()
            except (KeyError, IndexError):
                pass
        try:
            plain = socket.create_connection((origin.host, origin.port), timeout=self._timeout_s)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not origin.secure:
                return Connection(plain)
            try:
                return Connection(self._tls.wrap_socket(plain, server_hostname=origin.host))
            except BaseException:
                plain.close()
                raise
        except OSError as error:
            raise NodeUnreachable(str(origin), reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Why it failed, in a few words."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case Malformed():
            return "what came is not HTTP"
        case OSError() if message := getattr(error, "verify_message", ""):  # of ssl.SSLCertVerificationError
            return f"its certificate is not trusted ({message})"
        case OSError() if error.strerror:
            return error.strerror.lower()
    return str(error) or type(error).__name__


def _send(connection: Connection, call: Call, origin: Origin) -> bool:
    """Send the request; False when the node answered before it had the whole body."""
    body = call.body
    fields = {"Host": origin.authority, "User-Agent": USER_AGENT, **call.headers}
    if body.length is None:
        fields["Transfer-Encoding"] = "chunked"
    elif body.length or call.method in ("PUT", "POST"):
        fields["Content-Length"] = str(body.length)
    if body.whole is not None:
        connection.socket.sendall(request_head(call.method, call.target, fields) + body.whole)
        return True
    # MSG_PEEK does not work under TLS.
    asks_first = not origin.secure and (body.length is None or body.length > EXPECT_BYTES_MIN)
    if asks_first:
        fields["Expect"] = "100-continue"
    connection.socket.sendall(request_head(call.method, call.target, fields))
    if asks_first and not _may_continue(connection.socket):
        return False
    try:
        for block in body.blocks():
            framed = block if body.length is not None else b"%x\r\n%b\r\n" % (len(block), block)
            connection.socket.sendall(framed)
        if body.length is None:
            connection.socket.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        # A refusal may lie in our receive buffer: let the caller read it.
        return False
    return True


def _may_continue(connection: socket.socket) -> bool:
    """Wait for `100 Continue`; False when a final answer came instead."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    if not poll.poll(EXPECT_WAIT_S * 1000):
        return True
    return connection.recv(len(b"HTTP/1.1 100"), socket.MSG_PEEK).endswith(b" 100")
