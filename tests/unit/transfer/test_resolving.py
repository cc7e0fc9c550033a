"""Names of servers: looked up once for all who ask, each in a thread of its own, remembered for a while."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence

import pytest

from aisle.errors import SourceFailed
from aisle.transfer.resolving import Names


class NameServer:
    """Knows some names; is silent about those that `held` are, until it is told to go on."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.go_on = threading.Event()
        self.entered = threading.Semaphore(0)

    def resolve(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        if host.startswith("held"):
            self.entered.release()
            assert self.go_on.wait(30)
        if host.startswith("gone"):
            raise OSError("no such name")
        return ["10.0.0.1", "fd00::1"] if host != "empty.test" else []


def with_names(
    test: Callable[[Names, NameServer], Coroutine[object, object, None]],
) -> Callable[[], None]:
    def running() -> None:
        async def run() -> None:
            server = NameServer()
            try:
                await test(Names(lookup_s=10.0, resolve=server.resolve), server)
            finally:
                server.go_on.set()

        asyncio.run(run())

    return running


@with_names
async def test_a_name_is_looked_up_once_and_known_for_a_while(names: Names, server: NameServer) -> None:
    link = "https://files.test/a"
    assert not names.is_known(link)
    assert await names.entry(link) == "+files.test:443:10.0.0.1,[fd00::1]"
    assert names.is_known(link)
    assert names.is_known("https://files.test")
    assert not names.is_known("http://files.test/a")  # another port, for which libcurl would look again
    assert server.asked == [("files.test", 443)]


@pytest.mark.parametrize(
    ("link", "entry"),
    [
        ("http://Files.Test:8080/a", "+files.test:8080:10.0.0.1,[fd00::1]"),
        ("http://user:secret@files.test/a", "+files.test:80:10.0.0.1,[fd00::1]"),
        ("HTTPS://files.test", "+files.test:443:10.0.0.1,[fd00::1]"),
        # Addresses, and what libcurl reads in ways of its own.
        ("http://127.0.0.1:80/a", ""),
        ("http://[::1]:80/a", ""),
        ("http://localhost/a", ""),
        ("http://x.localhost/a", ""),
        ("http://b%C3%BCcher.test/a", ""),
        ("http://files.test./a", ""),
    ],
)
def test_what_is_looked_up(link: str, entry: str) -> None:
    @with_names
    async def test(names: Names, server: NameServer) -> None:
        assert await names.entry(link) == entry
        assert bool(server.asked) is bool(entry)
        assert names.is_known(link)

    test()


@with_names
async def test_many_who_ask_at_a_time_wait_for_one_answer(names: Names, server: NameServer) -> None:
    waiting = [asyncio.create_task(names.entry("http://held.test/a")) for _ in range(20)]
    await asyncio.to_thread(server.entered.acquire)
    waiting[0].cancel()  # one who goes away takes nothing from the others
    server.go_on.set()
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {"+held.test:80:10.0.0.1,[fd00::1]"}
    assert server.asked == [("held.test", 80)]


@with_names
async def test_slow_names_hold_up_no_others(names: Names, server: NameServer) -> None:
    held = [asyncio.create_task(names.entry(f"http://held{number}.test/a")) for number in range(50)]
    assert await names.entry("http://files.test/a")
    assert not any(task.done() for task in held)
    server.go_on.set()
    await asyncio.gather(*held)


@with_names
async def test_names_that_are_not_told_are_errors_and_asked_for_again(
    names: Names, server: NameServer
) -> None:
    for host in ("gone.test", "empty.test"):
        for _ in range(2):
            with pytest.raises(SourceFailed, match=f"cannot be resolved \\({host}: no "):
                await names.entry(f"http://{host}/a")
            assert not names.is_known(f"http://{host}/a")
        assert server.asked.count((host, 80)) == 2


def test_nobody_waits_for_ever() -> None:
    async def run() -> None:
        server = NameServer()
        names = Names(lookup_s=0.05, resolve=server.resolve)
        try:
            with pytest.raises(SourceFailed, match="no answer in time"):
                await names.entry("http://held.test/a")
        finally:
            server.go_on.set()

    asyncio.run(run())
