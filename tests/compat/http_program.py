"""A small server over `aisle.httpd`, run as a process of its own by the tests of the HTTP server.

Takes a JSON object on its command line; prints `ready PORT` when it accepts. SIGTERM drains it.
"""

import asyncio
import json
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs

import uvloop
import xxhash

from aisle.config import HttpConfig, TlsConfig
from aisle.errors import AisleError
from aisle.httpd.request import Request
from aisle.httpd.response import Answer, FileBody, Response, StreamBody
from aisle.httpd.server import Server
from aisle.telemetry import Telemetry


class Span(NamedTuple):
    """A span of an open file."""

    fd: int
    offset: int
    length: int


class App:
    """What the tests ask of a handler."""

    def __init__(self, root: Path, telemetry: Telemetry) -> None:
        self.root = root
        self.telemetry = telemetry
        self.events: list[str] = []
        self.open_files = 0

    def __call__(self, request: Request) -> Answer:
        _, verb, *rest = request.path.decode().split("/", 2)
        query = {key: values[0] for key, values in parse_qs(request.query.decode()).items()}
        return getattr(self, verb or "hello")(request, rest[0] if rest else "", query)

    def hello(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        return Response(200, [("Content-Type", "text/plain")], b"hello\n")

    def echo(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        about = {"method": request.method, "headers": dict(request.headers), "peer": request.peer}
        return Response(200, (), json.dumps(about | {"secure": request.secure}).encode())

    def event(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        return Response(200, (), json.dumps({"events": self.events, "open": self.open_files}).encode())

    def metrics(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        return Response(200, (), self.telemetry.render().encode())

    def file(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        """A file, or spans of it: `spans=0-10,20-30`; `lie` announces more than there is."""
        path = self.root / name
        size = path.stat().st_size + int(query.get("lie", "0"))
        spans = [tuple(map(int, span.split("-"))) for span in query.get("spans", f"0-{size}").split(",")]
        fd = os.open(path, os.O_RDONLY)
        self.open_files += 1

        def close() -> None:
            self.open_files -= 1
            os.close(fd)

        pieces: list[Span | bytes] = [Span(fd, start, end - start) for start, end in spans]
        if "between" in query:
            pieces = [part for piece in pieces for part in (query["between"].encode(), piece)]
        return Response(200, [("Content-Type", "application/octet-stream")], FileBody(pieces, close))

    def stream(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        """`count` chunks of `size` bytes; `fail` raises behind the last; `length` is announced.

        With `file`, a span of that file follows each chunk.
        """

        async def chunks() -> AsyncIterator[bytes | Span]:
            spans = [query["file"]] if "file" in query else []
            try:
                for _ in range(int(query.get("count", "3"))):
                    await asyncio.sleep(float(query.get("wait", "0")))
                    yield bytes(int(query.get("size", "10")))
                    for path in spans:
                        fd = os.open(self.root / path, os.O_RDONLY)
                        try:
                            yield Span(fd, 1, os.fstat(fd).st_size - 1)
                        finally:
                            os.close(fd)
                if "fail" in query:
                    raise RuntimeError("on purpose")
            finally:
                self.events.append("stream closed")

        length = int(query["length"]) if "length" in query else None
        return Response(200, (), StreamBody(chunks(), length))

    async def digest(self, request: Request, name: str, query: dict[str, str]) -> Response:
        """Reads the body and tells its size and XXH3."""
        self.events.append("digesting")
        hasher, size = xxhash.xxh3_64(), 0
        try:
            while chunk := await request.body.read():
                hasher.update(chunk)
                size += len(chunk)
                if "wait" in query:
                    await asyncio.sleep(float(query["wait"]))
        except AisleError as error:
            self.events.append(f"{type(error).__name__}: {error}")
            raise
        return Response(200, (), json.dumps({"size": size, "xxh3": hasher.hexdigest()}).encode())

    def refuse(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        """Answers without reading the body."""
        return Response(403, (), b"no\n")

    async def wait(self, request: Request, name: str, query: dict[str, str]) -> Response:
        """Waits so many seconds, or until there is a file of that name."""
        self.events.append("waiting")
        try:
            if name.startswith("for-"):
                while not (self.root / name).exists():  # noqa: ASYNC110 - nothing tells when a file appears
                    await asyncio.sleep(0.01)
            else:
                await asyncio.sleep(float(name))
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        return Response(200, (), b"waited\n")

    def bug(self, request: Request, name: str, query: dict[str, str]) -> Answer:
        raise KeyError("on purpose")


async def main() -> None:
    settings = json.loads(sys.argv[1])
    logging.basicConfig(level=settings.get("log_level", "INFO"), stream=sys.stderr)
    if "descriptors" in settings:
        resource.setrlimit(resource.RLIMIT_NOFILE, (settings["descriptors"],) * 2)
    listener = socket.create_server((settings.get("host", "127.0.0.1"), 0), backlog=512)
    telemetry = Telemetry.private()
    app = App(Path(settings["root"]), telemetry)
    server = Server(app, HttpConfig(**settings.get("http", {})), telemetry=telemetry, load=telemetry.load())
    await server.start([listener], TlsConfig(**settings.get("tls", {})))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", listener.getsockname()[1], flush=True)
    await stop.wait()
    await server.drain(settings.get("grace_s", 2.0))
    listener.close()
    print("drained", flush=True)


if __name__ == "__main__":
    uvloop.run(main())
