"""Placement: which target, and which mountpath of it, owns a name.

Every node and every client that talks to targets directly works out the same answer from the same
cluster map, so finding an object costs no network call. Candidates are ranked by a hash of
(candidate, name), AIStore's rendezvous hashing bit for bit (ais-native-api.md §11.3): when one
leaves, only the names it owned move. Mountpaths are chosen the same way by their ids.
"""

from collections.abc import Sequence

import xxhash

SEED = 1103515245
"""The seed of every XXH64 that takes part in placement."""

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_GOLDEN = 0x9E37_79B9_7F4A_7C15
_MIX_1 = 0xBF58_476D_1CE4_E5B9
_MIX_2 = 0x94D0_49BB_1331_11EB


def digest(text: bytes) -> int:
    """The 64-bit digest of a name or an id: XXH64 with the placement seed.

    For an object it is taken over the bucket's uname followed by the object's name; for a node or
    a mountpath over its id. A node's digest is the `id_digest` that cluster maps carry.
    """
    return xxhash.xxh64_intdigest(text, SEED)


def mix(value: int) -> int:
    """Spread 64 bits over 64 bits: one xoshiro256** output of a generator seeded with `value`."""
    z = (value + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    z = ((z ^ (z >> 31)) + _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    z = ((z ^ (z >> 31)) * 5) & _MASK
    z = ((z << 7) | (z >> 57)) & _MASK
    return (z * 9) & _MASK


def owner(name_digest: int, id_digests: Sequence[int]) -> int:
    """The index of the candidate that owns a name: the highest score, the first one on a tie."""
    assert id_digests
    # One candidate is the usual case for mountpaths, and needs no arithmetic.
    if len(id_digests) == 1:
        return 0
    scores = [mix(candidate ^ name_digest) for candidate in id_digests]
    return scores.index(max(scores))


def ranking(name_digest: int, id_digests: Sequence[int]) -> list[int]:
    """Indexes of all candidates, best first: where to look when the owner has changed."""
    scores = [mix(candidate ^ name_digest) for candidate in id_digests]
    # The sort is stable, so that equal scores keep the order of the candidates, as `owner` does.
    return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)
