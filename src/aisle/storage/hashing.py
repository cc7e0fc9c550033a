"""Digests of payloads, computed chunk by chunk as the bytes arrive."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import xxhash

from aisle.errors import Unsupported
from aisle.model.digests import git_blob_size


class _Hasher(Protocol):
    def update(self, data: bytes | memoryview, /) -> None: ...
    def digest(self) -> bytes: ...


def _md5() -> _Hasher:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> _Hasher:
    return hashlib.sha1(usedforsecurity=False)


class _Crc:
    """A cyclic redundancy check in progress; its digest is big-endian, as clients write it."""

    __slots__ = ("_bytes", "_next", "_value")

    def __init__(self, kind: str, digest_bytes: int) -> None:
        # The library takes 50 ms to import, and most processes never need it.
        from awscrt import checksums

        self._next: Callable[[bytes | memoryview, int], int] = getattr(checksums, kind)
        self._bytes = digest_bytes
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._next(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._bytes, "big")


# AIStore's names; its `xxhash` and `xxhash2` are both XXH64 with seed 0 (ais-native-api.md §11.3).
_KINDS: dict[str, Callable[[], _Hasher]] = {
    "xxhash": xxhash.xxh64,
    "xxhash2": xxhash.xxh64,
    "xxh3": xxhash.xxh3_128,
    "md5": _md5,
    "sha256": hashlib.sha256,
    "sha512": hashlib.sha512,
    "crc32": partial(_Crc, "crc32", 4),
    "crc32c": partial(_Crc, "crc32c", 4),
    "crc64nvme": partial(_Crc, "crc64nvme", 8),
    "sha1": _sha1,
}

# What most small objects need, without a hasher of their own.
_AT_ONCE: dict[str, Callable[[bytes | memoryview], str]] = {
    "xxhash": xxhash.xxh64_hexdigest,
    "xxhash2": xxhash.xxh64_hexdigest,
    "xxh3": xxhash.xxh3_128_hexdigest,
}

DIGEST_KINDS = tuple(_KINDS)
"""The digests that can be asked for by name; git's ids of blobs of a size beside them (`model.digests`)."""


def is_digest_kind(kind: str) -> bool:
    """Whether a digest of this name can be computed."""
    return kind in _KINDS or git_blob_size(kind) is not None


def hex_digest(kind: str, payload: bytes | memoryview) -> str:
    """The digest of a whole payload, lower-case hex. Raises Unsupported."""
    at_once = _AT_ONCE.get(kind)
    if at_once is not None:
        return at_once(payload)
    hasher = _hasher(kind)
    hasher.update(payload)
    return hasher.digest().hex()


def _hasher(kind: str) -> _Hasher:
    make = _KINDS.get(kind)
    if make is not None:
        return make()
    size = git_blob_size(kind)
    if size is None:
        raise _unsupported(kind)
    hasher = _sha1()
    hasher.update(b"blob %d\0" % size)
    return hasher


def _unsupported(kind: str) -> Unsupported:
    return Unsupported(f'checksum type "{kind}" is not supported (known: {", ".join(_KINDS)})')


class NamedDigests:
    """Digests by name of one stream of bytes."""

    __slots__ = ("_named",)

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        self._named = {kind: _hasher(kind) for kind in kinds}

    def update(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Take the next chunks. Large ones are hashed without the interpreter lock."""
        for hasher in self._named.values():
            for chunk in chunks:
                hasher.update(chunk)

    def hex(self, kind: str) -> str:
        """The digest of a kind that was asked for, lower-case hex."""
        return self._named[kind].digest().hex()


class Digests(NamedDigests):
    """The digests of one stream of bytes: XXH3-64 always, others by name."""

    __slots__ = ("_all", "_xxh3")

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        super().__init__(kinds)
        self._xxh3 = xxhash.xxh3_64()
        self._all: list[_Hasher] = [self._xxh3, *self._named.values()]

    def update(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Take the next chunks. Large ones are hashed without the interpreter lock."""
        for hasher in self._all:
            for chunk in chunks:
                hasher.update(chunk)

    def xxh3(self) -> bytes:
        """XXH3-64 of what came so far, 8 bytes big-endian: what records keep of a payload."""
        return self._xxh3.digest()
