"""A web server that misbehaves on purpose: every path has a script of what to do, call by call.

It runs in the event loop of the test. A behaviour is a coroutine that writes raw bytes; requests are
kept for the test to look at.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Writer = asyncio.StreamWriter


@dataclass
class Asked:
    """A request as it came. `count` numbers those of its path from 1."""

    method: str
    path: str
    headers: dict[str, str]
    count: int
    host: str = ""


Behaviour = Callable[[Asked, Writer], Awaitable[None]]


class BreakOff(Exception):
    """Raised by a behaviour: the connection is reset."""


@dataclass
class FaultyServer:
    """Where it listens, and what it was asked."""

    port: int = 0
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    fallback: Behaviour | None = None
    asked: list[Asked] = field(default_factory=list)
    sent: Counter[str] = field(default_factory=Counter)
    """Body bytes by path, as far as behaviours count them."""
    running: int = 0
    running_max: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def on(self, path: str, behaviour: Behaviour) -> str:
        """Give a path its behaviour; the link to it."""
        self.behaviours[path] = behaviour
        return self.url + path

    def times(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked.path == path for asked in self.asked)

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except BreakOff:
            # A reset, not a polite end: what is unsent is thrown away.
            writer.transport.abort()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head[1:] if line)
        }
        path = target.partition("?")[0]
        asked = Asked(method, path, headers, self.times(path) + 1, headers.get("host", ""))
        self.asked.append(asked)
        self.running += 1
        self.running_max = max(self.running_max, self.running)
        try:
            behaviour = self.behaviours.get(path) or self.fallback
            if behaviour is None:
                await reply(writer, 404, b"<html>no such page</html>")
            else:
                await behaviour(asked, writer)
            await writer.drain()
        finally:
            self.running -= 1
        return not writer.is_closing()


@asynccontextmanager
async def faulty_server() -> AsyncIterator[FaultyServer]:
    """Listen on a free port of 127.0.0.1 until the block ends."""
    server = FaultyServer()
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await server.serve(reader, writer)
        finally:
            connections.discard(task)

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def reply(
    writer: Writer,
    status: int,
    body: bytes = b"",
    *,
    length: int | None = None,
    headers: dict[str, str] | None = None,
) -> None:
    """An ordinary answer; `length` announces another one than the body's (-1: none, and close)."""
    fields = dict(headers or {})
    if length != -1:
        fields["Content-Length"] = str(len(body) if length is None else length)
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode("latin-1"))
    for start in range(0, len(body), 65_536):
        writer.write(body[start : start + 65_536])
        await writer.drain()
    if length == -1:
        writer.close()


def serving(body: bytes, **headers: str) -> Behaviour:
    """A well-behaved file: strong ETag, ranges, If-Range. Underscores in names stand for hyphens."""

    async def behave(asked: Asked, writer: Writer) -> None:
        await serve_file(
            asked, writer, body, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    return behave


async def serve_file(
    asked: Asked,
    writer: Writer,
    body: bytes,
    headers: dict[str, str] | None = None,
    *,
    break_after: int | None = None,
) -> None:
    """Answer as a good file server does; with `break_after`, reset after so many bytes of the body."""
    fields = {"ETag": '"v1"', "Accept-Ranges": "bytes", **(headers or {})}
    span, status = body, 200
    wanted = asked.headers.get("range", "")
    if wanted and asked.headers.get("if-range", fields["ETag"]) == fields["ETag"]:
        first = int(wanted.removeprefix("bytes=").partition("-")[0])
        if first >= len(body):
            await reply(writer, 416, headers={"Content-Range": f"bytes */{len(body)}"})
            return
        span, status = body[first:], 206
        fields["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
    if break_after is None:
        await reply(writer, status, span, headers=fields)
        return
    await reply(writer, status, span[:break_after], length=len(span), headers=fields)
    await asyncio.sleep(0.05)  # let what was written arrive before the reset
    raise BreakOff
