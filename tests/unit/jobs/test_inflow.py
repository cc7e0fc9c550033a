import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from aisle.jobs.inflow import BLOCK_BYTES, ByteBudget, Inflow

CHUNK = bytes(16 * 1024)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def fill(inflow: Inflow, on_room: Callable[[], None] = lambda: None) -> int:
    taken = 0
    while inflow.offer(CHUNK, on_room):
        taken += len(CHUNK)
    return taken


def test_chunks_come_out_as_blocks_in_order() -> None:
    async def test() -> None:
        inflow = Inflow(ByteBudget(2**30))
        chunks = [bytes([number]) * 100_000 for number in range(25)]
        for chunk in chunks:
            assert inflow.offer(chunk, lambda: None)
        inflow.end()
        blocks = []
        while (block := await inflow.take()) is not None:
            blocks.append(b"".join(block))
        assert b"".join(blocks) == b"".join(chunks)
        assert all(len(block) >= BLOCK_BYTES for block in blocks[:-1])
        assert await inflow.take() is None

    run(test)


def test_a_full_queue_says_no_and_calls_when_there_is_room() -> None:
    async def test() -> None:
        budget, called = ByteBudget(2**30), list[int]()
        inflow = Inflow(budget)
        taken = fill(inflow, lambda: called.append(1))
        assert taken == 6 * BLOCK_BYTES == budget.used_bytes
        await inflow.take()
        assert called == []  # a block in work still counts
        await inflow.take()
        assert called == [1]
        assert fill(inflow) == BLOCK_BYTES

    run(test)


def test_an_empty_budget_leaves_each_queue_one_block() -> None:
    async def test() -> None:
        budget = ByteBudget(3 * BLOCK_BYTES)
        first, second = Inflow(budget), Inflow(budget)
        assert fill(first) == 3 * BLOCK_BYTES
        assert fill(second) == BLOCK_BYTES
        first.drop()
        assert budget.used_bytes == BLOCK_BYTES
        second.drop()
        assert budget.used_bytes == 0

    run(test)


def test_who_waits_is_woken_by_a_block_an_end_and_a_drop() -> None:
    async def test() -> None:
        for act, expected in (
            (lambda inflow: fill(inflow), BLOCK_BYTES),
            (lambda inflow: inflow.end(), None),
            (lambda inflow: inflow.drop(), None),
        ):
            inflow = Inflow(ByteBudget(2**30))
            taking = asyncio.create_task(inflow.take())
            await asyncio.sleep(0)
            act(inflow)
            block = await taking
            assert (sum(map(len, block)) if block is not None else None) == expected

    run(test)
