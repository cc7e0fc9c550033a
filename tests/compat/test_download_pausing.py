"""Jobs that rest and go on, and jobs that come first."""

import asyncio
import itertools
import os

import pytest

from aisle.api.native.download_status import wire_job
from aisle.config import DownloadConfig
from aisle.errors import Conflict, JobNotFound, JobRunning
from support.downloads import Rig, with_rig
from support.faulty import Asked, Behaviour, Writer, reply, serve_file

LARGE = os.urandom(3_000_000)
HEAD = (
    f'HTTP/1.1 200 OK\r\nContent-Length: {len(LARGE)}\r\nETag: "v1"\r\nAccept-Ranges: bytes\r\n\r\n'.encode()
)


def held(gate: asyncio.Event, body: bytes = b"x" * 100) -> Behaviour:
    """Answers when the gate is open."""

    async def behave(_asked: Asked, writer: Writer) -> None:
        await gate.wait()
        await reply(writer, 200, body)

    return behave


async def until(holds: object) -> None:
    assert callable(holds)
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def is_at_rest(rig: Rig, job_id: str) -> None:
    """Wait until the worker has let go of the job."""
    await until(lambda: rig.board._live.find(job_id) is None)


@with_rig()
async def test_a_job_rests_and_goes_on_without_fetching_anything_twice(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.server.fallback = lambda asked, writer: (
        reply(writer, 200, b"y") if asked.path < "/d/o50" else held(gate)(asked, writer)
    )
    job_id = await rig.submit(
        type="range", template=f"{rig.server.url}/d/o{{00..99}}", limits={"connections": 4}
    )
    await rig.until(job_id, lambda status: status.progress.finished == 50)
    await rig.board.pause(job_id)
    status = rig.board.find(job_id)
    assert (status.is_paused, status.finished_ns, wire_job(status).state) == (True, 0, "paused")
    await rig.board.pause(job_id)  # harmless
    with pytest.raises(JobRunning):
        await rig.board.remove(job_id)
    await is_at_rest(rig, job_id)
    asked_before = len(rig.server.asked)
    gate.set()
    await asyncio.sleep(0.3)
    assert len(rig.server.asked) == asked_before
    assert rig.board.find(job_id).progress.finished == 50
    await rig.board.resume(job_id)
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed, status.is_aborted) == (100, 0, False)
    assert all(rig.server.times(f"/d/o{number:02d}") == 1 for number in range(50))


@with_rig()
async def test_a_resting_job_rests_through_restarts_and_keeps_its_parts(rig: Rig) -> None:
    gate, sent = asyncio.Event(), 2_000_000

    async def half(asked: Asked, writer: Writer) -> None:
        if asked.headers.get("range"):
            await serve_file(asked, writer, LARGE)
            return
        writer.write(HEAD)
        writer.write(LARGE[:sent])
        await writer.drain()
        await gate.wait()

    job_id = await rig.single(rig.server.on("/large", half))
    await rig.until(job_id, lambda status: bool(status.live and status.live.bytes_received >= sent))
    await until(lambda: rig.uploads() > 0)
    await rig.board.pause(job_id)
    await is_at_rest(rig, job_id)
    assert rig.uploads() == 1
    await rig.stop()
    rig.start()
    await asyncio.sleep(0.3)
    assert (rig.uploads(), rig.board.find(job_id).is_paused) == (1, True)
    asked_before = len(rig.server.asked)
    await rig.board.resume(job_id)
    await rig.ended(job_id)
    assert rig.content() == LARGE
    assert all("range" in asked.headers for asked in rig.server.asked[asked_before:])
    assert rig.uploads() == 0


@with_rig()
async def test_a_job_that_has_ended_neither_rests_nor_goes_on(rig: Rig) -> None:
    gate = asyncio.Event()
    gate.set()
    status = await rig.download(rig.server.on("/x", held(gate)))
    for change in (rig.board.pause, rig.board.resume):
        with pytest.raises(Conflict, match="has ended"):
            await change(status.record.id)
        with pytest.raises(JobNotFound):
            await change("dnl-none")
    await rig.board.prioritize(status.record.id, 5)
    assert rig.board.find(status.record.id).record.priority == 0


@with_rig()
async def test_a_resting_job_can_be_aborted_and_leaves_nothing(rig: Rig) -> None:
    async def stuck(_asked: Asked, writer: Writer) -> None:
        writer.write(HEAD)
        writer.write(LARGE[:2_000_000])
        await writer.drain()
        await asyncio.Event().wait()

    job_id = await rig.single(rig.server.on("/large", stuck))
    await until(lambda: rig.uploads() > 0)
    await rig.board.pause(job_id)
    await is_at_rest(rig, job_id)
    await rig.board.abort(job_id)
    status = rig.board.find(job_id)
    assert (status.is_paused, status.is_aborted) == (False, True)
    await until(lambda: rig.uploads() == 0)
    await rig.board.remove(job_id)
    await until(lambda: rig.store.list("progress/") == [])


@with_rig()
async def test_a_job_that_is_paused_before_it_begins_does_not(rig: Rig) -> None:
    await rig.stop()
    gate = asyncio.Event()
    gate.set()
    job_id = await rig.single(rig.server.on("/x", held(gate)))
    await rig.board.pause(job_id)
    rig.start()
    await asyncio.sleep(0.3)
    assert rig.server.asked == []
    await rig.board.resume(job_id)
    assert (await rig.ended(job_id)).progress.finished == 1


@with_rig()
async def test_pausing_and_resuming_in_quick_succession_loses_nothing(rig: Rig) -> None:
    rig.server.fallback = lambda asked, writer: reply(writer, 200, asked.path.encode())
    job_id = await rig.submit(
        type="range", template=f"{rig.server.url}/d/o{{0000..0999}}", limits={"connections": 8}
    )
    for _ in range(20):
        try:
            await rig.board.pause(job_id)
            await asyncio.sleep(0.005)
            await rig.board.resume(job_id)
        except Conflict:
            break
        await asyncio.sleep(0.01)
    progress = (await rig.ended(job_id)).progress
    assert (progress.finished, progress.failed, progress.done) == (1000, 0, ((0, 1000),))


@with_rig(config=DownloadConfig(connections_max=1, connections_per_host_max=1, stall_timeout_s=30.0))
async def test_the_highest_priority_gets_the_free_connection(rig: Rig) -> None:
    gate = asyncio.Event()
    rig.server.fallback = held(gate)
    first = await rig.submit(type="single", link=f"{rig.server.url}/first")
    await until(lambda: rig.server.running == 1)
    ids = {}
    for name, priority in (("low", -5), ("plain", 0), ("high", 7), ("raised", 0)):
        ids[name] = await rig.submit(
            type="range", template=f"{rig.server.url}/{name}{{1..3}}", priority=priority
        )
    await rig.board.prioritize(ids["raised"], 9)
    await until(lambda: all(rig.board._live.find(job_id) is not None for job_id in ids.values()))
    await until(lambda: rig.board.find(ids["raised"]).record.priority == 9)
    await until(lambda: not rig.bell.is_set())  # the worker has looked at what it was rung for
    gate.set()
    for job_id in (first, *ids.values()):
        await rig.ended(job_id)
    order = [
        name for name, _ in itertools.groupby(asked.path.strip("/0123456789") for asked in rig.server.asked)
    ]
    assert order == ["first", "raised", "high", "plain", "low"]
