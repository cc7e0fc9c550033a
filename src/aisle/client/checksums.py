"""Native checksums: the kinds that this client can compute.

`xxhash` and `xxhash2` are both XXH64 with seed 0, as 16 lower-case hex digits (ais-native-api.md
§11.3). A kind that we cannot compute (`crc32c`) is not an error: the node has checked it.
"""

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
    return None
