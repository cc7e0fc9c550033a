import pytest

from aisle.rules import download_reply
from aisle.rules.download_reply import Again, Refused, Reply, Resume, Start, judge, read_reply

LINK = "http://h/x"
RESUME = Resume(100, '"v1"', '"v1"', 1000)


def head(*lines: str) -> Reply:
    return read_reply([f"{line}\r\n".encode("latin-1") for line in (*lines, "")])


def partial(content_range: str = "bytes 100-999/1000", etag: str = '"v1"', *more: str) -> Reply:
    return head("HTTP/1.1 206 Partial Content", f"Content-Range: {content_range}", f"ETag: {etag}", *more)


def test_a_head_is_read() -> None:
    reply = head(
        "HTTP/1.1 200 OK: fine",
        "content-LENGTH:  12 ",
        'ETag: "a:b"',
        "X-Other: 1",
        "Last-Modified: Sat, 21 Nov 2026 01:12:58 GMT",
    )
    assert reply == (
        200,
        {"Content-Length": "12", "ETag": '"a:b"', "Last-Modified": "Sat, 21 Nov 2026 01:12:58 GMT"},
    )
    assert reply.length == 12


def test_of_several_heads_the_last_counts() -> None:
    reply = head("HTTP/1.1 103 Early Hints", 'ETag: "early"', "", "HTTP/2 200 ", "Content-Length: 1")
    assert (reply.status, reply.etag, reply.length) == (200, "", 1)


def test_repeated_fields_are_joined() -> None:
    reply = head(
        "HTTP/1.1 200 OK", "x-goog-hash: crc32c=AAAAAA==", "x-goog-hash: md5=XrY7u+Ae7tCTyyK7j1rNww=="
    )
    assert reply.digests() == {"md5": "5eb63bbbe01eeed093cb22bb8f5acdc3"}


def test_lines_that_come_again_mean_the_same_again() -> None:
    for _ in range(2):
        reply = head("HTTP/1.1 206 Partial Content", "content-type: a/b", "Server: x", "Content-Length: 7")
        assert reply == (206, {"Content-Type": "a/b", "Content-Length": "7"})
    assert (
        head("HTTP/1.1 200 OK", "Content-Type: a/b", "Content-Type: c/d").fields["Content-Type"] == "a/b, c/d"
    )


def test_lines_that_never_come_again_are_forgotten() -> None:
    for number in range(3 * download_reply._KNOWN_MAX):
        head("HTTP/1.1 200 OK", f"X-Request: {number}", f"Content-Length: {number}")
    assert len(download_reply._known) <= download_reply._KNOWN_MAX
    long = "X-Long: " + "x" * 10_000
    head(long)
    assert f"{long}\r\n".encode() not in download_reply._known


@pytest.mark.parametrize("line", ["", "garbage", "HTTP/1.1", "HTTP/1.1 abc"])
def test_what_is_no_head_has_no_status(line: str) -> None:
    assert head(line).status == 0


@pytest.mark.parametrize("length", ["", "-1", "1, 1", "0x10", "\u0661"])
def test_an_unreadable_length_is_none(length: str) -> None:
    assert Reply(200, {"Content-Length": length}).length is None


@pytest.mark.parametrize(
    ("fields", "validator"),
    [
        (['ETag: "v1"', "Last-Modified: D"], '"v1"'),
        (['ETag: W/"v1"', "Last-Modified: D"], "D"),
        (['ETag: W/"v1"'], ""),
        ([], ""),
    ],
)
def test_only_strong_validators_continue_a_body(fields: list[str], validator: str) -> None:
    assert head("HTTP/1.1 200 OK", *fields).validator == validator


MD5 = "5eb63bbbe01eeed093cb22bb8f5acdc3"


@pytest.mark.parametrize(
    ("fields", "digests"),
    [
        (["Content-MD5: XrY7u+Ae7tCTyyK7j1rNww=="], {"md5": MD5}),
        (["Digest: MD5=XrY7u+Ae7tCTyyK7j1rNww==,unixsum=30637"], {"md5": MD5}),
        (["Repr-Digest: md5=:XrY7u+Ae7tCTyyK7j1rNww==:"], {"md5": MD5}),
        (["Digest: SHA=Kq5sNclPz7QV2+lfQIuc6R7oRu0="], {"sha1": "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"}),
        (["Content-MD5: not base64!"], {}),
        (["Content-MD5: AAAA"], {}),
        (["Content-Encoding: gzip", "Content-MD5: XrY7u+Ae7tCTyyK7j1rNww=="], {}),
        (["Content-Encoding: identity", "Content-MD5: XrY7u+Ae7tCTyyK7j1rNww=="], {"md5": MD5}),
    ],
)
def test_digests_of_the_object_are_read(fields: list[str], digests: dict[str, str]) -> None:
    assert head("HTTP/1.1 200 OK", *fields).digests() == digests


def test_content_md5_of_a_part_is_not_the_objects() -> None:
    assert partial("bytes 100-999/1000", '"v1"', "Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==").digests() == {}


@pytest.mark.parametrize(
    ("reply", "resume", "verdict"),
    [
        (head("HTTP/1.1 200 OK", "Content-Length: 5"), None, Start(0, 5)),
        (head("HTTP/1.1 200 OK"), None, Start(0, None)),
        (head("HTTP/1.1 200 OK", "Content-Length: 5", "Content-Encoding: br"), None, Start(0, None)),
        (head("HTTP/1.1 200 OK", "Content-Length: 5"), RESUME, Start(0, 5)),
        (partial(), RESUME, Start(100, 1000)),
        (partial("bytes 100-999/*"), RESUME, Start(100, 1000)),
        (partial(etag=""), RESUME, Start(100, 1000)),
        (partial("bytes 99-999/1000"), RESUME, Again.FROM_ZERO),
        (partial("bytes 100-1999/2000"), RESUME, Again.FROM_ZERO),
        (partial("bytes */1000"), RESUME, Again.FROM_ZERO),
        (partial(etag='"v2"'), RESUME, Again.FROM_ZERO),
        (partial("bytes 100-999/1000", '"v1"', "Content-Encoding: gzip"), RESUME, Again.FROM_ZERO),
        (head("HTTP/1.1 206 Partial", "Content-Type: multipart/byteranges"), RESUME, Again.FROM_ZERO),
        (head("HTTP/1.1 412 No"), RESUME, Again.FROM_ZERO),
        (head("HTTP/1.1 416 No"), RESUME, Again.FROM_ZERO),
        (partial(), None, Refused(f"failed to download {LINK}: status 206")),
        (head("HTTP/1.1 416 No"), None, Refused(f"failed to download {LINK}: status 416")),
        (head("HTTP/1.1 404 No"), None, Refused(f"ErrNotFound: {LINK} does not exist")),
        (head("HTTP/1.1 404 No"), RESUME, Refused(f"ErrNotFound: {LINK} does not exist")),
        (head("HTTP/1.1 204 Nothing"), None, Refused(f"failed to download {LINK}: status 204")),
        (head("HTTP/1.1 503 Busy"), RESUME, Refused(f"failed to download {LINK}: status 503")),
        (head("HTTP/1.1 304 Same"), None, Refused(f"failed to download {LINK}: status 304")),
    ],
)
def test_what_follows_from_an_answer(reply: Reply, resume: Resume | None, verdict: object) -> None:
    assert judge(reply, link=LINK, resume=resume) == verdict
