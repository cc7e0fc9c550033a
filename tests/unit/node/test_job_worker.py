"""The job worker's tasks: none of them ends without anybody noticing."""

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest

from aisle.node import job_worker

TASKS = ("run_jobs", "run_bulk", "watch_space", "run_delayed")


async def forever(*_given: Any) -> None:
    await asyncio.Event().wait()


async def broken(*_given: Any) -> None:
    raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize("ending", TASKS)
def test_a_task_that_fails_ends_the_worker(monkeypatch: pytest.MonkeyPatch, ending: str) -> None:
    """Then its supervisor starts it again; otherwise the others would go on, and its work stay undone."""
    for name in (*TASKS, "sweep_lists", "_repair"):
        monkeypatch.setattr(job_worker, name, broken if name == ending else forever)
    for name in ("open_store", "open_engine", "open_room", "open_providers", "open_sealer", "egress_policy"):
        monkeypatch.setattr(job_worker, name, MagicMock())
    for name in ("keep_room", "Buckets", "RemoteBuckets", "JobServices", "JobSettings", "ProviderSources"):
        monkeypatch.setattr(job_worker, name, MagicMock())
    # What concerns the whole process would last for the tests behind this one.
    for name in ("settle_memory", "lower_processor_priority"):
        monkeypatch.setattr(job_worker, name, MagicMock())
    job_worker.open_engine.return_value.close = AsyncMock()  # type: ignore[attr-defined]
    job_worker.open_providers.return_value.close = AsyncMock()  # type: ignore[attr-defined]
    monkeypatch.setattr(job_worker, "open_fetches", AsyncMock(return_value=MagicMock()))

    async def worked() -> None:
        control = SimpleNamespace(listen=MagicMock(), say_ready=MagicMock(), draining=asyncio.Event())
        monkeypatch.setattr(job_worker, "Control", lambda _fd: control)
        boot: Any = MagicMock(mountpaths=["/nowhere"], runtime_folder="/nowhere")
        working = asyncio.create_task(job_worker._work(boot, MagicMock()))
        for _ in range(100):
            await asyncio.sleep(0)
        assert working.done()
        await working

    with pytest.raises(RuntimeError, match="a mistake of ours"):
        asyncio.run(worked())
