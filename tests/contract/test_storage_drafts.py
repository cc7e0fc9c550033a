"""Drafts whose bytes cannot be written: whatever the reason, none is completed with a hole in it."""

import asyncio
import os
import resource
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from aisle.errors import AisleError, OutOfSpace, Unavailable
from aisle.model.names import ObjectName
from aisle.model.record import Attributes
from aisle.storage.drafts import BATCH_BYTES, SMALL_WRITE_BYTES, DraftPlace, LocalDraft, PayloadFile
from aisle.storage.engine import Upload
from aisle.storage.generation import Generations
from aisle.storage.local import LocalEngine
from aisle.storage.sync import Durability
from contract.storage_contract import written
from contract.test_storage_mountpaths import mounted
from support.folders import files_below


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), Unavailable),
        (ValueError("a mistake"), Unavailable),
        (OSError(5, "Input/output error"), Unavailable),
        (OSError(28, "No space left on device"), OutOfSpace),
    ],
)
@pytest.mark.parametrize("number", [0, 1])
def test_a_batch_that_fails_fails_its_draft(
    tmp_path: Path, error: Exception, told: type[AisleError], number: int
) -> None:
    batches = iter(range(10))

    def gives_way() -> bool:
        if next(batches) == number:
            raise error
        return False

    async def written(place: DraftPlace) -> None:
        draft = LocalDraft(place, size=3 * BATCH_BYTES, digests=())
        try:
            for _ in range(3):
                if (wait := draft.write(bytes(BATCH_BYTES))) is not None:
                    await wait
            if (wait := draft.finish()) is not None:
                await wait
        finally:
            draft.abort()

    for place in places(tmp_path):
        place.gives_way = gives_way
        with pytest.raises(told) as raised:
            asyncio.run(written(place))
        assert raised.value.__cause__ is error


@pytest.mark.parametrize("size", [5_000, 50_000], ids=["small", "large"])
@pytest.mark.parametrize("is_added", [False, True], ids=["the same mountpaths", "one more"])
def test_a_part_that_cannot_be_kept_leaves_nothing(tmp_path: Path, size: int, is_added: bool) -> None:
    paths = [tmp_path / name for name in "ab"]
    uploads: list[Upload] = []

    async def begin(engine: LocalEngine) -> None:
        await engine.open_bucket(5)
        names = [ObjectName(5, b"u%d" % number) for number in range(12)]
        uploads.extend([await engine.begin_upload(name, Attributes()) for name in names])

    async def refused(engine: LocalEngine) -> None:
        opened = 0
        for upload in uploads:
            draft = await written(engine, ObjectName(5, upload.key), bytes(size))
            with small_files(1_000), pytest.raises(Unavailable):
                await engine.commit_part(upload, 1, draft, Attributes())
            opened = opened or len(os.listdir("/proc/self/fd"))
        assert list(files_below(*(path / "drafts" for path in paths))) == []
        assert len(os.listdir("/proc/self/fd")) <= opened

    with mounted(paths[:1]) as (_, run):
        run(begin)
    with mounted(paths if is_added else paths[:1]) as (_, run):
        run(refused)


@contextmanager
def small_files(most_bytes: int) -> Iterator[None]:
    """No file of this process can be written behind so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


CHUNKS = {
    "as received": [os.urandom(32 * 1024)] * 40,
    "large": [os.urandom(3 * SMALL_WRITE_BYTES), os.urandom(SMALL_WRITE_BYTES), os.urandom(5_000_000)],
    "odd": [os.urandom(size) for size in (1, SMALL_WRITE_BYTES - 1, SMALL_WRITE_BYTES + 1, 99_999, 0, 7)],
    "more than one call takes": [b"%d" % number for number in range(5_000)],
    "nothing": [],
}


@pytest.mark.parametrize("gives_way", [False, True])
@pytest.mark.parametrize("chunks", CHUNKS)
def test_all_chunks_are_written_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: str, gives_way: bool
) -> None:
    calls: list[int] = []
    writev = os.writev

    def counting(fd: int, buffers: Sequence[bytes | memoryview]) -> int:
        calls.append(sum(map(len, buffers)))
        return writev(fd, buffers)

    monkeypatch.setattr(os, "writev", counting)
    for place in places(tmp_path):
        place.gives_way = lambda: gives_way
        file = PayloadFile(place)
        file.append(CHUNKS[chunks])
        file.append([b"the end"])
        assert file.path.read_bytes() == b"".join(CHUNKS[chunks]) + b"the end"
        file.discard()
    assert not gives_way or max(calls) <= SMALL_WRITE_BYTES


def places(folder: Path) -> Iterator[DraftPlace]:
    with ThreadPoolExecutor(1) as executor:
        yield DraftPlace(folder, Generations(bytes(4)), executor=executor, durability=Durability())
