"""Bugs that one item or one job meets: the others do not notice."""

import asyncio
import time
from dataclasses import replace
from typing import Any

import pytest

from aisle.model.names import ObjectName
from aisle.rules.download_plan import Item, Plan
from aisle.storage.engine import Held
from aisle.storage.memory import MemoryEngine
from aisle.transfer.carriers import Carrier
from aisle.transfer.fetch import Fetch, Fetcher, FetchRequest, Intake, Watched
from support.downloads import CONFIG, Rig, with_rig
from support.faulty import Asked, Writer, serving


class Breaking(MemoryEngine):
    """An engine with a bug, which shows when certain names are looked at."""

    def look_up(self, name: ObjectName) -> Held | None:
        if name.key.startswith(b"bad"):
            raise RuntimeError("a bug")
        return super().look_up(name)


@with_rig(engine=Breaking(time.time_ns))
async def test_a_job_that_cannot_go_on_ends_and_the_others_go_on(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    rig.server.fallback = serving(b"x" * 100)
    await rig.download(f"{rig.server.url}/first")  # a bucket that has objects is looked at
    bad = await rig.submit(type="range", template=f"{rig.server.url}/bad{{0..9}}")
    good = await rig.submit(type="range", template=f"{rig.server.url}/good{{0..99}}")
    assert (await rig.ended(good)).progress.finished == 100
    status = await rig.ended(bad)
    assert status.is_aborted
    assert "a bug" in status.progress.error
    assert caplog.text.count("cannot go on") == 1


@with_rig(config=replace(CONFIG, connections_max=4, connections_per_host_max=4))
async def test_what_a_job_had_taken_when_it_could_not_go_on_frees_its_connections(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Plan.item

    def breaking(plan: Plan, number: int) -> Item:
        if number == 2:
            raise RuntimeError("a bug")
        return item(plan, number)

    rig.server.fallback = serving(b"x" * 100)
    with monkeypatch.context() as patched:
        patched.setattr(Plan, "item", breaking)
        for _ in range(3):
            bad = await rig.ended(await rig.submit(type="range", template=f"{rig.server.url}/bad{{0..9}}"))
            assert "a bug" in bad.progress.error
    rig.server.running_max = 0

    async def slow(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(0.02)
        await serving(b"x" * 100)(asked, writer)

    rig.server.fallback = slow
    good = await rig.ended(await rig.submit(type="range", template=f"{rig.server.url}/good{{0..99}}"))
    assert good.progress.finished == 100
    assert rig.server.running_max == 4


@with_rig()
async def test_an_item_that_cannot_be_asked_for_fails_and_the_others_come(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, ask = Fetcher.start, Fetcher.ask

    def breaking(fetcher: Fetcher, request: FetchRequest, intake: Intake) -> Fetch:
        if request.link.endswith("7"):
            raise RuntimeError("a bug")
        return start(fetcher, request, intake)

    def breaking_ask(fetcher: Fetcher, receiver: Watched, link: str, *more: Any) -> Carrier | None:
        if link.endswith("7"):
            raise RuntimeError("a bug")
        return ask(fetcher, receiver, link, *more)

    monkeypatch.setattr(Fetcher, "start", breaking)
    monkeypatch.setattr(Fetcher, "ask", breaking_ask)
    rig.server.fallback = serving(b"x" * 100)
    job = {"type": "range", "template": f"{rig.server.url}/o{{0..99}}", "limits": {"connections": 4}}
    progress = (await rig.ended(await rig.submit(**job))).progress
    assert (progress.finished, progress.failed) == (90, 10)
    assert "internal error: RuntimeError('a bug')" in progress.errors[0].error
