"""The committer's process: reads what all workers have sent, executes it as one group, answers.

While a group is flushed to the disk, the next one gathers in the sockets: the busier the node, the
larger its groups. Nothing waits on purpose.
"""

import logging
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from aisle.config import StorageConfig
from aisle.model.record import Generation
from aisle.storage.commit import Committer, Request
from aisle.storage.commit_connection import UNSENT_BYTES_MAX, Connection
from aisle.storage.layout import Mountpath
from aisle.storage.messages import Answer, Failure, Hello
from aisle.storage.sync import FULL, Durability

_log = logging.getLogger(__name__)


class Task(NamedTuple):
    """Something to do between groups, every so often; it must be short."""

    interval_s: float
    action: Callable[[], None]


class CommitServer:
    """Serves workers from one thread until told to stop."""

    def __init__(
        self, listener: socket.socket, committer: Committer, *, group_size_max: int, tasks: Iterable[Task]
    ) -> None:
        self._listener = listener
        self._committer = committer
        self._group_size_max = group_size_max
        self._mountpaths = [disk.mountpath.id for disk in committer.disks]
        self._connections: list[Connection] = []
        self._parted: dict[bytes, list[tuple[Generation, Answer]]] = {}
        self._selector = selectors.DefaultSelector()
        self._due = {task: time.monotonic() + task.interval_s for task in tasks}
        self._behind = False

    def run(self, stop_fd: int) -> None:
        """Serve until `stop_fd` can be read, then finish what has arrived."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(stop_fd, selectors.EVENT_READ, None)
        stopping = False
        while not stopping:
            for key, events in self._selector.select(self._wait_s()):
                if isinstance(key.data, Connection):
                    if events & selectors.EVENT_WRITE:
                        key.data.flush()
                    if events & selectors.EVENT_READ:
                        key.data.receive()
                elif key.data is None:
                    stopping = True
                else:
                    key.data()
            self._execute_group()
            self._run_tasks()
        while self._behind:
            self._execute_group()
        self._selector.close()

    def _wait_s(self) -> float | None:
        if self._behind:
            return 0
        due = min(self._due.values(), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _run_tasks(self) -> None:
        now = time.monotonic()
        for task, due in self._due.items():
            if due <= now:
                task.action()
                self._due[task] = time.monotonic() + task.interval_s

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return  # gone before it was accepted
        connection = Connection(peer)
        self._connections.append(connection)
        self._selector.register(peer, selectors.EVENT_READ, connection)

    def _execute_group(self) -> None:
        """Execute what has been received, one group of it, and answer."""
        self._behind = False
        senders: list[tuple[Connection, int]] = []
        group: list[Request] = []
        for connection in list(self._connections):
            room = self._group_size_max - len(group)
            found = self._requests(connection, room)
            if found:
                senders.append((connection, len(found)))
                group += found
            # More may be complete in its buffer already, and no event will tell.
            self._behind = self._behind or len(found) == room
        if group:
            answers = self._committer.execute(group)
            start = 0
            for connection, many in senders:
                part = slice(start, start + many)
                connection.answer([request.operation.id for request in group[part]], answers[part])
                start += many
        # A connection served now goes last next time, so that a busy one starves nobody.
        self._connections = self._connections[1:] + self._connections[:1]
        for connection in list(self._connections):
            self._attend(connection)

    def _requests(self, connection: Connection, room: int) -> list[Request]:
        if room <= 0:
            return []
        try:
            greeted = connection.hello is not None
            found = connection.requests(room)
            if not greeted and connection.hello is not None:
                self._greet(connection, connection.hello)
                found = connection.requests(room)
        except (ValueError, msgspec.MsgspecError) as error:
            _log.error("committer: dropped a connection: %s", error)
            connection.ended = True
            return []
        return found

    def _greet(self, connection: Connection, hello: Hello) -> None:
        """Take a worker's connection over from its earlier one."""
        for earlier in list(self._connections):
            known = earlier.hello
            if earlier is not connection and known and known.incarnation == hello.incarnation:
                # It was closed at the other end: what is still in it comes before what follows here.
                while found := self._requests(earlier, self._group_size_max):
                    answers = self._committer.execute(found)
                    self._committer.remember(
                        [
                            (request.operation.id, answer)
                            for request, answer in zip(found, answers, strict=True)
                        ]
                    )
                    earlier.receive()
                self._drop(earlier)
        self._committer.remember(self._parted.pop(hello.incarnation, []))
        if hello.mountpaths != self._mountpaths:
            connection.send([Failure("unavailable", "the committer serves other mountpaths")])
            connection.ended = True
        else:
            connection.send([None])

    def _attend(self, connection: Connection) -> None:
        """Watch for what the connection can do next, or let it go."""
        if connection.ended and not self._behind:
            self._drop(connection)
            return
        events = selectors.EVENT_WRITE if connection.unsent else 0
        if not connection.ended and len(connection.unsent) < UNSENT_BYTES_MAX:
            events |= selectors.EVENT_READ
        if events and self._selector.get_key(connection.peer).events != events:
            self._selector.modify(connection.peer, events, connection)

    def _drop(self, connection: Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.peer)
        connection.peer.close()
        if connection.hello is not None:
            self._parted[connection.hello.incarnation] = list(connection.recent_answers())


def serve(
    listener: socket.socket,
    mountpaths: Sequence[Mountpath],
    *,
    config: StorageConfig,
    stop_fd: int,
    clock: Callable[[], int] = time.time_ns,
    durability: Durability = FULL,
) -> None:
    """Be the committer until `stop_fd` can be read or its other end is closed.

    `listener` is a Unix stream socket that listens. Only one committer may run on a mountpath; the
    caller holds the mountpaths' locks. Raises lmdb.PanicError when an index is beyond use in this
    process: a new one will do.
    """
    committer = Committer(mountpaths, config=config, clock=clock, durability=durability)
    try:
        server = CommitServer(listener, committer, group_size_max=config.group_size_max, tasks=())
        server.run(stop_fd)
    finally:
        committer.close()
