"""Drafts whose bytes cannot be written: whatever the reason, none is completed with a hole in it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aisle.errors import AisleError, OutOfSpace, Unavailable
from aisle.storage.drafts import BATCH_BYTES, DraftPlace, LocalDraft
from aisle.storage.generation import Generations
from aisle.storage.sync import Durability


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

    def bytes_at_once() -> int:
        if next(batches) == number:
            raise error
        return BATCH_BYTES

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
        place.bytes_at_once = bytes_at_once
        with pytest.raises(told) as raised:
            asyncio.run(written(place))
        assert raised.value.__cause__ is error


def places(folder: Path) -> Iterator[DraftPlace]:
    with ThreadPoolExecutor(1) as executor:
        yield DraftPlace(folder, Generations(bytes(4)), executor=executor, durability=Durability())
