"""What may be kept, and what passes through: without disks."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

import pytest

from aisle.backends.provider import RemoteObject, RemoteRead
from aisle.errors import OutOfSpace, SourceFailed, SourceUnreachable
from aisle.model.names import ObjectName
from aisle.rules.eviction import Usage
from aisle.target.passage import Passage
from aisle.target.room import CacheRoom
from aisle.telemetry import COLD_EXPECTED_BYTES, Telemetry

MIB = 1024 * 1024
NAME = ObjectName(1, b"x")


class Disks:
    """One file system of 1,000 MiB."""

    def __init__(self, used: int) -> None:
        self.used = used
        self.free_pages = 0

    def mountpath_of(self, _name: ObjectName) -> str:
        return "/mountpath"

    def usage(self, _mountpath: str) -> Usage:
        return Usage(1000 * MIB, self.used)

    def reusable(self, _mountpath: str) -> int:
        return self.free_pages


def room_of(disks: Disks, telemetry: Telemetry | None = None) -> CacheRoom:
    return CacheRoom(disks, lambda: 95, telemetry or Telemetry.private())


def test_what_would_pass_the_level_is_not_kept() -> None:
    disks = Disks(900 * MIB)
    room = room_of(disks)
    assert room.reserve(NAME, 40 * MIB) is not None
    assert room_of(disks).reserve(NAME, 50 * MIB) is None
    disks.used = 960 * MIB
    assert room.is_full(NAME)
    assert room.reserve(NAME, 1) is None


def test_where_there_is_plenty_small_objects_look_once_in_a_while() -> None:
    class Large(Disks):
        looks = 0

        def usage(self, _mountpath: str) -> Usage:
            self.looks += 1
            return Usage(100_000 * MIB, self.used)

    disks, now_s = Large(0), 100.0
    room = CacheRoom(disks, lambda: 95, Telemetry.private(), now_s=lambda: now_s)
    for number in range(10):
        room.hold(number, NAME, 1000)
    assert disks.looks == 1
    disks.used = 99_000 * MIB
    with pytest.raises(OutOfSpace):
        room.hold("large ones always look", NAME, 10 * MIB)
    now_s += 0.1
    with pytest.raises(OutOfSpace):
        room.hold("later", NAME, 1000)
    disks.used = 93_000 * MIB
    for number in range(3):
        room.hold(f"all look where there is little: {number}", NAME, 1000)
    assert disks.looks == 6


def test_what_others_are_about_to_write_counts_until_they_are_through() -> None:
    disks, telemetry = Disks(900 * MIB), Telemetry.private()
    room = room_of(disks, telemetry)
    first = room.reserve(NAME, 30 * MIB)
    assert first is not None
    assert room.reserve(NAME, 30 * MIB) is None
    first.release()
    disks.used += 10 * MIB
    second = room.reserve(NAME, 30 * MIB)
    assert second is not None
    for reservation in (first, second):
        reservation.release()
        reservation.release()
    assert telemetry.slots[COLD_EXPECTED_BYTES] == 0


def test_a_refusal_leaves_nothing_reserved() -> None:
    telemetry = Telemetry.private()
    assert room_of(Disks(990 * MIB), telemetry).reserve(NAME, 30 * MIB) is None
    assert telemetry.slots[COLD_EXPECTED_BYTES] == 0


def test_a_fetch_holds_its_room_until_it_is_through() -> None:
    disks, telemetry = Disks(900 * MIB), Telemetry.private()
    room, fetch = room_of(disks, telemetry), object()
    room.hold(fetch, NAME, 30 * MIB)
    with pytest.raises(OutOfSpace, match=r"out_of_space \(95 %\)"):
        room.hold(object(), NAME, 30 * MIB)
    room.release(fetch)
    room.release(fetch)
    room.release(object())
    assert telemetry.slots[COLD_EXPECTED_BYTES] == 0


def test_small_objects_take_free_pages_of_the_index() -> None:
    disks = Disks(990 * MIB)
    disks.free_pages = 100 * MIB
    room = room_of(disks)
    assert room.reserve(NAME, 1_000) is not None
    assert room.reserve(NAME, 100_000) is None


def passage(chunks: Sequence[bytes], size: int, **digests: str) -> Passage:
    async def coming() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return Passage(RemoteRead(RemoteObject("k", size, digests=digests), coming()), "s3://b/k")


async def gathered(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


CONTENT = [b"a" * 300_000, b"", b"bc", b"d" * 70_000]
WHOLE = b"".join(CONTENT)
MD5 = hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()


def test_what_passes_is_compared_with_its_digest() -> None:
    async def scenario() -> None:
        assert await passage(CONTENT, len(WHOLE), md5=MD5.upper()).whole() == WHOLE
        assert await passage(CONTENT, len(WHOLE)).whole() == WHOLE
        assert await passage([], 0).whole() == b""

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("chunks", "size", "digest", "error"),
    [
        (CONTENT, len(WHOLE), "0" * 32, SourceFailed),
        (CONTENT, len(WHOLE) + 1, MD5, SourceUnreachable),
        (CONTENT, len(WHOLE) - 1, MD5, SourceUnreachable),
        (CONTENT, 300_001, MD5, SourceUnreachable),
    ],
)
def test_of_what_is_wrong_nobody_gets_the_last_byte(
    chunks: Sequence[bytes], size: int, digest: str, error: type[Exception]
) -> None:
    async def scenario() -> None:
        got = bytearray()

        async def take() -> None:
            async for chunk in passage(chunks, size, md5=digest).read():
                got.extend(chunk)

        with pytest.raises(error):
            await take()
        assert len(got) < size
        assert WHOLE.startswith(got)

    asyncio.run(scenario())


@pytest.mark.parametrize(("start", "end"), [(0, 1), (299_999, 300_003), (5, len(WHOLE)), (300_002, 300_500)])
def test_a_range_of_what_passes_is_cut_out_of_it(start: int, end: int) -> None:
    async def scenario() -> None:
        assert await gathered(passage(CONTENT, len(WHOLE), md5=MD5).read(start, end)) == WHOLE[start:end]

    asyncio.run(scenario())
