import msgspec
import pytest

from aisle.rules import download_reply
from aisle.rules.download_reply import (
    Again,
    Earlier,
    Refused,
    Reply,
    Resume,
    Start,
    Unchanged,
    Wanted,
    carried,
    judge,
    read_clear_reply,
    read_reply,
)
from aisle.rules.download_unchanged import Known

LINK = "http://h/x"
RESUME = Resume(100, '"v1"', '"v1"', 1000)


def head(*lines: str) -> Reply:
    return read_reply([f"{line}\r\n".encode("latin-1") for line in (*lines, "")])


def partial(content_range: str = "bytes 100-999/1000", etag: str = '"v1"', *more: str) -> Reply:
    return head("HTTP/1.1 206 Partial Content", f"Content-Range: {content_range}", f"ETag: {etag}", *more)


MODIFIED = "Mon, 01 Jan 2024 00:00:00 GMT"
RESUME_DATED = Resume(100, MODIFIED, "", 1000)


def dated(modified: str) -> Reply:
    return partial("bytes 100-999/1000", "", f"Last-Modified: {modified}")


CLEAR = [b"HTTP/1.1 200 OK: fine", b"Content-Length: 12", b'etag: "a:b"', b"X-Other:", b"Date: \xff\t"]


def test_a_clear_head_is_read_as_any_other() -> None:
    for _ in range(2):
        assert read_clear_reply(b"\r\n".join(CLEAR)) == read_reply(CLEAR)
    twice = [*CLEAR, b"ETag: b"]
    assert read_clear_reply(b"\r\n".join(twice)) == read_reply(twice)
    assert read_clear_reply(b"HTTP/1.0 404") == Reply(404, {})


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" folded: x",
        b"no field",
        b"with space : x",
        b"a\rb: x",
        b"a: x\r",
        b"a: x\ny: z",
        b"a: \0",
        b": x",
        b"HTTP/1.1 200 OK: x",
        b"\xe4: x",
    ],
)
@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_head_that_others_may_read_otherwise_is_not_clear(line: bytes, at: int) -> None:
    lines = [*CLEAR[:at], line, *CLEAR[at:]]
    for _ in range(2):  # nothing of it is known the second time
        assert read_clear_reply(b"\r\n".join(lines)) is None


@pytest.mark.parametrize(
    "line",
    [b"HTTP/1.1 101 x", b"HTTP/2 200", b"HTTP/1.1 20", b"HTTP/1.1 2000", b"HTTP/1.1 099 x", b"a: b", b""],
)
def test_an_odd_status_is_not_clear(line: bytes) -> None:
    for _ in range(2):
        assert read_clear_reply(b"\r\n".join([line, *CLEAR[1:]])) is None


def test_a_head_is_read() -> None:
    reply = head(
        "HTTP/1.1 200 OK: fine",
        "content-LENGTH:  12 ",
        'ETag: "a:b"',
        "X-Other: 1",
        "Last-Modified: Sat, 21 Nov 2026 01:12:58 GMT",
    )
    assert reply == Reply(
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
    assert reply.announced() == {"crc32c": "00000000", "md5": "5eb63bbbe01eeed093cb22bb8f5acdc3"}
    assert reply.digests() == {"crc32c": "00000000"}


def test_lines_that_come_again_mean_the_same_again() -> None:
    for _ in range(2):
        reply = head("HTTP/1.1 206 Partial Content", "content-type: a/b", "Server: x", "Content-Length: 7")
        assert reply == Reply(206, {"Content-Type": "a/b", "Content-Length": "7"})
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
        (['ETag: "\u00e9"', "Last-Modified: D"], "D"),
        (["Last-Modified: \u00e9"], ""),
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
        (["repr-digest: md5=:XrY7u+Ae7tCTyyK7j1rNww==:"], {"md5": MD5}),
        (["X-AMZ-Checksum-Crc32c: yZQgNw=="], {"crc32c": "c9942037"}),
        (["Server: AmazonS3", f'ETag: "{MD5}"'], {"md5": MD5}),
        (["Server: like-amazons3", f'ETag: "{MD5}"'], {}),  # no tag of its is known to be a digest
        (["Server: nginx", f'ETag: "{MD5}"'], {}),
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
        (dated(MODIFIED), RESUME_DATED, Start(100, 1000)),
        (dated(""), RESUME_DATED, Start(100, 1000)),
        (dated(MODIFIED.replace("2024", "2025")), RESUME_DATED, Again.FROM_ZERO),
        (dated(MODIFIED.replace("2024", "2025")), RESUME_DATED._replace(etag='W/"1"'), Again.FROM_ZERO),
        (partial("bytes 100-999/1000", '"v1"', f"Last-Modified: {MODIFIED}"), RESUME, Start(100, 1000)),
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
        (
            head("HTTP/1.1 403 No", "X-Error-Message: Access is restricted."),
            None,
            Refused(f"failed to download {LINK}: status 403 (Access is restricted.)"),
        ),
        (
            head("HTTP/1.1 403 No", "x-error-message: \x1b[2J"),
            None,
            Refused(f"failed to download {LINK}: status 403"),
        ),
        (head("HTTP/1.1 304 Same"), None, Refused(f"failed to download {LINK}: status 304")),
        (head("HTTP/1.1 304 Same"), RESUME, Refused(f"failed to download {LINK}: status 304")),
    ],
)
def test_what_follows_from_an_answer(reply: Reply, resume: Resume | None, verdict: object) -> None:
    assert judge(reply, link=LINK, resume=resume) == verdict


KNOWN = Known(b"g", 5, "image/png", '"v1"', ("If-None-Match", '"v1"'))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        (head("HTTP/1.1 304 Same"), Unchanged.IS),
        (head("HTTP/1.1 304 Same", 'ETag: W/"v1"'), Unchanged.IS),
        (head("HTTP/1.1 304 Same", 'ETag: "v2"'), Again.FROM_ZERO),
        (head("HTTP/1.1 200 OK", "Content-Length: 5", 'ETag: "v2"'), Start(0, 5)),
        (head("HTTP/1.1 200 OK", "Content-Length: 5"), Start(0, 5)),
        # Its server knows no conditions.
        (head("HTTP/1.1 200 OK", "Content-Length: 5", 'ETag: "v1"'), Unchanged.IS),
        (head("HTTP/1.1 200 OK", "Content-Length: 6", 'ETag: "v1"'), Start(0, 6)),
        (head("HTTP/1.1 200 OK", "Content-Length: 5", 'ETag: "v1"', "Content-Encoding: br"), Start(0, None)),
        (head("HTTP/1.1 412 No"), Refused(f"failed to download {LINK}: status 412")),
    ],
)
def test_an_object_that_is_there_is_not_fetched_if_the_source_still_has_it(
    reply: Reply, verdict: object
) -> None:
    assert judge(reply, link=LINK, resume=None, known=KNOWN) == verdict


PAGE = ("HTTP/1.1 200 OK", "Content-Type: text/html; charset=utf-8")
FILE = ("HTTP/1.1 200 OK", "Content-Type: image/png")


def wanting(reply: Reply, checksum: str = "", size: int = -1) -> Reply:
    return msgspec.structs.replace(reply, wanted=Wanted(checksum, size))


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (wanting(head(*FILE, "Content-Length: 5"), size=5), ""),
        (wanting(head(*FILE), size=5), ""),
        (wanting(head(*FILE, "Content-Length: 6"), size=5), "it has 6 bytes, it should have 5"),
        (
            wanting(head(*PAGE, "Content-Length: 6"), size=5),
            "the server sent an HTML page of 6 bytes instead of the file of 5 bytes",
        ),
        (wanting(head(*PAGE, "Content-Length: 5"), size=5), ""),
        (head(*FILE, "Content-Length: 6", "X-Linked-Size: 5", "X-Repo-Commit: c"), "it should have 5"),
        (head(*FILE, "Content-Length: 6", "X-Linked-Size: 6", "X-Repo-Commit: c"), ""),
    ],
)
def test_another_size_than_the_item_must_have_is_refused(reply: Reply, error: str) -> None:
    verdict = judge(reply, link=LINK, resume=None)
    if error:
        assert isinstance(verdict, Refused)
        assert error in verdict.message
        assert not verdict.may_pass
    else:
        assert isinstance(verdict, Start)


@pytest.mark.parametrize(
    ("page", "earlier", "refused"),
    [
        (head(*PAGE, "Content-Length: 6"), Earlier(5, "image/png"), True),
        (head(*PAGE), Earlier(5, "image/png"), True),
        (head(*PAGE, "Content-Length: 5"), Earlier(5, "image/png"), False),
        (head(*PAGE, "Content-Length: 6"), Earlier(5, "text/html"), False),
        (head(*PAGE, "Content-Length: 6"), Earlier(5, ""), False),
        (head(*PAGE, "Content-Length: 6"), None, False),
        (head(*FILE, "Content-Length: 6"), Earlier(5, "application/zip"), False),
    ],
)
def test_a_page_where_a_file_was_is_not_the_file(page: Reply, earlier: Earlier | None, refused: bool) -> None:
    for resume in (None, RESUME):
        verdict = judge(page, link=LINK, resume=resume, earlier=earlier)
        assert isinstance(verdict, Refused if refused else Start)
        if isinstance(verdict, Refused):
            assert "instead of the file of 5 bytes" in verdict.message
            assert verdict.may_pass is (resume is not None)


def test_the_items_own_digest_decides() -> None:
    reply = head("HTTP/1.1 200 OK", "Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==", "Content-Length: 11")
    assert wanting(reply, checksum="sha256:AB").digests() == {"sha256": "ab"}
    assert wanting(reply, checksum="gitblob:ab").digests() == {"gitblob-11": "ab"}
    assert wanting(head("HTTP/1.1 200 OK"), checksum="gitblob:ab").digests() == {"gitblob": "ab"}
    assert wanting(head("HTTP/1.1 200 OK"), checksum="gitblob:ab", size=3).digests() == {"gitblob-3": "ab"}
    packed = head("HTTP/1.1 200 OK", "Content-Encoding: gzip", "Content-Length: 9")
    assert wanting(packed, checksum="gitblob:ab").digests() == {"gitblob": "ab"}


def test_the_size_of_the_object_is_told_by_whole_answers_and_by_parts() -> None:
    assert head("HTTP/1.1 200 OK", "Content-Length: 5").size == 5
    assert partial("bytes 100-999/1000").size == 1000
    assert partial("bytes 100-999/*").size is None
    assert head("HTTP/1.1 404 No", "Content-Length: 5").size is None


def test_what_a_redirect_says_about_the_object_is_carried_on() -> None:
    hub = head("HTTP/1.1 302 Found", "X-Repo-Commit: c", 'X-Linked-Etag: "e"', 'ETag: "t"', "Location: /x")
    assert carried(hub.fields) == {"X-Repo-Commit": "c", "X-Linked-Etag": '"e"'}
    assert carried(head("HTTP/1.1 302 Found", "Location: /x").fields) == {}


def test_sizes_of_absurdly_many_digits_are_not_read() -> None:
    digits = "9" * 5000
    assert head("HTTP/1.1 200 OK", f"Content-Length: {digits}").length is None
    assert partial(f"bytes 0-{digits}/*").content_range is None
    assert partial(f"bytes 0-1/{digits}").content_range is None
