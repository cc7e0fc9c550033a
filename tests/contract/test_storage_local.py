"""The local engine keeps every promise of the storage seam, over one and over several mountpaths."""

import asyncio
import os
import resource
from collections.abc import Iterator

import pytest

from aisle.errors import TooBusy
from aisle.model.names import ObjectName
from aisle.model.record import COUNTED, Attributes, decode_record
from aisle.storage.generation import payload_path
from aisle.storage.trailer import read_trailer
from contract.storage_contract import EngineContract, MakeEngine, new_bucket, put, read, written
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


def test_an_object_that_needs_too_many_files_is_refused_and_leaves_none_open(
    one_mountpath: CommitterProcess,
) -> None:
    async def main() -> None:
        engine = one_mountpath.engine()
        name = ObjectName(await new_bucket(engine), b"parts")
        upload = await engine.begin_upload(name, Attributes())
        numbers = list(range(1, 61))
        for number in numbers:
            await engine.commit_part(
                upload, number, await written(engine, name, b"%03d" % number), Attributes()
            )
        await engine.complete_upload(upload, numbers, Attributes())
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, limits[1]))
        try:
            with pytest.raises(TooBusy):
                engine.open(name)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert len(os.listdir("/proc/self/fd")) == before
        assert read(engine, name) == b"".join(b"%03d" % number for number in numbers)
        await engine.close()

    asyncio.run(main())


def test_a_payload_file_tells_the_version_that_was_counted(one_mountpath: CommitterProcess) -> None:
    async def main() -> None:
        engine = one_mountpath.engine()
        name = ObjectName(await new_bucket(engine), b"told")
        for version in ("1", "2", "3"):
            record = await put(engine, name, os.urandom(50_000), Attributes(version=COUNTED))
            path = one_mountpath.paths[0] / payload_path(record.generation)
            with path.open("rb") as file:
                trailer = read_trailer(file.fileno())
            assert trailer is not None
            assert decode_record(trailer.record).attributes == record.attributes
            assert record.attributes.version == version
        await engine.close()

    asyncio.run(main())
