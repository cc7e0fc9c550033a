"""A child's side of its socket pair: doorbells heard and rung."""

import asyncio
import socket
from collections.abc import Callable

from aisle.node.boot import DRAIN, JOBS_CHANGED, READY, STOP


class Control:
    """Doorbells between an event loop and the supervisor."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self._socket.setblocking(False)
        self.draining = asyncio.Event()
        """Set when the node, or this process alone, is to end."""
        self.stopping = asyncio.Event()
        """Set when it is to end at once; `draining` is then set too."""
        self._on_jobs_changed: Callable[[], None] | None = None

    def listen(self, on_jobs_changed: Callable[[], None] | None = None) -> None:
        """Hear the supervisor from now on, in the running loop."""
        self._on_jobs_changed = on_jobs_changed
        asyncio.get_running_loop().add_reader(self._socket, self._on_readable)

    def say_ready(self) -> None:
        """Tell the supervisor that this process does its work from now on."""
        self._ring(READY)

    def ring_jobs(self) -> None:
        """Tell the job process, by way of the supervisor, that job documents have changed."""
        self._ring(JOBS_CHANGED)

    def _ring(self, what: bytes) -> None:
        try:
            self._socket.send(what)
        except OSError:
            # A full socket holds rings enough; a closed one ends this process by its lifeline.
            pass

    def _on_readable(self) -> None:
        try:
            heard = self._socket.recv(4096)
        except OSError:
            heard = b""
        if not heard:
            asyncio.get_running_loop().remove_reader(self._socket)
            return
        if JOBS_CHANGED in heard and self._on_jobs_changed:
            self._on_jobs_changed()
        if STOP in heard:
            self.stopping.set()
        if STOP in heard or DRAIN in heard:
            self.draining.set()
