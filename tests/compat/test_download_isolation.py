"""Bugs that one item or one job meets: the others do not notice."""

import time

import pytest

from aisle.model.names import ObjectName
from aisle.storage.engine import Held
from aisle.storage.memory import MemoryEngine
from aisle.transfer.fetch import Fetch, Fetcher, FetchRequest, Intake
from support.downloads import Rig, with_rig
from support.faulty import serving


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


@with_rig()
async def test_an_item_that_cannot_be_asked_for_fails_and_the_others_come(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Fetcher.start

    def breaking(fetcher: Fetcher, request: FetchRequest, intake: Intake) -> Fetch:
        if request.link.endswith("7"):
            raise RuntimeError("a bug")
        return start(fetcher, request, intake)

    monkeypatch.setattr(Fetcher, "start", breaking)
    rig.server.fallback = serving(b"x" * 100)
    job = {"type": "range", "template": f"{rig.server.url}/o{{0..99}}", "limits": {"connections": 4}}
    progress = (await rig.ended(await rig.submit(**job))).progress
    assert (progress.finished, progress.failed) == (90, 10)
    assert "internal error: RuntimeError('a bug')" in progress.errors[0].error
