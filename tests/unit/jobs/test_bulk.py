"""Bulk jobs: what they do, how they end, and that they go on where a killed process left them."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from aisle.errors import JobNotFound, OutOfSpace
from aisle.jobs.bulk_board import BulkStatus
from aisle.jobs.bulk_runner import KEPT_AT_LEAST_S, KEPT_S, ProgressKeeper
from aisle.jobs.bulk_tally import BulkTally
from aisle.jobs.bulk_work import BATCH_OBJECTS
from aisle.model.bulk import (
    BULK_NAMES_PREFIX,
    CLEANUP,
    COPY_BUCKET,
    COPY_OBJECTS,
    DELETE_OBJECTS,
    IDLE_NS,
    MOVE_BUCKET,
    SELECTED_NAMES,
    SELECTED_PREFIX,
    SELECTED_TEMPLATE,
    BulkProgress,
    BulkRecord,
    CopySettings,
    Selection,
)
from aisle.model.names import ObjectName
from aisle.model.record import ANY, Attributes, Condition, Record
from aisle.storage.memory import MemoryEngine
from support.bulk import BulkNode, job, until

MANY = [f"d/{number:04}" for number in range(3 * BATCH_OBJECTS + 5)]
LISTED = Selection(by=SELECTED_NAMES)


def run(test: Callable[[BulkNode], Coroutine[Any, Any, None]], engine: MemoryEngine | None = None) -> None:
    asyncio.run(test(BulkNode(engine)))


def counts(status: BulkStatus) -> tuple[int, int, int]:
    progress = status.progress
    return progress.objects, progress.bytes, progress.failed


def test_a_bucket_is_copied_with_all_that_it_holds() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        await node.bucket("b", ["d/0001", "kept"])
        status = await node.do(job(COPY_BUCKET, source, "b"))
        assert counts(status) == (len(MANY), 3 * len(MANY), 0)
        assert node.names("b") == [*MANY, "kept"]
        assert node.names("a") == MANY
        assert (status.ended_ns > 0, status.is_aborted, status.error) == (True, False, "")

    run(test)


def test_copies_may_be_chosen_by_prefix_and_renamed_on_the_way() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["x/1.jpg", "x/2.png", "y/3.jpg", "x.d/jpg"])
        await node.bucket("b")
        how = CopySettings(prepend="new/", extensions={"jpg": "txt"})
        chosen = Selection(by=SELECTED_PREFIX, text="x")
        await node.do(job(COPY_BUCKET, source, "b", selection=chosen, copying=how))
        assert node.names("b") == ["new/x.d/jpg", "new/x/1.txt", "new/x/2.png"]

    run(test)


def test_a_rehearsal_counts_and_copies_nothing() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        status = await node.do(job(COPY_BUCKET, source, "none", copying=CopySettings(dry_run=True)))
        assert counts(status) == (len(MANY), 3 * len(MANY), 0)
        assert [info.bucket.name for info in node.buckets.select()] == ["a"]

    run(test)


def test_copies_into_their_own_bucket_are_not_copied_again() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        how = CopySettings(prepend="z/")
        status = await node.do(job(COPY_OBJECTS, source, "a", copying=how))
        assert counts(status)[0] == len(MANY)
        assert node.names("a") == [*MANY, *(f"z/{name}" for name in MANY)]

    run(test)


def test_named_objects_are_deleted_and_missing_ones_told() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1", "2", "3"])
        status = await node.do(job(DELETE_OBJECTS, source, selection=LISTED), ["1", "nope", "3", "neither"])
        assert node.names("a") == ["2"]
        assert counts(status) == (2, 6, 2)
        assert status.error == "ais://a/nope does not exist (and 1 more error)"
        assert not status.is_aborted
        assert node.store.list(BULK_NAMES_PREFIX) == []

    run(test)


def test_a_template_is_not_held_to_its_names() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        chosen = Selection(by=SELECTED_TEMPLATE, text="d/{0001..9999..2}")
        status = await node.do(job(DELETE_OBJECTS, source, selection=chosen))
        assert node.names("a") == MANY[::2]
        assert (counts(status)[0], status.error) == (len(MANY) // 2, "")

    run(test)


def test_very_many_names_travel_in_several_documents() -> None:
    async def test(node: BulkNode) -> None:
        long = [f"{number:05}-" + "n" * 900 for number in range(1500)]
        source = await node.bucket("a", long)
        job_id = await node.board.submit(job(DELETE_OBJECTS, source, selection=LISTED), long)
        assert len(node.store.list(BULK_NAMES_PREFIX)) == 3
        assert counts(await node.finish(job_id))[0] == 1500
        assert node.names("a") == []

    run(test)


def test_a_renamed_bucket_keeps_its_objects() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1", "2"])
        status = await node.do(job(MOVE_BUCKET, source, "b"))
        assert (node.names("b"), counts(status)[0]) == (["1", "2"], 2)
        assert [info.bucket.name for info in node.buckets.select()] == ["b"]

    run(test)


def test_a_bucket_that_is_gone_ends_its_job() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1"])
        await node.buckets.destroy(source.bucket)
        await node.bucket("a", ["1"])
        await node.bucket("b")
        for kind in (COPY_BUCKET, DELETE_OBJECTS, MOVE_BUCKET):
            status = await node.do(job(kind, source, "c" if kind == MOVE_BUCKET else "b"))
            assert status.is_aborted
            assert "ais://a" in status.abort_error
        assert node.names("a") == ["1"]

    run(test)


@pytest.mark.parametrize("kind", [COPY_BUCKET, COPY_OBJECTS])
def test_a_job_does_not_write_to_another_bucket_of_the_same_name(kind: str) -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1"])
        meant = await node.bucket("b")
        asked = msgspec.structs.replace(job(kind, source, "b"), to_number=meant.number)
        await node.buckets.destroy(meant.bucket)
        await node.bucket("b", ["others"])
        status = await node.do(asked)
        assert "ais://b" in status.abort_error
        assert node.names("b") == ["others"]

    run(test)


class FullEngine(MemoryEngine):
    """Has no space for one name once it is full."""

    is_full = False

    def put_small(
        self, name: ObjectName, payload: bytes, attributes: Attributes, *, condition: Condition = ANY
    ) -> "asyncio.Future[Record]":
        if self.is_full and name.key == b"d/0003":
            raise OutOfSpace("no space left")
        return super().put_small(name, payload, attributes, condition=condition)


def test_a_full_disk_ends_the_job_which_tells_what_it_did() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        await node.bucket("b")
        engine.is_full = True
        status = await node.do(job(COPY_BUCKET, source, "b", workers=-1, continues_on_error=True))
        assert (status.is_aborted, status.abort_error) == (True, "no space left")
        assert node.names("b") == MANY[:3]
        assert counts(status)[0] == 3

    ticks = itertools.count(1)
    engine = FullEngine(lambda: next(ticks))
    run(test, engine)


@pytest.mark.parametrize("stopped_after", [1, 2, 3])
def test_a_job_goes_on_where_a_killed_process_left_it(stopped_after: int) -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        await node.bucket("b")
        job_id = await node.board.submit(job(COPY_BUCKET, source, "b"))
        done = stopped_after * BATCH_OBJECTS
        kept = BulkProgress(
            id=job_id, visited=done, after=MANY[done - 1].encode(), objects=done, bytes=3 * done
        )
        keeper = ProgressKeeper(node.store, job_id)
        keeper.load()
        assert await keeper.try_save(BulkTally(kept))
        status = await node.finish(job_id)
        assert counts(status) == (len(MANY), 3 * len(MANY), 0)
        # What was counted before the kill is not copied again.
        assert node.names("b") == MANY[done:]

    run(test)


def test_names_that_a_killed_process_deleted_are_no_failures() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        job_id = await node.board.submit(job(DELETE_OBJECTS, source, selection=LISTED), [*MANY, "nope"])
        # It was killed in its first batch.
        keeper = ProgressKeeper(node.store, job_id)
        await keeper.try_save(BulkTally(keeper.load()))
        for name in MANY[:10]:
            await node.engine.remove(ObjectName(source.number, name.encode()))
        status = await node.finish(job_id)
        assert (counts(status)[0], status.error) == (len(MANY), "ais://a/nope does not exist")

    run(test)


def test_the_place_in_a_deletion_is_kept_with_every_batch() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        job_id = await node.board.submit(job(DELETE_OBJECTS, source, selection=LISTED), MANY)
        runner = node.runner()
        runner.look()
        await until(lambda: len(node.names("a")) < len(MANY) - BATCH_OBJECTS)
        assert node.board.find(job_id).progress.visited == BATCH_OBJECTS
        await runner.close()

    run(test)


def test_a_process_that_ends_leaves_the_job_to_the_next_one() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        await node.bucket("b")
        job_id = await node.board.submit(job(COPY_BUCKET, source, "b", workers=-1))
        first = node.runner()
        first.look()
        await until(lambda: bool(node.names("b")))
        await first.close()
        assert not node.board.find(job_id).done_ns
        assert len(node.names("b")) < len(MANY)
        status = await node.finish(job_id)
        assert (node.names("b"), status.is_aborted) == (MANY, False)
        assert counts(status)[0] == len(MANY)

    run(test)


class HeldEngine(MemoryEngine):
    """Stores the first few objects that are copied, and never gets on with more."""

    stored = 0

    def put_small(
        self, name: ObjectName, payload: bytes, attributes: Attributes, *, condition: Condition = ANY
    ) -> "asyncio.Future[Record]":
        self.stored += name.bucket == 2
        if self.stored > 3:
            return asyncio.get_running_loop().create_future()
        return super().put_small(name, payload, attributes, condition=condition)


def test_an_aborted_job_stops_and_says_so() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", MANY)
        await node.bucket("b")
        job_id = await node.board.submit(job(COPY_OBJECTS, source, "b", workers=-1))
        runner = node.runner()
        runner.look()
        await until(lambda: len(node.names("b")) == 3)
        await node.board.abort(job_id)
        status = node.board.find(job_id)
        assert (status.is_aborted, status.is_idle, status.ended_ns > 0) == (True, False, True)
        await node.finish(job_id, runner)
        assert len(node.names("b")) == 3
        assert node.board.find(job_id).abort_error == "user abort"
        await node.board.abort(job_id)

    run(test, HeldEngine(itertools.count(1).__next__))


def test_a_job_aborted_before_it_began_does_nothing() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1"])
        job_id = await node.board.submit(job(DELETE_OBJECTS, source))
        await node.board.abort(job_id)
        assert (await node.finish(job_id)).is_aborted
        assert node.names("a") == ["1"]
        with pytest.raises(JobNotFound):
            await node.board.abort("nonsense")

    run(test)


def test_some_kinds_are_idle_for_a_while_before_they_end() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1"])
        await node.bucket("b")
        idle = await node.do(job(COPY_OBJECTS, source, "b"))
        assert (idle.is_idle, idle.ended_ns, idle.done_ns > 0) == (True, 0, True)
        other = await node.do(job(COPY_BUCKET, source, "b"))
        assert (other.is_idle, other.ended_ns) == (False, other.done_ns)
        node.now_ns += IDLE_NS
        ended = node.board.find(idle.record.id)
        assert (ended.is_idle, ended.ended_ns) == (False, idle.done_ns)

    run(test)


def test_what_a_request_did_by_itself_can_be_asked_for_at_once() -> None:
    async def test(node: BulkNode) -> None:
        job_id = await node.board.note_finished(
            BulkRecord(id="", kind=CLEANUP, started_ns=0), BulkProgress(id="", objects=4)
        )
        status = node.board.find(job_id)
        assert (status.ended_ns > 0, status.is_aborted, counts(status)[0]) == (True, False, 4)
        runner = node.runner()
        runner.look()
        await runner.close()
        assert node.board.find(job_id)[:2] == status[:2]

    run(test)


def test_jobs_that_ended_are_remembered_for_a_day() -> None:
    async def test(node: BulkNode) -> None:
        source = await node.bucket("a", ["1"])
        await node.bucket("b")
        runner = node.runner()
        job_id = await node.board.submit(job(COPY_BUCKET, source, "b"))
        await node.finish(job_id, runner)
        node.now_ns += KEPT_AT_LEAST_S * 10**9
        await runner.forget_old()
        assert node.board.find(job_id).ended_ns
        node.now_ns += KEPT_S * 10**9
        await runner.forget_old()
        with pytest.raises(JobNotFound):
            node.board.find(job_id)
        assert node.board.all() == []

    run(test)


@pytest.mark.parametrize("job_id", ["", "nope", "../x", "a/b", "x" * 65, "é"])
def test_ids_that_were_never_given_are_not_found(job_id: str) -> None:
    async def test(node: BulkNode) -> None:
        with pytest.raises(JobNotFound):
            node.board.find(job_id)

    run(test)
