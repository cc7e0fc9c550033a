"""What workers and the committer say to each other, over a Unix socket on one machine.

A request is a frame: length of the rest, length of the message, how many answers the worker had read on
this connection (4 bytes little-endian each, the last modulo 2**32), the message in MessagePack, and raw
payload bytes. Answers go back in the order of the requests: one frame
(length, MessagePack array) with the answers of as many requests as one group had. Both ends are always
the same version of the same program, so nothing here is kept compatible.
"""

import struct

import msgspec

from aisle.errors import (
    AisleError,
    BadRequest,
    BucketNotEmpty,
    ConditionFailed,
    CorruptObject,
    InvalidPart,
    NotFound,
    OutOfSpace,
    Unavailable,
    UploadNotFound,
)
from aisle.model.record import Attributes, Condition, Expect, Generation

FRAME = struct.Struct("<III")
READ_COUNT_MASK = 0xFFFF_FFFF
FRAME_BYTES_MAX = 16 * 1024 * 1024
ANSWERS = struct.Struct("<I")

_EXPECT = {Expect.ANYTHING: 0, Expect.ABSENT: 1, Expect.PRESENT: 2}
_EXPECTED = {number: expect for expect, number in _EXPECT.items()}


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """The first message on a connection; answered with None or a Failure.

    The next `replayed` messages were sent on an earlier connection, and may have been executed. A
    `patient` worker's operations may wait for each other; see gathering.py.
    """

    incarnation: bytes
    mountpaths: list[str]
    replayed: int
    patient: bool


class Put(msgspec.Struct, frozen=True, array_like=True, tag=1, gc=False):
    """Make a generation current. The record is `head`, the sequence, `tail`.

    With `version_at` the version is counted: `head` has the first one there, encoded. Answered with the
    sequence, or with the encoded record if its version became another one.
    """

    id: Generation
    mountpath: int
    key: bytes
    head: bytes
    tail: bytes
    size: int
    version_at: int = 0
    shared_at: int = 0
    """Where the payload is in the memory that the worker shares; 0 if it is in the frame, or in a file."""
    expect: int = 0
    generation: Generation | None = None
    unsynced: str = ""
    """`delayed` or `never` for a payload file that is not on disk yet, else empty."""
    replaced_version: str = ""
    """That of the object which it replaces, where that lies on another mountpath."""
    since: int | None = None
    """Refused if the name was removed behind this place in the order; see removals.py."""


class Remove(msgspec.Struct, frozen=True, array_like=True, tag=2, gc=False):
    """Remove an object; answered with whether there was one."""

    id: Generation
    mountpath: int
    key: bytes
    expect: int
    generation: Generation | None
    lasts: bool = False
    """What was begun earlier is not to bring it back; see removals.py."""


class Amend(msgspec.Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Replace the attributes; answered with the encoded record."""

    id: Generation
    mountpath: int
    key: bytes
    attributes: Attributes
    expect: int
    generation: Generation | None
    sequence: int | None = None


class BeginUpload(msgspec.Struct, frozen=True, array_like=True, tag=4, gc=False):
    """Keep an upload's encoded description."""

    id: Generation
    mountpath: int
    bucket: bytes
    upload: str
    encoded: bytes


class PutPart(msgspec.Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Keep an encoded StoredPart as part `number`."""

    id: Generation
    mountpath: int
    upload: str
    number: int
    encoded: bytes


class CompleteUpload(msgspec.Struct, frozen=True, array_like=True, tag=6, gc=False):
    """Make parts the current generation `id` of the upload's object; answered with the encoded record.

    `written_ns` has the times of those parts as the worker saw them, or is empty if they do not matter.
    """

    id: Generation
    mountpath: int
    upload: str
    numbers: list[int]
    attributes: Attributes
    completed_ns: int
    expect: int
    generation: Generation | None
    written_ns: list[int]
    replaced_version: str = ""
    since: int | None = None
    """As with `Put`."""


class AbandonUpload(msgspec.Struct, frozen=True, array_like=True, tag=7, gc=False):
    """Drop an upload and its parts."""

    id: Generation
    mountpath: int
    upload: str


class OpenBucket(msgspec.Struct, frozen=True, array_like=True, tag=8, gc=False):
    """Make a bucket accept objects, on every mountpath."""

    id: Generation
    bucket: bytes


class CloseBucket(msgspec.Struct, frozen=True, array_like=True, tag=9, gc=False):
    """Close a bucket on every mountpath."""

    id: Generation
    bucket: bytes
    only_if_empty: bool


class Touch(msgspec.Struct, frozen=True, array_like=True, tag=10, gc=False):
    """Objects that were read at about `read_ns`, by mountpath: digests of their packed names."""

    id: Generation
    mountpath: int
    read_ns: int
    names: list[bytes]


OnMountpath = Put | Remove | Amend | BeginUpload | PutPart | CompleteUpload | AbandonUpload
OnAll = OpenBucket | CloseBucket
Operation = OnMountpath | OnAll | Touch


class Failure(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An operation that was refused or failed; `detail` is what its error is made from."""

    kind: str
    detail: str


Answer = int | bool | bytes | Failure | None

_FAILURES: dict[str, type[AisleError]] = {
    "bad": BadRequest,
    "condition": ConditionFailed,
    "corrupt": CorruptObject,
    "missing": NotFound,
    "not-empty": BucketNotEmpty,
    "part": InvalidPart,
    "space": OutOfSpace,
    "unavailable": Unavailable,
    "upload": UploadNotFound,
}
_KINDS = {error: kind for kind, error in _FAILURES.items()}

encode_message = msgspec.msgpack.Encoder().encode
decode_operation = msgspec.msgpack.Decoder(Hello | Operation).decode
decode_answers = msgspec.msgpack.Decoder(list[Answer]).decode


def failure_of(error: AisleError) -> Failure:
    """What tells the other process about an error."""
    if isinstance(error, UploadNotFound):
        return Failure("upload", error.upload)
    if isinstance(error, BucketNotEmpty):
        return Failure("not-empty", error.bucket)
    return Failure(_KINDS.get(type(error), "unavailable"), str(error))


def error_of(failure: Failure) -> AisleError:
    """The error that a failure stands for."""
    return _FAILURES[failure.kind](failure.detail)


def expect_number(condition: Condition) -> int:
    """A condition's expectation as it travels."""
    return _EXPECT[condition.expect]


def conditional(message: Put, condition: Condition) -> Put:
    """The same, to be executed only if the condition holds."""
    return msgspec.structs.replace(
        message, expect=expect_number(condition), generation=condition.generation, since=condition.since
    )


def condition_of(expect: int, generation: Generation | None) -> Condition:
    """The condition that travelled."""
    return Condition(_EXPECTED[expect], generation)
