"""One fetch of an object for all processes of a node: who has the claim fetches, the others follow.

Each process listens on a Unix socket that is named after it. Who finds an object claimed connects to the
claim's holder, says which object it wants and how many bytes it has already, and is sent what the source
tells, the bytes that are still in memory, then all that come, and how it ends; earlier bytes it reads from
the holder's draft. When the connection ends before that, the holder is gone: whoever gets the claim then
goes on from the bytes that it has.

A frame is: length of the message, length of the bytes behind it (4 bytes little-endian each), the message
in MessagePack, the bytes. Both ends are the same version of the same program.
"""

import asyncio
import logging
import os
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

import msgspec

from aisle.backends.provider import RemoteObject
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ObjectNotFound,
    OutOfSpace,
    SourceChanged,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
    Unavailable,
    Unsupported,
)
from aisle.model.names import ObjectName
from aisle.model.record import Record
from aisle.target.claims import Claims
from aisle.target.fetch import Fetch

BEAT_S: Final = 5.0
"""How often a holder says that it lives, when it has nothing else to say."""
SILENCE_S: Final = 30.0
"""How long a follower hears nothing before it fetches by itself: the holder hangs."""
UNSENT_BYTES_MAX: Final = 32 * 1024 * 1024
"""A follower that takes so little is let go; it comes back when it can, and finds the rest in the file."""
_FRAME: Final = struct.Struct("<II")
_RECEIVE_BYTES: Final = 1024 * 1024

_log = logging.getLogger(__name__)


class _Join(msgspec.Struct, frozen=True, array_like=True, tag=0):
    place: int
    bucket: int
    key: bytes
    have: int


class _Begun(msgspec.Struct, frozen=True, array_like=True, tag=1):
    about: RemoteObject


class _More(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Bytes from `start` on; how many lie in which file by now."""

    start: int
    filed: int
    path: str


class _Checked(msgspec.Struct, frozen=True, array_like=True, tag=3):
    pass


class _Ended(msgspec.Struct, frozen=True, array_like=True, tag=4):
    is_kept: bool


class _Failed(msgspec.Struct, frozen=True, array_like=True, tag=5):
    kind: str
    text: str
    status: int
    retry_after_s: float | None


class _Alive(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """The holder waits, for its source or for the disk."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Join | _Begun | _More | _Checked | _Ended | _Failed | _Alive).decode
_KINDS: Final[Mapping[str, type[AisleError]]] = {
    kind.__name__: kind
    for kind in (SourceDenied, OutOfSpace, Unavailable, Unsupported, ObjectNotFound, BucketNotFound)
}
_SOURCE_KINDS: Final[Mapping[str, type[SourceFailed]]] = {
    kind.__name__: kind for kind in (SourceFailed, SourceThrottled, SourceUnreachable, SourceChanged)
}


class HolderGone(Exception):
    """Who fetched an object does so no more, and has not said how it ended."""


class HolderHangs(Exception):
    """Who fetches an object has said nothing for too long."""


class SharedFetches:
    """The fetches of this process for the others of its node, and theirs for it."""

    def __init__(self, claims: Claims, folder: str) -> None:
        """`folder` is where the processes' sockets lie."""
        self._claims = claims
        self._folder = folder
        self._fetches: dict[int, tuple[ObjectName, Fetch]] = {}
        self._server: asyncio.AbstractServer | None = None

    async def listen(self) -> None:
        """Let others follow from now on; where that cannot be, this process fetches for itself."""
        path = self._path(os.getpid())
        try:
            with suppress(FileNotFoundError):
                os.unlink(path)  # of a process that had this number before
            loop = asyncio.get_running_loop()
            self._server = await loop.create_unix_server(lambda: _Following(self), path)
        except OSError as error:
            _log.warning("objects may be fetched by several processes at once: %s: %s", path, error)

    def close(self) -> None:
        """Nobody joins any more."""
        if self._server is not None:
            self._server.close()
            with suppress(OSError):
                Path(self._path(os.getpid())).unlink()

    @property
    def is_open(self) -> bool:
        """Whether others can follow."""
        return self._server is not None

    def place(self, name: ObjectName) -> int:
        """Where the claim for an object lies now; see `Claims`."""
        return self._claims.place(name)

    def outdate(self, name: ObjectName) -> None:
        """No fetch that has begun by now is joined any more, in any process."""
        self._claims.outdate(name)

    def take(self, fetch: Fetch, name: ObjectName) -> bool:
        """Claim what is to be fetched, for this process."""
        if not self._claims.take(fetch.place):
            return False
        self._fetches[fetch.place] = name, fetch
        return True

    def release(self, fetch: Fetch) -> None:
        """It is fetched no more."""
        del self._fetches[fetch.place]
        self._claims.release(fetch.place)

    def find(self, place: int, name: ObjectName) -> Fetch | None:
        """The fetch of an object that this process has claimed; not that of another one at the same place."""
        claimed, fetch = self._fetches.get(place, (None, None))
        return fetch if claimed == name else None

    async def follow(self, fetch: Fetch, name: ObjectName) -> bool:
        """Take what another process fetches, to its end; whether it was kept.

        Raises what the fetch failed with, HolderGone and HolderHangs.
        """
        holder = self._claims.holder(fetch.place)
        if not holder:
            raise HolderGone
        try:
            reader, writer = await asyncio.open_unix_connection(self._path(holder), limit=_RECEIVE_BYTES)
        except OSError as error:
            raise HolderGone from error
        try:
            writer.write(_frame(_encode(_Join(fetch.place, name.bucket, name.key, fetch.received))))
            backing = _Elsewhere()
            while True:
                async with asyncio.timeout(SILENCE_S):
                    message, payload = await _receive(reader)
                if isinstance(message, _Ended) and fetch.is_checked:
                    return message.is_kept
                _apply(fetch, backing, message, payload)
        except TimeoutError as error:
            raise HolderHangs from error
        except (OSError, EOFError, msgspec.MsgspecError) as error:
            raise HolderGone from error
        finally:
            writer.transport.abort()

    def _path(self, process: int) -> str:
        # Not longer than the name of the committer's socket: the path may have no room for more.
        return os.path.join(self._folder, f"f{process}")


_of_this_process: SharedFetches | None = None


def share_fetches(shared: SharedFetches) -> None:
    """All fetches of this process are shared from now on. Its locks are the process's, and so is this."""
    global _of_this_process
    _of_this_process = shared


def shared_fetches() -> SharedFetches | None:
    """What this process shares with others; None for one that is on its own."""
    return _of_this_process


class _Elsewhere:
    """The draft that another process writes, as far as it has told."""

    def __init__(self) -> None:
        self.filed = 0
        self.path = ""


def _apply(fetch: Fetch, backing: _Elsewhere, message: object, payload: bytes) -> None:
    """Do what happened to the fetch of another process. Raises what it failed with, OSError, HolderGone."""
    match message:
        case _Begun():
            fetch.begin(message.about, backing)
        case _More():
            backing.filed, backing.path = message.filed, message.path
            if message.start > fetch.received:
                if message.filed < message.start:
                    raise HolderGone  # it goes on for another one, and has yet to write down what that had
                fetch.skip(message.start)
            behind = fetch.received - message.start
            if behind < len(payload):
                fetch.take(payload[behind:] if behind else payload)
        case _Checked():
            fetch.check()
        case _Alive():
            pass
        case _Failed(kind=kind) if kind in _SOURCE_KINDS:
            source_failed = _SOURCE_KINDS[kind]
            raise source_failed(message.text, status=message.status, retry_after_s=message.retry_after_s)
        case _Failed():
            error = _KINDS[message.kind]
            raise error(fetch.name if error in (ObjectNotFound, BucketNotFound) else message.text)
        case _:
            raise HolderGone  # it has ended before all was there


async def _receive(reader: asyncio.StreamReader) -> tuple[object, bytes]:
    told, carried = _FRAME.unpack(await reader.readexactly(_FRAME.size))
    message = _decode(await reader.readexactly(told))
    return message, await reader.readexactly(carried) if carried else b""


def _frame(message: bytes, carried: int = 0) -> bytes:
    return _FRAME.pack(len(message), carried) + message


class _Following(asyncio.Protocol):
    """A process that follows a fetch of this one."""

    def __init__(self, shared: SharedFetches) -> None:
        self._shared = shared
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._fetch: Fetch | None = None
        self._sent = 0
        """How far the follower has got, counted in the object's bytes."""
        self._beating: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._fetch is not None or len(self._received) < _FRAME.size:
            return
        told, _ = _FRAME.unpack_from(self._received)
        if len(self._received) < _FRAME.size + told:
            return
        asked = _decode(self._received[_FRAME.size : _FRAME.size + told])
        assert isinstance(asked, _Join)
        fetch = self._shared.find(asked.place, ObjectName(asked.bucket, asked.key))
        if fetch is None:
            self.left()
            return
        self._fetch, self._sent = fetch, asked.have
        self._beat()
        chunks = fetch.watch(self)
        if fetch.opened.done():
            self.begun()
            self._catch_up(chunks)
        if fetch.is_checked:
            self.checked()

    def connection_lost(self, _error: Exception | None) -> None:
        self._transport = None
        if self._beating is not None:
            self._beating.cancel()
        if self._fetch is not None:
            self._fetch.unwatch(self)

    def _catch_up(self, chunks: Sequence[bytes]) -> None:
        """Send what is in memory and the follower has not; what comes before, it finds in the file."""
        assert self._fetch is not None
        start = self._fetch.received - sum(map(len, chunks))
        if start > self._sent:
            self._more(start, b"")
        for chunk in chunks:
            if start + len(chunk) > self._sent:
                self._more(start, chunk)
            start += len(chunk)

    def begun(self) -> None:
        """Tell what the source tells."""
        assert self._fetch is not None
        self._send(_Begun(self._fetch.about))

    def taken(self, chunk: bytes) -> None:
        """Send bytes that have just come."""
        assert self._fetch is not None
        self._more(self._fetch.received - len(chunk), chunk)

    def checked(self) -> None:
        """All is there."""
        self._send(_Checked())

    def ended(self, record: Record | None) -> None:
        """Nothing more happens."""
        self._send(_Ended(record is not None))

    def failed(self, error: AisleError) -> None:
        """The rest does not come."""
        kind = type(error).__name__
        if kind not in _KINDS and kind not in _SOURCE_KINDS:
            kind = SourceFailed.__name__
        status, retry_after_s = 0, None
        if isinstance(error, SourceFailed):
            status, retry_after_s = error.status, error.retry_after_s
        self._send(_Failed(kind, str(error), status, retry_after_s))

    def left(self) -> None:
        """Nobody goes on with it here."""
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()

    def _more(self, start: int, chunk: bytes) -> None:
        assert self._fetch is not None
        self._sent = start + len(chunk)
        self._send(_More(start, *self._fetch.filed), chunk)

    def _send(self, message: msgspec.Struct, payload: bytes = b"") -> None:
        if self._transport is None:
            return
        head = _frame(_encode(message), len(payload))
        self._transport.writelines((head, payload) if payload else (head,))
        if self._transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self.left()

    def _beat(self) -> None:
        self._beating = asyncio.get_running_loop().call_later(BEAT_S, self._beat)
        self._send(_Alive())
