"""Batches: many objects, members of archives, and parts of either in one answer (ais-native-api.md §13.4)."""

from typing import Final

import msgspec

from aisle.errors import BadRequest
from aisle.rules.ranges import Span

ENTRIES_MAX: Final = 50_000
MISSING_FOLDER: Final = "__404__"
"""Names of members that stand for what is missing begin with it."""


class BatchItem(msgspec.Struct, frozen=True, gc=False):
    """One thing that is wanted, as it is on the wire."""

    objname: str = ""
    bucket: str = ""
    provider: str = ""
    namespace: str = ""
    uname: str = ""
    """Bucket and name in one, which counts instead of them."""
    archpath: str = ""
    opaque: str = ""
    """Whatever the client wants to be told again."""
    start: int = 0
    length: int = 0


class BatchRequest(msgspec.Struct, frozen=True, rename={"items": "in"}):
    """All that is wanted, and how it is to be sent."""

    items: list[BatchItem] = []
    mime: str = ""
    coer: bool = False
    """What is missing is told in its place; otherwise it ends the batch."""
    onob: bool = False
    """Members are named by the object only, without its bucket."""
    strm: bool = False
    """Only the archive, as it is made; otherwise what is known of each item comes before it."""
    coloc: int = 0

    def check(self) -> None:
        """Raise BadRequest for what no answer could fit."""
        if not self.items:
            raise BadRequest("get-batch: no objects are named")
        if len(self.items) > ENTRIES_MAX:
            raise BadRequest(f"get-batch: {len(self.items)} objects are more than {ENTRIES_MAX}")
        for item in self.items:
            if item.start or item.length:
                _check_range(item.start, item.length)


class BatchOutcome(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What became of one item, as it is told."""

    objname: str
    archpath: str = ""
    bucket: str | None = None
    provider: str | None = None
    err_msg: str = ""
    opaque: str = ""
    size: int | None = None
    """Bytes of the member."""


class BatchReport(msgspec.Struct, frozen=True):
    """What became of all."""

    uuid: str
    out: list[BatchOutcome]


def part_of(size: int, start: int, length: int) -> Span | None:
    """The part of `size` bytes that is wanted; None if it lies outside.

    `start` 0 and `length` 0 mean all, `length` -1 up to the end.

    >>> part_of(10, 0, 0), part_of(10, 4, -1), part_of(10, 4, 6), part_of(10, 4, 7)
    (Span(start=0, length=10), Span(start=4, length=6), Span(start=4, length=6), None)
    """
    if not start and not length:
        return Span(0, size)
    if length < 0:
        return Span(start, size - start) if start < size or not size else None
    return Span(start, length) if start + length <= size else None


def _check_range(start: int, length: int) -> None:
    if start < 0 or length < -1:
        raise BadRequest(f"get-batch: invalid range: start {start}, length {length}")
    if start and not length:
        raise BadRequest(f"get-batch: start {start} needs a length, -1 for the rest")
