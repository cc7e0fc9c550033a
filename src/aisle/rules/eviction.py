"""Which kept copies of remote objects make room: decided from levels, sizes and ages alone.

A mountpath above its high level gives up what was used least recently until it would be down to its low
level. Two kinds of space count as free although the file system still has them in use: files that nothing
refers to any more, which are unlinked a while later, and pages of the index, which never shrinks.
"""

from typing import Final, NamedTuple

from aisle.model.bucket import BucketInfo
from aisle.model.record import Attributes, Inline, Record

_PAGE_BYTES: Final = 4096
_PIECE_BYTES: Final = 4080
"""What of a small payload lies in one page of the index."""
_OBJECT_BYTES: Final = 512
"""What an object takes in the index beside its payload, about."""
_PRECISION_BITS: Final = 8
_NEVER_USED: Final = 1 << 20
"""Above the staleness of everything whose use is known."""
_NS_PER_S: Final = 1_000_000_000


class Usage(NamedTuple):
    """How full a mountpath's file system is, bytes."""

    total: int
    """What is used and what ordinary users may still use."""
    used: int
    leaving: int = 0
    """Of what is used: files that nothing refers to and that are going to be unlinked."""
    reusable: int = 0
    """Of what is used: the index's own free pages, which small objects and records can take."""

    @property
    def percent(self) -> float:
        """How full it is."""
        return 100 * self.used / max(1, self.total)


class Need(NamedTuple):
    """What has to go of a mountpath."""

    bytes: int
    files_only: bool
    """Whether small objects may stay: there is room for them in the index."""


def share(total: int, percent: int) -> int:
    """So many percent of a total, bytes."""
    return total * percent // 100


def need_of(usage: Usage, *, low: int, high: int) -> Need | None:
    """What has to go of a mountpath above the `high` level until it is at the `low` one, percent.

    None if it is not above. Where the index has room for small objects, only files are asked for: what
    goes of the index gives the file system nothing back.
    """
    filled = usage.used - usage.leaving
    limit, aim = share(usage.total, high), share(usage.total, low)
    if filled - usage.reusable > limit:
        return Need(filled - usage.reusable - aim, files_only=False)
    if filled > limit:
        return Need(filled - aim, files_only=True)
    return None


def footprint(size: int, *, is_inline: bool) -> int:
    """About how many bytes of a mountpath an object of that size takes."""
    if is_inline:
        return -(-size // _PIECE_BYTES) * _PAGE_BYTES + _OBJECT_BYTES
    return (size // _PAGE_BYTES + 2) * _PAGE_BYTES + _OBJECT_BYTES


def footprint_of(record: Record) -> int:
    """About how many bytes of a mountpath an object takes."""
    return footprint(record.size, is_inline=isinstance(record.payload, Inline))


def is_copy(attributes: Attributes, provider: str) -> bool:
    """Whether an object says that it is a copy of one at that provider."""
    return attributes.custom.get("source") == provider


def is_only_here(bucket: BucketInfo, attributes: Attributes) -> bool:
    """Whether an object in a bucket with a remote one behind it came there otherwise: nobody else has it."""
    assert bucket.remote is not None
    return not bucket.bucket.is_remote and not is_copy(attributes, bucket.remote.provider)


def staleness(used_ns: int, now_ns: int, *, sequence: int, last_sequence: int) -> int:
    """How long an object has not been used, as a class: the larger, the longer.

    Classes are fine for what was used lately and wider for longer times, so that there are some thousands
    of them whatever the times are. What nothing is known of (`used_ns` is 0: not read since the machine
    was started) is staler than all else, and among itself in the order in which it was stored.
    """
    if used_ns:
        return min(_rounded(max(0, now_ns - used_ns) // _NS_PER_S), _NEVER_USED - 1)
    return _NEVER_USED + _rounded(max(0, last_sequence - sequence))


def _rounded(number: int) -> int:
    """A number whose order is that of its leading bits: 1/128 apart at most.

    >>> [_rounded(number) for number in (0, 255, 256, 258, 512, 1 << 40)]
    [0, 255, 384, 385, 640, 8576]
    """
    shift = max(0, number.bit_length() - _PRECISION_BITS)
    return shift << _PRECISION_BITS | number >> shift


class Cut(NamedTuple):
    """What of the candidates goes: all that are staler, and of this class some."""

    staleness: int
    bytes_of_class: int
    """How many bytes of exactly that class go."""


class Ages:
    """How many bytes there are of each staleness; bounded, however many objects there are."""

    def __init__(self) -> None:
        self._bytes: dict[int, int] = {}

    def add(self, staleness: int, size: int) -> None:
        """Count an object that could go."""
        self._bytes[staleness] = self._bytes.get(staleness, 0) + size

    def cut(self, wanted: int) -> Cut:
        """What has to go so that so many bytes do, the stalest first; everything if there are fewer."""
        left = wanted
        for found in sorted(self._bytes, reverse=True):
            here = self._bytes[found]
            if here >= left:
                return Cut(found, left)
            left -= here
        return Cut(-1, 0)
