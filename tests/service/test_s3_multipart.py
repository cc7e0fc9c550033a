"""S3's multipart uploads: every state that they can be in, and every way to ask wrongly."""

import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterator, Sequence
from urllib.parse import quote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import pytest

from aisle.model.names import ObjectName
from aisle.model.record import Attributes
from aisle.rules.download_metadata import DOWNLOAD_JOB
from aisle.storage.memory import MemoryEngine
from service.calling import Answer, Native
from service.credentials import ALICE, BOB, Asking

NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"
A, B, C = b"a" * 30_000, b"b" * 20_000, b"c"


class S3:
    """A node in memory with the bucket `b`, spoken to in S3."""

    def __init__(self, node: Native) -> None:
        self.node = node
        self.engine: MemoryEngine = node.engine  # type: ignore[assignment]

    def __call__(self, method: str, target: str, body: bytes = b"", **headers: str) -> Answer:
        return self.node(method, f"/s3{target}", body, **headers)

    def begin(self, key: str = "k", **headers: str) -> str:
        answer = self("POST", f"/b/{quote(key)}?uploads", **headers)
        assert answer.status == 200, answer.body
        return text(answer, "UploadId")

    def put(self, upload: str, number: int, body: bytes, *, key: str = "k", **headers: str) -> str:
        """The part's ETag, in its quotes."""
        answer = self("PUT", f"/b/{quote(key)}?partNumber={number}&uploadId={upload}", body, **headers)
        assert answer.status == 200, answer.body
        return answer.headers["etag"]

    def complete(
        self, upload: str, parts: Sequence[tuple[int, str]], *, key: str = "k", **headers: str
    ) -> Answer:
        return self("POST", f"/b/{quote(key)}?uploadId={upload}", document(parts), **headers)

    def read(self, key: str = "k") -> bytes | None:
        answer = self.node("GET", f"/v1/objects/b/{quote(key)}?provider=ais")
        return answer.body if answer.status == 200 else None

    def numbers(self, upload: str) -> list[int]:
        return [part.number for part in self.engine.parts(upload)]


@pytest.fixture
def s3(native: Native) -> Iterator[S3]:
    return S3(native)


def document(parts: Sequence[tuple[int, str]], more: str = "") -> bytes:
    inner = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(etag)}</ETag>{more}</Part>"
        for number, etag in parts
    )
    return f'<CompleteMultipartUpload xmlns="{NAMESPACE[1:-1]}">{inner}</CompleteMultipartUpload>'.encode()


def tree(answer: Answer) -> ElementTree.Element:
    return ElementTree.fromstring(answer.body)


def text(answer: Answer, path: str) -> str:
    steps = "/".join(f"{NAMESPACE}{step}" for step in path.split("/"))
    return tree(answer).findtext(steps) or ""


def texts(answer: Answer, path: str) -> list[str]:
    steps = "/".join(f"{NAMESPACE}{step}" for step in path.split("/"))
    return [found.text or "" for found in tree(answer).findall(steps)]


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, tree(answer).findtext("Code") or ""


def md5(*payloads: bytes) -> str:
    return hashlib.md5(b"".join(payloads)).hexdigest()


def etag_of(*payloads: bytes) -> str:
    joined = b"".join(hashlib.md5(payload).digest() for payload in payloads)
    return f'"{hashlib.md5(joined).hexdigest()}-{len(payloads)}"'


def in_base64(kind: str, *payloads: bytes) -> str:
    whole = b"".join(payloads)
    if kind == "crc32":
        return b64encode(zlib.crc32(whole).to_bytes(4, "big")).decode()
    return b64encode(hashlib.new(kind, whole).digest()).decode()


def test_parts_become_the_object_in_order_of_their_numbers_whatever_the_gaps(s3: S3) -> None:
    upload = s3.begin(content_type="a/b", x_amz_meta_colour="red", cache_control="no-store")
    etags = {number: s3.put(upload, number, body) for number, body in ((9_999, C), (3, A), (10_000, B))}
    assert etags[3] == f'"{md5(A)}"'
    assert s3.read() is None
    answer = s3.complete(upload, [(3, etags[3]), (9_999, etags[9_999]), (10_000, etags[10_000])])
    assert answer.status == 200
    assert text(answer, "ETag") == etag_of(A, C, B)
    assert (text(answer, "Bucket"), text(answer, "Key")) == ("b", "k")
    assert text(answer, "Location") == "http://127.0.0.1:8080/s3/b/k"
    assert s3.read() == A + C + B
    head = s3("HEAD", "/b/k")
    assert head.status == 200
    assert head.headers["etag"] == etag_of(A, C, B)
    assert head.headers["content-type"] == "a/b"
    assert head.headers["x-amz-meta-colour"] == "red"
    assert head.headers["cache-control"] == "no-store"


def test_documents_can_be_read_whatever_the_key(s3: S3) -> None:
    for key in ("\0", "\x1f", "\uffff", "\ufffe", "<&>", "\r\n\t", "é"):
        upload = s3.begin(key)
        etag = s3.put(upload, 1, A, key=key)
        assert texts(s3("GET", f"/b/{quote(key)}?uploadId={upload}"), "Part/ETag") == [etag]
        assert text(s3.complete(upload, [(1, etag)], key=key), "ETag") == etag_of(A)
        assert s3.read(key) == A


def test_parts_that_are_not_named_are_dropped(s3: S3) -> None:
    upload = s3.begin()
    kept, _ = s3.put(upload, 1, A), s3.put(upload, 2, B)
    assert s3.complete(upload, [(1, kept)]).status == 200
    assert s3.read() == A
    assert s3.engine.uploads(1) == []


def test_a_part_sent_again_replaces_the_earlier_one(s3: S3) -> None:
    upload = s3.begin()
    old, new = s3.put(upload, 1, A), s3.put(upload, 1, B)
    assert code(s3.complete(upload, [(1, old)])) == (400, "InvalidPart")
    assert s3.complete(upload, [(1, new)]).status == 200
    assert s3.read() == B


def test_an_empty_part_may_be_the_only_one(s3: S3) -> None:
    upload = s3.begin()
    assert s3.complete(upload, [(1, s3.put(upload, 1, b""))]).status == 200
    assert s3.read() == b""


def test_completing_twice_gives_the_same_answer_until_the_object_is_another(s3: S3) -> None:
    upload = s3.begin()
    parts = [(1, s3.put(upload, 1, A)), (2, s3.put(upload, 2, B))]
    first = s3.complete(upload, parts)
    assert s3.complete(upload, parts).body == first.body
    assert code(s3.complete(upload, parts[:1])) == (404, "NoSuchUpload")
    assert code(s3("DELETE", f"/b/k?uploadId={upload}")) == (404, "NoSuchUpload")
    s3.node.put("b/k", b"another")
    assert code(s3.complete(upload, parts)) == (404, "NoSuchUpload")
    assert s3.read() == b"another"


def test_an_aborted_upload_is_gone(s3: S3) -> None:
    upload = s3.begin()
    etag = s3.put(upload, 1, A)
    answer = s3("DELETE", f"/b/k?uploadId={upload}")
    assert (answer.status, answer.body) == (204, b"")
    for method, body in (("DELETE", b""), ("GET", b""), ("POST", document([(1, etag)]))):
        assert code(s3(method, f"/b/k?uploadId={upload}", body)) == (404, "NoSuchUpload")
    assert code(s3("PUT", f"/b/k?partNumber=1&uploadId={upload}", A)) == (404, "NoSuchUpload")
    assert s3.read() is None


def test_an_upload_belongs_to_one_name_in_one_bucket(s3: S3) -> None:
    s3.node.bucket("c")
    upload = s3.begin()
    etag = s3.put(upload, 1, A)
    for path in ("/b/other", "/c/k", "/b/k/"):
        assert code(s3("PUT", f"{path}?partNumber=1&uploadId={upload}", B)) == (404, "NoSuchUpload")
        assert code(s3("GET", f"{path}?uploadId={upload}")) == (404, "NoSuchUpload")
        assert code(s3("POST", f"{path}?uploadId={upload}", document([(1, etag)]))) == (404, "NoSuchUpload")
        assert code(s3("DELETE", f"{path}?uploadId={upload}")) == (404, "NoSuchUpload")
    assert s3.numbers(upload) == [1]


def test_what_a_job_stores_in_parts_is_no_affair_of_clients(s3: S3) -> None:
    async def begin() -> str:
        attributes = Attributes(custom={DOWNLOAD_JOB: "dnl-1"})
        return (await s3.engine.begin_upload(ObjectName(1, b"k"), attributes)).id

    upload = s3.node.runner.run(begin())
    assert texts(s3("GET", "/b?uploads"), "Upload/UploadId") == []
    for method in ("GET", "DELETE"):
        assert code(s3(method, f"/b/k?uploadId={upload}")) == (404, "NoSuchUpload")
    assert code(s3("PUT", f"/b/k?partNumber=1&uploadId={upload}", A)) == (404, "NoSuchUpload")
    assert s3.numbers(upload) == []


WRONG_LISTS = [
    ("the order", [(2, B), (1, A)], (400, "InvalidPartOrder")),
    ("a number twice", [(1, A), (1, A)], (400, "InvalidPartOrder")),
    ("a part that is not there", [(1, A), (3, C)], (400, "InvalidPart")),
    ("another part's tag", [(1, B)], (400, "InvalidPart")),
    ("a number out of range", [(0, A)], (400, "InvalidPart")),
    ("no part", [], (400, "MalformedXML")),
]


@pytest.mark.parametrize(("listed", "expected"), [(row[1], row[2]) for row in WRONG_LISTS])
def test_a_wrong_list_completes_nothing(
    s3: S3, listed: list[tuple[int, bytes]], expected: tuple[int, str]
) -> None:
    s3.node.put("b/k", b"as it was")
    upload = s3.begin()
    for number, body in ((1, A), (2, B)):
        s3.put(upload, number, body)
    answer = s3.complete(upload, [(number, f'"{md5(body)}"') for number, body in listed])
    assert code(answer) == expected
    assert s3.numbers(upload) == [1, 2]
    assert s3.read() == b"as it was"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "MalformedXML"),
        (b"<CompleteMultipartUpload>", "MalformedXML"),
        (b"<Other></Other>", "MalformedXML"),
        (b"<!DOCTYPE x [<!ENTITY e 'x'>]><CompleteMultipartUpload/>", "MalformedXML"),
        (document([(1, "")]), "MalformedXML"),
        (document([(1, "x")]).replace(b">1<", b">one<"), "MalformedXML"),
        (document([(1, "x")]).replace(b">1<", b">-1<"), "MalformedXML"),
        (document([(1, "x")]), "InvalidPart"),
        (document([(1, f'"{md5(A)}"')], "<ChecksumCRC32>AAAAAA==</ChecksumCRC32>"), "InvalidPart"),
        (document([(1, f'"{md5(A)}"')], "<ChecksumCRC32>AAAA</ChecksumCRC32>"), "MalformedXML"),
    ],
)
def test_a_wrong_document_completes_nothing(s3: S3, body: bytes, expected: str) -> None:
    upload = s3.begin()
    s3.put(upload, 1, A)
    assert code(s3("POST", f"/b/k?uploadId={upload}", body)) == (400, expected)
    assert s3.numbers(upload) == [1]
    assert s3.read() is None


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ("partNumber=0", {}, (400, "InvalidArgument")),
        ("partNumber=10001", {}, (400, "InvalidArgument")),
        ("partNumber=one", {}, (400, "InvalidArgument")),
        ("partNumber=-1", {}, (400, "InvalidArgument")),
        ("partNumber=%C2%B2", {}, (400, "InvalidArgument")),
        ("", {}, (400, "InvalidArgument")),
        ("partNumber=1", {"content_md5": "nonsense"}, (400, "InvalidDigest")),
        ("partNumber=1", {"content_md5": in_base64("md5", B)}, (400, "BadDigest")),
        ("partNumber=1", {"x_amz_checksum_crc32": in_base64("crc32", B)}, (400, "BadDigest")),
        ("partNumber=1", {"x_amz_checksum_sha256": "nonsense"}, (400, "InvalidRequest")),
        ("partNumber=1", {"x_amz_checksum_md4": "AAAA"}, (400, "InvalidRequest")),
    ],
)
def test_a_wrong_part_is_not_kept(
    s3: S3, query: str, headers: dict[str, str], expected: tuple[int, str]
) -> None:
    upload = s3.begin()
    assert code(s3("PUT", f"/b/k?{query}&uploadId={upload}", A, **headers)) == expected
    assert s3.numbers(upload) == []


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_amz_checksum_algorithm": "MD4"}, (400, "InvalidRequest")),
        (
            {"x_amz_checksum_algorithm": "CRC64NVME", "x_amz_checksum_type": "COMPOSITE"},
            (400, "InvalidRequest"),
        ),
        (
            {"x_amz_checksum_algorithm": "SHA256", "x_amz_checksum_type": "FULL_OBJECT"},
            (400, "InvalidRequest"),
        ),
        ({"x_amz_checksum_type": "FULL_OBJECT"}, (400, "InvalidRequest")),
        ({"x_amz_checksum_algorithm": "CRC32", "x_amz_checksum_type": "HALF"}, (400, "InvalidRequest")),
        ({"x_amz_server_side_encryption": "AES256"}, (501, "NotImplemented")),
        ({"x_amz_meta_a": "x" * 2049}, (400, "MetadataTooLarge")),
        ({"x_amz_storage_class": "CHEAP"}, (400, "InvalidStorageClass")),
    ],
)
def test_a_wrong_beginning_begins_nothing(s3: S3, headers: dict[str, str], expected: tuple[int, str]) -> None:
    assert code(s3("POST", "/b/k?uploads", **headers)) == expected
    assert s3.engine.uploads(1) == []


def test_an_upload_needs_a_bucket(s3: S3) -> None:
    assert code(s3("POST", "/none/k?uploads")) == (404, "NoSuchBucket")
    assert code(s3("GET", "/none?uploads")) == (404, "NoSuchBucket")
    assert code(s3("PUT", "/none/k?partNumber=1&uploadId=x", A)) == (404, "NoSuchBucket")


def test_conditions_hold_for_the_object_that_is_replaced(s3: S3) -> None:
    etag = s3("PUT", "/b/k", b"old").headers["etag"]
    upload = s3.begin()
    parts = [(1, s3.put(upload, 1, A))]
    assert code(s3.complete(upload, parts, if_none_match="*")) == (412, "PreconditionFailed")
    assert code(s3.complete(upload, parts, if_match='"other"')) == (412, "PreconditionFailed")
    assert s3.read() == b"old"
    assert s3.complete(upload, parts, if_match=etag).status == 200
    assert s3.read() == A


# Checksums


def test_a_composite_checksum_is_that_of_the_parts_checksums(s3: S3) -> None:
    upload = s3.begin(x_amz_checksum_algorithm="SHA256")
    parts = []
    for number, body in ((1, A), (2, B)):
        answer = s3("PUT", f"/b/k?partNumber={number}&uploadId={upload}", body)
        # Computed even where the client does not send it.
        assert answer.headers["x-amz-checksum-sha256"] == in_base64("sha256", body)
        parts.append((number, answer.headers["etag"]))
    listed = s3("GET", f"/b/k?uploadId={upload}")
    assert texts(listed, "Part/ChecksumSHA256") == [in_base64("sha256", A), in_base64("sha256", B)]
    assert (text(listed, "ChecksumAlgorithm"), text(listed, "ChecksumType")) == ("SHA256", "COMPOSITE")
    digests = hashlib.sha256(A).digest() + hashlib.sha256(B).digest()
    wanted = in_base64("sha256", digests) + "-2"
    wrong = s3.complete(upload, parts, x_amz_checksum_type="FULL_OBJECT")
    assert code(wrong) == (400, "BadDigest")
    answer = s3.complete(upload, parts, x_amz_checksum_type="COMPOSITE")
    assert text(answer, "ChecksumSHA256") == wanted
    assert text(answer, "ChecksumType") == "COMPOSITE"
    head = s3("HEAD", "/b/k", x_amz_checksum_mode="ENABLED")
    assert head.headers["x-amz-checksum-sha256"] == wanted
    assert head.headers["x-amz-checksum-type"] == "COMPOSITE"


def test_a_full_checksum_is_that_of_all_bytes(s3: S3) -> None:
    begun = s3("POST", "/b/k?uploads", x_amz_checksum_algorithm="CRC32", x_amz_checksum_type="FULL_OBJECT")
    assert begun.headers["x-amz-checksum-algorithm"] == "CRC32"
    assert begun.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    upload = text(begun, "UploadId")
    parts = [(number, s3.put(upload, number, body)) for number, body in ((1, A), (2, B), (3, C))]
    whole = in_base64("crc32", A, B, C)
    wrong = s3.complete(upload, parts, x_amz_checksum_crc32=in_base64("crc32", A, B))
    assert code(wrong) == (400, "BadDigest")
    wrong = s3.complete(upload, parts, x_amz_mp_object_size="7")
    assert code(wrong) == (400, "InvalidRequest")
    wrong = s3.complete(upload, parts, x_amz_checksum_type="COMPOSITE")
    assert code(wrong) == (400, "BadDigest")
    assert s3.numbers(upload) == [1, 2, 3]
    size = str(len(A + B + C))
    told = {"x_amz_checksum_crc32": whole, "x_amz_checksum_type": "FULL_OBJECT", "x_amz_mp_object_size": size}
    answer = s3.complete(upload, parts, **told)
    assert text(answer, "ChecksumCRC32") == whole
    assert text(answer, "ChecksumType") == "FULL_OBJECT"


def test_the_native_checksum_of_the_whole_follows_from_the_parts(s3: S3) -> None:
    import awscrt.checksums

    upload = s3.begin()
    parts = [(number, s3.put(upload, number, body)) for number, body in ((1, A), (2, B))]
    s3.complete(upload, parts)
    head = s3.node("HEAD", "/v1/objects/b/k?provider=ais")
    assert head.headers["ais-checksum-type"] == "crc32c"
    assert head.headers["ais-checksum-value"] == f"{awscrt.checksums.crc32c(A + B):08x}"


# Copies


def test_a_part_may_be_copied_whole_or_a_range_of_an_object(s3: S3) -> None:
    s3("PUT", "/b/a%20source", A + B)
    upload = s3.begin()
    target = f"/b/k?uploadId={upload}&partNumber="
    whole = s3("PUT", f"{target}1", x_amz_copy_source="/b/a%20source")
    assert text(whole, "ETag") == f'"{md5(A, B)}"'
    assert text(whole, "LastModified").startswith("2026-11-20T")
    span = s3(
        "PUT", f"{target}2", x_amz_copy_source="b/a%20source", x_amz_copy_source_range="bytes=29999-30000"
    )
    assert text(span, "ETag") == f'"{md5(b"ab")}"'
    s3.complete(upload, [(1, text(whole, "ETag")), (2, text(span, "ETag"))])
    assert s3.read() == A + B + b"ab"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x_amz_copy_source": "b/none"}, (404, "NoSuchKey")),
        ({"x_amz_copy_source": "none/k"}, (404, "NoSuchBucket")),
        ({"x_amz_copy_source": "b"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source": ""}, (400, "InvalidArgument")),
        ({"x_amz_copy_source": "b/source?versionId=3"}, (404, "NoSuchVersion")),
        ({"x_amz_copy_source_range": "bytes=0-5"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source_range": "bytes=3-2"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source_range": "bytes=-2"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source_range": "bytes=2-"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source_range": "0-2"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source_range": "bytes=0-1,3-4"}, (400, "InvalidArgument")),
        ({"x_amz_copy_source_if_match": '"other"'}, (412, "PreconditionFailed")),
    ],
)
def test_a_wrong_copy_keeps_no_part(s3: S3, headers: dict[str, str], expected: tuple[int, str]) -> None:
    s3("PUT", "/b/source", b"12345")
    upload = s3.begin()
    told = {"x_amz_copy_source": "b/source", **headers}
    assert code(s3("PUT", f"/b/k?uploadId={upload}&partNumber=1", **told)) == expected
    assert s3.numbers(upload) == []


# Listings


def test_parts_are_listed_in_pages_with_size_and_tag(s3: S3) -> None:
    upload = s3.begin("a & b")
    for number in (7, 2, 5):
        s3.put(upload, number, b"x" * number, key="a & b")
    target = f"/b/{quote('a & b')}?uploadId={upload}"
    all_of_it = s3("GET", target)
    assert (text(all_of_it, "Key"), text(all_of_it, "UploadId")) == ("a & b", upload)
    assert texts(all_of_it, "Part/PartNumber") == ["2", "5", "7"]
    assert texts(all_of_it, "Part/Size") == ["2", "5", "7"]
    assert texts(all_of_it, "Part/ETag") == [f'"{md5(b"x" * number)}"' for number in (2, 5, 7)]
    assert text(all_of_it, "IsTruncated") == "false"
    first = s3("GET", f"{target}&max-parts=2")
    assert texts(first, "Part/PartNumber") == ["2", "5"]
    assert (text(first, "IsTruncated"), text(first, "NextPartNumberMarker")) == ("true", "5")
    second = s3("GET", f"{target}&max-parts=2&part-number-marker=5")
    assert texts(second, "Part/PartNumber") == ["7"]
    assert text(second, "IsTruncated") == "false"
    assert code(s3("GET", f"{target}&max-parts=x")) == (400, "InvalidArgument")


def _pages(s3: S3, query: str) -> Iterator[tuple[list[str], list[str]]]:
    marker = ""
    for _ in range(100):
        page = s3("GET", f"/b?uploads&{query}{marker}")
        assert page.status == 200, page.body
        yield texts(page, "Upload/Key"), texts(page, "CommonPrefixes/Prefix")
        if text(page, "IsTruncated") == "false":
            return
        key, id_ = quote(text(page, "NextKeyMarker")), text(page, "NextUploadIdMarker")
        marker = f"&key-marker={key}&upload-id-marker={id_}"
    raise AssertionError("the pages do not end")


def test_uploads_are_listed_in_pages_by_name_and_time(s3: S3) -> None:
    keys = ["b", "a/1", "a/2", "b", "c", "b", "a", "é"]
    ids = [s3.begin(key) for key in keys]
    everything = s3("GET", "/b?uploads")
    assert texts(everything, "Upload/Key") == ["a", "a/1", "a/2", "b", "b", "b", "c", "é"]
    assert texts(everything, "Upload/UploadId")[3:6] == [ids[0], ids[3], ids[5]]
    for count in (1, 2, 3, 7, 8):
        pages = list(_pages(s3, f"max-uploads={count}"))
        assert [len(page) for page, _ in pages[:-1]] == [count] * (len(pages) - 1)
        assert [key for page, _ in pages for key in page] == sorted(keys, key=str.encode)
    assert list(_pages(s3, "prefix=a/")) == [(["a/1", "a/2"], [])]
    assert list(_pages(s3, "delimiter=/")) == [(["a", "b", "b", "b", "c", "é"], ["a/"])]
    folded = list(_pages(s3, "delimiter=/&max-uploads=1"))
    assert folded == [(["a"], []), ([], ["a/"]), *[(["b"], [])] * 3, (["c"], []), (["é"], [])]
    assert list(_pages(s3, "max-uploads=0")) == [([], [])]
    encoded = s3("GET", "/b?uploads&encoding-type=url&prefix=%C3%A9")
    assert texts(encoded, "Upload/Key") == ["%C3%A9"]
    assert code(s3("GET", "/b?uploads&encoding-type=xml")) == (400, "InvalidArgument")
    assert code(s3("GET", "/b?uploads&max-uploads=-1")) == (400, "InvalidArgument")


def test_uploads_tell_who_began_them_and_whose_the_object_will_be() -> None:
    asking = Asking()
    asking.bucket(ALICE, "open", "public-read-write")
    begun = asking(BOB, "POST", "/s3/open/k?uploads", x_amz_storage_class="GLACIER")
    upload = text(begun, "UploadId")
    for query, path in (("uploads", "Upload/"), (f"uploadId={upload}", "")):
        key = "" if query == "uploads" else "/k"
        shown = asking(ALICE, "GET", f"/s3/open{key}?{query}")
        assert text(shown, f"{path}Initiator/ID") == "bob-id"
        assert text(shown, f"{path}Owner/ID") == "alice-id"
        assert text(shown, f"{path}StorageClass") == "GLACIER"
    asking(None, "POST", "/s3/open/z?uploads")
    assert texts(asking(ALICE, "GET", "/s3/open?uploads"), "Upload/Initiator/ID") == ["bob-id", "anonymous"]
    asking.close()


def test_an_upload_may_be_completed_in_the_other_dialect(s3: S3) -> None:
    path = "/v1/objects/b/k?provider=ais"
    upload = s3.begin(x_amz_checksum_algorithm="CRC32", x_amz_storage_class="GLACIER")
    s3.put(upload, 1, A)
    message = {"action": "mpt-complete", "value": [{"part-number": 1}]}
    assert s3.node("POST", f"{path}&uploadId={upload}", message).status == 200
    assert s3.read() == A
    assert "ais-custom-md" not in s3.node("HEAD", path).headers
    upload = s3.node("POST", path, {"action": "mpt-upload"}, **{"ais-custom-md": "a=b"}).body.decode()
    assert s3.node("PUT", f"{path}&uploadId={upload}&partNumber=1", B).status == 200
    # Its parts have no MD5, of which S3's entity tag is made.
    for etag in (f'"{md5(B)}"', '""', "x"):
        assert code(s3.complete(upload, [(1, etag)])) == (400, "InvalidPart")
    assert s3.read() == A
