"""The committer: executes groups of operations, one write transaction per mountpath and group.

It is the only writer of the indexes, so it may remember what it wrote. It knows no socket:
`commit_server` feeds it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import lmdb

from aisle.config import StorageConfig
from aisle.errors import AisleError, OutOfSpace, Unavailable
from aisle.model.record import Generation
from aisle.storage import uploads
from aisle.storage.bucket_states import close_everywhere, open_everywhere, reconcile
from aisle.storage.disk import Disk, Order
from aisle.storage.layout import Mountpath
from aisle.storage.messages import (
    AbandonUpload,
    Amend,
    Answer,
    BeginUpload,
    CompleteUpload,
    OnAll,
    OnMountpath,
    OpenBucket,
    Operation,
    Put,
    PutPart,
    Remove,
    Touch,
    failure_of,
)
from aisle.storage.sync import FULL, Durability
from aisle.storage.transaction import Group

_ADDING = (Put, Amend, BeginUpload, PutPart, CompleteUpload)
_ADDED_BYTES = 4096  # what an operation may add beside its payload, on average


class Request(NamedTuple):
    """An operation, the payload that came with it, and whether it may have been executed before."""

    operation: Operation
    payload: memoryview
    replayed: bool


class Committer:
    """Executes operations. `clock` gives Unix nanoseconds."""

    def __init__(
        self,
        mountpaths: Sequence[Mountpath],
        *,
        config: StorageConfig,
        clock: Callable[[], int],
        durability: Durability = FULL,
    ) -> None:
        order = Order(0)
        self.disks = [
            Disk(mountpath, order, config=config, clock=clock, durability=durability)
            for mountpath in mountpaths
        ]
        self._remembered: dict[Generation, Answer] = {}
        for disk in self.disks:
            order.advance(disk.state.sequence)
            self._remembered.update(disk.state.answers)
        reconcile(self.disks)

    def remember(self, answers: Sequence[tuple[Generation, Answer]]) -> None:
        """Keep answers that their worker did not get: it will send the operations again."""
        self._remembered.update(answers)

    def execute(self, requests: Sequence[Request]) -> list[Answer]:
        """Execute a group; the answers in the order of the requests. What is answered is durable."""
        answers: list[Answer] = [None] * len(requests)
        batches: list[list[int]] = [[] for _ in self.disks]
        for number, request in enumerate(requests):
            operation = request.operation
            if request.replayed and operation.id in self._remembered:
                answers[number] = self._remembered[operation.id]
            elif isinstance(operation, OnAll):
                self._execute_batches(requests, batches, answers)
                answers[number] = self._execute_on_all(operation)
            elif isinstance(operation, Touch):
                self._touch(operation)
            else:
                batches[operation.mountpath].append(number)
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
            if batch:
                found = self._execute_on(disk, [requests[number] for number in batch])
                for number, answer in zip(batch, found, strict=True):
                    answers[number] = answer
                batch.clear()

    def _execute_on(self, disk: Disk, requests: Sequence[Request]) -> list[Answer]:
        """Execute a batch; if it fails as a whole, its members one by one."""
        try:
            return _commit_on(disk, requests)
        except (OutOfSpace, lmdb.Error, OSError) as error:
            reason = disk.reason(error)
        if len(requests) == 1:
            return [failure_of(reason)]
        return [self._execute_on(disk, [request])[0] for request in requests]

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


def _commit_on(disk: Disk, requests: Sequence[Request]) -> list[Answer]:
    added = [len(request.payload) for request in requests if isinstance(request.operation, _ADDING)]
    if added:
        disk.headroom.require(sum(added) + _ADDED_BYTES * len(added))
    group = disk.begin()
    try:
        answers = [_apply(group, request) for request in requests]
        group.commit(
            [(request.operation.id, answer) for request, answer in zip(requests, answers, strict=True)]
        )
    except BaseException:
        group.abort()
        raise
    return answers


def _apply(group: Group, request: Request) -> Answer:
    """Execute one operation within the group; a refusal is its answer."""
    operation = request.operation
    try:
        if type(operation) is Put:
            if request.replayed:
                current = group.current(operation.key)
                if current and current.generation == operation.id:
                    return current.sequence
            return group.put(operation, request.payload)
        assert isinstance(operation, OnMountpath)
        return _apply_other(group, operation)
    except (OutOfSpace, Unavailable):
        raise
    except AisleError as error:
        return failure_of(error)


def _apply_other(group: Group, operation: OnMountpath) -> Answer:
    match operation:
        case Remove():
            return group.remove(operation)
        case Amend():
            return group.amend(operation)
        case BeginUpload():
            uploads.begin(group, operation)
        case PutPart():
            uploads.put_part(group, operation)
        case CompleteUpload():
            return uploads.complete(group, operation)
        case AbandonUpload():
            uploads.abandon(group, operation)
        case Put():
            raise AssertionError("put is handled before")
    return None
