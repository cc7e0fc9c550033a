"""Sources that misbehave: whatever they do, an object is whole and right, or not there at all."""

import asyncio
import dataclasses
import gzip
import hashlib
import os
import ssl
import tempfile
import time
import zlib
from base64 import b64encode
from itertools import pairwise
from pathlib import Path

import pycurl
import pytest

from aisle.config import DownloadConfig
from aisle.jobs.list_files import new_list_name, write_list
from aisle.model.digests import git_blob_kind
from aisle.model.job import DownloadSpec
from aisle.model.names import parse_bucket
from aisle.rules.download_list import ListedItem
from aisle.storage.hashing import hex_digest
from support.certificates import self_signed
from support.downloads import CONFIG, Rig, with_rig
from support.faulty import Asked, BreakOff, Writer, reply, serve_file, serving
from support.lateness import measured_lateness

SMALL = os.urandom(10_000)
MEDIUM = os.urandom(100_000)  # in memory as it comes, in a file when stored
LARGE = os.urandom(1_200_000)  # several parts of 256 KiB and a rest
IMPATIENT = dataclasses.replace(CONFIG, stall_timeout_s=1.0)


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
        "Content-Length": str(len(body)),
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


@with_rig()
async def test_a_tag_that_no_request_can_carry_is_not_sent(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    odd = {"ETag": '"\u00e9"'}
    link = rig.server.on("/f", scripted(breaking(LARGE, 700_000, **odd), serving(LARGE, **odd)))
    await rig.download(link)
    assert_stored(rig, LARGE)
    assert "range" not in rig.server.asked[1].headers
    await rig.download(link)
    assert "if-none-match" not in rig.server.asked[2].headers
    assert "Error" not in caplog.text


@pytest.mark.parametrize("status", [412, 416])
@with_rig()
async def test_a_refused_range_begins_again(rig: Rig, status: int) -> None:
    link = rig.server.on("/f", scripted(breaking(LARGE, 700_000), failing(status), serving(LARGE)))
    await rig.download(link)
    assert_stored(rig, LARGE)


async def _stalling(asked: Asked, writer: Writer) -> None:
    await reply(writer, 200, SMALL[:4_000], length=len(SMALL), headers={"ETag": '"v1"'})
    await asyncio.sleep(300)


@with_rig(config=IMPATIENT)
async def test_a_stalled_body_is_given_up_and_asked_for_again(rig: Rig) -> None:
    link = rig.server.on("/f", scripted(_stalling, serving(SMALL)))
    async with measured_lateness() as lateness:
        began = time.monotonic()
        await rig.download(link)
        assert_stored(rig, SMALL)
        assert IMPATIENT.stall_timeout_s <= time.monotonic() - began < 30 + lateness.seconds


@with_rig(config=DownloadConfig(retries_max=1, stall_timeout_s=1.0))
async def test_a_server_that_never_answers_is_an_error(rig: Rig) -> None:
    async def mute(asked: Asked, writer: Writer) -> None:
        await asyncio.sleep(300)

    status = await rig.download(rig.server.on("/f", mute))
    assert_failed(status, "no bytes for 1 s")
    assert rig.server.times("/f") == 2


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
    async with measured_lateness() as lateness:
        began = time.monotonic()
        await rig.download(link)
        assert_stored(rig, SMALL)
        assert 2 <= time.monotonic() - began < 20 + lateness.seconds


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
async def test_an_encoded_body_that_ends_early_is_asked_for_again(rig: Rig) -> None:
    packed = gzip.compress(SMALL)
    cut = serving(packed[:-10], Content_Encoding="gzip")
    await rig.download(rig.server.on("/f", scripted(cut, serving(packed, Content_Encoding="gzip"))))
    assert_stored(rig, SMALL)
    status = await rig.download(rig.server.on("/cut", cut), object_name="cut")
    assert_failed(status, "its compressed data end early")
    assert rig.content("cut") is None


@with_rig()
async def test_codings_may_be_several(rig: Rig) -> None:
    two_members = gzip.compress(LARGE[:700_000]) + gzip.compress(LARGE[700_000:])
    for number, (coding, packed) in enumerate(
        [
            ("gzip", two_members),
            ("identity, X-GZIP,", gzip.compress(LARGE)),
            ("deflate, gzip", gzip.compress(zlib.compress(LARGE))),
            ("deflate", zlib.compress(LARGE)[2:-4]),  # without zlib's frame
            ("identity, identity", LARGE),
        ]
    ):
        await rig.download(rig.server.on(f"/{number}", serving(packed, Content_Encoding=coding)))
        assert_stored(rig, LARGE)


@pytest.mark.skipif("brotli" not in pycurl.version, reason="libcurl was built without brotli")
@with_rig()
async def test_a_coding_that_only_libcurl_knows_is_left_to_it(rig: Rig) -> None:
    hello = b"\x0b\x02\x80hello\x03"
    for coding, packed in (("br", hello), ("br, gzip", gzip.compress(hello))):
        await rig.download(rig.server.on("/f", serving(packed, Content_Encoding=coding)))
        assert_stored(rig, b"hello")
        await rig.download(rig.server.on("/plain", serving(SMALL)))
        assert_stored(rig, SMALL)


@with_rig()
async def test_a_coding_that_nobody_knows_is_an_error(rig: Rig) -> None:
    status = await rig.download(rig.server.on("/f", serving(SMALL, Content_Encoding="gzip, zork")))
    assert_failed(status, "the body is encoded in a way that cannot be read")
    assert (await rig.download(rig.server.on("/g", serving(SMALL)))).progress.finished == 1
    assert_stored(rig, SMALL)


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


def _b64(kind: str, body: bytes) -> str:
    return b64encode(bytes.fromhex(hex_digest(kind, body))).decode()


# How a source announces a digest, and the kind of the one that is checked.
DIGESTS = {
    "Content-MD5": (lambda body: {"Content_MD5": _b64("md5", body)}, "md5"),
    "Digest": (lambda body: {"Digest": f"md5=AA==,sha-256={_b64('sha256', body)}"}, "sha256"),
    "Repr-Digest": (lambda body: {"Repr_Digest": f"sha-512=:{_b64('sha512', body)}:"}, "sha512"),
    "Content-Digest": (lambda body: {"Content_Digest": f"sha-256=:{_b64('sha256', body)}:"}, "sha256"),
    "Google": (
        lambda body: {"x_goog_hash": f"crc32c={_b64('crc32c', body)}, md5={_b64('md5', b'whatever')}"},
        "crc32c",
    ),
    "Amazon checksum": (lambda body: {"x_amz_checksum_crc64nvme": _b64("crc64nvme", body)}, "crc64nvme"),
    "Amazon tag": (
        lambda body: {"x_amz_request_id": "1", "ETag": f'"{hex_digest("md5", body)}"'},
        "md5",
    ),
}


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("way", DIGESTS)
@with_rig(config=DownloadConfig(retries_max=1, part_bytes=256 * 1024))
async def test_announced_digests_are_checked(rig: Rig, way: str, body: bytes) -> None:
    told, kind = DIGESTS[way]
    link = rig.server.on("/good", serving(body, **told(body)))
    await rig.download(link)
    assert_stored(rig, body)
    attributes = rig.record().attributes
    # No other digest was computed than the one that is checked: an MD5 only where there is nothing else.
    assert attributes.digests == {kind: hex_digest(kind, body)}
    assert attributes.custom[kind] == hex_digest(kind, body)
    link = rig.server.on("/bad", serving(body, **told(body + b"?")))
    status = await rig.download(link, object_name="bad")
    assert_failed(status, f"BAD DATA CHECKSUM: {kind}(")
    assert rig.server.times("/bad") == 2
    assert rig.content("bad") is None
    assert rig.uploads() == 0


def _hub(body: bytes, announced: str, *, size: int | None = None):
    """The Hugging Face hub: what it says about the file comes with the redirect to where the file is."""

    async def resolve(asked: Asked, writer: Writer) -> None:
        fields = {
            "Location": "/store/x?sig=1",
            "X-Repo-Commit": "c" * 40,
            "X-Linked-Size": str(len(body) if size is None else size),
            "X-Linked-Etag": f'"{announced}"',
        }
        await reply(writer, 302, b"Found", headers=fields)

    return resolve


@pytest.mark.parametrize("body", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("kind", ["sha256", "gitblob"])
@with_rig(config=DownloadConfig(retries_max=1, part_bytes=256 * 1024))
async def test_what_the_hub_says_beside_its_redirect_is_checked(rig: Rig, kind: str, body: bytes) -> None:
    rig.server.on("/store/x", serving(body, ETag='"anything"'))
    digest = hex_digest(_sized(kind, body), body)
    await rig.download(rig.server.on("/resolve/main/x", _hub(body, digest)))
    assert_stored(rig, body)
    custom = rig.record().attributes.custom
    assert (custom[kind], custom["version"]) == (digest, "c" * 40)
    wrong = hex_digest(_sized(kind, body), bytes(len(body)))
    status = await rig.download(rig.server.on("/bad", _hub(body, wrong)), object_name="bad")
    assert_failed(status, f"BAD DATA CHECKSUM: {kind}({wrong} != {digest})")
    status = await rig.download(rig.server.on("/long", _hub(body, digest, size=7)), object_name="bad")
    assert_failed(status, f"it has {len(body)} bytes, it should have 7")
    assert rig.content("bad") is None


def _sized(kind: str, body: bytes) -> str:
    return git_blob_kind(len(body)) if kind == "gitblob" else kind


async def run_list(rig: Rig, *items: ListedItem):
    name = new_list_name()
    write_list(rig.lists, name, items)
    spec = DownloadSpec(kind="list", bucket=parse_bucket("b"), list_file=name, list_items=len(items))
    return await rig.ended(await rig.board.submit(spec))


async def _chunked_small(asked: Asked, writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(SMALL))
    writer.write(SMALL + b"\r\n0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize("source", ["small", "medium", "large", "chunked"])
@pytest.mark.parametrize("kind", ["sha256", "sha512", "sha1", "md5", "crc32c", "gitblob"])
@with_rig(config=DownloadConfig(retries_max=0, part_bytes=256 * 1024))
async def test_the_checksum_of_an_item_decides(rig: Rig, source: str, kind: str) -> None:
    body = {"small": SMALL, "medium": MEDIUM, "large": LARGE, "chunked": SMALL}[source]
    # What the source says itself is wrong, and does not matter.
    behaviour = _chunked_small if source == "chunked" else serving(body, Content_MD5=_b64("md5", b"?"))
    link = rig.server.on("/f", behaviour)
    right, wrong = (hex_digest(_sized(kind, body), told) for told in (body, bytes(len(body))))
    good = ListedItem(b"o", link, f"{kind}:{right}")
    bad = ListedItem(b"bad", link, f"{kind}:{wrong}")
    progress = (await run_list(rig, good, bad)).progress
    assert (progress.finished, progress.failed) == (1, 1)
    assert f"BAD DATA CHECKSUM: {kind}({wrong} != {right})" in progress.errors[0].error
    assert_stored(rig, body)
    assert rig.record().attributes.custom[kind] == right
    assert rig.content("bad") is None


@with_rig(config=DownloadConfig(retries_max=0))
async def test_the_id_of_a_blob_of_unknown_size_is_an_error_and_of_one_that_the_item_tells_is_checked(
    rig: Rig,
) -> None:
    link = rig.server.on("/f", _chunked)
    blob = f"gitblob:{hex_digest(git_blob_kind(len(LARGE)), LARGE)}"
    progress = (await run_list(rig, ListedItem(b"o", link, blob))).progress
    assert "its source tells no size" in progress.errors[0].error
    assert rig.content() is None
    assert (await run_list(rig, ListedItem(b"o", link, blob, len(LARGE)))).progress.finished == 1
    assert_stored(rig, LARGE)


@pytest.mark.parametrize("behaviour", ["small", "large", "chunked"])
@with_rig(config=DownloadConfig(retries_max=0))
async def test_another_size_than_the_item_has_is_an_error(rig: Rig, behaviour: str) -> None:
    body = LARGE if behaviour == "large" else SMALL
    link = rig.server.on("/f", _chunked_small if behaviour == "chunked" else serving(body))
    progress = (await run_list(rig, ListedItem(b"o", link, size=len(body) + 1))).progress
    assert f"it has {len(body)} bytes, it should have {len(body) + 1}" in progress.errors[0].error
    assert rig.content() is None
    assert (await run_list(rig, ListedItem(b"o", link, size=len(body)))).progress.finished == 1


PAGE = b"<html><title>Sign in</title></html>"


@pytest.mark.parametrize("known", ["size", "checksum"])
@with_rig(config=DownloadConfig(retries_max=0))
async def test_an_html_page_instead_of_the_file_is_an_error_that_says_so(rig: Rig, known: str) -> None:
    link = rig.server.on("/f.zip", serving(PAGE, Content_Type="text/html; charset=utf-8"))
    item = ListedItem(b"o", link, size=len(SMALL))
    if known == "checksum":
        item = ListedItem(b"o", link, f"sha256:{hex_digest('sha256', SMALL)}")
    progress = (await run_list(rig, item)).progress
    assert progress.failed == 1
    assert "the server sent an HTML page" in progress.errors[0].error
    assert rig.content() is None


@with_rig()
async def test_a_page_in_the_middle_of_a_file_is_not_taken_for_a_newer_file(rig: Rig) -> None:
    packed = {"Content_Type": "application/zip"}
    link = rig.server.on(
        "/f.zip",
        scripted(
            breaking(LARGE, 700_000, **packed),
            serving(PAGE, ETag='"page"', Content_Type="text/html"),
            serving(LARGE, **packed),
        ),
    )
    await rig.download(link)
    assert_stored(rig, LARGE)


@with_rig()
async def test_more_bytes_than_announced_are_not_taken(rig: Rig) -> None:
    async def generous(asked: Asked, writer: Writer) -> None:
        await reply(writer, 200, SMALL + b"and more", length=len(SMALL))

    link = rig.server.on("/f", generous)
    await rig.download(link)
    assert_stored(rig, SMALL)
    await rig.download(link, object_name="p")  # what was left over is not taken for the next answer
    assert rig.content("p") == SMALL


@with_rig()
async def test_a_server_without_ranges_begins_again(rig: Rig) -> None:
    async def whole(asked: Asked, writer: Writer) -> None:
        if asked.count == 1:
            await serve_file(asked, writer, LARGE, break_after=700_000)
        else:
            await reply(writer, 200, LARGE, headers={"ETag": '"v1"'})

    await rig.download(rig.server.on("/f", whole))
    assert "range" in rig.server.asked[1].headers
    assert_stored(rig, LARGE)


@with_rig()
async def test_a_certificate_that_nobody_vouches_for_is_an_error_at_once(rig: Rig) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError("nothing is sent to whom we do not trust")

    with tempfile.TemporaryDirectory(prefix="faulty-tls-") as folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self_signed(Path(folder)))
        listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        async with listener:
            port = listener.sockets[0].getsockname()[1]
            status = await rig.download(f"https://127.0.0.1:{port}/f")
    assert_failed(status, "the server's certificate is not valid")
    assert rig.content() is None


@with_rig(config=DownloadConfig(retries_max=0, connect_timeout_s=1.0))
async def test_a_server_that_speaks_no_tls_is_an_error(rig: Rig) -> None:
    status = await rig.download(rig.server.on("/f", serving(SMALL)).replace("http:", "https:"))
    assert status.progress.failed == 1
    assert rig.content() is None


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
    async with measured_lateness() as lateness:
        began = time.monotonic()
        await rig.download(link, timeout="500ms")
        assert_stored(rig, SMALL)
        assert time.monotonic() - began < 5 + lateness.seconds


@with_rig()
async def test_failed_attempts_are_spread_out(rig: Rig) -> None:
    times: list[float] = []

    async def refuse(asked: Asked, writer: Writer) -> None:
        times.append(time.monotonic())
        await reply(writer, 500)

    async with measured_lateness() as lateness:
        assert_failed(await rig.download(rig.server.on("/f", refuse)), "status 500")
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(waits) == CONFIG.retries_max
    for wait, base in zip(waits, (0.5, 1.0, 2.0), strict=True):
        assert base / 2 <= wait <= base + 0.3 + lateness.seconds


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
