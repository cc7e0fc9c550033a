"""The writing half of a connection: order, back-pressure, and a peer that takes nothing."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import cast

from aisle import telemetry as metric
from aisle.httpd.worker import Worker


def _drop(_: object) -> None:
    """Takes what is written to a lost connection."""


class OutgoingSide(asyncio.Protocol):
    """Implements `Outlet` and `Sink` over a transport."""

    __slots__ = (
        "_delivering",
        "_drain",
        "_flushing",
        "_mark",
        "_progress",
        "_sock",
        "_transport",
        "_worker",
        "_writing_paused",
        "write",
        "write_deadline_s",
        "writelines",
    )

    write: Callable[[bytes], None]
    """The transport's own, so that the hot path calls it without a frame in between."""
    writelines: Callable[[Sequence[bytes]], None]

    def __init__(self, worker: Worker, sock: socket.socket) -> None:
        self._worker = worker
        self._sock = sock
        self._transport: asyncio.Transport | None = None
        self._writing_paused = False
        self._drain: asyncio.Future[None] | None = None
        self._flushing = False
        self._delivering = False
        self._progress = 0
        self._mark = (0, 0)
        self.write_deadline_s = inf
        """When the peer must have taken something."""

    @property
    def transport(self) -> asyncio.Transport:
        """See `Outlet.transport`. Raises ConnectionError when the connection is lost."""
        if self._transport is None:
            raise ConnectionResetError("the connection is lost")
        return self._transport

    @property
    def sock(self) -> socket.socket:
        """See `Outlet.sock`."""
        return self._sock

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The transport is ready."""
        self._transport = cast("asyncio.Transport", transport)  # aiofastnet's only behaves like one
        self.write = self.transport.write
        self.writelines = self.transport.writelines

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        """The peer is gone, or we closed. What waits to write is cancelled."""
        self._transport = None
        self.write = self.writelines = _drop
        self.write_deadline_s = inf
        if self._drain is not None and not self._drain.done():
            self._drain.cancel()

    # Back-pressure --------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        """The transport holds enough."""
        self._writing_paused = True
        self._expect_progress()

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._writing_paused = False
        if self._delivering:
            self._expect_progress()
        else:
            self.write_deadline_s = inf
        if self._flushing:
            self._flushing = False
            self.transport.set_write_buffer_limits()
        if self._drain is not None and not self._drain.done():
            self._drain.set_result(None)

    def drained(self) -> Awaitable[None] | None:
        """See `Outlet.drained`."""
        if self._transport is None:
            raise ConnectionResetError("the connection is lost")
        return self._next_drain() if self._writing_paused else None

    def flushed(self) -> Awaitable[None] | None:
        """See `Outlet.flushed`."""
        transport = self.transport
        if not transport.get_write_buffer_size():
            return None
        # With a limit of zero, "resume" means "empty".
        self._flushing = True
        transport.set_write_buffer_limits(high=0)
        return self._next_drain() if self._writing_paused else None

    def _next_drain(self) -> Awaitable[None]:
        if self._drain is None or self._drain.done():
            self._drain = self._worker.loop.create_future()
        return self._drain

    # A peer that takes nothing --------------------------------------------------------------------

    def progressed(self) -> None:
        """See `Outlet.progressed`."""
        self._progress += 1

    def begin_delivery(self) -> None:
        """From now on the peer must take something every `send_idle_timeout_s`."""
        self._delivering = True
        self._expect_progress()

    def end_delivery(self) -> None:
        """All was handed to the transport or to the kernel."""
        self._delivering = False
        if not self._writing_paused:
            self.write_deadline_s = inf

    def _expect_progress(self) -> None:
        self._mark = self._position()
        self.write_deadline_s = self._worker.deadline(self._worker.config.send_idle_timeout_s)

    def _position(self) -> tuple[int, int]:
        held = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return self._progress, held

    def on_write_deadline(self) -> None:
        """The tick found that the peer took nothing for as long as it may."""
        if self._position() != self._mark:
            self._expect_progress()
        elif self._transport is not None:
            self._worker.count(metric.HTTP_TIMEOUTS)
            self._transport.abort()
