"""What a handler returns."""

from asyncio import Future
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Sequence
from typing import Protocol, TypeVar, cast

import msgspec

from aisle.httpd.request import Request

Result = TypeVar("Result")


class FileSpan(Protocol):
    """A span of an open file; the sender never reads beyond it."""

    @property
    def fd(self) -> int:
        """The open file descriptor."""

    @property
    def offset(self) -> int:
        """Where the span starts, bytes."""

    @property
    def length(self) -> int:
        """How long it is, bytes."""


class FileBody:
    """Spans of open files, sent in order by `sendfile`; `bytes` may stand between them.

    `close` is called once, however it ends.
    """

    __slots__ = ("close", "length", "spans")

    def __init__(self, spans: Sequence[FileSpan | bytes], close: Callable[[], None]) -> None:
        self.spans = spans
        self.close = close
        self.length = sum(len(span) if isinstance(span, bytes) else span.length for span in spans)


class StreamBody:
    """Chunks made while they are sent; without a `length` they go out chunked.

    A chunk may be a span of an open file, which stays open until the next chunk is asked for. The head
    leaves with the first chunk: what fails before it is still answered with an error. If the iterator
    has an `aclose`, it is awaited, however the sending ends.
    """

    __slots__ = ("chunks", "length")

    def __init__(self, chunks: AsyncIterator[bytes | FileSpan], length: int | None = None) -> None:
        self.chunks = chunks
        self.length = length


Body = bytes | FileBody | StreamBody


class Response(msgspec.Struct, eq=False):
    """A status, header fields and a body. The server adds Content-Length, Date and the request id."""

    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    body: Body = b""
    length: int | None = None
    """For HEAD, whose body is not sent: announces a size that the body does not have."""
    close: bool = False
    """The connection ends after this answer."""
    lines: str = ""
    """Further header fields as `header_lines` makes them, for those that many answers share."""


def header_lines(headers: Sequence[tuple[str, str]]) -> str:
    """Header fields as lines, each with its end. Raises ValueError for one that breaks out of its line."""
    if not headers:
        return ""
    lines = "\r\n".join(map(": ".join, headers))
    breaks = len(headers) - 1
    if lines.count("\n") != breaks or lines.count("\r") != breaks:
        raise ValueError("a response header contains a line break")
    return lines + "\r\n"


class Later:
    """An answer that one future stands in the way of: cheaper than a coroutine, which needs a task.

    `make` is called with the future when it is done. The future is cancelled when the connection is
    lost, and `make` is not called then.
    """

    __slots__ = ("future", "make")

    def __init__(self, future: "Future[Result]", make: "Callable[[Future[Result]], Response]") -> None:
        self.future = cast("Future[object]", future)
        self.make = cast("Callable[[Future[object]], Response]", make)

    def __await__(self) -> Generator[object, None, Response]:
        """The answer, for whoever has a task anyway."""
        if not self.future.done():
            # Not the future itself: whether it failed is for `make` to find.
            waiter = self.future.get_loop().create_future()
            self.future.add_done_callback(lambda _: None if waiter.done() else waiter.set_result(None))
            yield from waiter
        return self.make(self.future)


Answer = Response | Later | Coroutine[object, object, Response]
Handler = Callable[[Request], Answer]
"""A plain function where nothing must be waited for; a coroutine (run as a task) elsewhere."""
