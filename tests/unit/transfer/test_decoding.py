"""Bodies that are encoded on the way."""

import gzip
import random
import zlib

import pytest

from aisle.transfer.carriers import PAUSE
from aisle.transfer.decoding import PIECE_BYTES, Decoding, known_codings

BODY = bytes(range(256)) * 1000


def undone(codings: list[str], packed: bytes, *, step: int) -> tuple[bytes, bool]:
    decoding = Decoding(codings)
    found: list[bytes] = []

    def take(piece: bytes) -> int:
        found.append(piece)
        return 0

    for start in range(0, len(packed), step):
        assert decoding.tell(packed[start : start + step], take) == 0
    assert all(0 < len(piece) <= PIECE_BYTES for piece in found)
    return b"".join(found), decoding.is_whole


PACKED = {
    "gzip": (["gzip"], gzip.compress(BODY)),
    "members, padded": (["x-gzip"], gzip.compress(BODY[:1000]) + gzip.compress(BODY[1000:]) + bytes(9)),
    "zlib": (["deflate"], zlib.compress(BODY)),
    "raw": (["deflate"], zlib.compress(BODY)[2:-4]),
    "both": (["deflate", "gzip"], gzip.compress(zlib.compress(BODY))),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("step", [3, 1000, 10**9])
def test_what_was_packed_comes_out(name: str, step: int) -> None:
    codings, packed = PACKED[name]
    assert undone(codings, packed, step=step) == (BODY, True)
    found, is_whole = undone(codings, packed[: len(packed) // 2], step=step)
    assert not is_whole
    assert BODY.startswith(found)


@pytest.mark.parametrize("seed", range(8))
def test_what_is_not_taken_comes_again_also_when_there_are_more_bytes_by_then(seed: int) -> None:
    chance = random.Random(seed)
    body = chance.randbytes(300_000) + bytes(500_000)
    packed = gzip.compress(body, 1)
    decoding, found, start = Decoding(["gzip"]), list[bytes](), 0

    def take(piece: bytes) -> int:
        if chance.random() < 0.5:
            return PAUSE
        found.append(piece)
        return 0

    while start < len(packed):
        end = start + chance.randrange(1, 20_000)
        while decoding.tell(packed[start:end], take):
            end += chance.choice([0, 1, 5_000])
        start = end
    assert (b"".join(found), decoding.is_whole) == (body, True)


def test_a_bomb_comes_in_small_pieces() -> None:
    bomb = gzip.compress(gzip.compress(bytes(30_000_000)))
    assert undone(["gzip", "gzip"], bomb, step=10**9) == (bytes(30_000_000), True)


@pytest.mark.parametrize("name", ["gzip", "zlib"])
def test_what_cannot_be_unpacked_is_an_error(name: str) -> None:
    codings, packed = PACKED[name]
    for damaged in (b"nothing of that kind", packed[:-1] + b"\1", packed + b"more"):
        with pytest.raises(zlib.error):
            undone(codings, damaged, step=10**9)


@pytest.mark.parametrize(
    ("told", "codings"),
    [
        ("gzip", ["gzip"]),
        (" X-Gzip , identity,", ["x-gzip"]),
        ("identity", []),
        ("deflate, gzip", ["deflate", "gzip"]),
        ("br", None),
        ("gzip, zork", None),
        (", ".join(["gzip"] * 6), None),
    ],
)
def test_codings_are_read(told: str, codings: list[str] | None) -> None:
    assert known_codings(told) == codings
