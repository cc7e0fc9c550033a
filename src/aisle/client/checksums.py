"""Native checksums: the kinds that this client can compute.

`xxhash` and `xxhash2` are both XXH64 with seed 0, as 16 lower-case hex digits (ais-native-api.md
§11.3). A kind that we do not know is not an error: the node has checked it.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Checksum(NamedTuple):
    """A checksum as the wire names it; `value` is lower-case hex."""

    kind: str
    value: str


class Hasher(Protocol):
    """A digest in progress."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """The digest so far, lower-case hex."""


class _Crc32c:
    """CRC-32C, big-endian; loaded on use, because few buckets have it and its library takes 50 ms."""

    def __init__(self) -> None:
        from awscrt.checksums import crc32c

        self._next: Callable[[bytes | memoryview, int], int] = crc32c
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._next(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


DEFAULT_KIND = "xxhash2"
_STANDARD = ("md5", "sha256", "sha512")


def hasher(kind: str) -> Hasher | None:
    """A fresh digest of that kind, or None for one that this client cannot compute."""
    if kind in ("xxhash", "xxhash2"):
        import xxhash

        return xxhash.xxh64()
    if kind in _STANDARD:
        import hashlib

        return hashlib.new(kind, usedforsecurity=False)
    return _Crc32c() if kind == "crc32c" else None
