"""Bodies on their way out: spans of files, and streams of chunks.

Both promise the same: what leaves is complete and exact, or the connection breaks off in the middle,
visibly. Files and iterators are closed however it ends.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

from aisle.httpd.response import FileBody, FileSpan, StreamBody
from aisle.httpd.sendfile import MSG_MORE, PIECE_BYTES, FileReads, FileShrank, Transmitter

JOIN_BYTES_MAX: Final = 32 * 1024
"""Up to here copying a body behind its head is cheaper than a second buffer in the system call."""


_SHRANK: Final = "a payload file is shorter than its record says"


class BrokenAnswer(Exception):
    """The announced bytes cannot all be sent: the connection must break off."""


class Sink(Protocol):
    """A connection, as far as a stream needs it."""

    def write(self, data: bytes) -> None:
        """Queue bytes."""

    def writelines(self, pieces: Sequence[bytes]) -> None:
        """Queue several buffers."""

    def drained(self) -> Awaitable[None] | None:
        """None if more may be written, else what is done when it may."""

    def send_span(self, span: FileSpan) -> Awaitable[None]:
        """Send a span of a file behind what was written. Raises BrokenAnswer, or ConnectionError."""


def write_joined(sink: Sink, head: bytes, body: bytes) -> None:
    """Head and body in one system call."""
    if len(body) <= JOIN_BYTES_MAX:
        sink.write(head + body)
    else:
        sink.writelines((head, body))


class FileSending:
    """One FileBody on its way out, in pieces."""

    __slots__ = ("_body", "_devices", "_fetching", "_files", "_number", "_offset", "_via")

    def __init__(self, body: FileBody, via: Transmitter, files: FileReads, *, sent: int = 0) -> None:
        """`sent` bytes of the first span have left. Raises BrokenAnswer if a file is too short."""
        self._body = body
        self._via = via
        self._files = files
        self._number = 0
        """The span that is being sent."""
        self._offset = sent
        """Bytes of it that are sent."""
        self._fetching: asyncio.Future[None] | None = None
        self._devices = [0 if isinstance(span, bytes) else check_length(span) for span in body.spans]

    def advance(self) -> Awaitable[None] | None:
        """Send until something must be awaited before the next call; None when all has left.

        Raises BrokenAnswer, or ConnectionError.
        """
        budget = PIECE_BYTES
        spans = self._body.spans
        try:
            while self._number < len(spans):
                if budget <= 0:
                    return asyncio.sleep(0)  # others want their turn
                span = spans[self._number]
                if isinstance(span, bytes):
                    self._number += 1
                    budget -= len(span)
                    waiting = self._via.write(span)
                else:
                    count = min(span.length - self._offset, self._via.piece_bytes)
                    budget -= count
                    waiting = self._send(span, count)
                if waiting is not None:
                    return waiting
        except FileShrank as error:
            raise BrokenAnswer(_SHRANK) from error
        return None

    def _send(self, span: FileSpan, count: int) -> Awaitable[None] | None:
        offset = span.offset + self._offset
        if self._fetching is not None:
            self._fetching = None
        elif count and not self._files.cache.holds(span.fd, offset, self._devices[self._number]):
            self._fetching = self._files.fetch(span.fd, offset, min(span.length - self._offset, PIECE_BYTES))
            return asyncio.shield(self._fetching)
        self._offset += count
        if self._offset == span.length:
            self._number += 1
            self._offset = 0
        return self._via.send(span.fd, offset, count) if count else None

    async def complete(self, waiting: Awaitable[None] | None) -> None:
        """Send the rest. Raises BrokenAnswer, or ConnectionError."""
        try:
            while waiting is not None:
                await waiting
                # aiofastnet takes the end of a file that shrank for the end of its piece.
                for span in self._body.spans:
                    if not isinstance(span, bytes):
                        check_length(span)
                waiting = self.advance()
        except FileShrank as error:
            raise BrokenAnswer(_SHRANK) from error
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the files, as soon as no thread reads them any more."""
        self._via.close()
        if self._fetching is not None and not self._fetching.done():
            close = self._body.close
            self._fetching.add_done_callback(lambda _: close())
        else:
            self._body.close()


def send_at_once(sock: socket.socket, head: bytes, span: FileSpan) -> tuple[int, int]:
    """The usual case, fast: how many bytes of the head and of the file left, past the transport.

    Only while the transport holds nothing, and the file's bytes are at hand. Raises OSError, or
    BrokenAnswer if the file ends too early.
    """
    sent = 0
    try:
        sent = sock.send(head, MSG_MORE)
        if sent < len(head):
            return sent, 0
        moved = os.sendfile(sock.fileno(), span.fd, span.offset, min(span.length, PIECE_BYTES))
    except (BlockingIOError, InterruptedError):
        return sent, 0
    if not moved:
        raise BrokenAnswer(_SHRANK)
    return sent, moved


def check_length(span: FileSpan) -> int:
    """The number of the device that the file lies on. Raises BrokenAnswer if it is too short."""
    found = os.fstat(span.fd)
    if found.st_size < span.offset + span.length:
        raise BrokenAnswer(_SHRANK)
    return found.st_dev


async def send_stream(sink: Sink, body: StreamBody, head: Callable[[], bytes], *, chunked: bool) -> int:
    """Send a stream; how many bytes that were. `head` is asked for when the first chunk is there.

    Raises BrokenAnswer when the chunks are more or fewer bytes than announced, and whatever the
    iterator raises. Closes the iterator.
    """
    try:
        return await _send_chunks(sink, body, head, chunked=chunked)
    finally:
        await close_stream(body)


async def close_stream(body: StreamBody) -> None:
    """Tell the iterator that no more is wanted."""
    closing = getattr(body.chunks, "aclose", None)
    if closing is not None:
        await closing()


async def _send_chunks(sink: Sink, body: StreamBody, head: Callable[[], bytes], *, chunked: bool) -> int:
    sent = 0
    chunks = aiter(body.chunks)
    chunk = await anext(chunks, None)
    start = head()
    while chunk is not None:
        size = len(chunk) if isinstance(chunk, bytes) else chunk.length
        if body.length is not None and sent + size > body.length:
            raise BrokenAnswer("a stream has more bytes than were announced")
        # An empty chunk would end a chunked body.
        if size:
            sent += size
            frame, end = (b"%x\r\n" % size, b"\r\n") if chunked else (b"", b"")
            if not isinstance(chunk, bytes):
                sink.write(start + frame)
                await sink.send_span(chunk)
                sink.write(end)
            elif chunked:
                sink.writelines((start + frame, chunk, end))
            else:
                write_joined(sink, start, chunk)
            start = b""
            waiting = sink.drained()
            if waiting is not None:
                await waiting
        chunk = await anext(chunks, None)
    if body.length is not None and sent < body.length:
        raise BrokenAnswer("a stream has fewer bytes than were announced")
    end = start + (b"0\r\n\r\n" if chunked else b"")
    if end:
        sink.write(end)
    return sent
