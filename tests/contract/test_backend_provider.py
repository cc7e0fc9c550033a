"""The provider in memory keeps the promises of the seam."""

import pytest

from aisle.backends.memory import MemoryProvider
from aisle.backends.provider import BackendProvider
from contract.backend_contract import BUCKET, BackendProviderContract, event_loop

__all__ = ["event_loop"]


class TestMemoryProvider(BackendProviderContract):
    @pytest.fixture
    def provider(self) -> BackendProvider:
        return MemoryProvider([BUCKET])
