"""The local engine keeps every promise of the storage seam, over one and over several mountpaths."""

from collections.abc import Iterator

import pytest

from contract.storage_contract import EngineContract, MakeEngine
from support.storage import CommitterProcess, running_committer


@pytest.fixture(scope="module")
def one_mountpath(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommitterProcess]:
    with running_committer([tmp_path_factory.mktemp("one") / "data"]) as process:
        yield process


@pytest.fixture(scope="module")
def three_mountpaths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommitterProcess]:
    folder = tmp_path_factory.mktemp("three")
    with running_committer([folder / name for name in "abc"]) as process:
        yield process


class TestLocalEngine(EngineContract):
    @pytest.fixture
    def make_engine(self, one_mountpath: CommitterProcess) -> MakeEngine:
        return one_mountpath.engine


class TestLocalEngineOverThreeMountpaths(EngineContract):
    @pytest.fixture
    def make_engine(self, three_mountpaths: CommitterProcess) -> MakeEngine:
        return three_mountpaths.engine
