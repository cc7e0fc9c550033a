"""A worker's end of its connection with the committer.

Operations are sent as they come and answered in order. When the committer dies, another takes its place;
what was not answered is sent again under the same ids, and executed once. An operation that cannot be
answered in time fails as Unavailable: whether it happened is then not known.
"""

import asyncio
import os
import socket
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import msgspec

from aisle.errors import AisleError, Unavailable
from aisle.storage.messages import (
    ANSWERS,
    FRAME,
    READ_COUNT_MASK,
    Answer,
    Failure,
    Hello,
    Operation,
    decode_answers,
    encode_message,
    error_of,
)
from aisle.storage.results import to_future
from aisle.storage.shared_payloads import PAYLOAD_BYTES_MIN, SharedPayloads

Result = TypeVar("Result")
Chunks = Sequence[bytes | memoryview]
Told = Callable[[Answer | AisleError], None]
_pack_frame = FRAME.pack

RECONNECT_MAX_S = 10.0
"""How long operations wait for a committer to appear."""
ANSWER_MAX_S = 60.0
"""How long they wait for one that took them."""
_GATHERED_BYTES = 1024 * 1024
_RETRY_S = 0.02
_WATCH_S = 5.0


class _Pending(msgspec.Struct, eq=False):
    """An operation that was not answered, and who is told of its answer, or why there is none."""

    told: Told
    frames: list[bytes | memoryview]
    since_s: float
    shared_at: int
    """Where its payload is in the shared memory, 0 if it is not there."""


class CommitClient:
    """Sends operations to the committer that listens at `path`. It lives in one event loop."""

    def __init__(self, path: str, *, incarnation: bytes, mountpaths: list[str], patient: bool) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._path = path
        self._patient = patient
        self._incarnation = incarnation
        self._mountpaths = mountpaths
        self._pending: deque[_Pending] = deque()
        self._transport: asyncio.WriteTransport | None = None
        self._unsent: list[bytes | memoryview] = []
        """Frames of this turn of the event loop, on their way to the transport."""
        self._connecting: asyncio.Task[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._read_count = 0
        """Answers read on this connection."""
        self._now_s = 0.0
        """The time when the watch was last set: operations need not know theirs any better."""
        self._drained: Future[None] | None = None
        self._shared = _shared_payloads()
        self._closed = False

    def share(self, chunks: Chunks, size: int) -> int:
        """Leave a payload where the committer finds it; the place, or 0 if it is to be sent."""
        if self._shared is None or size < PAYLOAD_BYTES_MIN:
            return 0
        return self._shared.put(chunks)

    def submit(self, operation: Operation, result: Callable[[Answer], Result]) -> Future[Result]:
        """Send an operation; `result` makes the future's value of the answer."""
        future: Future[Result] = self.new_future()
        told = to_future(future)
        self.send(
            operation, lambda answer: told(answer if isinstance(answer, AisleError) else result(answer))
        )
        return future

    def send(self, operation: Operation, told: Told, chunks: Chunks = (), shared_at: int = 0) -> None:
        """Send an operation with payload bytes; `told` is called once, later, with its answer.

        `shared_at` is where `share` has left its payload: no bytes are sent with it then.
        """
        loop = self._running_loop()
        if self._closed:
            loop.call_soon(told, Unavailable("the engine is closed"))
            return
        message = encode_message(operation)
        length = payload_at = len(message)
        if chunks:
            length += sum(map(len, chunks))
        frames = [_pack_frame(length, payload_at, self._read_count) + message, *chunks]
        if self._watch is None:
            self._look_again()
        self._pending.append(_Pending(told, frames, self._now_s, shared_at))
        if self._transport is None:
            self.ensure_connected()
        else:
            if not self._unsent:
                loop.call_soon(self._send)
            self._unsent += frames

    def new_future(self) -> "Future[Any]":
        """A future of the event loop that this client lives in."""
        return self._running_loop().create_future()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        # Asking for the running loop is a system call up to Python 3.11.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _send(self) -> None:
        """Send what one turn of the event loop submitted in one system call, as far as it fits."""
        # A transport sends at once when nothing is queued: one call per operation would be half its cost.
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.writelines(unsent)

    def introduce(self) -> None:
        """Connect now, if an event loop runs: the committer sweeps after those that it has heard of.

        A process may die a moment after it has begun to write, before it had anything to commit.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return  # its first operation or draft connects
        self.ensure_connected()

    def ensure_connected(self) -> None:
        """Begin to connect, unless that was done: the committer then sweeps after this process."""
        if self._transport is None and self._connecting is None and not self._closed:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        """Connect, and send again what was not answered; give up what waited too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + RECONNECT_MAX_S
        try:
            while not self._closed:
                try:
                    async with asyncio.timeout_at(deadline):
                        _, protocol = await loop.create_unix_connection(lambda: _Protocol(self), self._path)
                        # The socket takes connections even while no process serves it.
                        if await protocol.greeting:
                            return
                except (OSError, TimeoutError):
                    if loop.time() + _RETRY_S >= deadline:
                        self._fail_all(Unavailable("the committer of this node does not answer"))
                        return
                await asyncio.sleep(_RETRY_S)
        finally:
            self._connecting = None
            if self._pending and self._transport is None:
                self.ensure_connected()  # the connection ended just after its greeting

    def _disconnect(self) -> None:
        if self._transport is not None:
            transport, self._transport = self._transport, None
            transport.abort()

    def connected(self, transport: asyncio.WriteTransport) -> None:
        """A connection was made: introduce this worker, and send what waits."""
        self._transport = transport
        self._unsent = []  # all that waits is sent here, and must not be sent twice
        self._read_count = 0
        transport.set_write_buffer_limits(high=_GATHERED_BYTES)
        wire: socket.socket = transport.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _GATHERED_BYTES)
        hello = encode_message(Hello(self._incarnation, self._mountpaths, len(self._pending), self._patient))
        frames: list[bytes | memoryview] = [FRAME.pack(len(hello), len(hello), 0) + hello]
        if self._shared is not None:
            try:
                # Nothing was sent over this connection before: there is room for it, and it comes first.
                with socket.socket(fileno=os.dup(wire.fileno())) as greeting:
                    socket.send_fds(greeting, [frames.pop()], [self._shared.fd])
            except OSError:
                transport.abort()  # as if the committer had gone a moment later
                return
        for pending in self._pending:
            frames += pending.frames
        transport.writelines(frames)

    def lost(self, transport: asyncio.WriteTransport) -> None:
        """A connection ended: get another one."""
        if self._transport is transport:
            self._transport = None
            self._unsent = []
            self.ensure_connected()

    def answered(self, answers: list[Answer]) -> None:
        """Answers came, to the operations that wait longest."""
        pending = self._pending
        # First of all: what the callbacks submit tells the committer that these need not be kept.
        self._read_count = (self._read_count + len(answers)) & READ_COUNT_MASK
        shared = self._shared
        for answer in answers:
            operation = pending.popleft()
            if operation.shared_at and shared is not None:
                shared.free(operation.shared_at)
            self._tell(operation.told, error_of(answer) if type(answer) is Failure else answer)
        self._tell_drained()

    def _tell(self, told: Told, answer: Answer | AisleError) -> None:
        try:
            told(answer)
        except Exception as error:  # noqa: BLE001 - an outermost loop: the others are told of theirs
            context = {"message": "an answer of the committer", "exception": error}
            self._running_loop().call_exception_handler(context)

    def refused(self, failure: Failure) -> None:
        """The committer does not serve this worker."""
        self._fail_all(error_of(failure))

    def _fail_all(self, error: AisleError) -> None:
        """Give up what was not answered, and with it the connection that brings its payloads."""
        pending, self._pending = self._pending, deque()
        self._disconnect()
        self._renew_shared()
        for operation in pending:
            self._tell(operation.told, error)
        self._tell_drained()

    def _renew_shared(self) -> None:
        """Have other memory: somebody may still read, and execute, what nobody waits for any more.

        Never while there is a connection: what is sent over it tells of places in the memory that was handed
        over with it.
        """
        assert self._transport is None
        if self._shared is not None:
            self._shared.close()
        self._shared = None if self._closed else _shared_payloads()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._pending and not self._drained.done():
            self._drained.set_result(None)

    def _fail_overdue(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for operation in self._pending:
            if now_s - operation.since_s < ANSWER_MAX_S:
                break
            # It stays in its place, so that later answers find their operations.
            told, operation.told = operation.told, _nobody
            self._tell(told, Unavailable("the committer of this node is slow: the outcome is not known"))
        if self._pending:
            self._look_again()
        else:
            self._watch = None

    def _look_again(self) -> None:
        loop = asyncio.get_running_loop()
        self._now_s = loop.time()
        self._watch = loop.call_later(_WATCH_S, self._fail_overdue)

    async def close(self) -> None:
        """Wait for what was sent, and disconnect."""
        if self._pending:
            self._drained = asyncio.get_running_loop().create_future()
            await self._drained
        self._closed = True
        if self._watch is not None:
            self._watch.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        self._fail_all(Unavailable("the engine is closed"))
        await asyncio.sleep(0)  # for the transport to let go of its socket


def _nobody(answer: Answer | AisleError) -> None:
    """Nobody waits for it any more."""
    del answer


def _shared_payloads() -> SharedPayloads | None:
    try:
        return SharedPayloads()
    except OSError:
        return None


class _Protocol(asyncio.Protocol):
    """Cuts what the committer sends into answers."""

    def __init__(self, client: CommitClient) -> None:
        self.greeting: Future[bool] = asyncio.get_running_loop().create_future()
        """Whether the committer greeted, or the connection ended before."""
        self._client = client
        self._transport: asyncio.WriteTransport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have the methods, not the base class.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._client.connected(self._transport)

    def data_received(self, data: bytes) -> None:
        data = self._received + data if self._received else data
        start = 0
        while len(data) - start >= ANSWERS.size:
            (length,) = ANSWERS.unpack_from(data, start)
            end = start + ANSWERS.size + length
            if end > len(data):
                break
            self._take(decode_answers(memoryview(data)[start + ANSWERS.size : end]))
            start = end
        self._received = data[start:]

    def _take(self, answers: list[Answer]) -> None:
        if self.greeting.done():
            self._client.answered(answers)
            return
        self.greeting.set_result(True)
        if isinstance(answers[0], Failure):
            self._client.refused(answers[0])

    def connection_lost(self, error: Exception | None) -> None:
        del error  # whatever it was, the answer is a new connection
        if not self.greeting.done():
            self.greeting.set_result(False)
        if self._transport is not None:
            self._client.lost(self._transport)
