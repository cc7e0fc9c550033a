"""Answers that are not read to their end, and the connections that they hold."""

import asyncio
import gc

import pytest

from aisle.backends.provider import RemoteObject, RemoteRead
from aisle.errors import SourceUnreachable
from aisle.rules.egress import EgressPolicy
from aisle.transfer.exchange import Answered, Exchanges, Outgoing
from aisle.transfer.fetch import FetchConfig
from aisle.transfer.guard import EgressGuard
from support.faulty import Asked, Writer, faulty_server, serving

CONNECTIONS = 2
WAIT_S = 60.0


async def let_go(answered: Answered, how: str) -> None:
    """Have an answer and not read it."""
    if how == "closed":
        answered.close()
    elif how == "chunks closed":
        await answered.chunks().aclose()  # type: ignore[attr-defined]
    elif how == "read a little":
        chunks = answered.chunks()
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
    elif how == "in an opened object":
        opened = RemoteRead(RemoteObject("k", 1), answered.chunks())
        await opened.chunks.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "how", ["closed", "chunks closed", "read a little", "in an opened object", "forgotten"]
)
def test_an_answer_that_is_let_go_of_gives_its_connection_back(how: str) -> None:
    async def scenario() -> None:
        async with faulty_server() as server:
            # More than the client and the sockets between them hold.
            link = server.on("/large", serving(b"x" * 20_000_000))
            config = FetchConfig(CONNECTIONS, CONNECTIONS, 30.0, 30.0)
            exchanges = Exchanges(config, EgressGuard(EgressPolicy(allow_loopback=True)))
            try:
                for _ in range(CONNECTIONS + 1):
                    async with asyncio.timeout(WAIT_S):
                        answered = await exchanges.send(Outgoing("GET", link))
                    assert answered.status == 200
                    await let_go(answered, how)
                    del answered
                    gc.collect()
            finally:
                exchanges.close()

    asyncio.run(scenario())


def test_half_a_head_is_no_answer() -> None:
    """Libcurl takes it for a whole one: a write would count as done, an object as empty."""

    async def cut(asked: Asked, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Len")
        writer.close()

    async def scenario() -> None:
        async with faulty_server() as server:
            config = FetchConfig(CONNECTIONS, CONNECTIONS, 30.0, 30.0)
            exchanges = Exchanges(config, EgressGuard(EgressPolicy(allow_loopback=True)))
            try:
                with pytest.raises(SourceUnreachable, match="ended without an answer"):
                    await exchanges.send(Outgoing("GET", server.on("/f", cut)))
            finally:
                exchanges.close()

    asyncio.run(scenario())
