"""Connections of exchanges between requests: they rest, and are let go of when their server closes them."""

import asyncio

from aisle.rules.egress import EgressPolicy
from aisle.transfer.exchange import Exchanges, Outgoing
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from aisle.transfer.multi import EpollPoller, Multi, Ready


class Counted(EpollPoller):
    """Counts what it is told and how often it wakes up."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ready: Ready) -> None:
        self.told = self.woken = 0
        self.forgotten: list[int] = []
        self.has_forgotten = asyncio.Event()
        super().__init__(loop, ready)

    def _wake(self) -> None:
        self.woken += 1
        super()._wake()

    def watch(self, fd: int, mask: int) -> None:
        self.told += 1
        super().watch(fd, mask)

    def forget(self, fd: int) -> None:
        self.forgotten.append(fd)
        self.has_forgotten.set()
        super().forget(fd)


def test_a_connection_rests_between_requests_until_its_server_closes_it() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        link = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        pollers: list[Counted] = []

        def poller(loop: asyncio.AbstractEventLoop, ready: Ready) -> Counted:
            pollers.append(Counted(loop, ready))
            return pollers[0]

        config = FetchConfig(4, 4, 5, 5)
        exchanges = Exchanges(config, EgressGuard(EgressPolicy(allow_loopback=True)))
        exchanges.multi.close()
        exchanges.multi = Multi(connections_max=4, connections_per_host_max=4, poller=poller)

        async def ask() -> None:
            answered = await exchanges.send(Outgoing("GET", link))
            assert answered.whole() == b"abc"
            await asyncio.sleep(0)

        await ask()
        [counted] = pollers
        told = counted.told
        for _ in range(20):
            await ask()
        assert len(writers) == 1
        assert counted.told == told, "a resting connection waits for the same"

        writers[0].close()
        await counted.has_forgotten.wait()
        woken = counted.woken
        await asyncio.sleep(0.05)
        assert counted.woken == woken, "what is closed wakes nobody again"
        await ask()
        assert len(writers) == 2
        assert len(counted.forgotten) == 1
        exchanges.close()
        server.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
