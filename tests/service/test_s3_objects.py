"""Objects through S3: what is kept and told, every state of the conditions, every way to ask wrongly."""

import asyncio
import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterator
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest
import xxhash

from aisle.errors import RequestAborted
from aisle.httpd.request import Request
from aisle.httpd.response import Response
from aisle.storage.hashing import hex_digest
from service.calling import Answer, Chunks, Native

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
MD5 = hashlib.md5(b"hello").hexdigest()
LARGE = bytes(range(256)) * 100  # lies in a file, were there files


class S3:
    """A node in memory with the buckets `b` and `other`, spoken to in S3."""

    def __init__(self, node: Native) -> None:
        self.node = node
        node.bucket("other")

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        return self.node(method, f"/s3{target}", body, **headers)

    def put(self, key: str = "k", body: bytes = b"hello", **headers: str) -> Answer:
        answer = self("PUT", f"/b/{quote(key)}", body, **headers)
        assert answer.status == 200, answer.body
        return answer

    def get(self, key: str = "k", query: str = "", **headers: str) -> Answer:
        return self("GET", f"/b/{quote(key)}{query}", **headers)

    def copy(self, source: str, to: str = "/b/copy", **headers: str) -> Answer:
        return self("PUT", to, x_amz_copy_source=source, **headers)

    def delete_all(self, *keys: str, quiet: bool = False, inner: str = "", **headers: str) -> Answer:
        objects = "".join(f"<Object><Key>{escape(key)}</Key></Object>" for key in keys)
        flag = "<Quiet>true</Quiet>" if quiet else ""
        return self("POST", "/b?delete", f"<Delete>{flag}{objects}{inner}</Delete>".encode(), **headers)

    def names(self) -> list[str]:
        return self.node.names("b")


@pytest.fixture
def s3(native: Native) -> Iterator[S3]:
    return S3(native)


def code(answer: Answer) -> str:
    found = ElementTree.fromstring(answer.body).find("Code")
    assert found is not None
    return found.text or ""


def texts(answer: Answer, path: str) -> list[str]:
    steps = "/".join(NAMESPACE + step for step in path.split("/"))
    return [found.text or "" for found in ElementTree.fromstring(answer.body).findall(steps)]


def base64(kind: str, data: bytes = b"hello") -> str:
    return b64encode(bytes.fromhex(hex_digest(kind, data))).decode()


# What is kept and told -------------------------------------------------------------------------


def test_what_is_put_is_read_back_with_its_md5_as_entity_tag(s3: S3) -> None:
    put = s3.put("dir/k")
    assert put.headers == {"x-amz-request-id": "", "etag": f'"{MD5}"'}
    got = s3.get("dir/k")
    assert (got.status, got.body) == (200, b"hello")
    assert got.headers == {
        "content-type": "binary/octet-stream",
        "etag": f'"{MD5}"',
        "last-modified": "Fri, 20 Nov 2026 16:12:38 GMT",
        "accept-ranges": "bytes",
        "content-security-policy": "sandbox; default-src 'none'",
        "x-content-type-options": "nosniff",
        "x-amz-request-id": "",
    }
    head = s3("HEAD", "/b/dir/k")
    assert (head.status, head.headers, head.response.length) == (200, got.headers, 5)


@pytest.mark.parametrize("kind", ["none", "xxhash2", "md5", "crc32c", "sha256"])
def test_the_entity_tag_is_the_md5_whatever_the_buckets_checksum(s3: S3, kind: str) -> None:
    s3.node.bucket("k", checksum={"type": kind})
    assert s3("PUT", "/k/o", b"hello").headers["etag"] == f'"{MD5}"'
    assert s3("GET", "/k/o").headers["etag"] == f'"{MD5}"'
    native = s3.node("GET", "/v1/objects/k/o?provider=ais")
    assert native.headers.get("ais-checksum-type", "none") == kind


def test_an_object_that_came_natively_has_a_tag_that_nobody_takes_for_an_md5(s3: S3) -> None:
    s3.node.put("b/k", b"hello")
    assert s3.get().headers["etag"] == f'"{xxhash.xxh64(b"hello").hexdigest()}-1"'


def test_what_is_said_about_an_object_is_kept_as_it_came(s3: S3) -> None:
    said = {
        "content-type": "text/x-thing; charset=utf-8",
        "cache-control": "max-age=60",
        "content-disposition": 'attachment; filename="a.txt"',
        "content-encoding": "gzip",
        "content-language": "de",
        "expires": "Fri, 20 Nov 2026 16:12:38 GMT",
        "x-amz-meta-some-name": "Some Value",
        "x-amz-meta-umlaut": "\u00c3\u00a4",  # as UTF-8 bytes stand in a header
        "x-amz-website-redirect-location": "/elsewhere",
        "x-amz-storage-class": "STANDARD_IA",
    }
    s3.put(**{name.replace("-", "_"): value for name, value in said.items()})
    for answer in (s3.get(), s3("HEAD", "/b/k")):
        assert said.items() <= answer.headers.items()


def test_how_a_body_travelled_is_not_kept(s3: S3) -> None:
    s3.put("one", content_encoding="aws-chunked", x_amz_storage_class="STANDARD")
    s3.put("two", content_encoding="aws-chunked,gzip")
    assert {"content-encoding", "x-amz-storage-class"}.isdisjoint(s3.get("one").headers)
    assert s3.get("two").headers["content-encoding"] == "gzip"


def test_a_read_may_replace_fields_of_its_answer(s3: S3) -> None:
    s3.put(content_type="text/plain", cache_control="no-cache")
    got = s3.get(query="?response-content-type=image%2Fpng&response-expires=never&x-id=GetObject")
    assert got.headers["content-type"] == "image/png"
    assert got.headers["expires"] == "never"
    assert got.headers["cache-control"] == "no-cache"
    assert s3.get().headers["content-type"] == "text/plain"


def test_an_empty_object_is_an_object(s3: S3) -> None:
    assert s3.put(body=b"").headers["etag"] == '"d41d8cd98f00b204e9800998ecf8427e"'
    assert (s3.get().status, s3.get().body) == (200, b"")
    assert s3("HEAD", "/b/k").response.length == 0


@pytest.mark.parametrize(
    "key", ["a//b", "dir/", "/leading", "//", "100%", "%41", "plus+plus", " ", "é", "a?b#c"]
)
def test_names_are_exact(s3: S3, key: str) -> None:
    s3.put(key, key.encode())
    assert s3.names() == [key]
    assert s3.get(key).body == key.encode()
    assert s3("PUT", "/b/copied", x_amz_copy_source=f"/b/{quote(key)}").status == 200
    assert s3.get("copied").body == key.encode()
    assert s3("DELETE", f"/b/{quote(key)}").status == 204
    assert s3.names() == ["copied"]


# Checksums -------------------------------------------------------------------------------------

KINDS = ["crc32", "crc32c", "crc64nvme", "sha1", "sha256"]


@pytest.mark.parametrize("body", [b"hello", LARGE])
@pytest.mark.parametrize("kind", KINDS)
def test_a_checksum_that_a_writer_gives_is_kept_and_told_to_who_asks(s3: S3, kind: str, body: bytes) -> None:
    field = f"x-amz-checksum-{kind}"
    put = s3.put(body=body, **{field: base64(kind, body)})
    assert (put.headers[field], put.headers["x-amz-checksum-type"]) == (base64(kind, body), "FULL_OBJECT")
    assert field not in s3.get().headers
    for answer in (s3.get(x_amz_checksum_mode="ENABLED"), s3("HEAD", "/b/k", x_amz_checksum_mode="enabled")):
        assert (answer.headers[field], answer.headers["x-amz-checksum-type"]) == (
            base64(kind, body),
            "FULL_OBJECT",
        )


def test_a_checksum_of_the_whole_is_not_told_with_a_part(s3: S3) -> None:
    s3.put(x_amz_checksum_crc32=base64("crc32"))
    got = s3.get(x_amz_checksum_mode="ENABLED", range="bytes=0-1")
    assert (got.status, got.body) == (206, b"he")
    assert "x-amz-checksum-crc32" not in got.headers


def test_checksums_are_what_other_programs_compute(s3: S3) -> None:
    wanted = b64encode(zlib.crc32(b"hello").to_bytes(4, "big")).decode()
    assert s3.put(x_amz_checksum_crc32=wanted, x_amz_sdk_checksum_algorithm="CRC32").status == 200


WRONG_MD5 = b64encode(hashlib.md5(b"other").digest()).decode()
ANNOUNCED_WRONG = [
    ({"content_md5": WRONG_MD5}, "BadDigest"),
    ({"content_md5": "abc"}, "InvalidDigest"),
    ({"content_md5": "\u00e9"}, "InvalidDigest"),
    ({"content_md5": b64encode(b"short").decode()}, "InvalidDigest"),
    *(({f"x_amz_checksum_{kind}": base64(kind, b"other")}, "BadDigest") for kind in KINDS),
    ({"x_amz_checksum_crc32": "AAAA"}, "InvalidRequest"),
    ({"x_amz_checksum_sha256": "no base64!"}, "InvalidRequest"),
    ({"x_amz_checksum_md4": "AAAA"}, "InvalidRequest"),
    ({"x_amz_checksum_crc32": base64("crc32"), "x_amz_checksum_sha1": base64("sha1")}, "InvalidRequest"),
    ({"x_amz_sdk_checksum_algorithm": "SHA256"}, "InvalidRequest"),
    ({"x_amz_sdk_checksum_algorithm": "SHA256", "x_amz_checksum_sha1": base64("sha1")}, "InvalidRequest"),
    ({"x_amz_sdk_checksum_algorithm": "MD4"}, "InvalidRequest"),
    ({"x_amz_trailer": "x-amz-checksum-crc32"}, "InvalidRequest"),  # promised, and nothing came
    ({"x_amz_trailer": "x-amz-checksum-md4"}, "InvalidRequest"),
    ({"x_amz_content_sha256": hashlib.sha256(b"other").hexdigest()}, "XAmzContentSHA256Mismatch"),
]


@pytest.mark.parametrize("body", [b"hello", LARGE], ids=["small", "large"])
@pytest.mark.parametrize(("headers", "expected"), ANNOUNCED_WRONG)
def test_bytes_that_are_not_those_announced_change_nothing(
    s3: S3, headers: dict[str, str], expected: str, body: bytes
) -> None:
    s3.put(body=b"before")
    answer = s3("PUT", "/b/k", body, **headers)
    assert (answer.status, code(answer)) == (400, expected)
    assert s3.get().body == b"before"


def test_right_digests_are_accepted_together(s3: S3) -> None:
    s3.put(
        content_md5=b64encode(bytes.fromhex(MD5)).decode(),
        x_amz_checksum_sha256=base64("sha256"),
        x_amz_content_sha256=hashlib.sha256(b"hello").hexdigest(),
        x_amz_sdk_checksum_algorithm="sha256",
    )
    assert s3.get().body == b"hello"


def test_checksums_may_follow_the_body(s3: S3) -> None:
    def framed(crc: str) -> bytes:
        return b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + crc.encode() + b"\r\n\r\n"

    headers = {
        "x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x_amz_decoded_content_length": "5",
        "x_amz_trailer": "x-amz-checksum-crc32",
        "content_encoding": "aws-chunked",
    }
    put = s3("PUT", "/b/k", framed(base64("crc32")), **headers)
    assert (put.status, put.headers.get("x-amz-checksum-crc32")) == (200, base64("crc32"))
    assert s3.get().body == b"hello"
    wrong = s3("PUT", "/b/k", framed(base64("crc32", b"other")), **headers)
    assert (wrong.status, code(wrong)) == (400, "BadDigest")
    assert s3.get().headers["etag"] == f'"{MD5}"'


# Ranges and parts ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-", 10, 25599),
        ("bytes=-7", 25593, 25599),
        ("bytes=25000-99999", 25000, 25599),
    ],
)
def test_a_range_is_answered_with_it(s3: S3, asked: str, first: int, last: int) -> None:
    s3.put(body=LARGE)
    got = s3.get(range=asked)
    assert (got.status, got.body) == (206, LARGE[first : last + 1])
    assert got.headers["content-range"] == f"bytes {first}-{last}/25600"
    assert got.headers["etag"] == f'"{hashlib.md5(LARGE).hexdigest()}"'
    head = s3("HEAD", "/b/k", range=asked)
    assert (head.status, head.response.length) == (206, last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=0-1,4-5", "bytes=5-2", "bytes=a-b", "items=0-1", "bytes"])
def test_what_is_no_single_range_is_answered_with_the_whole(s3: S3, asked: str) -> None:
    s3.put()
    got = s3.get(range=asked)
    assert (got.status, got.body) == (200, b"hello")


@pytest.mark.parametrize(
    ("body", "asked"), [(b"hello", "bytes=5-"), (b"hello", "bytes=-0"), (b"", "bytes=0-")]
)
def test_a_range_that_no_byte_has_is_refused(s3: S3, body: bytes, asked: str) -> None:
    s3.put(body=body)
    got = s3.get(range=asked)
    assert (got.status, code(got), got.headers["content-range"]) == (
        416,
        "InvalidRange",
        f"bytes */{len(body)}",
    )
    assert s3("HEAD", "/b/k", range=asked).status == 416


def test_a_range_of_another_version_is_not_answered(s3: S3) -> None:
    etag = s3.put().headers["etag"]
    assert s3.get(range="bytes=0-1", if_range=etag).status == 206
    assert s3.get(range="bytes=0-1", if_range='"other"').status == 200


def test_an_object_of_one_piece_is_its_own_first_part(s3: S3) -> None:
    s3.put()
    got = s3.get(query="?partNumber=1")
    assert (got.status, got.body, got.headers["content-range"]) == (206, b"hello", "bytes 0-4/5")
    assert "x-amz-mp-parts-count" not in got.headers
    for number, expected in (("2", (416, "InvalidPartNumber")), ("0", (400, "InvalidArgument"))):
        refused = s3.get(query=f"?partNumber={number}")
        assert (refused.status, code(refused)) == expected
    both = s3.get(query="?partNumber=1", range="bytes=0-1")
    assert (both.status, code(both)) == (400, "InvalidRequest")


# Conditions ------------------------------------------------------------------------------------

QUOTED, OTHER = f'"{MD5}"', '"0123456789abcdef0123456789abcdef"'
BEFORE, AFTER = "Fri, 20 Nov 2026 16:12:37 GMT", "Sun, 22 Nov 2026 16:12:39 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": QUOTED}, 200),
        ({"if_match": MD5}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": OTHER}, 412),
        ({"if_match": f"{OTHER}, {QUOTED}"}, 200),
        ({"if_none_match": QUOTED}, 304),
        ({"if_none_match": MD5}, 304),
        ({"if_none_match": OTHER}, 200),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": AFTER}, 304),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_unmodified_since": AFTER}, 200),
        ({"if_match": QUOTED, "if_unmodified_since": BEFORE}, 200),
        ({"if_none_match": QUOTED, "if_modified_since": BEFORE}, 304),
        ({"if_modified_since": "not a date"}, 200),
    ],
)
def test_reads_under_conditions(s3: S3, headers: dict[str, str], status: int) -> None:
    s3.put()
    for method in ("GET", "HEAD"):
        answer = s3(method, "/b/k", **headers)
        assert answer.status == status, method
        if status == 304:
            assert answer.body == b""
            assert answer.headers["etag"] == QUOTED
    if status == 412:
        assert code(s3("GET", "/b/k", **headers)) == "PreconditionFailed"


@pytest.mark.parametrize("body", [b"after", LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    ("exists", "headers", "status", "expected"),
    [
        (True, {"if_none_match": "*"}, 412, "PreconditionFailed"),
        (False, {"if_none_match": "*"}, 200, ""),
        (True, {"if_match": QUOTED}, 200, ""),
        (True, {"if_match": OTHER}, 412, "PreconditionFailed"),
        (False, {"if_match": QUOTED}, 404, "NoSuchKey"),
        (True, {"if_none_match": QUOTED}, 412, "PreconditionFailed"),
        (True, {"if_none_match": OTHER}, 200, ""),
    ],
)
def test_writes_under_conditions(
    s3: S3, exists: bool, headers: dict[str, str], status: int, expected: str, body: bytes
) -> None:
    if exists:
        s3.put()
    answer = s3("PUT", "/b/k", body, **headers)
    assert answer.status == status
    if status == 200:
        assert s3.get().body == body
    else:
        assert code(answer) == expected
        assert s3.names() == (["k"] if exists else [])
        assert not exists or s3.get().body == b"hello"


def test_of_writers_that_must_be_the_first_one_wins(s3: S3) -> None:
    async def race() -> list[Answer]:
        calls = [s3.node.send("PUT", "/s3/b/k", b"%d" % n, if_none_match="*") for n in range(8)]
        return await asyncio.gather(*calls)

    answers = s3.node.runner.run(race())
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7
    winner = next(n for n, answer in enumerate(answers) if answer.status == 200)
    assert s3.get().body == b"%d" % winner


@pytest.mark.parametrize(
    ("wanted", "status", "is_left"), [(QUOTED, 204, False), ("*", 204, False), (OTHER, 412, True)]
)
def test_removal_under_a_condition(s3: S3, wanted: str, status: int, is_left: bool) -> None:
    s3.put()
    assert s3("DELETE", "/b/k", if_match=wanted).status == status
    assert s3.names() == (["k"] if is_left else [])


@pytest.mark.parametrize("wanted", [QUOTED, "*"])
def test_removal_of_what_must_be_there_and_is_not(s3: S3, wanted: str) -> None:
    s3.put("gone")
    assert s3("DELETE", "/b/gone", if_match=wanted).status == 204
    refused = s3("DELETE", "/b/gone", if_match=wanted)
    assert (refused.status, code(refused)) == (404, "NoSuchKey")
    answer = s3.delete_all(inner=f"<Object><Key>gone</Key><ETag>{escape(wanted)}</ETag></Object>")
    assert (texts(answer, "Deleted/Key"), texts(answer, "Error/Code")) == ([], ["NoSuchKey"])
    # Size and time are only of an object that there is.
    assert s3("DELETE", "/b/gone", x_amz_if_match_size="5").status == 204


def written(s3: S3) -> str:
    """When the object was written, as its readers are told."""
    return s3("HEAD", "/b/k").headers["last-modified"]


def test_removal_of_an_object_of_that_size_and_time(s3: S3) -> None:
    s3.put()
    time, size = "x_amz_if_match_last_modified_time", "x_amz_if_match_size"
    assert s3("DELETE", "/b/k", **{time: "Thu, 01 Jan 2015 00:00:00 GMT"}).status == 412
    assert s3("DELETE", "/b/k", **{time: written(s3), size: "4"}).status == 412
    assert s3("DELETE", "/b/k", if_match=OTHER, **{time: written(s3), size: "5"}).status == 412
    assert s3.get().body == b"hello"
    assert s3("DELETE", "/b/k", if_match=QUOTED, **{time: written(s3), size: "5"}).status == 204
    assert s3.names() == []
    # What is gone is as good as removed.
    assert s3("DELETE", "/b/k", **{size: "5"}).status == 204


def test_many_are_removed_if_they_are_of_that_size_and_time(s3: S3) -> None:
    for key in "abcd":
        s3.put(key)
    s3.put()
    time = written(s3)

    def named(key: str, more: str) -> str:
        return f"<Object><Key>{key}</Key>{more}</Object>"

    inner = named("a", "<Size>5</Size>") + named("b", "<Size>4</Size>")
    inner += named("c", f"<LastModifiedTime>{time}</LastModifiedTime>")
    inner += named("d", "<LastModifiedTime>Thu, 01 Jan 2015 00:00:00 GMT</LastModifiedTime>")
    inner += named("k", "<Size>five</Size>") + named("none", "<Size>5</Size>")
    answer = s3.delete_all(inner=inner)
    assert texts(answer, "Deleted/Key") == ["a", "c", "none"]
    assert texts(answer, "Error/Key") == ["b", "d", "k"]
    assert texts(answer, "Error/Code") == ["PreconditionFailed", "PreconditionFailed", "InvalidArgument"]
    assert s3.names() == ["b", "d", "k"]


# Removing --------------------------------------------------------------------------------------


def test_removing_what_is_not_there_is_as_good(s3: S3) -> None:
    s3.put()
    for _ in range(2):
        answer = s3("DELETE", "/b/k?x-id=DeleteObject")
        assert (answer.status, answer.body) == (204, b"")
    assert s3.names() == []


def test_many_are_removed_in_order_and_each_is_told(s3: S3) -> None:
    keys = ["b", "a & <b>", "dir/", "missing"]
    for key in keys[:3]:
        s3.put(key)
    s3.put("kept")
    answer = s3.delete_all(*keys)
    assert (answer.status, texts(answer, "Deleted/Key")) == (200, keys)
    assert s3.names() == ["kept"]


def test_quietly_only_failures_are_told(s3: S3) -> None:
    s3.put("a")
    inner = (
        "<Object><Key>a</Key><VersionId>3</VersionId></Object>" + f"<Object><Key>{'x' * 1025}</Key></Object>"
    )
    answer = s3.delete_all("b", quiet=True, inner=inner)
    assert texts(answer, "Deleted/Key") == []
    assert texts(answer, "Error/Code") == ["NoSuchVersion", "KeyTooLongError"]
    assert s3.names() == ["a"]


def test_many_are_removed_if_they_are_what_is_meant(s3: S3) -> None:
    s3.put("a")
    s3.put("b")
    answer = s3.delete_all(
        inner=f"<Object><Key>a</Key><ETag>{MD5}</ETag></Object><Object><Key>b</Key><ETag>other</ETag></Object>"
    )
    assert (texts(answer, "Deleted/Key"), texts(answer, "Error/Code")) == (["a"], ["PreconditionFailed"])
    assert s3.names() == ["b"]


def test_a_thousand_are_removed_and_no_more(s3: S3) -> None:
    s3.put("0001")
    keys = [f"{n:04}" for n in range(1001)]
    refused = s3.delete_all(*keys)
    assert (refused.status, code(refused)) == (400, "MalformedXML")
    assert s3.names() == ["0001"]
    assert texts(s3.delete_all(*keys[:1000]), "Deleted/Key") == keys[:1000]
    assert s3.names() == []


@pytest.mark.parametrize(
    ("body", "headers", "expected"),
    [
        (b"", {}, "MalformedXML"),
        (b"<Delete></Delete>", {}, "MalformedXML"),
        (b"<Delete><Object></Object></Delete>", {}, "MalformedXML"),
        (b"<Remove><Object><Key>k</Key></Object></Remove>", {}, "MalformedXML"),
        (b"<Delete><Object><Key>k</Key></Object>", {}, "MalformedXML"),
        (
            b'<!DOCTYPE d [<!ENTITY k "k">]><Delete><Object><Key>&k;</Key></Object></Delete>',
            {},
            "MalformedXML",
        ),
        (b"<Delete><Object><Key>k</Key></Object></Delete>", {"content_md5": WRONG_MD5}, "BadDigest"),
        (b"<Delete><Object><Key>k</Key></Object></Delete>", {"content_md5": "x"}, "InvalidDigest"),
        (
            b"<Delete><Object><Key>k</Key></Object></Delete>",
            {"x_amz_checksum_crc32": "AAAAAA=="},
            "BadDigest",
        ),
        (
            b"<Delete><Object><Key>k</Key></Object></Delete>",
            {"x_amz_content_sha256": "0" * 64},
            "XAmzContentSHA256Mismatch",
        ),
    ],
)
def test_a_list_that_is_wrong_removes_nothing(
    s3: S3, body: bytes, headers: dict[str, str], expected: str
) -> None:
    s3.put()
    answer = s3("POST", "/b?delete", body, **headers)
    assert (answer.status, code(answer)) == (400, expected)
    assert s3.names() == ["k"]


# Copies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"hello", LARGE], ids=["small", "large"])
def test_a_copy_is_the_same_with_all_that_was_said(s3: S3, body: bytes) -> None:
    digest = base64("sha1", body)
    put = s3.put(
        body=body, content_type="a/b", cache_control="no-cache", x_amz_meta_a="1", x_amz_checksum_sha1=digest
    )
    for source in ("/b/k", "b/k", "b%2Fk", "/b/k?versionId=null"):
        answer = s3.copy(source, "/other/copy")
        assert answer.status == 200, answer.body
        assert texts(answer, "ETag") == [put.headers["etag"]]
        assert texts(answer, "ChecksumSHA1") == [digest]
        assert texts(answer, "LastModified")[0].endswith("Z")
    got = s3("GET", "/other/copy", x_amz_checksum_mode="ENABLED")
    assert got.body == body
    assert got.headers["content-type"] == "a/b"
    assert got.headers["cache-control"] == "no-cache"
    assert got.headers["x-amz-meta-a"] == "1"
    assert got.headers["x-amz-checksum-sha1"] == digest


def test_a_plus_sign_in_a_source_is_a_space_unless_it_is_encoded(s3: S3) -> None:
    s3.put("a b", b"space")
    s3.put("a+b", b"plus")
    assert (s3.copy("/b/a+b").status, s3.get("copy").body) == (200, b"space")
    assert (s3.copy("/b/a%2Bb").status, s3.get("copy").body) == (200, b"plus")


def test_a_copy_may_say_something_else(s3: S3) -> None:
    s3.put(content_type="a/b", cache_control="no-cache", x_amz_meta_a="1", x_amz_tagging="t=1")
    said = {"content_type": "c/d", "x_amz_meta_b": "2"}
    assert s3.copy("/b/k", x_amz_metadata_directive="REPLACE", **said).status == 200
    got = s3.get("copy")
    assert (got.headers["content-type"], got.headers["x-amz-meta-b"]) == ("c/d", "2")
    assert {"x-amz-meta-a", "cache-control"}.isdisjoint(got.headers)
    assert got.headers["x-amz-tagging-count"] == "1"
    assert s3.copy("/b/k", **said).status == 200
    assert s3.get("copy").headers["content-type"] == "a/b"


def test_a_copy_onto_itself_must_change_something(s3: S3) -> None:
    s3.put(x_amz_meta_a="1")
    refused = s3.copy("/b/k", "/b/k")
    assert (refused.status, code(refused)) == (400, "InvalidRequest")
    assert s3.copy("/b/k", "/b/k", x_amz_metadata_directive="REPLACE", x_amz_meta_a="2").status == 200
    got = s3.get()
    assert (got.body, got.headers["x-amz-meta-a"], got.headers["etag"]) == (b"hello", "2", QUOTED)


def test_a_copy_of_what_came_natively_gets_its_md5(s3: S3) -> None:
    s3.node.put("b/k", b"hello")
    assert texts(s3.copy("/b/k"), "ETag") == [QUOTED]
    assert s3.get("copy").headers["etag"] == QUOTED


def test_a_copy_may_be_given_another_checksum(s3: S3) -> None:
    s3.put(x_amz_checksum_sha1=base64("sha1"))
    answer = s3.copy("/b/k", x_amz_checksum_algorithm="CRC64NVME")
    assert texts(answer, "ChecksumCRC64NVME") == [base64("crc64nvme")]
    assert texts(answer, "ChecksumSHA1") == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": QUOTED}, 200),
        ({"if_match": OTHER}, 412),
        ({"if_none_match": QUOTED}, 412),
        ({"if_none_match": OTHER}, 200),
        ({"if_modified_since": AFTER}, 412),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_match": QUOTED, "if_unmodified_since": BEFORE}, 200),
        ({"if_none_match": QUOTED, "if_modified_since": BEFORE}, 412),
    ],
)
def test_copies_under_conditions_on_the_source(s3: S3, headers: dict[str, str], status: int) -> None:
    s3.put()
    answer = s3.copy("/b/k", **{f"x_amz_copy_source_{name}": value for name, value in headers.items()})
    assert answer.status == status
    assert s3.names() == (["copy", "k"] if status == 200 else ["k"])


def test_a_copy_may_demand_that_nothing_is_there(s3: S3) -> None:
    s3.put()
    s3.put("copy", b"before")
    answer = s3.copy("/b/k", if_none_match="*")
    assert (answer.status, code(answer)) == (412, "PreconditionFailed")
    assert s3.get("copy").body == b"before"


@pytest.mark.parametrize(
    ("source", "headers", "status", "expected"),
    [
        ("/b/missing", {}, 404, "NoSuchKey"),
        ("/nobucket/k", {}, 404, "NoSuchBucket"),
        ("/b", {}, 400, "InvalidArgument"),
        ("/b/", {}, 400, "InvalidArgument"),
        ("", {}, 400, "InvalidArgument"),
        ("/b/k?versionId=3", {}, 404, "NoSuchVersion"),
        ("/b/k", {"x_amz_metadata_directive": "MERGE"}, 400, "InvalidArgument"),
        ("/b/k", {"x_amz_tagging_directive": "MERGE"}, 400, "InvalidArgument"),
        ("/b/k", {"x_amz_checksum_algorithm": "MD4"}, 400, "InvalidRequest"),
        (
            "/b/k",
            {"x_amz_copy_source_server_side_encryption_customer_algorithm": "AES256"},
            501,
            "NotImplemented",
        ),
    ],
)
def test_a_copy_that_cannot_be_changes_nothing(
    s3: S3, source: str, headers: dict[str, str], status: int, expected: str
) -> None:
    s3.put()
    s3.put("copy", b"before")
    answer = s3.copy(source, **headers)
    assert (answer.status, code(answer)) == (status, expected)
    assert s3.get("copy").body == b"before"


# Attributes, tags, ACLs ------------------------------------------------------------------------


def test_attributes_are_told_as_asked(s3: S3) -> None:
    s3.put(x_amz_checksum_crc32=base64("crc32"))
    answer = s3.get(
        query="?attributes", x_amz_object_attributes="ETag,Checksum,ObjectParts,StorageClass,ObjectSize"
    )
    assert texts(answer, "ETag") == [MD5]
    assert texts(answer, "Checksum/ChecksumCRC32") == [base64("crc32")]
    assert texts(answer, "StorageClass") == ["STANDARD"]
    assert texts(answer, "ObjectSize") == ["5"]
    only = s3.get(query="?attributes", x_amz_object_attributes="ObjectSize")
    assert (texts(only, "ETag"), texts(only, "ObjectSize")) == ([], ["5"])
    refused = s3.get(query="?attributes", x_amz_object_attributes="Colour")
    assert (refused.status, code(refused)) == (400, "InvalidArgument")


TAGS = b"<Tagging><TagSet><Tag><Key>a b</Key><Value>1&amp;2</Value></Tag></TagSet></Tagging>"


def test_tags_are_set_read_and_removed_and_the_object_stays(s3: S3) -> None:
    s3.put(x_amz_tagging="x=1&y=")
    answer = s3.get(query="?tagging")
    assert (texts(answer, "TagSet/Tag/Key"), texts(answer, "TagSet/Tag/Value")) == (["x", "y"], ["1", ""])
    assert s3("PUT", "/b/k?tagging", TAGS).status == 200
    answer = s3.get(query="?tagging")
    assert (texts(answer, "TagSet/Tag/Key"), texts(answer, "TagSet/Tag/Value")) == (["a b"], ["1&2"])
    got = s3.get()
    assert (got.body, got.headers["x-amz-tagging-count"]) == (b"hello", "1")
    assert s3("DELETE", "/b/k?tagging").status == 204
    assert texts(s3.get(query="?tagging"), "TagSet/Tag/Key") == []
    assert (s3.get().body, "x-amz-tagging-count" in s3.get().headers) == (b"hello", False)


def test_an_objects_acl_is_its_buckets(s3: S3) -> None:
    s3.put()
    assert "FULL_CONTROL" in s3.get(query="?acl").body.decode()
    assert s3("PUT", "/b/k?acl", x_amz_acl="private").status == 200
    refused = s3("PUT", "/b/k?acl", x_amz_acl="public-read")
    assert (refused.status, code(refused)) == (400, "AccessControlListNotSupported")
    assert s3.get().body == b"hello"


# Wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "target", "headers", "status", "expected"),
    [
        ("GET", "/b/missing", {}, 404, "NoSuchKey"),
        ("GET", "/nobucket/k", {}, 404, "NoSuchBucket"),
        ("PUT", "/nobucket/k", {}, 404, "NoSuchBucket"),
        ("DELETE", "/nobucket/k", {}, 404, "NoSuchBucket"),
        ("GET", "/b/k?versionId=7", {}, 404, "NoSuchVersion"),
        ("DELETE", "/b/k?versionId=7", {}, 404, "NoSuchVersion"),
        ("PUT", f"/b/{'x' * 1025}", {}, 400, "KeyTooLongError"),
        ("PUT", "/b/%FF", {}, 400, "InvalidURI"),
        ("GET", "/b/%zz", {}, 400, "InvalidURI"),
        ("PUT", "/b/k", {"x_amz_meta_a": "x" * 2048}, 400, "MetadataTooLarge"),
        ("PUT", "/b/k", {"x_amz_storage_class": "FAST"}, 400, "InvalidStorageClass"),
        ("PUT", "/b/k", {"x_amz_acl": "everybody"}, 400, "InvalidArgument"),
        ("PUT", "/b/k", {"x_amz_tagging": "a=1&a=2"}, 400, "InvalidTag"),
        ("PUT", "/b/k", {"x_amz_tagging": "&".join(f"k{n}=1" for n in range(11))}, 400, "InvalidTag"),
        ("PUT", "/b/k", {"x_amz_server_side_encryption": "AES256"}, 501, "NotImplemented"),
        ("PUT", "/b/k", {"x_amz_server_side_encryption_customer_key": "AA"}, 501, "NotImplemented"),
        ("GET", "/b/k", {"x_amz_server_side_encryption_customer_algorithm": "AES256"}, 501, "NotImplemented"),
        ("PUT", "/b/k", {"x_amz_object_lock_mode": "GOVERNANCE"}, 501, "NotImplemented"),
        ("PUT", "/b/k", {"x_amz_grant_read": "id=1"}, 501, "NotImplemented"),
        ("PUT", "/b/k?retention", {}, 501, "NotImplemented"),
        ("PUT", "/b/k?legal-hold", {}, 501, "NotImplemented"),
        ("GET", "/b/k?torrent", {}, 501, "NotImplemented"),
        ("GET", "/b/k?response-content-type=a%0d%0aX: y", {}, 400, "InvalidArgument"),
        ("PUT", "/b/k?tagging", {}, 400, "MalformedXML"),
        ("PATCH", "/b/k", {}, 405, "MethodNotAllowed"),
    ],
)
def test_what_is_wrong_is_refused_and_changes_nothing(
    s3: S3, method: str, target: str, headers: dict[str, str], status: int, expected: str
) -> None:
    s3.put(x_amz_meta_b="kept")
    answer = s3(method, target.replace(" ", "%20"), b"after" if method == "PUT" else b"", **headers)
    assert (answer.status, code(answer)) == (status, expected)
    assert s3.names() == ["k"]
    got = s3.get()
    assert (got.body, got.headers["x-amz-meta-b"]) == (b"hello", "kept")


def test_a_body_without_a_length_is_refused_and_one_that_breaks_off_leaves_nothing(s3: S3) -> None:
    async def send(length: int | None, *pieces: bytes | Exception) -> tuple[int, str]:
        request = Request("PUT", b"/s3/b/k", b"", {"host": "127.0.0.1:8080"})
        request.body = Chunks(pieces)
        request.body.length = length
        answer = s3.node._app(request)
        shown = Answer(answer if isinstance(answer, Response) else await answer)
        return shown.status, code(shown)

    s3.put()
    run = s3.node.runner.run
    assert run(send(30_000, b"x" * 20_000, RequestAborted("gone"))) == (400, "IncompleteBody")
    assert run(send(5 * 1024**3 + 1)) == (400, "EntityTooLarge")
    assert run(send(None, b"after")) == (411, "MissingContentLength")
    assert s3.get().body == b"hello"


def test_every_answer_has_an_id_where_amazons_clients_look_for_it(s3: S3) -> None:
    s3.put()
    large = s3("PUT", "/b/large", LARGE)
    answers = [large, s3.get(), s3("HEAD", "/b/k"), s3.get("missing"), s3("GET", "/b"), s3("DELETE", "/b/k")]
    assert all("x-amz-request-id" in answer.headers for answer in answers)
