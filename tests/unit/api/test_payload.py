"""Bodies whose promise is kept, read in each of the three ways; and bodies whose promise is not."""

import asyncio
from collections.abc import Iterable, Mapping
from hashlib import sha256

import pytest

from aisle.api.payload import trailers_of, verified_body
from aisle.errors import AisleError, BadRequest, BodyTooLarge, RequestAborted, SignedHashMismatch, Unsupported
from aisle.httpd.request import BodyStream, Request
from aisle.rules.signatures import Seal

UNSIGNED = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
FRAMED = b"3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n"
SEAL = Seal(b"k", "t", "s", "0" * 64, "")


class Arriving:
    """A body of pieces that are there; `whole` says whether all have arrived at once."""

    def __init__(self, pieces: Iterable[bytes], *, whole: bool) -> None:
        self._pieces = list(pieces)
        self._whole = whole
        self.length: int | None = sum(map(len, self._pieces))

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    async def read_all(self, limit: int) -> bytes:
        whole, self._pieces = b"".join(self._pieces), []
        if len(whole) > limit:
            raise BodyTooLarge(limit)
        return whole

    def buffered(self) -> bytes | None:
        if not self._whole:
            return None
        whole, self._pieces = b"".join(self._pieces), []
        return whole


def request(body: bytes, promise: str | None, *, whole: bool = False, **fields: str) -> Request:
    headers: Mapping[str, str] = {name.replace("_", "-"): value for name, value in fields.items()}
    if promise is not None:
        headers = {**headers, "x-amz-content-sha256": promise}
    made = Request("PUT", b"/b/k", headers=headers)
    made.body = Arriving([body[start : start + 4] for start in range(0, len(body), 4)], whole=whole)
    return made


def read(body: BodyStream, how: str) -> bytes:
    async def pieces() -> bytes:
        found = b""
        while piece := await body.read():
            found += piece
        assert await body.read() == b""
        return found

    if how == "buffered":
        whole = body.buffered()
        assert whole is not None
        return whole
    return asyncio.run(pieces() if how == "read" else body.read_all(100))


WAYS = ["read", "read_all", "buffered"]


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("size", [0, 1, 50])
def test_a_hash_is_checked_at_the_end(how: str, size: int) -> None:
    body = b"x" * size
    digest = sha256(body).hexdigest()
    for promise in (digest, digest.upper()):
        assert read(verified_body(request(body, promise, whole=how == "buffered")), how) == body
    wrong = sha256(b"other").hexdigest()
    with pytest.raises(SignedHashMismatch) as caught:
        read(verified_body(request(body, wrong, whole=how == "buffered")), how)
    assert (caught.value.announced, caught.value.received) == (wrong, digest)


@pytest.mark.parametrize("how", WAYS)
def test_framing_is_taken_off(how: str) -> None:
    sent = request(
        FRAMED,
        UNSIGNED,
        whole=how == "buffered",
        x_amz_decoded_content_length="5",
        x_amz_trailer="x-amz-checksum-crc32",
    )
    body = verified_body(sent)
    assert body.length == 5
    assert read(body, how) == b"abcde"
    assert trailers_of(body) == {"x-amz-checksum-crc32": "AAAA"}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"x_amz_decoded_content_length": "6"}, RequestAborted),
        ({"x_amz_decoded_content_length": "4"}, RequestAborted),
        ({"x_amz_trailer": "x-amz-checksum-sha1"}, BadRequest),
    ],
)
def test_what_the_head_says_of_the_payload_must_hold(
    how: str, fields: dict[str, str], error: type[AisleError]
) -> None:
    with pytest.raises(error):
        read(verified_body(request(FRAMED, UNSIGNED, whole=how == "buffered", **fields)), how)


def test_a_limit_holds_for_the_payload() -> None:
    sent = request(b"80\r\n" + b"x" * 128 + b"\r\n0\r\n\r\n", UNSIGNED)
    with pytest.raises(BodyTooLarge):
        read(verified_body(sent), "read_all")
    announced = request(FRAMED, UNSIGNED, x_amz_decoded_content_length="101")
    with pytest.raises(BodyTooLarge):
        read(verified_body(announced), "read_all")


def test_a_body_about_which_nothing_is_promised_stays_as_it_is() -> None:
    for promise in (None, "UNSIGNED-PAYLOAD"):
        sent = request(b"abc", promise)
        assert verified_body(sent) is sent.body
        assert trailers_of(sent.body) == {}


def test_a_body_that_was_taken_away_is_not_an_empty_one() -> None:
    sent = Request("PUT", b"/b/k", headers={"x-amz-content-sha256": sha256(b"abc").hexdigest()})
    with pytest.raises(SignedHashMismatch):
        read(verified_body(sent), "buffered")
    sent = Request("GET", b"/b/k", headers={"x-amz-content-sha256": sha256(b"").hexdigest()})
    assert verified_body(sent) is sent.body


def test_verifying_twice_verifies_once() -> None:
    for sent in (request(b"abc", sha256(b"abc").hexdigest()), request(FRAMED, UNSIGNED)):
        sent.body = verified_body(sent)
        assert verified_body(sent) is sent.body


@pytest.mark.parametrize("promise", ["", "x", "STREAMING-", "STREAMING-OTHER", "0" * 63, "0" * 65, "g" * 64])
def test_promises_that_nobody_understands_are_refused(promise: str) -> None:
    if promise:
        with pytest.raises(BadRequest):
            verified_body(request(b"abc", promise))
    else:
        sent = request(b"abc", promise)
        assert verified_body(sent) is sent.body


@pytest.mark.parametrize("length", ["-1", "x", "1.5", "9" * 16, ""])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    with pytest.raises(BadRequest):
        verified_body(request(FRAMED, UNSIGNED, x_amz_decoded_content_length=length))


def test_asymmetric_chunks_are_refused_only_where_they_would_have_to_be_verified() -> None:
    mode = "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"
    with pytest.raises(Unsupported):
        verified_body(request(FRAMED, mode), SEAL)
    assert read(verified_body(request(FRAMED, mode)), "read") == b"abcde"
