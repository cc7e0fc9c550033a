"""Requests over plain HTTP without libcurl: what is usual is answered so, all else by libcurl as before."""

import asyncio
import gzip
import os

import pytest

from aisle.errors import EgressDenied
from aisle.rules.egress import EgressPolicy
from aisle.transfer.failures import Failure
from aisle.transfer.fetch import FetchRequest
from aisle.transfer.rates import TokenBucket
from support.faulty import Asked, BreakOff, Writer, reply, serving
from support.intakes import Taken
from support.plain_rig import Rig, a_rig, head, raw, with_rig

BODY = os.urandom(10_000)


@with_rig()
async def test_usual_answers_come_without_libcurl_over_one_connection(rig: Rig) -> None:
    link = rig.server.on("/f", serving(BODY))
    for _ in range(20):
        assert (await rig.fetch(link)).bytes == BODY
    assert rig.by_libcurl == []
    assert len(rig.connections) == 1
    asked = rig.server.asked[0]
    assert asked.host == f"127.0.0.1:{rig.server.port}"
    assert asked.headers["user-agent"].startswith("aisle/")
    assert asked.headers["accept-encoding"] == "identity"


@with_rig()
async def test_a_name_is_asked_for_by_its_name(rig: Rig) -> None:
    rig.server.on("/f", serving(BODY))
    assert (await rig.fetch(f"http://files.test:{rig.server.port}/f?a=b%20c")).bytes == BODY
    assert rig.by_libcurl == []
    assert rig.server.asked[0].host == f"files.test:{rig.server.port}"


@with_rig()
async def test_large_answers_come_whole(rig: Rig) -> None:
    large = os.urandom(5_000_001)
    assert (await rig.fetch(rig.server.on("/f", serving(large)))).bytes == large
    assert rig.by_libcurl == []


@pytest.mark.parametrize(
    "pieces",
    [
        [bytes([byte]) for byte in head("Content-Length: 4") + b"body"],
        [head("Content-Length: 4")[:-1], b"\nbo", b"dy"],
        [head("Link: </style>", status="103 Early Hints"), head("Content-Length: 4"), b"body"],
        [head(status="100 Continue") + head("content-length:4", "CONNECTION: Keep-Alive") + b"body"],
    ],
    ids=["byte by byte", "cut in the middle", "interim answer", "two heads at once"],
)
def test_an_answer_may_come_in_any_pieces(pieces: list[bytes]) -> None:
    @with_rig()
    async def test(rig: Rig) -> None:
        link = rig.server.on("/f", raw(*pieces, pause_s=0.005))
        for _ in range(2):
            taken = await rig.fetch(link)
            assert taken.bytes == b"body"
            assert taken.reply is not None
            assert taken.reply.status == 200
        assert rig.by_libcurl == []
        assert len(rig.connections) == 1

    test()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body_end_with_their_heads(status: str) -> None:
    @with_rig()
    async def test(rig: Rig) -> None:
        link = rig.server.on("/f", raw(head("Content-Length: 999", status=status)))
        for _ in range(2):
            assert (await rig.fetch(link)).bytes == b""
        assert len(rig.connections) == 1

    test()


CLOSING = {
    "said": [head("Content-Length: 4", "connection: Close"), b"body"],
    "old protocol": [head("Content-Length: 4", version="HTTP/1.0"), b"body"],
    "more than announced": [head("Content-Length: 4"), b"body and more"],
}


@pytest.mark.parametrize("what", CLOSING)
def test_a_connection_that_cannot_be_used_again_is_closed(what: str) -> None:
    @with_rig()
    async def test(rig: Rig) -> None:
        link = rig.server.on("/f", raw(*CLOSING[what]))
        for _ in range(3):
            assert (await rig.fetch(link)).bytes == b"body"
        assert rig.by_libcurl == []
        assert len(rig.connections) == 3

    test()


PACKED = gzip.compress(b"body")
UNUSUAL = {
    "chunked": ([head("Transfer-Encoding: chunked"), b"4\r\nbody\r\n0\r\n\r\n"], False),
    "no length": ([head("Content-Type: text/plain"), b"body"], True),
    "encoded": ([head("Content-Encoding: gzip", f"Content-Length: {len(PACKED)}"), PACKED], False),
    "folded lines": ([head("Content-Encoding:\r\n gzip", f"Content-Length: {len(PACKED)}"), PACKED], False),
    "bare line feeds": ([b"HTTP/1.1 200 OK\nContent-Length: 4\n\nbody"], False),
    "a bare line feed": (
        [head(f"X: a\nContent-Encoding: gzip\r\nContent-Length: {len(PACKED)}"), PACKED],
        False,
    ),
    "many interim answers": ([head(status="100 Continue") * 20 + head("Content-Length: 4") + b"body"], False),
    "two lengths": ([head("Content-Length: 4", "Content-Length: 4"), b"body"], False),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_unusual_answers_are_left_to_libcurl_which_is_asked_first_from_then_on(what: str) -> None:
    pieces, closes = UNUSUAL[what]

    @with_rig()
    async def test(rig: Rig) -> None:
        link = rig.server.on("/f", raw(*pieces, close=closes))
        for _ in range(3):
            assert (await rig.fetch(link)).bytes == b"body"
        assert rig.by_libcurl == [link] * 3
        assert len(rig.server.asked) == 4

    test()


@with_rig()
async def test_what_is_packed_stays_as_it_comes(rig: Rig) -> None:
    packed = gzip.compress(b"body")
    link = rig.server.on("/f.gz", serving(packed, Content_Encoding="gzip"))
    assert (await rig.fetch(link, decode=False)).bytes == packed
    assert rig.by_libcurl == []


@pytest.mark.parametrize("tail", ["/a/../f", "/f#part", "/a/%2e%2e/f", "/a/%2E./f"])
def test_links_that_libcurl_reads_in_its_own_way_are_left_to_it(tail: str) -> None:
    @with_rig()
    async def test(rig: Rig) -> None:
        rig.server.on("/f", serving(BODY))
        assert (await rig.fetch(rig.server.url + tail)).bytes == BODY
        assert rig.by_libcurl == [rig.server.url + tail]

    test()


@with_rig()
async def test_a_user_agent_or_a_time_limit_of_ones_own_is_left_to_libcurl(rig: Rig) -> None:
    link = rig.server.on("/f", serving(BODY))
    await rig.fetch(link)
    await rig.fetch(link, headers=(("User-Agent", "mine"),))
    await rig.fetch(link, timeout_s=5.0)
    assert rig.by_libcurl == [link] * 2
    assert rig.server.asked[1].headers["user-agent"] == "mine"
    await rig.fetch(link)
    assert len(rig.by_libcurl) == 2


@with_rig()
async def test_a_kept_connection_that_was_closed_meanwhile_costs_no_failure(rig: Rig) -> None:
    async def once_each(asked: Asked, writer: Writer) -> None:
        if asked.count % 2 == 0 and len(rig.by_libcurl) == 0:
            raise BreakOff  # as if it had been closed when the request was on its way
        await reply(writer, 200, BODY)

    link = rig.server.on("/f", once_each)
    for _ in range(2):
        assert (await rig.fetch(link)).bytes == BODY
    assert rig.by_libcurl == [link]


@with_rig()
async def test_a_connection_that_the_server_closes_while_it_rests_is_let_go(rig: Rig) -> None:
    async def polite(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, BODY)
        writer.close()

    link = rig.server.on("/f", polite)
    for _ in range(3):
        assert (await rig.fetch(link)).bytes == BODY
        await asyncio.sleep(0.05)
    assert rig.by_libcurl == []
    assert len(rig.connections) == 3


BROKEN = {
    "half a head": (raw(head("Content-Length: 4")[:-10], close=True), "ended without an answer"),
    "no answer": (raw(close=True), "ended without an answer"),
    "half a body": (raw(head("Content-Length: 9"), b"body", close=True), "before the whole body had come"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_how_an_answer_breaks_off_is_told(what: str) -> None:
    behaviour, sentence = BROKEN[what]

    @with_rig()
    async def test(rig: Rig) -> None:
        failed = await rig.fails(rig.server.on("/f", behaviour))
        assert failed.transient
        assert sentence in str(failed.error)
        assert rig.by_libcurl == []
        assert (await rig.fetch(rig.server.on("/g", serving(BODY)))).bytes == BODY

    test()


@with_rig()
async def test_who_does_not_let_us_connect_is_libcurls_business(rig: Rig) -> None:
    listener = await asyncio.start_server(lambda _reader, _writer: None, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    listener.close()
    await listener.wait_closed()
    failed = await rig.fails(f"http://127.0.0.1:{port}/f")
    assert failed.transient
    assert "cannot connect" in str(failed.error)


def test_the_guard_is_asked_for_every_socket() -> None:
    async def test() -> None:
        async with asyncio.timeout(60), a_rig(EgressPolicy()) as rig:
            failed = await rig.fails(rig.server.on("/f", serving(BODY)))
            assert isinstance(failed.error, EgressDenied)
            assert rig.server.asked == []

    asyncio.run(test())


@with_rig(connections_per_host_max=2)
async def test_requests_wait_for_their_turn_and_may_be_given_up(rig: Rig) -> None:
    go_on = asyncio.Event()

    async def slow(asked: Asked, writer: Writer) -> None:
        await go_on.wait()
        await reply(writer, 200, BODY)

    link = rig.server.on("/f", slow)
    started = [rig.start(link) for _ in range(6)]
    started[1][0].cancel()  # one that is under way: its connection is closed
    started[3][0].cancel()  # one that waits
    await asyncio.sleep(0.05)
    go_on.set()
    for number in (0, 2, 4, 5):
        assert await started[number][1].end is None
        assert started[number][1].bytes == BODY
    assert not started[1][1].end.done()
    assert not started[3][1].end.done()
    assert rig.server.running_max <= 3  # the server may not have seen the end of the second one yet
    assert rig.by_libcurl == []


@with_rig(connections_per_host_max=2)
async def test_who_waits_is_not_overtaken_by_who_comes_later(rig: Rig) -> None:
    """A job that keeps all connections busy starved a crawl of the same server."""
    link = rig.server.on("/f", serving(BODY))
    rounds = 0

    class Again(Taken):
        def ended(self, failed: Failure | None) -> None:
            nonlocal rounds
            rounds += 1
            if rounds < 500:
                rig.fetcher.afterwards(lambda: rig.fetcher.start(FetchRequest(link), Again()) and None)

    for _ in range(2):
        rig.fetcher.start(FetchRequest(link), Again())
    assert (await rig.fetch(rig.server.on("/other", serving(b"other")))).bytes == b"other"
    assert rounds < 100
    assert rig.by_libcurl == []


@with_rig(connections_max=2)
async def test_who_waits_for_room_gets_that_of_other_servers(rig: Rig) -> None:
    go_on = asyncio.Event()

    async def slow(asked: Asked, writer: Writer) -> None:
        await go_on.wait()
        await reply(writer, 200, BODY, headers={"Connection": "close"})

    rig.server.on("/f", slow)
    rig.server.on("/last", serving(BODY))
    one, other = (f"http://{name}.test:{rig.server.port}" for name in ("one", "other"))
    started = [rig.start(f"{host}/f")[1] for host in (one, other)]
    while len(rig.server.asked) < 2:  # noqa: ASYNC110 - a server tells nobody
        await asyncio.sleep(0.01)
    _, waiting = rig.start(f"{one}/last")
    go_on.set()
    for taken in (*started, waiting):
        assert await taken.end is None
        assert taken.bytes == BODY
    assert rig.by_libcurl == []


@with_rig(gives_way=lambda: True)
async def test_large_answers_come_in_small_pieces_beside_somebody_who_is_served(rig: Rig) -> None:
    large = os.urandom(5_000_001)
    pieces: list[int] = []

    class Measuring(Taken):
        def body(self, chunk: bytes) -> bool:
            pieces.append(len(chunk))
            return super().body(chunk)

    taken = Measuring()
    rig.fetcher.start(FetchRequest(rig.server.on("/f", serving(large))), taken)
    assert await taken.end is None
    assert taken.bytes == large
    assert max(pieces[1:]) == 16 * 1024  # the first may have come with the head
    assert rig.by_libcurl == []


@with_rig()
async def test_what_comes_behind_a_large_answer_is_no_answer_to_the_next(rig: Rig) -> None:
    large = os.urandom(600_000)
    surplus = head("Content-Length: 5") + b"WRONG"
    link = rig.server.on("/f", raw(head(f"Content-Length: {len(large)}"), large + surplus))
    following = rig.server.on("/g", serving(b"right"))
    first, taken = await rig.fetch_both(link, following)
    assert (first.bytes, taken.bytes) == (large, b"right")


@with_rig()
async def test_who_cannot_connect_does_not_wait_for_who_is_connected(rig: Rig) -> None:
    go_on = asyncio.Event()

    async def slow(asked: Asked, writer: Writer) -> None:
        await go_on.wait()
        await reply(writer, 200, BODY)

    listener = await asyncio.start_server(rig.server.serve, "127.0.0.1", 0)
    rig.server.on("/f", slow)
    link = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/f"
    _, first = rig.start(link)
    while not rig.server.asked:  # noqa: ASYNC110 - a server tells nobody
        await asyncio.sleep(0.01)
    listener.close()
    failed = await rig.fails(link)
    assert "cannot connect" in str(failed.error)
    go_on.set()
    assert await first.end is None
    assert first.bytes == BODY


@with_rig()
async def test_throttled_requests_are_left_to_libcurl_which_takes_less_at_a_time(rig: Rig) -> None:
    link, taken = rig.server.on("/f", serving(BODY)), Taken()
    rig.fetcher.start(FetchRequest(link, throttle=TokenBucket(1e9)), taken)
    assert await taken.end is None
    assert rig.by_libcurl == [link]


@with_rig(connections_per_host_max=1)
async def test_who_waits_for_a_server_that_turns_out_unusual_is_handed_over(rig: Rig) -> None:
    link = rig.server.on("/f", raw(head("Transfer-Encoding: chunked"), b"4\r\nbody\r\n0\r\n\r\n"))
    started = [rig.start(link) for _ in range(4)]
    for _, taken in started:
        assert await taken.end is None
        assert taken.bytes == b"body"
    assert len(rig.by_libcurl) == 4


@with_rig(connections_max=2)
async def test_connections_that_rest_make_room_for_other_servers(rig: Rig) -> None:
    for number in range(5):
        rig.server.on("/f", serving(BODY))
        link = f"http://files-{number}.test:{rig.server.port}/f"
        assert (await rig.fetch(link)).bytes == BODY
    assert rig.by_libcurl == []
    assert len(rig.connections) == 5
