"""Pages of remote listings that are asked for before they are wanted."""

import asyncio
from collections.abc import Awaitable, Callable

from aisle.backends.provider import RemoteObject, RemotePage
from aisle.errors import SourceUnreachable
from aisle.gateway.read_ahead import Question, ReadAhead

QUESTION = Question(1, "", "t", "", 1000, "")


class Source:
    """Counts how often it is asked, and answers with that."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    async def ask(self) -> RemotePage:
        self.asked += 1
        if self.fails:
            raise SourceUnreachable("gone")
        return RemotePage([RemoteObject(str(self.asked), 0)], [], "")


def run(work: Callable[[ReadAhead, Source], Awaitable[None]]) -> None:
    async def begin() -> None:
        await work(ReadAhead(), Source())

    asyncio.run(begin())


def test_what_was_asked_for_ahead_is_used_once() -> None:
    async def work(ahead: ReadAhead, source: Source) -> None:
        ahead.begin(QUESTION, source.ask)
        ahead.begin(QUESTION, source.ask)
        assert (await ahead.page(QUESTION, source.ask)).objects[0].key == "1"
        assert (await ahead.page(QUESTION, source.ask)).objects[0].key == "2"

    run(work)


def test_another_question_is_asked_itself() -> None:
    async def work(ahead: ReadAhead, source: Source) -> None:
        ahead.begin(QUESTION, source.ask)
        await asyncio.sleep(0)
        for other in (QUESTION._replace(prefix="a"), QUESTION._replace(bucket=2), QUESTION._replace(limit=5)):
            assert (await ahead.page(other, source.ask)).objects[0].key != "1"

    run(work)


def test_a_change_drops_what_its_bucket_has() -> None:
    async def work(ahead: ReadAhead, source: Source) -> None:
        other = QUESTION._replace(bucket=2)
        ahead.begin(QUESTION, source.ask)
        ahead.begin(other, source.ask)
        await asyncio.sleep(0)
        ahead.forget(1)
        assert (await ahead.page(QUESTION, source.ask)).objects[0].key == "3"
        assert (await ahead.page(other, source.ask)).objects[0].key == "2"

    run(work)


def test_what_failed_ahead_is_asked_again() -> None:
    async def work(ahead: ReadAhead, source: Source) -> None:
        source.fails = True
        ahead.begin(QUESTION, source.ask)
        await asyncio.sleep(0)
        source.fails = False
        assert (await ahead.page(QUESTION, source.ask)).objects[0].key == "2"

    run(work)


def test_pages_ahead_are_bounded() -> None:
    async def work(ahead: ReadAhead, source: Source) -> None:
        for number in range(200):
            ahead.begin(QUESTION._replace(bucket=number), source.ask)
        await asyncio.sleep(0)
        assert source.asked <= 200
        assert len(ahead._pages) == 64

    run(work)
