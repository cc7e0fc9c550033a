"""The memory engine keeps every promise of the storage seam."""

import time

import pytest

from aisle.storage.memory import MemoryEngine
from contract.storage_contract import EngineContract, MakeEngine


class TestMemoryEngine(EngineContract):
    @pytest.fixture
    def make_engine(self) -> MakeEngine:
        return lambda: MemoryEngine(time.time_ns)
