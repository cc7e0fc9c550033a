"""Amazon's chunks: the published examples, every way of cutting them, and every way of forging them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest, RequestAborted, SignatureMismatch
from aisle.rules.signatures import Seal
from aisle.rules.signatures_chunks import ChunkDecoder
from aisle.rules.signatures_v4 import signing_key
from support.chunks import signed as signed_by

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SCOPE = "20130524/us-east-1/s3/aws4_request"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
SEAL = Seal(signing_key(SECRET, "20130524", "us-east-1"), "20130524T000000Z", SCOPE, SEED, "")
# The chunks of Amazon's example: 64 KiB, 1 KiB and the end.
SIZES = [65536, 1024, 0]
SIGNATURES = [
    "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
    "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
    "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
]


def published() -> bytes:
    chunks = [
        b"%x;chunk-signature=%b\r\n%b\r\n" % (size, signature.encode(), b"a" * size)
        for size, signature in zip(SIZES, SIGNATURES, strict=True)
    ]
    return b"".join(chunks)


def signed(chunks: list[bytes], trailers: dict[str, str] | None = None, *, gap: bool = False) -> bytes:
    return signed_by(chunks, trailers, seal=SEAL, gap=gap)


def decode(
    body: bytes,
    *,
    seal: Seal | None = SEAL,
    announced: tuple[str, ...] = (),
    length: int | None = None,
    step: int = 1 << 20,
) -> tuple[bytes, dict[str, str]]:
    decoder = ChunkDecoder(seal=seal, announced=announced, length=length)
    payload = b""
    for start in range(0, len(body), step):
        payload += b"".join(decoder.feed(body[start : start + step]))
    decoder.finish()
    return payload, decoder.trailers


def test_amazons_example_is_right() -> None:
    assert decode(published(), length=66560) == (b"a" * 66560, {})


@pytest.mark.parametrize("place", [0, 30_000, 66_000])
def test_a_changed_byte_anywhere_is_noticed(place: int) -> None:
    body = bytearray(published())
    # A digit of a signature, or a byte of the payload.
    place = body.index(b"a" * 100, place) if place else body.index(b"=") + 1
    body[place] ^= 1
    with pytest.raises((SignatureMismatch, BadRequest)):
        decode(bytes(body), length=66560)


def test_chunks_cannot_be_moved_dropped_or_repeated() -> None:
    first, second, last = b"x" * 10, b"y" * 10, b""
    body = signed([first, second])
    parts = body.split(b"\r\n")
    one, two, rest = (
        b"\r\n".join(parts[:2]) + b"\r\n",
        b"\r\n".join(parts[2:4]) + b"\r\n",
        b"\r\n".join(parts[4:]),
    )
    assert decode(one + two + rest)[0] == first + second + last
    for forged in (two + one + rest, one + rest, two + rest, one + one + two + rest, rest):
        with pytest.raises(SignatureMismatch):
            decode(forged)


def test_a_signature_of_another_key_or_request_is_noticed() -> None:
    for seal in (
        SEAL._replace(key=b"other"),
        SEAL._replace(signature="0" * 64),
        SEAL._replace(scope="20130524/x/s3/aws4_request"),
        SEAL._replace(timestamp="20130524T000001Z"),
    ):
        with pytest.raises(SignatureMismatch):
            decode(published(), seal=seal)


def test_chunks_without_signatures_are_refused_where_they_are_promised() -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n"
    assert decode(body, seal=None) == (b"abc", {})
    with pytest.raises(SignatureMismatch):
        decode(body)


@pytest.mark.parametrize("gap", [False, True])
def test_trailing_fields_are_delivered_and_their_signature_is_checked(gap: bool) -> None:
    trailers = {"x-amz-checksum-crc32c": "sOO8/Q=="}
    body = signed([b"abc", b"def"], trailers, gap=gap)
    names = tuple(trailers)
    assert decode(body, announced=names, length=6) == (b"abcdef", trailers)
    assert decode(body, announced=names, seal=None) == (b"abcdef", trailers)
    with pytest.raises(SignatureMismatch):
        decode(body.replace(b"sOO8", b"sOO9"), announced=names)
    unsigned = body[: body.index(b"x-amz-trailer-signature")] + b"\r\n"
    with pytest.raises(SignatureMismatch):
        decode(unsigned, announced=names)


def test_a_promised_field_that_does_not_come_is_an_error() -> None:
    body = b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:x\r\n\r\n"
    assert decode(body, seal=None, announced=("x-amz-checksum-crc32",))[1] == {"x-amz-checksum-crc32": "x"}
    with pytest.raises(BadRequest, match="x-amz-checksum-sha1"):
        decode(body, seal=None, announced=("x-amz-checksum-sha1",))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"3\r\nabc",
        b"3\r\nabc\r\n",
        b"3\r\nabc\r\n0\r\n",
        b"3\r\nabc\r\n0\r\nx-amz-checksum-crc32:x\r\n",
    ],
)
def test_a_body_that_ends_too_early_is_not_whole(body: bytes) -> None:
    with pytest.raises(RequestAborted):
        decode(body, seal=None)


def test_the_payload_has_the_announced_length() -> None:
    body = b"3\r\nabc\r\n0\r\n\r\n"
    assert decode(body, seal=None, length=3)[0] == b"abc"
    for length in (2, 4):
        with pytest.raises(RequestAborted):
            decode(body, seal=None, length=length)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"x\r\n",
        b"-3\r\nabc\r\n",
        b"+3\r\nabc\r\n",
        b"3 4\r\nabc\r\n",
        b"3;chunk-signature=\r\nabc\r\n",
        b"3;colour=red\r\nabc\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"ffffffffffffffff\r\n",
        b"1" * 5000,
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n" + b"a:b\r\n" * 40 + b"\r\n",
        b"0\r\n\r\nmore",
        b"0\r\n\r\n3\r\nabc\r\n",
    ],
)
def test_broken_framing_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        decode(body + b"\r\n", seal=None)


def test_nothing_follows_the_end_with_or_without_the_end_of_a_line() -> None:
    for rest in (b"more", b"more\r\n", b"\r"):
        with pytest.raises(BadRequest, match="bytes follow"):
            decode(b"3\r\nabc\r\n0\r\n\r\n" + rest, seal=None)


@given(chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=5), step=st.integers(1, 400))
def test_however_the_bytes_arrive_the_payload_is_the_same(chunks: list[bytes], step: int) -> None:
    trailers = {"x-amz-checksum-sha256": "abc=", "x-amz-meta-y": "z"}
    body = signed(chunks, trailers)
    whole = b"".join(chunks)
    assert decode(body, announced=tuple(trailers), length=len(whole), step=step) == (whole, trailers)
