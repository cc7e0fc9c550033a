"""Payloads in memory that workers share with the committer."""

import asyncio
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from xxhash import xxh3_64_digest

from aisle.config import StorageConfig
from aisle.errors import Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import ANY, INLINE_BYTES_MAX, Attributes
from aisle.storage import commit_client, keys
from aisle.storage.commit_client import CommitClient
from aisle.storage.commit_connection import Connection
from aisle.storage.local import LocalEngine
from aisle.storage.messages import FRAME, Hello, Put, encode_message
from aisle.storage.publishing import Publisher, SmallPayload
from aisle.storage.shared_payloads import PayloadReader, SharedPayloads
from aisle.telemetry import Telemetry
from contract.storage_contract import read
from support.storage import CommitterProcess, running_committer


def test_what_was_put_is_read() -> None:
    shared = SharedPayloads()
    reader = PayloadReader(os.dup(shared.fd))
    whole = os.urandom(INLINE_BYTES_MAX)
    first, second = shared.put([whole]), shared.put([b"a", memoryview(b"bc"), b""])
    assert 0 not in (first, second)
    assert reader.at(first, len(whole)) == whole
    assert reader.at(second, 3) == b"abc"
    shared.free(first)
    assert shared.put([b"x"]) == first, "what was freed last is in the cache"
    assert reader.at(second, 3) == b"abc"
    shared.close()
    assert reader.at(second, 3) == b"abc", "its reader has it for longer"


def test_without_room_there_is_no_place() -> None:
    shared = SharedPayloads()
    places: list[int] = []
    while place := shared.put([len(places).to_bytes(4, "big")]):
        places.append(place)
    assert len(places) == len(set(places)) > 256
    reader = PayloadReader(os.dup(shared.fd))
    assert [int.from_bytes(reader.at(place, 4), "big") for place in places] == list(range(len(places)))
    shared.free(places[7])
    assert shared.put([b"x"]) == places[7]
    shared.close()


@pytest.mark.parametrize(("place", "length"), [(1, 5), (-1, 5), (1 << 40, 5), (INLINE_BYTES_MAX, 1 << 20)])
def test_nothing_is_read_outside(place: int, length: int) -> None:
    shared = SharedPayloads()
    with pytest.raises(ValueError, match="outside"):
        PayloadReader(os.dup(shared.fd)).at(place, length)
    shared.close()


def put_at(place: int, size: int) -> Put:
    return Put(bytes(16), 0, b"key", b"", b"", size, shared_at=place)


def frame(message: Hello | Put) -> bytes:
    encoded = encode_message(message)
    return FRAME.pack(len(encoded), len(encoded), 0) + encoded


@pytest.mark.parametrize("shares", [True, False])
def test_a_place_that_is_none_ends_the_connection(shares: bool) -> None:
    ours, theirs = socket.socketpair()
    shared = SharedPayloads()
    with ours, theirs:
        connection = Connection(theirs)
        hello = frame(Hello(b"0001", ["m"], 0, patient=False))
        if shares:
            socket.send_fds(ours, [hello], [shared.fd])
        else:
            ours.sendall(hello)
        ours.sendall(frame(put_at(1 << 40 if shares else INLINE_BYTES_MAX, 100)))
        connection.receive()
        connection.receive()
        assert connection.requests(10) == []
        assert connection.hello is not None
        with pytest.raises(ValueError, match="memory"):
            connection.requests(10)
    shared.close()


@pytest.mark.parametrize("what", ["two", "no file"])
def test_odd_descriptors_end_nothing_but_their_connection(what: str) -> None:
    ours, theirs = socket.socketpair()
    shared = SharedPayloads()
    reading, writing = os.pipe()
    with ours, theirs:
        connection = Connection(theirs)
        before = len(os.listdir("/proc/self/fd"))
        odd = [shared.fd, shared.fd] if what == "two" else [reading]
        socket.send_fds(ours, [frame(Hello(b"0001", ["m"], 0, patient=False))], odd)
        connection.receive()
        assert connection.ended is (what == "no file")
        assert (connection.shared is not None) is (what == "two")
        connection.shared = None
        assert len(os.listdir("/proc/self/fd")) == before, "none stays open"
    os.close(reading)
    os.close(writing)
    shared.close()


async def put_many(engine: Any, payloads: dict[bytes, bytes]) -> None:
    futures = [
        engine.put_small(ObjectName(7, key), payload, Attributes()) for key, payload in payloads.items()
    ]
    await asyncio.gather(*futures)


def payloads_of(count: int) -> dict[bytes, bytes]:
    """Of all sizes that lie in the index, some of them small enough for their frames."""
    return {b"o%05d" % number: os.urandom((number * 997) % INLINE_BYTES_MAX + 1) for number in range(count)}


def works(committer: CommitterProcess, payloads: dict[bytes, bytes]) -> None:
    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        for _ in range(3):  # what was answered makes room
            await put_many(engine, payloads)
        assert {key: read(engine, ObjectName(7, key)) for key in payloads} == payloads
        await engine.close()

    asyncio.run(main())


def test_more_than_there_is_room_for_travels_in_frames(tmp_path: Path) -> None:
    with running_committer([tmp_path / "data"]) as committer:
        works(committer, payloads_of(1_500))


def test_where_no_memory_can_be_shared_payloads_travel_in_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with running_committer([tmp_path / "data"]) as committer:
        works(committer, payloads_of(100))


def test_another_committer_finds_what_was_left_for_the_one_that_died(tmp_path: Path) -> None:
    payloads = payloads_of(400)

    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        committer.kill()
        putting = asyncio.create_task(put_many(engine, payloads))
        await asyncio.sleep(0.1)
        committer.start()
        await putting
        assert {key: read(engine, ObjectName(7, key)) for key in payloads} == payloads
        await engine.close()

    with running_committer([tmp_path / "data"]) as committer:
        asyncio.run(main())


def test_memory_that_somebody_may_still_read_is_not_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gave up does not know whether the committer will still execute what was sent."""

    async def main() -> None:
        engine = committer.engine()
        await engine.open_bucket(7)
        before = engine._client._shared
        assert before is not None
        reader = PayloadReader(os.dup(before.fd))
        committer.kill()
        monkeypatch.setattr(commit_client, "RECONNECT_MAX_S", 0.2)
        place = INLINE_BYTES_MAX  # the first that is given away
        with pytest.raises(Unavailable):
            await engine.put_small(ObjectName(7, b"a"), b"given up" * 200, Attributes())
        monkeypatch.undo()
        committer.start()
        await put_many(engine, payloads_of(600))
        assert reader.at(place, 1600) == b"given up" * 200
        assert engine._client._shared is not before
        await engine.close()

    with running_committer([tmp_path / "data"]) as committer:
        asyncio.run(main())


def test_a_refused_worker_writes_nothing_however_busy_the_committer_is(tmp_path: Path) -> None:
    async def load(engine: LocalEngine, number: int, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await put_many(engine, {b"busy-%d-%d" % (number, part): b"z" * 100 for part in range(40)})

    async def main() -> None:
        engine, stop = committer.engine(), asyncio.Event()
        await engine.open_bucket(7)
        loads = [asyncio.create_task(load(engine, number, stop)) for number in range(3)]
        stranger = CommitClient(
            committer.address,
            incarnation=committer.incarnations.new(),
            mountpaths=["another"],
            patient=False,
        )
        publisher = Publisher(
            stranger, data_sync="immediate", clock=time.time_ns, telemetry=Telemetry.private()
        )
        asked: list[bytes] = []
        outcomes: list[object] = []
        end_s = time.monotonic() + 1.5
        while time.monotonic() < end_s:
            key, body = b"v%d" % len(asked), os.urandom(2_000)
            generation = b"stranger" + len(asked).to_bytes(8, "big")
            small = SmallPayload(generation, len(body), xxh3_64_digest(body), (body,))
            told = asyncio.Event()

            def note(outcome: object, told: asyncio.Event = told) -> None:
                outcomes.append(outcome)
                told.set()

            packed = keys.pack(ObjectName(7, key))
            publisher.put_small(0, packed, small, (Attributes(), ANY), told=note)
            asked.append(key)
            await told.wait()
        stop.set()
        await asyncio.gather(*loads)
        await stranger.close()
        assert len(outcomes) == len(asked) > 5
        assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
        assert [key for key in asked if engine.look_up(ObjectName(7, key)) is not None] == []
        await engine.close()

    with running_committer([tmp_path / "data"], config=StorageConfig(group_size_max=8)) as committer:
        asyncio.run(main())
