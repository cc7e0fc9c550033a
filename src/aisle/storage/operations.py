"""Executing one operation within a group."""

import msgspec

from aisle.errors import AisleError, OutOfSpace, Unavailable
from aisle.model.record import encode_record
from aisle.storage import uploads
from aisle.storage.messages import (
    AbandonUpload,
    Amend,
    Answer,
    BeginUpload,
    CompleteUpload,
    OnMountpath,
    Operation,
    Put,
    PutPart,
    Remove,
    failure_of,
)
from aisle.storage.transaction import Group


class Request(msgspec.Struct, frozen=True, eq=False, gc=False):
    """An operation, the payload that came with it, and whether it may have been executed before."""

    operation: Operation
    payload: memoryview
    replayed: bool


def apply(group: Group, request: Request) -> Answer:
    """Execute one operation within the group; a refusal is its answer."""
    operation = request.operation
    try:
        if type(operation) is Put:
            if request.replayed:
                current = group.current(operation.key)
                if current and current.generation == operation.id:
                    return encode_record(current) if operation.version_at else current.sequence
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
