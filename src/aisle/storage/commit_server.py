"""The committer's process: reads what all workers have sent, executes it as one group, answers.

While a group is flushed to the disk, the next one gathers in the sockets: the busier the node, the
larger its groups. No worker's operation waits on purpose; those of patient processes may (gathering.py).
"""

import logging
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from aisle.config import StorageConfig
from aisle.model.record import Generation
from aisle.storage.commit import Committer
from aisle.storage.commit_connection import UNSENT_BYTES_MAX, Connection
from aisle.storage.disk import Disk
from aisle.storage.gathering import PAUSE_S, Gathering
from aisle.storage.generation import COMMITTER_INCARNATION
from aisle.storage.housekeeping import CheckReaders, Chore, CopyIndexes, PurgeBuckets, UnlinkRemoved
from aisle.storage.layout import Mountpath
from aisle.storage.messages import Answer, Failure, Hello
from aisle.storage.operations import Request
from aisle.storage.resilver import Resilver
from aisle.storage.sweep import sweep_drafts
from aisle.storage.sync import FULL, Durability
from aisle.storage.unsynced import SyncDelayed, VerifyUnsynced
from aisle.telemetry import Telemetry

_log = logging.getLogger(__name__)


class _Worker:
    """A process that has connected, watched until it dies."""

    def __init__(self, incarnation: bytes, pidfd: int, *, is_dead: bool = False) -> None:
        self.incarnation = incarnation
        self.pidfd = pidfd
        self.is_dead = is_dead


class CommitServer:
    """Serves workers from one thread until told to stop.

    `sweep` is called with the incarnation of a worker that is dead, when all it sent was executed.
    """

    def __init__(
        self,
        listener: socket.socket,
        committer: Committer,
        *,
        group_size_max: int,
        chores: Iterable[Chore],
        sweep: Callable[[bytes], object],
    ) -> None:
        self._listener = listener
        self._committer = committer
        self._group_size_max = group_size_max
        self._mountpaths = [disk.mountpath.id for disk in committer.disks]
        self._connections: list[Connection] = []
        self._parted: dict[bytes, list[tuple[Generation, Answer]]] = {}
        self._selector = selectors.DefaultSelector()
        self._urgent = selectors.DefaultSelector()
        """What ends a pause in which patient processes' operations gather."""
        self._gathering = Gathering()
        self._due = dict.fromkeys(chores, 0.0)
        self._sweep = sweep
        self._workers: dict[bytes, _Worker] = {}
        self._behind = False

    def run(self, stop_fd: int) -> None:
        """Serve until `stop_fd` can be read, then finish what has arrived."""
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._selector.register(stop_fd, selectors.EVENT_READ, None)
        self._urgent.register(self._listener, selectors.EVENT_READ)
        self._urgent.register(stop_fd, selectors.EVENT_READ)
        stopping = False
        while not stopping:
            stopping = self._take_events(self._wait_s())
            held = self._count_patient()
            if self._gathering.is_worth(held):
                # Not woken by what gathers: its sender would lose its core for each message.
                self._urgent.select(PAUSE_S)
                stopping |= self._take_events(0)
                self._gathering.paused(self._count_patient() - held)
            self._execute_group()
            self._run_chores()
        while self._behind:
            self._execute_group()
        self._selector.close()
        self._urgent.close()

    def _take_events(self, wait_s: float | None) -> bool:
        """Receive and send what can be; whether the committer is to stop."""
        stopping = False
        for key, events in self._selector.select(wait_s):
            if isinstance(key.data, Connection):
                if events & selectors.EVENT_WRITE:
                    key.data.flush()
                if events & selectors.EVENT_READ:
                    key.data.receive()
            elif isinstance(key.data, _Worker):
                self._bury(key.data)
            elif key.data is None:
                stopping = True
            else:
                key.data()
        return stopping

    def _count_patient(self) -> int:
        """How many operations are there to execute, 0 if any of them cannot wait."""
        if self._behind:
            return 0
        found = 0
        for connection in self._connections:
            held = connection.count_held()
            if held and not connection.patient:
                return 0
            found += held
        return found

    def _wait_s(self) -> float | None:
        if self._behind:
            return 0
        due = min(self._due.values(), default=None)
        return None if due is None else max(0.0, due - time.monotonic())

    def _run_chores(self) -> None:
        now = time.monotonic()
        for chore, due in self._due.items():
            if due <= now:
                self._due[chore] = now + chore.step()

    def _accept(self) -> None:
        try:
            peer, _ = self._listener.accept()
        except OSError:
            return  # gone before it was accepted
        connection = Connection(peer)
        self._connections.append(connection)
        self._selector.register(peer, selectors.EVENT_READ, connection)
        self._urgent.register(peer, selectors.EVENT_READ)

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
            undelivered = [
                answer for connection in self._connections for answer in connection.recent_answers()
            ]
            for parted in self._parted.values():
                undelivered += parted
            answers = self._committer.execute(group, undelivered)
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
            connection.refuse()  # what it sends would be executed on mountpaths that it is not meant for
        else:
            connection.send([None])
            if hello.patient:
                self._urgent.unregister(connection.peer)
            self._watch(hello.incarnation, connection)

    def _watch(self, incarnation: bytes, connection: Connection) -> None:
        """Learn when the worker dies: what it was writing can be swept then."""
        pid = connection.peer_pid()
        if incarnation in self._workers or not pid or not hasattr(os, "pidfd_open"):
            return
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            # Dead already: swept when this connection was read to its end.
            self._workers[incarnation] = _Worker(incarnation, pidfd=-1, is_dead=True)
            return
        except OSError:
            return  # the next start sweeps
        worker = self._workers[incarnation] = _Worker(incarnation, pidfd)
        self._selector.register(pidfd, selectors.EVENT_READ, worker)

    def _bury(self, worker: _Worker) -> None:
        self._selector.unregister(worker.pidfd)
        os.close(worker.pidfd)
        worker.is_dead = True
        self._sweep_if_gone(worker.incarnation)

    def _sweep_if_gone(self, incarnation: bytes) -> None:
        """Sweep after a dead worker as soon as its last connection was read to the end."""
        worker = self._workers.get(incarnation)
        heard = any(known.hello and known.hello.incarnation == incarnation for known in self._connections)
        if worker is not None and worker.is_dead and not heard:
            del self._workers[incarnation]
            self._parted.pop(incarnation, None)
            self._sweep(incarnation)

    def _attend(self, connection: Connection) -> None:
        """Watch for what the connection can do next, or let it go."""
        if connection.is_refused or (connection.ended and not self._behind):
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
        if connection.peer in self._urgent.get_map():
            self._urgent.unregister(connection.peer)
        connection.peer.close()
        if connection.hello is not None:
            incarnation = connection.hello.incarnation
            self._parted[incarnation] = list(connection.recent_answers())
            self._sweep_if_gone(incarnation)


def serve(
    listener: socket.socket,
    mountpaths: Sequence[Mountpath],
    *,
    config: StorageConfig,
    stop_fd: int,
    clock: Callable[[], int] = time.time_ns,
    durability: Durability = FULL,
    on_ready: Callable[[], object] = lambda: None,
    telemetry: Telemetry | None = None,
) -> None:
    """Be the committer until `stop_fd` can be read or its other end is closed.

    `on_ready` is called once, when the indexes are open.
    `listener` is a Unix stream socket that listens. Only one committer may run on a mountpath; the
    caller holds the mountpaths' locks. Raises lmdb.PanicError when an index is beyond use in this
    process: a new one will do.
    """
    committer = Committer(mountpaths, config=config, clock=clock, durability=durability, telemetry=telemetry)
    executor = ThreadPoolExecutor(2, thread_name_prefix="housekeeping")

    def sweep(incarnation: bytes) -> list["Future[int]"]:
        swept = [
            executor.submit(sweep_drafts, disk.mountpath.path, disk.tables, [incarnation])
            for disk in committer.disks
        ]
        for sweeping in swept:
            sweeping.add_done_callback(_tell_failure)
        return swept

    resilver = Resilver(
        committer.disks,
        committer.scatter,
        executor=executor,
        durability=durability,
        swept=sweep(COMMITTER_INCARNATION),
    )
    try:
        chores = _chores(committer.disks, executor, config=config, clock=clock, durability=durability)
        server = CommitServer(
            listener, committer, group_size_max=config.group_size_max, chores=[*chores, resilver], sweep=sweep
        )
        on_ready()
        server.run(stop_fd)
    finally:
        resilver.stop()
        executor.shutdown()
        committer.close()


def _tell_failure(swept: "Future[int]") -> None:
    error = swept.exception()
    if error is not None:
        _log.error("committer: drafts of a dead process stay until the next start", exc_info=error)


def _chores(
    disks: Sequence[Disk],
    executor: ThreadPoolExecutor,
    *,
    config: StorageConfig,
    clock: Callable[[], int],
    durability: Durability,
) -> list[Chore]:
    chores: list[Chore] = [CheckReaders(disks, config.reader_check_interval_s)]
    for disk in disks:
        chores += [
            UnlinkRemoved(disk, executor, clock, durability=durability),
            PurgeBuckets(disk),
            VerifyUnsynced(disk, executor),
            SyncDelayed(disk, executor, durability),
        ]
    if len(disks) > 1 and config.index_copy_interval_s > 0:
        chores.append(CopyIndexes(disks, executor, config.index_copy_interval_s))
    return chores
