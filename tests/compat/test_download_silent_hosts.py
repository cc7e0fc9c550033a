"""Servers that never answer: what waits for them holds up nobody else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aisle.config import DownloadConfig
from support.downloads import Rig, with_rig
from support.faulty import Asked, FaultyServer, Writer, faulty_server, serving

BODY = b"x" * 5_000
# Nothing is given up while a test runs.
PATIENT = DownloadConfig(
    connections_max=16, connections_per_host_max=4, retries_max=0, stall_timeout_s=300, connect_timeout_s=300
)


@asynccontextmanager
async def silent_servers(count: int) -> AsyncIterator[list[FaultyServer]]:
    async def silent(asked: Asked, writer: Writer) -> None:
        await asyncio.Event().wait()

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(faulty_server()) for _ in range(count)]
        for server in servers:
            server.fallback = silent
        yield servers


@with_rig(config=PATIENT)
async def test_a_job_whose_servers_are_silent_leaves_connections_to_others(rig: Rig) -> None:
    rig.server.fallback = serving(BODY)
    async with silent_servers(8) as servers:
        stuck = {f"s{number}": f"{servers[number % 8].url}/{number}" for number in range(80)}
        stuck_id = await rig.submit(type="multi", objects=stuck)
        await rig.until(stuck_id, lambda _: sum(server.running for server in servers) >= 14)
        for name in ("first", "second"):
            template = f"{rig.server.url}/{name}{{0..39}}"
            progress = (await rig.ended(await rig.submit(type="range", template=template))).progress
            assert (progress.finished, progress.failed) == (40, 0)
        assert not rig.board.find(stuck_id).finished_ns
        assert sum(server.running for server in servers) == 14
        await rig.board.abort(stuck_id)
        await rig.ended(stuck_id)


@with_rig(config=PATIENT)
async def test_a_silent_server_does_not_hold_up_the_other_items_of_its_job(rig: Rig) -> None:
    rig.server.fallback = serving(BODY)
    async with silent_servers(1) as (silent,):
        objects = {}
        for number in range(60):
            url = silent.url if number % 3 == 0 else rig.server.url
            objects[f"o{number:02d}"] = f"{url}/{number}"
        job_id = await rig.submit(type="multi", objects=objects)
        status = await rig.until(job_id, lambda status: status.progress.finished == 40)
        assert silent.running == 4
        assert status.progress.failed == 0
        await rig.board.abort(job_id)
        await rig.ended(job_id)


@with_rig(config=PATIENT)
async def test_items_of_one_server_keep_their_order(rig: Rig) -> None:
    rig.server.fallback = serving(BODY)
    template = f"{rig.server.url}/o{{000..199}}"
    progress = (
        await rig.ended(await rig.submit(type="range", template=template, limits={"connections": 1}))
    ).progress
    assert progress.finished == 200
    assert [asked.path for asked in rig.server.asked] == [f"/o{number:03d}" for number in range(200)]


@with_rig(config=DownloadConfig(retries_max=8, connect_timeout_s=2.0))
async def test_servers_that_are_gone_are_given_up_soon_while_others_answer(rig: Rig) -> None:
    async def slow(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.05)
        await serving(BODY)(asked, writer)

    rig.server.fallback = slow
    objects = {f"o{number}": f"{rig.server.url}/{number}" for number in range(100)}
    objects |= {f"gone{number}": f"http://gone{number}.invalid/x" for number in range(3)}
    # The first of these are tried, and tell that the rest need not be.
    objects |= {f"refused{number}": f"http://127.0.0.1:1/{number}" for number in range(500)}
    job_id = await rig.submit(type="multi", objects=objects, limits={"connections": 8})
    progress = (await rig.ended(job_id)).progress
    # Eight times each would be two minutes and more.
    assert (progress.finished, progress.failed) == (100, 503)
    assert {error.name for error in progress.errors} == objects.keys() - {f"o{n}" for n in range(100)}
    assert "127.0.0.1:1 answers no requests" in progress.errors[-1].error


@with_rig(config=DownloadConfig(retries_max=0, connect_timeout_s=2.0))
async def test_a_server_that_is_given_up_is_told_of_without_its_password(rig: Rig) -> None:
    objects = {f"o{number}": f"http://user:s3cret@127.0.0.1:1/{number}" for number in range(6)}
    job_id = await rig.submit(type="multi", objects=objects, limits={"connections": 1})
    progress = (await rig.ended(job_id)).progress
    assert progress.failed == 6
    assert progress.errors[-1].error.startswith("127.0.0.1:1 answers no requests")
    assert "s3cret" not in str(progress)
