"""A web server whose answers are given byte for byte, and who fetches from it without libcurl."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from aisle.rules.courtesy import never
from aisle.rules.egress import EgressPolicy
from aisle.transfer.carriers import Receiver, RequestOptions
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetch, FetchConfig, Fetcher, FetchRequest
from aisle.transfer.guard import EgressGuard
from aisle.transfer.slots import Slot
from support.faulty import Asked, FaultyServer, Writer, faulty_server
from support.intakes import Taken


class Rig:
    """A server, who fetches from it, and what it took libcurl for."""

    def __init__(self, server: FaultyServer, fetcher: Fetcher) -> None:
        self.server = server
        self.fetcher = fetcher
        self.by_libcurl: list[str] = []
        self.connections: set[object] = set()
        original = fetcher.slots.send

        def send(receiver: Receiver, link: str, options: RequestOptions, entry: str) -> Slot:
            self.by_libcurl.append(link)
            return original(receiver, link, options, entry)

        fetcher.slots.send = send  # type: ignore[method-assign]

    def start(self, link: str, **options: Any) -> tuple[Fetch, Taken]:
        taken = Taken()
        return self.fetcher.start(FetchRequest(link, RequestOptions(**options)), taken), taken

    async def fetch(self, link: str, **options: Any) -> Taken:
        """The whole answer."""
        _, taken = self.start(link, **options)
        failed = await taken.end
        assert failed is None, failed
        return taken

    async def fetch_both(self, link: str, following: str) -> tuple[Taken, Taken]:
        """A whole answer, and the next one, which is asked for in the moment in which the first has come."""
        second: asyncio.Future[Taken] = asyncio.get_running_loop().create_future()

        class First(Taken):
            def ended(taken, failed: Failure | None) -> None:  # noqa: N805
                super().ended(failed)
                self.fetcher.afterwards(lambda: second.set_result(self.start(following)[1]))

        first = First()
        self.fetcher.start(FetchRequest(link), first)
        taken = await second
        assert await first.end is None
        assert await taken.end is None
        return first, taken

    async def fails(self, link: str) -> Failure:
        """How it fails."""
        _, taken = self.start(link)
        failed = await taken.end
        assert failed is not None
        return failed


@asynccontextmanager
async def a_rig(
    policy: EgressPolicy, *, gives_way: Callable[[], bool] = never, **limits: Any
) -> AsyncIterator[Rig]:
    settings: dict[str, Any] = {
        "connections_max": 8,
        "connections_per_host_max": 8,
        "connect_timeout_s": 20.0,
        "stall_timeout_s": 20.0,
        **limits,
    }
    async with faulty_server() as server:
        fetcher = Fetcher(
            FetchConfig(**settings),
            EgressGuard(policy),
            resolve=lambda _host, _port: ["127.0.0.1"],
            gives_way=gives_way,
        )
        assert fetcher.lane is not None
        rig = Rig(server, fetcher)
        original = server.serve

        async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
            rig.connections.add(writer.get_extra_info("peername"))
            await original(reader, writer)

        server.serve = serve  # type: ignore[method-assign]
        try:
            yield rig
        finally:
            fetcher.close()


def with_rig(**limits: Any) -> Callable[[Callable[[Rig], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Rig], Awaitable[None]]) -> Callable[[], None]:
        def running() -> None:
            async def run() -> None:
                async with asyncio.timeout(60), a_rig(EgressPolicy(allow_loopback=True), **limits) as rig:
                    await test(rig)

            asyncio.run(run())

        running.__name__ = getattr(test, "__name__", "test")
        running.__doc__ = test.__doc__
        return running

    return decorate


def raw(
    *pieces: bytes, pause_s: float = 0.0, close: bool = False
) -> Callable[[Asked, Writer], Coroutine[Any, Any, None]]:
    """An answer byte for byte, in pieces."""

    async def behave(asked: Asked, writer: Writer) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if pause_s:
                await asyncio.sleep(pause_s)
        if close:
            writer.close()

    return behave


def head(*lines: str, status: str = "200 OK", version: str = "HTTP/1.1") -> bytes:
    return "\r\n".join((f"{version} {status}", *lines, "", "")).encode()
