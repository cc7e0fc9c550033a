"""What requests to Google's storage API look like, and what its answers mean."""

import json

import pytest

from aisle.backends.gcp import _offset
from aisle.backends.gcp_protocol import (
    Ask,
    ObjectDocument,
    ObjectsDocument,
    about_of,
    failure_of,
    media_path,
    object_path,
    parse_document,
    upload_path,
)
from aisle.errors import (
    AisleError,
    BucketNotFound,
    ConditionFailed,
    ObjectNotFound,
    SourceDenied,
    SourceFailed,
    SourceThrottled,
    SourceUnreachable,
)


@pytest.mark.parametrize(
    ("key", "encoded"),
    [
        ("a/b c", "a%2Fb%20c"),
        ("100%", "100%25"),
        ("//", "%2F%2F"),
        ("ä?#&+", "%C3%A4%3F%23%26%2B"),
        ("a'b~-._", "a%27b~-._"),
    ],
)
def test_a_name_is_one_part_of_a_path(key: str, encoded: str) -> None:
    assert object_path("data", key) == f"/storage/v1/b/data/o/{encoded}"
    assert media_path("data", key) == f"/download/storage/v1/b/data/o/{encoded}"
    assert upload_path("data") == "/upload/storage/v1/b/data/o"


def test_a_query_is_put_behind_what_a_path_has() -> None:
    query = (("prefix", "a/b c&d=+ä"),)
    assert Ask("GET", "/p").link("http://h") == "http://h/p"
    assert Ask("GET", "/p", query=query).link("http://h") == "http://h/p?prefix=a%2Fb%20c%26d%3D%2B%C3%A4"
    assert Ask("PUT", "/p?upload_id=1", query=(("x", "y"),)).link("http://h") == "http://h/p?upload_id=1&x=y"


def test_what_is_told_of_an_object_is_understood() -> None:
    told = parse_document(
        json.dumps(
            {
                "kind": "storage#object",
                "name": "a/b",
                "size": "9000000000",
                "generation": "1700000000000001",
                "etag": "CJ+s=",
                "updated": "2026-11-20T16:13:27.987Z",
                "md5Hash": "1B2M2Y8AsgTpgAmY7PhCfg==",
                "crc32c": "AAAAAA==",
                "contentType": "text/x",
                "metadata": {"Key": "ä"},
            }
        ).encode(),
        ObjectDocument,
    )
    about = about_of(told)
    assert about.key == "a/b"
    assert about.size == 9_000_000_000
    assert (about.version, about.etag) == ("1700000000000001", "CJ+s=")
    assert about.modified_ns == 1_795_191_207_000_000_000
    assert about.digests == {"md5": "d41d8cd98f00b204e9800998ecf8427e", "crc32c": "00000000"}
    assert (about.content_type, about.custom) == ("text/x", {"Key": "ä"})


def test_what_no_header_field_can_hold_is_left_out() -> None:
    told = ObjectDocument(
        "k",
        content_type="a/b\r\nX: y",
        content_disposition="a\nb",
        content_encoding="gzip",
        cache_control="",
        content_language="a\x7fb",
        metadata={"one": "a\r\nX: y", "tw\no": "b", "three": "日本"},
    )
    about = about_of(told)
    assert (about.content_type, about.fields) == ("", {"content-encoding": "gzip"})
    assert about.custom == {"three": "日本"}


@pytest.mark.parametrize("name", ["ä", "日本", "👩\u200d💻", "全角\u3000空白", "Å"])
def test_what_a_document_tells_is_kept_as_a_header_field_brings_it(name: str) -> None:
    told = ObjectDocument("k", content_type=f"a/{name}", content_disposition=f'attachment; filename="{name}"')
    about = about_of(told)
    assert about.content_type.encode("latin-1") == f"a/{name}".encode()
    described = about.fields["content-disposition"]
    assert described.encode("latin-1") == f'attachment; filename="{name}"'.encode()


def test_an_object_that_was_composed_has_no_md5() -> None:
    about = about_of(ObjectDocument("k", 1, 5, crc32c="AAAAAA==", md5_hash="no digest"))
    assert about.digests == {"crc32c": "00000000"}


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"items": 5}', b"\xff", b""])
def test_what_is_no_document_is_a_failure(body: bytes) -> None:
    with pytest.raises(SourceFailed, match="not Google's storage API"):
        parse_document(body, ObjectsDocument)


def _error(reason: str, message: str) -> bytes:
    return json.dumps({"error": {"code": 1, "message": message, "errors": [{"reason": reason}]}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (404, _error("notFound", "No such object: data/k"), ObjectNotFound, "gs://data/k"),
        (404, _error("notFound", "The specified bucket does not exist."), BucketNotFound, "gs://data"),
        (404, b"No such object: data/k", ObjectNotFound, "gs://data/k"),
        (401, _error("authError", "Invalid Credentials"), SourceDenied, "GOOGLE_APPLICATION_CREDENTIALS"),
        (403, _error("forbidden", "no right"), SourceDenied, "application_creds"),
        (403, _error("rateLimitExceeded", "slow"), SourceThrottled, "slow"),
        (429, b"", SourceThrottled, "429"),
        (412, _error("conditionNotMet", "Precondition"), ConditionFailed, "Precondition"),
        (400, _error("required", "Bucket is a requester pays bucket but"), SourceDenied, "QUOTA_PROJECT"),
        (400, _error("invalid", "Invalid argument."), SourceFailed, "Invalid argument"),
        (408, b"", SourceUnreachable, "408"),
        (500, b"<html>", SourceUnreachable, "500"),
        (503, _error("backendError", "again"), SourceUnreachable, "again"),
    ],
)
def test_an_error_of_the_source_becomes_one_of_ours(
    status: int, body: bytes, kind: type[AisleError], text: str
) -> None:
    failed = failure_of(status, {"retry-after": "7"}, body, bucket="data", key="k")
    assert type(failed) is kind
    assert text in str(failed)
    if isinstance(failed, SourceThrottled | SourceUnreachable):
        assert failed.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("after", "delimiter", "offset"),
    [
        ("", "/", ""),
        ("b", "", "b"),
        ("b", "/", "b"),
        ("c/", "", "c/"),
        ("c/", "/", "c0"),
        ("c\ud7ff", "\ud7ff", "c\ue000"),
        ("c\U0010ffff", "\U0010ffff", "c\U0010ffff"),
    ],
)
def test_a_listing_begins_behind_all_that_a_folded_name_stands_for(
    after: str, delimiter: str, offset: str
) -> None:
    assert _offset(after, delimiter) == offset
