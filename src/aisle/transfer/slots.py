"""Libcurl's handles, kept and used again: what never changes is set once."""

import ssl
import zlib
from collections.abc import Callable, Sequence
from typing import Final

import pycurl

from aisle import __version__
from aisle.rules.courtesy import never
from aisle.rules.download_reply import Reply, read_reply
from aisle.transfer.carriers import ABORT, PAUSE, SMALL_RECEIVE_BYTES, Receiver, RequestOptions
from aisle.transfer.decoding import Decoding, known_codings
from aisle.transfer.failures import whole_head
from aisle.transfer.guard import EgressGuard
from aisle.transfer.multi import Multi

USER_AGENT: Final = f"aisle/{__version__}"
_RECEIVE_BYTES: Final = 512 * 1024
"""What libcurl reads from a socket at once; it hands on 16 KiB at a time."""
_ABORT = -1  # a write callback's answer for "close the connection"


class Slot:
    """A libcurl handle, and who is told of its answer; a Carrier."""

    __slots__ = (
        "_decoding",
        "_entry",
        "_failed",
        "_head_due",
        "_is_left_to_libcurl",
        "_link",
        "_options",
        "_receive_bytes",
        "_resolved",
        "_shares",
        "_slots",
        "easy",
        "lines",
        "receiver",
    )

    def __init__(self, slots: "Slots", easy: pycurl.Curl) -> None:
        self.easy = easy
        self.receiver: Receiver | None = None
        self.lines: list[bytes] = []
        """The answer's head as it comes."""
        self._head_due = True
        self._options: RequestOptions | None = None  # what the handle was last set to
        self._receive_bytes = 0
        self._resolved = False  # whether it was told the addresses of a server
        # Whether it rather waits for a connection that may turn out to be HTTP/2 than opens another.
        self._shares = False
        self._slots = slots
        self._link = self._entry = ""
        self._decoding: Decoding | None = None  # of a body whose encoding is undone here
        self._failed = ""  # why the body cannot be unpacked
        self._is_left_to_libcurl = False  # its encoding is one that only libcurl may know
        easy.setopt(pycurl.WRITEFUNCTION, self._on_body)
        # No frame of ours per line; libcurl itself refuses heads of more than 300 KB.
        easy.setopt(pycurl.HEADERFUNCTION, self.lines.append)
        easy.setopt(pycurl.OPENSOCKETFUNCTION, self._on_socket)

    @property
    def is_multiplexed(self) -> bool:
        """Whether the answer comes over a connection that many share; known once its head has come."""
        return any(line.startswith((b"HTTP/2", b"HTTP/3")) for line in self.lines)

    def resume(self) -> None:
        """Go on after the receiver answered PAUSE. Never from within its callbacks."""
        self._slots.multi.resume(self.easy)

    def release(self) -> None:
        """Give the handle back; harmless for libcurl when it has ended the transfer itself."""
        if self.receiver is not None:
            self.receiver = None
            self._slots.take_back(self)

    def send(self, receiver: Receiver, link: str, options: RequestOptions, entry: str) -> None:
        """Ask; `entry` tells libcurl the addresses of the link's server, if it has not heard of them."""
        self.receiver = receiver
        easy = self.easy
        if entry or self._resolved:
            self._resolved = bool(entry)
            easy.setopt(pycurl.RESOLVE, [entry] if entry else [])
        self.lines.clear()
        self._head_due = True
        self._link, self._entry = link, entry
        self._decoding = None
        self._failed, self._is_left_to_libcurl = "", False
        easy.setopt(pycurl.URL, link)
        # Without TLS that is known only when the first request is answered: a silent one would hold up all.
        shares = link[:5].lower() == "https"
        if self._shares is not shares:
            self._shares = shares
            easy.setopt(pycurl.PIPEWAIT, int(shares))
        if self._options is not options:
            self._configure(options)
        receive_bytes = SMALL_RECEIVE_BYTES if self._slots.gives_way() else _RECEIVE_BYTES
        if self._receive_bytes != receive_bytes:
            self._receive_bytes = receive_bytes
            easy.setopt(pycurl.BUFFERSIZE, receive_bytes)
        self._slots.multi.add(easy, self._on_done)

    def _configure(self, options: RequestOptions) -> None:
        """Set the options of the next request, where they differ from the last one's."""
        known, self._options = self._options, options
        if known == options:
            return
        easy = self.easy
        headers = [f"{name}: {value}" for name, value in options.headers + options.private_headers]
        easy.unsetopt(pycurl.ENCODING)
        easy.setopt(pycurl.HTTPHEADER, [*headers, "Accept-Encoding: identity"])
        easy.setopt(pycurl.TIMEOUT_MS, int(options.timeout_s * 1000))

    def hand_to(self, receiver: Receiver) -> None:
        """From now on, tell this receiver instead."""
        self.receiver = receiver

    def _on_body(self, chunk: bytes) -> int | None:
        """Libcurl's write callback; it may be called with the same bytes again after a pause."""
        assert self.receiver is not None
        if self._head_due:
            reply = read_reply(self.lines)
            if reply.encoded and not self._can_decode(reply):
                return _ABORT
            self._head_due = False
            self.receiver.on_head(reply)
        # Whoever was told of the head may have had another one take its place.
        answer = self.receiver.on_body(chunk) if self._decoding is None else self._unpack(chunk)
        if not answer:
            return None
        return int(pycurl.WRITEFUNC_PAUSE) if answer == PAUSE else _ABORT

    def _can_decode(self, reply: Reply) -> bool:
        """Whether the encoding of a body is undone here, or by nobody; else libcurl has to be asked again."""
        if self._options is None or not self._options.decode or reply.status != 200:
            # Libcurl does it already, or nobody wants it: an encoded part is no part of an object.
            return True
        codings = known_codings(reply.fields["Content-Encoding"])
        self._is_left_to_libcurl = codings is None
        self._decoding = Decoding(codings) if codings else None
        return codings is not None

    def _unpack(self, chunk: bytes) -> int:
        """Tell what the next bytes become."""
        assert self._decoding is not None
        assert self.receiver is not None
        try:
            return self._decoding.tell(chunk, self.receiver.on_body)
        except zlib.error as error:
            self._failed = str(error)
            return ABORT

    def _on_socket(self, _purpose: int, address: tuple[object, ...]) -> object:
        """Libcurl's callback for a new socket."""
        assert self.receiver is not None
        self._slots.multi.socket_opened()
        return self._slots.guard.open_socket(address, self.receiver.on_refused)

    def _on_done(self, code: int, message: str) -> None:
        assert self.receiver is not None
        if self._is_left_to_libcurl:
            self._ask_libcurl_to_decode(self.receiver)
            return
        if code == 0 and self._head_due:
            if lines := whole_head(self.lines):
                self._head_due = False
                self.receiver.on_head(read_reply(lines))  # there was no body
            else:
                code, message = pycurl.E_GOT_NOTHING, "in the middle of its head"
        elif self._failed:
            code, message = pycurl.E_BAD_CONTENT_ENCODING, self._failed
        elif code == 0 and self._decoding is not None and not self._decoding.is_whole:
            code, message = pycurl.E_PARTIAL_FILE, "its compressed data end early"
        self.receiver.on_done(code, message)

    def _ask_libcurl_to_decode(self, receiver: Receiver) -> None:
        """Send the same request again, and have libcurl undo the encoding."""
        options = self._options
        assert options is not None
        self._options = options._replace(decode=False)  # not here, that is
        self.easy.setopt(pycurl.ENCODING, "identity")
        self.send(receiver, self._link, self._options, self._entry)
        self._options = None  # the next request sets its own


class Slots:
    """A pool of libcurl handles. What they send goes over connections that all of them share."""

    def __init__(
        self,
        multi: Multi,
        guard: EgressGuard,
        *,
        connect_timeout_s: float,
        gives_way: Callable[[], bool] = never,
    ) -> None:
        """See `Fetcher` for `gives_way`."""
        self.multi = multi
        self.gives_way = gives_way
        self.guard = guard
        self._connect_timeout_s = connect_timeout_s
        self._all: list[Slot] = []
        self._idle: list[Slot] = []
        self._certificates = ssl.get_default_verify_paths().cafile

    def send(self, receiver: Receiver, link: str, options: RequestOptions, entry: str) -> Slot:
        """Ask for a link; `entry` tells libcurl the addresses of its server, if it has not heard of them."""
        slot = self._idle.pop() if self._idle else self._new()
        slot.send(receiver, link, options, entry)
        return slot

    def take_back(self, slot: Slot) -> None:
        """Break off what a slot does, and keep it; for slots only."""
        self.multi.remove(slot.easy)
        self._idle.append(slot)

    def close(self) -> None:
        """Let all handles go; their connections are closed before."""
        for slot in self._all:
            slot.easy.close()

    def _new(self) -> Slot:
        easy = pycurl.Curl()
        options: Sequence[tuple[int, object]] = (
            (pycurl.NOSIGNAL, 1),
            (pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.REDIR_PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS),
            (pycurl.FOLLOWLOCATION, 0),
            (pycurl.PROXY, self.guard.proxy),  # empty also switches libcurl's own reading of http_proxy off
            (pycurl.NOPROXY, ""),  # nor is no_proxy read: what a proxy was to reach is not guarded as well
            (pycurl.USERAGENT, USER_AGENT),
            (pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_2TLS),
            (pycurl.CONNECTTIMEOUT_MS, int(self._connect_timeout_s * 1000)),
            (pycurl.TCP_KEEPALIVE, 1),
        )
        for option, value in options:
            easy.setopt(option, value)
        if self._certificates:
            easy.setopt(pycurl.CAINFO, self._certificates)
        slot = Slot(self, easy)
        self._all.append(slot)
        return slot
