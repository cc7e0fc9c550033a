"""What the digests of parts say about the object that the parts make.

Nothing here reads a payload: an entity tag and a composite checksum are digests of the parts' digests,
and the cyclic checksums of neighbours can be combined when the length of the second is known.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from aisle.storage.hashing import hex_digest


class Span(NamedTuple):
    """A part: its digest in lower-case hex, and its length in bytes."""

    digest: str
    size: int


COMBINABLE: Final = frozenset({"crc32", "crc32c", "crc64nvme"})
"""Kinds of digest of which that of the whole follows from those of its parts."""
_CRC_BITS: Final[Mapping[str, int]] = {"crc32": 32, "crc32c": 32, "crc64nvme": 64}


def multipart_etag(md5s: Sequence[str]) -> str:
    """S3's entity tag of an object made of parts: the MD5 of their binary MD5s, and how many they are."""
    joined = b"".join(map(bytes.fromhex, md5s))
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(md5s)}"


def composite(kind: str, digests: Sequence[str]) -> str:
    """S3's composite checksum: the digest of the parts' binary digests, and how many they are."""
    return f"{hex_digest(kind, b''.join(map(bytes.fromhex, digests)))}-{len(digests)}"


def combined(kind: str, parts: Sequence[Span]) -> str:
    """The digest of the bytes of all parts in order, lower-case hex; `kind` is one of COMBINABLE."""
    combine = _combiner(kind)
    first, *others = parts
    value = int(first.digest, 16)
    for part in others:
        value = combine(value, int(part.digest, 16), part.size)
    return f"{value:0{_CRC_BITS[kind] // 4}x}"


def _combiner(kind: str) -> Callable[[int, int, int], int]:
    # Loaded when the first upload is completed: its library takes a while, and most processes never need it.
    from awscrt import checksums

    combiners: dict[str, Callable[[int, int, int], int]] = {
        "crc32": checksums.combine_crc32,
        "crc32c": checksums.combine_crc32c,
        "crc64nvme": checksums.combine_crc64nvme,
    }
    return combiners[kind]
