"""Sources that misbehave: whatever they do, an object is whole and right, or not there at all."""

import asyncio
import gzip
import hashlib
import os
import time
from base64 import b64encode
from itertools import pairwise

import pytest

from aisle.config import DownloadConfig
from support.downloads import CONFIG, Rig, with_rig
from support.faulty import Asked, BreakOff, Writer, reply, serve_file, serving

SMALL = os.urandom(10_000)
MEDIUM = os.urandom(100_000)  # in memory as it comes, in a file when stored
LARGE = os.urandom(1_200_000)  # several parts of 256 KiB and a rest


def scripted(*steps):
    """Behave differently from call to call; the last step goes on for ever."""

    async def behave(asked: Asked, writer: Writer) -> None:
        await steps[min(asked.count, len(steps)) - 1](asked, writer)

    return behave


def failing(status: int, **headers: str):
    async def behave(asked: Asked, writer: Writer) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        await reply(writer, status, b"<html>sorry</html>", headers=fields)

    return behave


def breaking(body: bytes, after: int, **headers: str):
    async def behave(asked: Asked, writer: Writer) -> None:
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        await serve_file(asked, writer, body, fields, break_after=after)

    return behave


def assert_stored(rig: Rig, body: bytes) -> None:
    assert rig.content() == body, [status.progress.errors for status in rig.board.all()]
    record = rig.record()
    assert record.size == len(body)
    assert record.attributes.checksum_type == "xxhash2"
    assert record.attributes.checksum_value == _xxhash2(body)
    assert rig.uploads() == 0


def _xxhash2(body: bytes) -> str:
    import xxhash

    return xxhash.xxh64(body).hexdigest()


def assert_failed(status, text: str) -> None:
    progress = status.progress
    assert (progress.finished, progress.failed, progress.total) == (0, 1, 1)
    assert text in progress.errors[0].error
    assert progress.recent[0].received == 0


@pytest.mark.parametrize(
    "body", [b"", b"x", SMALL, MEDIUM, LARGE], ids=["empty", "one byte", "small", "medium", "large"]
)
@with_rig()
async def test_an_object_is_stored_with_its_checksum_and_where_it_came_from(rig: Rig, body: bytes) -> None:
    link = rig.server.on(
        "/f", serving(body, Last_Modified="Sat, 21 Nov 2026 01:12:58 GMT", Content_Type="image/png")
    )
    status = await rig.download(link)
    assert (status.progress.finished, status.progress.failed) == (1, 0)
    assert_stored(rig, body)
    attributes = rig.record().attributes
    assert attributes.content_type == "image/png"
    assert attributes.custom == {
        "source": "web",
        "orig_url": link,
        "ETag": "v1",
        "Last-Modified": "Sat, 21 Nov 2026 01:12:58 GMT",
    }
    assert rig.server.asked[0].headers["accept-encoding"] == "identity"


@with_rig()
async def test_a_connection_reset_in_the_middle_is_continued_where_it_broke(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(breaking(LARGE, 700_000), breaking(LARGE, 300_000), serving(LARGE)))
    await rig.download(link)
    assert_stored(rig, LARGE)
    starts = [int(asked.headers["range"][len("bytes=") : -1]) for asked in rig.server.asked[1:]]
    assert all(asked.headers["if-range"] == '"v1"' for asked in rig.server.asked[1:])
    assert 0 < starts[0] <= 700_000
    assert starts[0] < starts[1] <= 1_000_000


@with_rig()
async def test_a_small_object_is_asked_for_again(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(breaking(SMALL, 5_000), serving(SMALL)))
    await rig.download(link)
    assert_stored(rig, SMALL)


@with_rig()
async def test_without_a_validator_a_large_object_begins_again(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(breaking(LARGE, 700_000, ETag=""), serving(LARGE, ETag="")))
    await rig.download(link)
    assert_stored(rig, LARGE)
    assert "range" not in rig.server.asked[1].headers


@with_rig()
async def test_an_object_that_changed_meanwhile_is_fetched_anew(rig: Rig) -> None:
    newer = os.urandom(900_000)
    link = rig.server.on("/f", scripted(breaking(LARGE, 700_000), serving(newer, ETag='"v2"')))
    await rig.download(link)
    assert_stored(rig, newer)
    assert rig.record().attributes.custom["ETag"] == "v2"


async def _wrong_part(asked: Asked, writer: Writer) -> None:
    """Ignores If-Range: answers 206 of another version."""
    first = int(asked.headers["range"][len("bytes=") : -1])
    span = LARGE[first:]
    content_range = f"bytes {first}-{len(LARGE) - 1}/{len(LARGE)}"
    await reply(writer, 206, span, headers={"ETag": '"other"', "Content-Range": content_range})


@with_rig()
async def test_a_part_of_another_version_is_not_mixed_in(rig: Rig) -> None:
    newer = os.urandom(len(LARGE))
    link = rig.server.on(
        "/f", scripted(breaking(LARGE, 700_000), _wrong_part, serving(newer, ETag='"other"'))
    )
    await rig.download(link)
    assert_stored(rig, newer)


@pytest.mark.parametrize("status", [412, 416])
@with_rig()
async def test_a_refused_range_begins_again(rig: Rig, status: int) -> None:
    link = rig.server.on("/f", scripted(breaking(LARGE, 700_000), failing(status), serving(LARGE)))
    await rig.download(link)
    assert_stored(rig, LARGE)


async def _stalling(asked: Asked, writer: Writer) -> None:
    await reply(writer, 200, SMALL[:4_000], length=len(SMALL), headers={"ETag": '"v1"'})
    await asyncio.sleep(30)


@with_rig()
async def test_a_stalled_body_is_given_up_and_asked_for_again(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(_stalling, serving(SMALL)))
    began = time.monotonic()
    await rig.download(link)
    assert_stored(rig, SMALL)
    assert CONFIG.stall_timeout_s <= time.monotonic() - began < 10


@with_rig()
async def test_a_server_that_never_answers_is_an_error(rig: Rig) -> None:
    async def mute(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(30)

    status = await rig.download(rig.server.on("/f", mute))
    assert_failed(status, "no bytes for 1 s")
    assert rig.server.times("/f") == CONFIG.retries_max + 1


async def _short(asked: Asked, writer: Writer) -> None:
    await reply(writer, 200, SMALL[:-1], length=len(SMALL))
    writer.close()


@with_rig()
async def test_fewer_bytes_than_announced_are_never_an_object(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(_short, serving(SMALL)))
    await rig.download(link)
    assert_stored(rig, SMALL)
    status = await rig.download(rig.server.on("/g", _short), object_name="p")
    assert_failed(status, "ended before the whole body")
    assert rig.content("p") is None


@with_rig()
async def test_a_server_asking_for_patience_gets_it(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(failing(429, Retry_After="2"), serving(SMALL)))
    began = time.monotonic()
    await rig.download(link)
    assert_stored(rig, SMALL)
    assert 2 <= time.monotonic() - began < 4


@with_rig()
async def test_bursts_of_503_pass(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(failing(503), failing(503), serving(SMALL)))
    await rig.download(link)
    assert_stored(rig, SMALL)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 451, 501])
@with_rig()
async def test_a_final_refusal_is_an_error_at_once_and_its_page_is_not_stored(rig: Rig, status: int) -> None:
    link = rig.server.on("/f", failing(status))
    text = (
        f"ErrNotFound: {link} does not exist"
        if status == 404
        else f"failed to download {link}: status {status}"
    )
    assert_failed(await rig.download(link), text)
    assert rig.server.times("/f") == 1
    assert rig.content() is None


@with_rig()
async def test_a_long_error_page_does_not_hurt(rig: Rig) -> None:
    async def page(asked: Asked, writer: Writer) -> None:
        await reply(writer, 404, b"<html>" + bytes(300_000))

    assert_failed(await rig.download(rig.server.on("/f", page)), "does not exist")


@with_rig()
async def test_redirects_are_followed(rig: Rig) -> None:
    rig.server.on("/file", serving(SMALL))
    link = rig.server.on("/f", failing(302, Location="/g?x=1"))
    rig.server.on("/g", failing(307, Location=f"{rig.server.url}/file"))
    await rig.download(link)
    assert_stored(rig, SMALL)
    assert rig.record().attributes.custom["orig_url"] == link


@with_rig()
async def test_a_redirect_loop_ends(rig: Rig) -> None:
    link = rig.server.on("/f", failing(302, Location="/f"))
    assert_failed(await rig.download(link), "too many redirects")
    assert rig.server.times("/f") == 11


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("http://169.254.169.254/latest/meta-data", "metadata address) is refused"),
        ("http://10.0.0.1:1/x", "private address) is refused"),
        ("http://[fd00:ec2::254]/x", "metadata address) is refused"),
        ("ftp://127.0.0.1/x", 'scheme "ftp" is not supported'),
        ("file:///etc/passwd", 'scheme "file" is not supported'),
        ("gopher://127.0.0.1:70/x", 'scheme "gopher" is not supported'),
    ],
)
@with_rig()
async def test_a_redirect_to_where_we_must_not_go_is_refused(rig: Rig, location: str, text: str) -> None:
    link = rig.server.on("/f", failing(302, Location=location))
    assert_failed(await rig.download(link), text)
    assert rig.server.times("/f") == 1
    assert rig.content() is None


async def _chunked(asked: Asked, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for start in range(0, len(LARGE), 50_000):
        piece = LARGE[start : start + 50_000]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def _until_close(asked: Asked, writer: Writer) -> None:
    await reply(writer, 200, LARGE, length=-1)


@pytest.mark.parametrize("behaviour", [_chunked, _until_close], ids=["chunked", "until close"])
@with_rig()
async def test_a_body_of_unknown_length_is_stored_whole(rig: Rig, behaviour) -> None:
    status = await rig.download(rig.server.on("/f", behaviour))
    assert status.progress.finished == 1
    assert_stored(rig, LARGE)


async def _broken_chunked(asked: Asked, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    writer.write(b"%x\r\n%b\r\n" % (400_000, LARGE[:400_000]))
    await writer.drain()
    raise BreakOff


@with_rig()
async def test_a_chunked_body_that_breaks_off_begins_again(rig: Rig) -> None:
    await rig.download(rig.server.on("/f", scripted(_broken_chunked, _chunked)))
    assert_stored(rig, LARGE)


@pytest.mark.parametrize("body", [b"plain text " * 3_000, b"plain text " * 90_000], ids=["small", "large"])
@with_rig()
async def test_an_encoding_that_nobody_asked_for_is_undone(rig: Rig, body: bytes) -> None:
    packed = gzip.compress(body)
    md5 = b64encode(hashlib.md5(packed).digest()).decode()  # of what is sent, not of what it means
    link = rig.server.on("/f.txt", serving(packed, Content_Encoding="gzip", Content_MD5=md5))
    await rig.download(link)
    assert_stored(rig, body)


@with_rig()
async def test_a_packed_file_that_is_labelled_as_encoded_stays_packed(rig: Rig) -> None:
    packed = gzip.compress(b"plain text " * 3_000)
    await rig.download(rig.server.on("/f.tar.gz", serving(packed, Content_Encoding="gzip")))
    assert_stored(rig, packed)


@with_rig()
async def test_a_body_that_cannot_be_unpacked_is_an_error(rig: Rig) -> None:
    link = rig.server.on("/f", serving(b"not gzip at all", Content_Encoding="gzip"))
    status = await rig.download(link)
    assert status.progress.failed == 1
    assert rig.content() is None


DIGESTS = {
    "Content-MD5": lambda body: b64encode(hashlib.md5(body).digest()).decode(),
    "Digest": lambda body: "sha-256=" + b64encode(hashlib.sha256(body).digest()).decode(),
    "Repr-Digest": lambda body: f"sha-512=:{b64encode(hashlib.sha512(body).digest()).decode()}:",
    "x-goog-hash": lambda body: f"crc32c=AAAAAA==, md5={b64encode(hashlib.md5(body).digest()).decode()}",
}


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("field", DIGESTS)
@with_rig(config=DownloadConfig(retries_max=1, part_bytes=256 * 1024))
async def test_announced_digests_are_checked(rig: Rig, field: str, body: bytes) -> None:
    right, wrong = DIGESTS[field](body), DIGESTS[field](body + b"?")
    link = rig.server.on("/good", serving(body, **{field.replace("-", "_"): right}))
    await rig.download(link)
    assert_stored(rig, body)
    if "md5" in (field + right).lower():
        digest = hashlib.md5(body).hexdigest()
        assert rig.record().attributes.custom["md5"] == digest
        assert rig.record().attributes.digests == {"md5": digest}
    link = rig.server.on("/bad", serving(body, **{field.replace("-", "_"): wrong}))
    status = await rig.download(link, object_name="bad")
    assert_failed(status, "BAD DATA CHECKSUM")
    assert rig.server.times("/bad") == 2
    assert rig.content("bad") is None
    assert rig.uploads() == 0


@with_rig()
async def test_nobody_listening_is_an_error_after_some_attempts(rig: Rig) -> None:
    assert_failed(await rig.download("http://127.0.0.1:1/f"), "cannot connect")


@with_rig()
async def test_a_name_that_does_not_resolve_is_an_error(rig: Rig) -> None:
    assert_failed(await rig.download("http://nowhere.invalid/f"), "cannot be resolved")


@with_rig()
async def test_an_attempt_that_takes_too_long_is_given_up(rig: Rig) -> None:
    async def slow(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, SMALL[:1], length=len(SMALL))
        for byte in SMALL[1:]:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.05)

    link = rig.server.on("/f", scripted(slow, serving(SMALL)))
    began = time.monotonic()
    await rig.download(link, timeout="500ms")
    assert_stored(rig, SMALL)
    assert time.monotonic() - began < 5


@with_rig()
async def test_failed_attempts_are_spread_out(rig: Rig) -> None:
    times: list[float] = []

    async def refuse(asked: Asked, writer: Writer) -> None:
        times.append(time.monotonic())
        await reply(writer, 500)

    assert_failed(await rig.download(rig.server.on("/f", refuse)), "status 500")
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == CONFIG.retries_max
    for wait, base in zip(waits, (0.5, 1.0, 2.0), strict=True):
        assert base / 2 <= wait <= base + 0.3


@with_rig()
async def test_malformed_answers_are_errors(rig: Rig) -> None:
    async def garbage(asked: Asked, writer: Writer) -> None:
        writer.write(b"\x00\xffnot http at all\r\n\r\n")
        writer.close()

    status = await rig.download(rig.server.on("/f", garbage))
    assert status.progress.failed == 1


@with_rig()
async def test_an_unasked_part_is_not_an_object(rig: Rig) -> None:
    async def part(asked: Asked, writer: Writer) -> None:
        await reply(
            writer, 206, SMALL[100:], headers={"Content-Range": f"bytes 100-{len(SMALL) - 1}/{len(SMALL)}"}
        )

    assert_failed(await rig.download(rig.server.on("/f", part)), "status 206")
    assert rig.content() is None
