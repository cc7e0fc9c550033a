"""What is asked for in threads and remembered."""

import asyncio
import threading

import pytest

from aisle.backends import refreshed
from aisle.backends.refreshed import Refreshed
from aisle.errors import SourceDenied


def test_many_who_want_it_ask_once_and_it_is_remembered() -> None:
    asked: list[int] = []

    def ask() -> int:
        asked.append(len(asked))
        return asked[-1]

    async def scenario() -> None:
        value = Refreshed(ask)
        assert await asyncio.gather(*(value.current() for _ in range(10))) == [0] * 10
        assert await value.current() == 0

    asyncio.run(scenario())


def test_what_is_old_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshed, "REFRESH_S", 0.0)
    numbers = iter(range(3))

    async def scenario() -> None:
        value = Refreshed(lambda: next(numbers))
        assert [await value.current() for _ in range(3)] == [0, 1, 2]

    asyncio.run(scenario())


def test_all_who_wait_are_told_of_a_failure_and_who_comes_later_asks_again() -> None:
    go_on = threading.Event()
    outcomes = iter((SourceDenied("no"), None))
    asked = []

    def ask() -> None:
        asked.append(1)
        go_on.wait(60)
        error = next(outcomes)
        if error:
            raise error

    async def scenario() -> None:
        value = Refreshed(ask)
        waiting = [asyncio.create_task(value.current()) for _ in range(5)]
        await asyncio.sleep(0)
        go_on.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(each) for each in told] == [SourceDenied] * 5
        assert len(asked) == 1
        assert await value.current() is None
        assert await value.current() is None
        assert len(asked) == 2

    asyncio.run(scenario())


def test_who_leaves_keeps_nobody_else_from_it_and_an_end_does_not_wait() -> None:
    go_on, never = threading.Event(), threading.Event()

    async def leave() -> None:
        value = Refreshed(lambda: go_on.wait(60))
        first, second = asyncio.create_task(value.current()), asyncio.create_task(value.current())
        await asyncio.sleep(0)
        first.cancel()
        go_on.set()
        assert await second is True

    async def end() -> None:
        waiting = asyncio.create_task(Refreshed(lambda: never.wait(600)).current())
        await asyncio.sleep(0)
        assert not waiting.done()

    asyncio.run(leave())
    asyncio.run(end())
    never.set()
