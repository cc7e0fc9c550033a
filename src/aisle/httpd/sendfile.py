"""How bytes of files get into a connection: a seam with three implementations.

`os` calls sendfile(2) beside a uvloop transport, `aiofastnet` lets that library's transport do it,
`copy` reads blocks and writes them, which is what TLS needs. A piece is at most 1 MiB: one call for
a whole large file would hold the event loop for up to 169 ms, pieces cost 5 to 7 ms at the same
speed. Nothing is sent by `sendfile` while the transport still holds bytes: they would come too late.
"""

import asyncio
import importlib.util
import os
import socket
import struct
import sys
from collections.abc import Awaitable
from concurrent.futures import Executor
from typing import Final, Protocol, runtime_checkable

from aisle import telemetry as metric
from aisle.httpd.pagecache import PageCache, fetch, read_block
from aisle.telemetry import Telemetry

PIECE_BYTES: Final = 1024 * 1024
"""Most bytes that one call may send."""
COPY_BYTES: Final = 256 * 1024
"""The same where they must be copied, by blocks."""
_BLOCK_BYTES: Final = 64 * 1024
"""What is read at once then: it stays in the processor's cache until it is encrypted and sent."""
NEAR_SEND_BUFFER_BYTES: Final = 128 * 1024
"""Send buffer for near peers: what leaves is still in the processor's cache when it is read."""
_NEAR_ROUND_TRIP_US: Final = 1000
_TCP_INFO_BYTES: Final = 72  # up to and with tcpi_rtt (linux/tcp.h)
_TCP_INFO_RTT: Final = 68
MSG_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)


class Outlet(Protocol):
    """A connection, as far as its transmitter needs it."""

    @property
    def transport(self) -> asyncio.Transport:
        """The transport of the connection."""

    @property
    def sock(self) -> socket.socket:
        """The socket beneath the transport."""

    def flushed(self) -> Awaitable[None] | None:
        """None if the transport holds no bytes, else what is done when it holds none."""

    def drained(self) -> Awaitable[None] | None:
        """None if more may be written, else what is done when it may."""

    def progressed(self) -> None:
        """Bytes left: the peer is alive."""


class Transmitter(Protocol):
    """Puts bytes and pieces of files into one connection, in the order of its calls.

    A call returns None when the next may follow at once, else what must be awaited first, which
    raises ConnectionError if the connection is lost.
    """

    piece_bytes: int
    """Most bytes of one `send`."""

    def write(self, data: bytes) -> Awaitable[None] | None:
        """Send bytes that more bytes will follow."""

    def send(self, fd: int, offset: int, count: int) -> Awaitable[None] | None:
        """Send `count` bytes of an open file; raises (or the awaitable does) FileShrank if it is shorter."""

    def close(self) -> None:
        """Nothing follows; the connection goes on. Harmless when called again."""


class FileShrank(Exception):
    """An open file ended before the bytes that were announced: the answer cannot be completed."""


def _send_now(outlet: Outlet, data: bytes) -> Awaitable[None] | None:
    """Send bytes together with what follows them, past the transport if it holds nothing."""
    flushing = outlet.flushed()
    if flushing is None:
        try:
            # The head then leaves in one segment with the first bytes of the file.
            data = data[outlet.sock.send(data, MSG_MORE) :]
        except (BlockingIOError, InterruptedError):
            pass
        if not data:
            return None
    outlet.transport.write(data)
    return outlet.flushed()


class OsTransmitter:
    """sendfile(2) beside a transport of uvloop."""

    __slots__ = ("_count", "_fd", "_loop", "_offset", "_outlet", "_waiter", "_watched", "piece_bytes")

    piece_bytes: int

    def __init__(self, outlet: Outlet, loop: asyncio.AbstractEventLoop) -> None:
        self.piece_bytes = PIECE_BYTES
        self._outlet = outlet
        self._loop = loop
        self._waiter: asyncio.Future[None] | None = None
        # uvloop refuses to watch a descriptor that one of its transports owns: we watch a duplicate.
        self._watched = -1
        self._fd = self._offset = self._count = 0

    def write(self, data: bytes) -> Awaitable[None] | None:
        """See `Transmitter.write`."""
        return _send_now(self._outlet, data)

    def send(self, fd: int, offset: int, count: int) -> Awaitable[None] | None:
        """See `Transmitter.send`."""
        assert self._waiter is None, "one piece at a time"
        self._fd, self._offset, self._count = fd, offset, count
        if self._push():
            return None
        if self._watched < 0:
            self._watched = os.dup(self._outlet.sock.fileno())
        self._waiter = self._loop.create_future()
        self._loop.add_writer(self._watched, self._on_writable)
        return self._waiter

    def _push(self) -> bool:
        """Whether all of the piece has left."""
        destination = self._outlet.sock.fileno()
        while self._count:
            try:
                sent = os.sendfile(destination, self._fd, self._offset, self._count)
            except (BlockingIOError, InterruptedError):
                return False
            if not sent:
                raise FileShrank
            self._offset += sent
            self._count -= sent
            self._outlet.progressed()
        return True

    def _on_writable(self) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._settle()
            return
        try:
            if self._push():
                self._settle()
                waiter.set_result(None)
        except (OSError, FileShrank) as error:
            self._settle()
            waiter.set_exception(error)

    def _settle(self) -> None:
        self._waiter = None
        self._loop.remove_writer(self._watched)

    def close(self) -> None:
        """See `Transmitter.close`."""
        if self._watched >= 0:
            self._loop.remove_writer(self._watched)
            os.close(self._watched)
            self._watched = -1


class _OpenFile:
    """What aiofastnet takes for a file: it asks for the descriptor and nothing else."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd


@runtime_checkable
class SendfileTransport(Protocol):
    """A transport of aiofastnet: pinned, because this call is not part of asyncio's interface."""

    def sendfile(self, file: _OpenFile, offset: int, count: int) -> Awaitable[None] | None:
        """Queue a span of a file; None if all of it has left."""


class AiofastnetTransmitter:
    """sendfile(2) by a transport of aiofastnet."""

    __slots__ = ("_outlet", "_transport", "piece_bytes")

    piece_bytes: int

    def __init__(self, outlet: Outlet) -> None:
        self.piece_bytes = PIECE_BYTES
        transport: object = outlet.transport
        assert isinstance(transport, SendfileTransport)
        self._outlet = outlet
        self._transport = transport

    def write(self, data: bytes) -> Awaitable[None] | None:
        """See `Transmitter.write`."""
        return _send_now(self._outlet, data)

    def send(self, fd: int, offset: int, count: int) -> Awaitable[None] | None:
        """See `Transmitter.send`."""
        self._outlet.progressed()
        return self._transport.sendfile(_OpenFile(fd), offset, count)

    def close(self) -> None:
        """See `Transmitter.close`."""


class CopyTransmitter:
    """Reads blocks and writes them: for TLS, and where there is no sendfile(2)."""

    __slots__ = ("_files", "_keeps", "_outlet", "piece_bytes")

    piece_bytes: int

    def __init__(self, outlet: Outlet, files: "FileReads") -> None:
        self.piece_bytes = COPY_BYTES
        self._keeps = files.implementation != "aiofastnet"
        self._outlet = outlet
        self._files = files

    def write(self, data: bytes) -> Awaitable[None] | None:
        """See `Transmitter.write`."""
        self._outlet.transport.write(data)
        return self._outlet.drained()

    def send(self, fd: int, offset: int, count: int) -> Awaitable[None] | None:
        """See `Transmitter.send`."""
        files, outlet = self._files, self._outlet
        write, end = outlet.transport.write, offset + count
        outlet.progressed()
        while offset < end:
            # aiofastnet copies what it cannot send at once, uvloop keeps the buffer.
            block = bytearray(_BLOCK_BYTES) if self._keeps else files.block
            if end - offset < _BLOCK_BYTES:
                block = block[: end - offset]
            if not files.cache.read_into(block, fd, offset):
                return self._send_from_thread(fd, offset, end)
            write(block)
            offset += len(block)
            waiting = outlet.drained()
            if waiting is not None:
                return waiting if offset == end else self._go_on(waiting, fd, offset, end)
        return None

    async def _go_on(self, waiting: Awaitable[None], fd: int, offset: int, end: int) -> None:
        await waiting
        again = self.send(fd, offset, end - offset)
        if again is not None:
            await again

    async def _send_from_thread(self, fd: int, offset: int, end: int) -> None:
        block = await self._files.read(fd, offset, min(end - offset, _BLOCK_BYTES))
        if not block:
            raise FileShrank
        self._outlet.transport.write(block)
        waiting = self._outlet.drained()
        if waiting is not None:
            await waiting
        if offset + len(block) < end:
            again = self.send(fd, offset + len(block), end - offset - len(block))
            if again is not None:
                await again

    def close(self) -> None:
        """See `Transmitter.close`."""


class FileReads:
    """How one process sends files: which implementation, and what it needs."""

    __slots__ = ("_executor", "_loop", "_telemetry", "block", "cache", "implementation")

    def __init__(
        self,
        implementation: str,
        *,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        telemetry: Telemetry,
    ) -> None:
        """`implementation` is `aiofastnet`, `os` or `copy`, and decides about the transports too."""
        self._telemetry = telemetry
        self.implementation = implementation
        self.cache = PageCache()
        self.block = memoryview(bytearray(_BLOCK_BYTES))
        """Shared by all connections, filled and written within one call."""
        self._loop = loop
        self._executor = executor

    @property
    def sends_files(self) -> bool:
        """Whether plain connections use sendfile(2)."""
        return self.implementation != "copy"

    def transmitter(self, outlet: Outlet, *, secure: bool) -> Transmitter:
        """What sends files into that connection."""
        if secure or self.implementation == "copy":
            return CopyTransmitter(outlet, self)
        if self.implementation == "os":
            return OsTransmitter(outlet, self._loop)
        return AiofastnetTransmitter(outlet)

    def fetch(self, fd: int, offset: int, count: int) -> asyncio.Future[None]:
        """Bring a span into the page cache."""
        self._telemetry.slots[metric.READS_IN_THREAD] += 1
        return self._loop.run_in_executor(self._executor, fetch, fd, offset, count)

    def read(self, fd: int, offset: int, count: int) -> asyncio.Future[bytes]:
        """A span's bytes, fewer if the file ends before."""
        return self._loop.run_in_executor(self._executor, read_block, fd, offset, count)


def choose_implementation(setting: str, *, secure: bool) -> str:
    """`auto` resolved to what this machine has.

    Plain connections need nothing but the kernel and uvloop. For TLS aiofastnet's transport is worth
    its dependency: it costs two thirds of the processor time of uvloop's.
    """
    if setting != "auto":
        return setting
    if sys.platform != "linux":
        return "copy"
    return "aiofastnet" if secure and importlib.util.find_spec("aiofastnet") is not None else "os"


def is_near(sock: socket.socket) -> bool:
    """Whether the peer is this machine, or closer than a millisecond."""
    try:
        address = sock.getpeername()
        if sock.family == socket.AF_UNIX:
            return True
        host: str = address[0]
        if host.startswith(("127.", "::ffff:127.")) or host == "::1":
            return True
        option: int | None = getattr(socket, "TCP_INFO", None)
        if option is None:
            return False
        info = sock.getsockopt(socket.IPPROTO_TCP, option, _TCP_INFO_BYTES)
        if len(info) < _TCP_INFO_BYTES:
            return False
        round_trip_us: int = struct.unpack_from("=I", info, _TCP_INFO_RTT)[0]
        return 0 < round_trip_us < _NEAR_ROUND_TRIP_US
    except OSError:
        return False
