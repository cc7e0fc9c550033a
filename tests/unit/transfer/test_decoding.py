"""Bodies that are encoded on the way."""

import gzip
import zlib

import pytest

from aisle.transfer.decoding import PIECE_BYTES, Decoding, known_codings

BODY = bytes(range(256)) * 1000


def undone(codings: list[str], packed: bytes, *, step: int) -> tuple[bytes, bool]:
    decoding = Decoding(codings)
    found = [
        piece
        for start in range(0, len(packed), step)
        for piece in decoding.pieces(packed[start : start + step])
    ]
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
