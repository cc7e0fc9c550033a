"""Single fetches over real sockets: what is sent where, and how the two pollers behave."""

import asyncio
import gzip
import itertools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from aisle.rules.download_reply import Reply
from aisle.rules.egress import EgressPolicy
from aisle.transfer.carriers import RequestOptions
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import Fetch, FetchConfig, Fetcher, FetchRequest
from aisle.transfer.guard import EgressGuard
from aisle.transfer.multi import EpollPoller, LoopPoller
from aisle.transfer.rates import TokenBucket
from support.faulty import Asked, FaultyServer, Writer, faulty_server, reply, serving
from support.lateness import measured_lateness

MEANS: dict[str, dict[str, Any]] = {
    "plain": {},
    "epoll": {"plain": False, "poller": EpollPoller},
    "loop": {"plain": False, "poller": LoopPoller},
}
"""Without libcurl, and with libcurl's sockets watched in both ways."""
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


class Collector:
    """An intake that takes everything, in steps if told so."""

    def __init__(self) -> None:
        self.reply: Reply | None = None
        self.chunks: list[bytes] = []
        self.room = 2**62
        self.refused = 0
        self.end: asyncio.Future[Failure | None] = asyncio.get_running_loop().create_future()

    def head(self, reply: Reply) -> bool:
        assert self.reply is None
        self.reply = reply
        return reply.status < 400

    def body(self, chunk: bytes) -> bool:
        if len(chunk) > self.room:
            self.refused += 1
            return False
        self.room -= len(chunk)
        self.chunks.append(chunk)
        return True

    def ended(self, failed: Failure | None) -> None:
        self.end.set_result(failed)


@asynccontextmanager
async def fetching(means: dict[str, Any], **limits: Any) -> AsyncIterator[tuple[FaultyServer, Fetcher]]:
    async with faulty_server() as server:
        config = FetchConfig(
            **{
                "connections_max": 8,
                "connections_per_host_max": 8,
                "connect_timeout_s": 20.0,
                "stall_timeout_s": 20.0,
                **limits,
            }
        )
        fetcher = Fetcher(config, EgressGuard(EgressPolicy(allow_loopback=True)), **means)
        try:
            yield server, fetcher
        finally:
            fetcher.close()


async def fetch(fetcher: Fetcher, link: str, **options: Any) -> Collector:
    collector = Collector()
    fetcher.start(FetchRequest(link, RequestOptions(**options)), collector)
    assert await collector.end is None
    return collector


def run(test: Callable[[], Coroutine[Any, Any, None]], loop: str = "asyncio") -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(asyncio.wait_for(test(), 100))


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("means", MEANS)
def test_many_fetches_share_few_connections(means: str, loop: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means], connections_max=4, connections_per_host_max=4) as (
            server,
            fetcher,
        ):
            bodies = {f"/{number}": os.urandom(number * 997 % 70_000) for number in range(200)}
            ports: set[str] = set()
            for path, body in bodies.items():
                server.on(path, serving(body))
            original = server.serve

            async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
                ports.add(str(writer.get_extra_info("peername")))
                await original(reader, writer)

            server.serve = serve  # type: ignore[method-assign]
            collectors = {path: Collector() for path in bodies}
            for path, collector in collectors.items():
                fetcher.start(FetchRequest(server.url + path), collector)
            for path, collector in collectors.items():
                assert await collector.end is None
                assert b"".join(collector.chunks) == bodies[path]
            assert len(ports) <= 4

    run(test, loop)


class CountingPoller(EpollPoller):
    """Counts what it is told."""

    told = 0

    def watch(self, fd: int, mask: int) -> None:
        CountingPoller.told += 1
        super().watch(fd, mask)

    def forget(self, fd: int) -> None:
        CountingPoller.told += 1
        super().forget(fd)


@pytest.mark.parametrize("loop", LOOPS)
def test_what_follows_in_the_same_round_costs_the_poller_nothing(loop: str) -> None:
    """The next fetches take over the connections of those that ended before these come to rest."""

    async def test() -> None:
        async with fetching(
            {"plain": False, "poller": CountingPoller}, connections_max=2, connections_per_host_max=2
        ) as (
            server,
            fetcher,
        ):
            link = server.on("/f", serving(b"x" * 100))
            ended = asyncio.Event()
            left = 200

            class Next(Collector):
                def ended(self, failed: Failure | None) -> None:
                    assert failed is None
                    fetcher.afterwards(start)

            def start() -> None:
                nonlocal left
                if left:
                    left -= 1
                    fetcher.start(FetchRequest(link), Next())
                else:
                    ended.set()

            CountingPoller.told = 0
            start()
            start()
            await ended.wait()
            assert CountingPoller.told <= 10

    run(test, loop)


@pytest.mark.parametrize("means", MEANS)
def test_who_gives_way_now_and_then_gets_the_same(means: str) -> None:
    async def test() -> None:
        answers = itertools.cycle([True, False, False])
        async with fetching({**MEANS[means], "gives_way": lambda: next(answers)}) as (server, fetcher):
            large = os.urandom(3_000_001)
            link = server.on("/f", serving(large))
            for _ in range(3):
                assert b"".join((await fetch(fetcher, link)).chunks) == large

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_what_is_to_follow_is_called_without_a_round_as_well(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means]) as (_, fetcher):
            called = asyncio.Event()
            fetcher.afterwards(called.set)
            assert not called.is_set()
            await called.wait()

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_an_intake_without_room_stops_the_sender(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means], stall_timeout_s=1.0) as (server, fetcher):
            body = os.urandom(20_000_000)
            sent = 0

            async def counting(asked: Asked, writer: Writer) -> None:
                nonlocal sent
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
                for start in range(0, len(body), 100_000):
                    writer.write(body[start : start + 100_000])
                    await writer.drain()
                    sent += 100_000

            collector = Collector()
            collector.room = 500_000
            running = fetcher.start(FetchRequest(server.on("/f", counting)), collector)
            await asyncio.sleep(1.5)  # longer than the stall timeout: waiting for us is no stall
            assert not collector.end.done()
            assert sent < 19_000_000
            collector.room = 2**62
            running.resume()
            assert await collector.end is None
            assert b"".join(collector.chunks) == body
            assert collector.refused == 1

    run(test)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("means", MEANS)
def test_what_an_intake_refuses_comes_again(means: str, packed: bool) -> None:
    """libcurl adds to it what has come meanwhile, where that came in small chunks."""

    async def test() -> None:
        async with fetching(MEANS[means]) as (server, fetcher):
            body = os.urandom(1_000_000)
            sent = gzip.compress(body, 1) if packed else body
            encoding = b"Content-Encoding: gzip\r\n" if packed else b""

            async def in_chunks(asked: Asked, writer: Writer) -> None:
                writer.write(b"HTTP/1.1 200 OK\r\n%bTransfer-Encoding: chunked\r\n\r\n" % encoding)
                for start in range(0, len(sent), 700):
                    chunk = sent[start : start + 700]
                    writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                writer.write(b"0\r\n\r\n")
                await writer.drain()

            class Reluctant(Collector):
                """Refuses every other time."""

                def body(self, chunk: bytes) -> bool:
                    if self.refused < len(self.chunks) + 1:
                        self.refused += 1
                        asyncio.get_running_loop().call_later(0.001, running.resume)
                        return False
                    return super().body(chunk)

            collector = Reluctant()
            running = fetcher.start(FetchRequest(server.on("/f", in_chunks)), collector)
            assert await collector.end is None
            assert b"".join(collector.chunks) == body

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_headers_of_a_request_do_not_stay_on_its_handle(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means], connections_max=1) as (server, fetcher):
            link = server.on("/f", serving(b"x"))
            await fetch(
                fetcher, link, headers=(("Range", "bytes=0-"),), private_headers=(("Authorization", "s"),)
            )
            await fetch(fetcher, link)
            await fetch(fetcher, link, decode=False)
            first, second, third = (asked.headers for asked in server.asked)
            assert (first["range"], first["authorization"]) == ("bytes=0-", "s")
            assert "range" not in second
            assert "authorization" not in second
            assert (
                first["accept-encoding"]
                == second["accept-encoding"]
                == third["accept-encoding"]
                == "identity"
            )
            assert second["user-agent"].startswith("aisle/")

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_credentials_are_for_their_own_host_and_ranges_for_all(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means]) as (server, fetcher):
            server.on("/there", serving(b"0123456789"))
            elsewhere = f"http://localhost:{server.port}/there"

            async def away(asked: Asked, writer: Writer) -> None:
                await reply(writer, 302, headers={"Location": elsewhere})

            async def home(asked: Asked, writer: Writer) -> None:
                await reply(writer, 302, headers={"Location": "/there"})

            options = {"headers": (("Range", "bytes=5-"),), "private_headers": (("Authorization", "secret"),)}
            got = await fetch(fetcher, server.on("/away", away), **options)
            assert b"".join(got.chunks) == b"56789"
            await fetch(fetcher, server.on("/home", home), **options)
            sent = [(asked.path, asked.headers.get("authorization")) for asked in server.asked]
            assert sent == [("/away", "secret"), ("/there", None), ("/home", "secret"), ("/there", "secret")]

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_a_cancelled_fetch_says_nothing_more(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means], stall_timeout_s=1.0) as (server, fetcher):

            async def endless(asked: Asked, writer: Writer) -> None:
                await reply(writer, 200, bytes(1000), length=10**9)
                while not writer.is_closing():  # nothing stalls before it is cancelled
                    writer.write(b"x")
                    await asyncio.sleep(0.1)

            collector = Collector()
            running: Fetch = fetcher.start(FetchRequest(server.on("/f", endless)), collector)
            while not collector.chunks:  # noqa: ASYNC110 - an intake tells nobody
                await asyncio.sleep(0.01)
            running.cancel()
            running.cancel()
            running.resume()
            await asyncio.sleep(1.2)
            assert not collector.end.done()
            await fetch(fetcher, server.on("/g", serving(b"x")))  # its handle is of use again

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_a_throttle_sets_the_pace_of_many(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means], stall_timeout_s=0.3) as (server, fetcher):
            link = server.on("/f", serving(os.urandom(100_000)))
            bucket = TokenBucket(500_000.0)
            loop = asyncio.get_running_loop()
            async with measured_lateness() as lateness:
                began_s = loop.time()
                collectors = [Collector() for _ in range(10)]
                for collector in collectors:
                    fetcher.start(FetchRequest(link, throttle=bucket), collector)
                for collector in collectors:
                    assert await collector.end is None
                # A million bytes: the first second's worth at once, then half a million a second.
                assert 0.9 <= loop.time() - began_s <= 2.0 + lateness.seconds

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_an_answer_without_a_body_has_a_head(means: str) -> None:
    async def test() -> None:
        async with fetching(MEANS[means]) as (server, fetcher):

            async def refused(asked: Asked, writer: Writer) -> None:
                await reply(writer, 503, headers={"Retry-After": "7"})

            got = await fetch(fetcher, server.on("/f", refused))
            assert got.reply is not None
            assert (got.reply.status, got.reply.fields["Retry-After"]) == (503, "7")

    run(test)


@pytest.mark.parametrize("means", MEANS)
def test_half_a_head_is_no_answer(means: str) -> None:
    """Libcurl takes it for a whole one, without a body: an empty object would be stored."""

    async def test() -> None:
        async with fetching(MEANS[means]) as (server, fetcher):

            async def cut(asked: Asked, writer: Writer) -> None:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Len")
                writer.close()

            collector = Collector()
            fetcher.start(FetchRequest(server.on("/f", cut)), collector)
            failed = await collector.end
            assert failed is not None
            assert failed.transient
            assert "the connection ended without an answer" in str(failed.error)
            assert collector.reply is None

    run(test)
