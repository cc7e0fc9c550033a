"""Wrappers are engines: they keep every promise, except the ones they are told to break."""

import asyncio
import time

import pytest

from aisle.errors import OutOfSpace, Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import Attributes
from aisle.storage.memory import MemoryEngine
from aisle.storage.wrappers import FaultyEngine, SlowEngine
from contract.storage_contract import EngineContract, MakeEngine, put, read


class TestStackedWrappers(EngineContract):
    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        return lambda: SlowEngine(FaultyEngine(MemoryEngine(time.time_ns)), delay_s=lambda _: 0.0)


def test_a_fault_has_no_effect_and_a_lost_answer_has() -> None:
    faults = {"put_small": OutOfSpace("full"), "scan": Unavailable("gone")}
    lost: set[str] = set()

    async def main() -> None:
        engine = FaultyEngine(MemoryEngine(time.time_ns), fault=faults.get, loses_answer=lost.__contains__)
        await engine.open_bucket(1)
        name = ObjectName(1, b"x")
        with pytest.raises(OutOfSpace):
            await engine.put_small(name, b"1", Attributes())
        with pytest.raises(Unavailable):
            engine.scan(1, limit=1)
        assert read(engine, name) is None
        faults.clear()
        lost.add("commit")
        with pytest.raises(Unavailable):
            await put(engine, name, b"2")
        assert read(engine, name) == b"2"

    asyncio.run(main())
