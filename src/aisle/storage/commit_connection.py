"""The committer's end of one worker's connection: bytes in, requests out; answers in, bytes out."""

import os
import socket
import struct
from array import array
from collections import deque
from collections.abc import Iterator

from aisle.model.record import Generation
from aisle.storage.messages import (
    ANSWERS,
    FRAME,
    FRAME_BYTES_MAX,
    READ_COUNT_MASK,
    Answer,
    Hello,
    Put,
    decode_operation,
    encode_message,
)
from aisle.storage.operations import Request
from aisle.storage.shared_payloads import PayloadReader

BUFFER_BYTES = 1024 * 1024
UNSENT_BYTES_MAX = 1024 * 1024
"""A worker that leaves so many answers unread is not listened to."""
_GROUPS_KEPT = 128
_DESCRIPTOR_SPACE = socket.CMSG_SPACE(array("i").itemsize)
_FRAME_BYTES = FRAME.size
_unpack_frame = FRAME.unpack_from


class Connection:
    """One worker: bytes received and not yet executed, answers not yet sent."""

    def __init__(self, peer: socket.socket) -> None:
        peer.setblocking(False)
        self.peer = peer
        self.hello: Hello | None = None
        """What the worker said of itself; set by `requests`."""
        self.shared: PayloadReader | None = None
        """The memory that the worker shares, once it has handed it over."""
        self.ended = False
        """No more will be received."""
        self.is_refused = False
        """It is let go of as soon as it has been told why."""
        self.unsent = bytearray()
        self._replays = 0
        self._read_count = 0
        """Answers that the worker has read for sure, up to the end of a group."""
        self._recent: deque[tuple[list[Generation], list[Answer]]] = deque()
        self._buffer = memoryview(bytearray(BUFFER_BYTES))
        self._start = 0
        self._end = 0

    def peer_pid(self) -> int:
        """The worker's process id, 0 where the system does not tell."""
        option = getattr(socket, "SO_PEERCRED", None)
        if option is None:
            return 0
        pid, _, _ = struct.unpack("3i", self.peer.getsockopt(socket.SOL_SOCKET, option, 12))
        return int(pid)

    @property
    def patient(self) -> bool:
        """Whether what it sends may wait for more."""
        return self.hello is not None and self.hello.patient

    def count_held(self) -> int:
        """Complete requests that were received and not yet taken."""
        start, found = self._start, 0
        while self._end - start >= _FRAME_BYTES:
            start += _FRAME_BYTES + _unpack_frame(self._buffer, start)[0]
            found += start <= self._end
        return found

    def refuse(self) -> None:
        """Take nothing more from the worker: what it sends is not meant for what is here."""
        self.ended = self.is_refused = True
        self._start = self._end

    def receive(self) -> None:
        """Take what has arrived, as far as there is room."""
        if self.is_refused:
            return
        self._make_room()
        while self._end < len(self._buffer):
            try:
                received = self._receive(self._buffer[self._end :])
            except BlockingIOError:
                return
            except (OSError, ValueError):
                received = 0
            if not received:
                self.ended = True
                return
            self._end += received
            if self._end < len(self._buffer):
                return  # that was all; what comes now is told by the selector

    def _receive(self, room: memoryview) -> int:
        if self.hello is not None:
            return self.peer.recv_into(room)
        # With its greeting a worker may hand over memory.
        received, control, _, _ = self.peer.recvmsg_into([room], _DESCRIPTOR_SPACE)
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                first, *others = array("i", data)
                for fd in others:  # there are none, and what there is must not stay open
                    os.close(fd)
                self.shared = PayloadReader(first)
        return received

    def _make_room(self) -> None:
        held = self._end - self._start
        wanted = FRAME.size
        if held >= FRAME.size:
            wanted += FRAME.unpack_from(self._buffer, self._start)[0]
        target = self._buffer
        if wanted > len(target):
            target = memoryview(bytearray(wanted))
        if self._start or target is not self._buffer:
            target[:held] = self._buffer[self._start : self._end]
            self._buffer, self._start, self._end = target, 0, held

    def requests(self, limit: int) -> list[Request]:
        """Complete requests, at most `limit`. They refer to the buffer until `receive` is called.

        Raises ValueError when the peer does not speak the protocol.
        """
        found: list[Request] = []
        buffer, start, end = self._buffer, self._start, self._end
        last = end - _FRAME_BYTES
        while start <= last and len(found) < limit:
            length, header, read_count = _unpack_frame(buffer, start)
            if header > length or length > FRAME_BYTES_MAX:
                raise ValueError("a frame with impossible lengths")
            body = start + _FRAME_BYTES
            if body + length > end:
                break
            payload = body + header
            message = decode_operation(buffer[body:payload])
            start = body + length
            if isinstance(message, Hello):
                self.hello, self._replays = message, message.replayed
                break
            is_replay = self._replays > 0
            content = buffer[payload:start]
            if type(message) is Put and message.shared_at:
                content = self._shared_payload(message)
            found.append(Request(message, content, is_replay))
            if is_replay:
                self._replays -= 1  # what it says of answers is about an earlier connection
            elif read_count != self._read_count:
                self._forget_read(read_count)
        self._start = start
        return found

    def _shared_payload(self, message: Put) -> memoryview:
        if self.shared is None:
            raise ValueError("a payload in memory that was not handed over")
        return self.shared.at(message.shared_at, message.size)

    def _forget_read(self, read_count: int) -> None:
        """The worker has read so many answers: whole groups of them need not be kept any more."""
        read = (read_count - self._read_count) & READ_COUNT_MASK
        while self._recent and len(self._recent[0][0]) <= read:
            count = len(self._recent.popleft()[0])
            self._read_count = (self._read_count + count) & READ_COUNT_MASK
            read -= count

    def recent_answers(self) -> Iterator[tuple[Generation, Answer]]:
        """Answers that the worker may never read if the connection breaks: it has not said that it did."""
        for operations, answers in self._recent:
            yield from zip(operations, answers, strict=True)

    def answer(self, operations: list[Generation], answers: list[Answer]) -> None:
        """Send the answers to operations."""
        if len(self._recent) == _GROUPS_KEPT:
            self._forget_read((self._read_count + len(self._recent[0][0])) & READ_COUNT_MASK)
        self._recent.append((operations, answers))
        self.send(answers)

    def send(self, answers: list[Answer]) -> None:
        """Send answers; what the peer does not take now is kept."""
        encoded = encode_message(answers)
        self.unsent += ANSWERS.pack(len(encoded)) + encoded
        self.flush()

    def flush(self) -> None:
        """Send what is kept, as far as the peer takes it."""
        try:
            while self.unsent:
                del self.unsent[: self.peer.send(self.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            self.ended = True
