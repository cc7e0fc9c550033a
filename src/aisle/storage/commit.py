"""The committer: executes groups of operations, one write transaction per mountpath and group.

It is the only writer of the indexes, so it may remember what it wrote. It knows no socket:
`commit_server` feeds it.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from time import perf_counter_ns

import lmdb

from aisle.config import StorageConfig
from aisle.errors import AisleError, CorruptObject, OutOfSpace
from aisle.model.record import Generation
from aisle.storage.answers import take_over_answers
from aisle.storage.bucket_states import close_everywhere, open_everywhere, reconcile
from aisle.storage.disk import INDEX_FAILURES, Disk, Order
from aisle.storage.layout import Mountpath
from aisle.storage.messages import (
    Amend,
    Answer,
    BeginUpload,
    CompleteUpload,
    OnAll,
    OnMountpath,
    OpenBucket,
    Put,
    PutPart,
    Touch,
    failure_of,
)
from aisle.storage.operations import Request, apply
from aisle.storage.scatter import Scatter, current_record
from aisle.storage.sync import FULL, Durability
from aisle.telemetry import COMMIT_FAILURES, COMMIT_OPERATIONS, COMMIT_SECONDS, OUT_OF_SPACE, Telemetry

_ADDING = (Put, Amend, BeginUpload, PutPart, CompleteUpload)
_REMEMBERED_MAX = 100_000
_ADDED_BYTES = 4096  # what an operation may add beside its payload, on average


class Committer:
    """Executes operations. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        mountpaths: Sequence[Mountpath],
        *,
        config: StorageConfig,
        clock: Callable[[], int],
        durability: Durability = FULL,
        telemetry: Telemetry | None = None,
    ) -> None:
        self._telemetry = telemetry or Telemetry.private()
        order = Order(0)
        self.disks = [
            Disk(mountpath, order, config=config, clock=clock, durability=durability)
            for mountpath in mountpaths
        ]
        for disk in self.disks:
            order.advance(disk.last_sequence)
        self._remembered: dict[Generation, Answer] = {}
        for disk in self.disks:
            self._remembered.update(take_over_answers(disk, clock()))
        reconcile(self.disks)
        self.scatter = Scatter(self.disks)
        """What is known about objects that lie elsewhere than on their owners."""

    def remember(self, answers: Iterable[tuple[Generation, Answer]]) -> None:
        """Keep answers that their worker did not get: it will send the operations again."""
        self._remembered.update(answers)
        for ident in list(islice(self._remembered, max(0, len(self._remembered) - _REMEMBERED_MAX))):
            del self._remembered[ident]

    def execute(
        self, requests: Sequence[Request], undelivered: Sequence[tuple[Generation, Answer]] = ()
    ) -> list[Answer]:
        """Execute a group; the answers in the order of the requests. What is answered is durable.

        `undelivered` are earlier answers that workers have yet to read; they are kept with these.
        """
        self._undelivered = undelivered
        answers: list[Answer] = [None] * len(requests)
        batches: list[list[int]] = [[] for _ in self.disks]
        settled = self.scatter.is_settled
        for number, request in enumerate(requests):
            operation = request.operation
            if type(operation) is Put and settled and not request.replayed:
                batches[operation.mountpath].append(number)
            elif request.replayed and operation.id in self._remembered:
                answers[number] = self._remembered[operation.id]
            elif isinstance(operation, OnAll):
                self._execute_batches(requests, batches, answers)
                answers[number] = self._execute_on_all(operation)
            elif isinstance(operation, Touch):
                self._touch(operation)
            elif settled or not self._is_scattered(operation):
                batches[operation.mountpath].append(number)
            else:
                self._execute_batches(requests, batches, answers)
                answers[number] = self._execute_scattered(request, operation)
        self._execute_batches(requests, batches, answers)
        return answers

    def close(self) -> None:
        """Release all mountpaths."""
        for disk in self.disks:
            disk.close()

    def _execute_batches(
        self, requests: Sequence[Request], batches: list[list[int]], answers: list[Answer]
    ) -> None:
        for disk, batch in zip(self.disks, batches, strict=True):
            if len(batch) == len(requests):
                answers[:] = self._execute_on(disk, requests)
                batch.clear()
            elif batch:
                found = self._execute_on(disk, [requests[number] for number in batch])
                for number, answer in zip(batch, found, strict=True):
                    answers[number] = answer
                batch.clear()

    def _is_scattered(self, operation: OnMountpath) -> bool:
        """Whether an operation concerns more than the mountpath it was sent to."""
        packed = self.scatter.packed_name(operation)
        if packed is None:
            return False
        target = self.disks[operation.mountpath]
        if self.scatter.owner(packed) is not target:
            return True
        try:
            return any(current_record(disk, packed) for disk in self.disks if disk is not target)
        except CorruptObject:
            return True  # and refused where that is executed

    def _execute_scattered(self, request: Request, operation: OnMountpath) -> Answer:
        packed = self.scatter.packed_name(operation)
        if packed is None:
            return self._execute_on(self.disks[operation.mountpath], [request])[0]
        try:
            answer = self.scatter.execute(
                request, packed, self.scatter.holder(packed), undelivered=self._undelivered
            )
            self._undelivered = [*self._undelivered, (operation.id, answer)]
            return answer
        except AisleError as error:
            return failure_of(error)

    def _execute_on(self, disk: Disk, requests: Sequence[Request]) -> list[Answer]:
        """Execute a batch; if it fails as a whole, its members one by one."""
        try:
            return self._commit_on(disk, requests)
        except (OutOfSpace, *INDEX_FAILURES) as error:
            reason = disk.reason(error)
        slots = self._telemetry.slots
        slots[COMMIT_FAILURES] += 1
        if len(requests) == 1:
            slots[OUT_OF_SPACE] += isinstance(reason, OutOfSpace)
            return [failure_of(reason)]
        return [self._execute_on(disk, [request])[0] for request in requests]

    def _commit_on(self, disk: Disk, requests: Sequence[Request]) -> list[Answer]:
        added = sum(
            len(request.payload) + _ADDED_BYTES
            for request in requests
            if isinstance(request.operation, _ADDING)
        )
        if added:
            disk.headroom.require(added)
        started_ns = perf_counter_ns()
        group = disk.begin()
        try:
            # Also those of other batches of the same group: they are not answered before this one is.
            kept = list(self._undelivered)
            answers: list[Answer] = []
            for request in requests:
                answer = apply(group, request)
                answers.append(answer)
                kept.append((request.operation.id, answer))
            group.commit(kept)
        except BaseException:
            group.abort()
            raise
        self._undelivered = kept
        self._telemetry.observe(COMMIT_SECONDS, perf_counter_ns() - started_ns)
        self._telemetry.slots[COMMIT_OPERATIONS] += len(requests)
        return answers

    def _execute_on_all(self, operation: OnAll) -> Answer:
        try:
            if isinstance(operation, OpenBucket):
                open_everywhere(self.disks, operation.bucket)
            else:
                close_everywhere(self.disks, operation.bucket, only_if_empty=operation.only_if_empty)
        except AisleError as error:
            return failure_of(error)
        return None

    def _touch(self, message: Touch) -> None:
        try:
            self.disks[message.mountpath].access_times.touch(message.names, message.read_ns)
        except (lmdb.Error, OSError):
            pass  # access times are lost without harm
