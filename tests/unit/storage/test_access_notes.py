"""What a process notes of uses, and when it sends that."""

import asyncio
from collections.abc import Callable, Sequence

from aisle.storage.access_notes import NOTED_MAX, READ_MAX, AccessNotes


class Sent:
    def __init__(self) -> None:
        self.messages: list[list[bytes]] = []

    def __call__(self, names: Sequence[bytes]) -> None:
        self.messages.append(list(names))

    @property
    def names(self) -> list[bytes]:
        return sorted(name for message in self.messages for name in message)


def run(test: Callable[[AccessNotes, Sent], None]) -> None:
    async def scenario() -> None:
        sent = Sent()
        notes = AccessNotes(sent)
        test(notes, sent)
        notes.flush()

    asyncio.run(scenario())


def name(number: int) -> bytes:
    return b"%07d" % number


def test_a_name_is_sent_once_in_an_interval() -> None:
    def test(notes: AccessNotes, sent: Sent) -> None:
        notes.add_read(b"a")
        assert b"a" in notes.read
        for _ in range(3):
            notes.add(b"a")
            notes.add(b"b")
        notes.flush()
        assert sent.names == [b"a", b"b"]
        assert not notes.read
        notes.flush()
        assert sent.names == [b"a", b"b"]
        notes.add(b"b")
        notes.flush()
        assert sent.names == [b"a", b"b", b"b"]

    run(test)


def test_reads_are_left_out_when_there_are_many_and_uses_never() -> None:
    def test(notes: AccessNotes, sent: Sent) -> None:
        for number in range(READ_MAX + 10):
            notes.add_read(name(number))
        assert len(notes.read) == READ_MAX
        for number in range(READ_MAX + 10):
            notes.add(name(number))
        notes.flush()
        assert sent.names == [name(number) for number in range(READ_MAX + 10)]

    run(test)


def test_many_uses_go_in_small_messages_and_take_bounded_memory() -> None:
    def test(notes: AccessNotes, sent: Sent) -> None:
        for number in range(NOTED_MAX + 1_000):
            notes.add(name(number))
        assert max(map(len, sent.messages)) <= 512
        assert len(notes.noted) <= NOTED_MAX
        notes.flush()
        assert sent.names == [name(number) for number in range(NOTED_MAX + 1_000)]

    run(test)
