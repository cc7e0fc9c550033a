"""What requests announce of their bodies' digests, and how digests are told."""

import hashlib
from base64 import b64encode

import pytest

from aisle.api.s3.checksums import (
    Announced,
    checksum_elements,
    checksum_fields,
    parse_algorithm,
    parse_announced,
    told,
    verify,
)
from aisle.api.s3.errors import S3Error
from aisle.errors import ChecksumMismatch
from aisle.model.record import Attributes

SHA1 = hashlib.sha1(b"hello")
SHA1_TEXT = b64encode(SHA1.digest()).decode()
MD5 = hashlib.md5(b"hello")


def test_nothing_announced_means_that_the_md5_is_kept() -> None:
    assert parse_announced({"content-type": "a/b"}) == Announced({}, "", ("md5",))


def test_a_checksum_is_expected_and_kept_beside_the_md5() -> None:
    announced = parse_announced(
        {"content-md5": b64encode(MD5.digest()).decode(), "x-amz-checksum-sha1": SHA1_TEXT}
    )
    assert announced.kept == ("md5", "sha1")
    assert announced.expected({}) == {"md5": MD5.hexdigest(), "sha1": SHA1.hexdigest()}


def test_what_follows_the_body_is_expected_once_it_is_there() -> None:
    announced = parse_announced(
        {"x-amz-trailer": "x-amz-checksum-sha1", "x-amz-sdk-checksum-algorithm": "SHA1"}
    )
    assert announced == Announced({}, "sha1", ("md5", "sha1"))
    assert announced.expected({"x-amz-checksum-sha1": SHA1_TEXT}) == {"sha1": SHA1.hexdigest()}
    for trailers in ({}, {"x-amz-checksum-sha1": "no digest"}, {"x-amz-checksum-crc32": "AAAAAA=="}):
        with pytest.raises(S3Error) as caught:
            announced.expected(trailers)
        assert caught.value.code == "InvalidRequest"


def test_words_about_checksums_are_no_checksums() -> None:
    headers = {
        "x-amz-checksum-mode": "ENABLED",
        "x-amz-checksum-algorithm": "SHA1",
        "x-amz-checksum-type": "X",
    }
    assert parse_announced(headers) == Announced({}, "", ("md5",))


def test_a_body_that_is_whole_is_compared() -> None:
    announced = parse_announced({"x-amz-checksum-sha1": SHA1_TEXT})
    verify(announced, b"hello", {})
    with pytest.raises(ChecksumMismatch):
        verify(announced, b"hallo", {})


def test_a_digest_of_parts_is_told_with_their_number() -> None:
    assert told(SHA1.hexdigest()) == SHA1_TEXT
    assert told(f"{SHA1.hexdigest()}-3") == f"{SHA1_TEXT}-3"
    parts = Attributes(digests={"md5": MD5.hexdigest(), "sha1": f"{SHA1.hexdigest()}-3"})
    assert checksum_fields(parts) == [
        ("x-amz-checksum-sha1", f"{SHA1_TEXT}-3"),
        ("x-amz-checksum-type", "COMPOSITE"),
    ]
    assert checksum_elements(Attributes(digests={"md5": MD5.hexdigest()})) == []


def test_algorithms_have_the_names_that_clients_use() -> None:
    assert [parse_algorithm(name) for name in ("", "CRC32C", "sha256", "CRC64NVME")] == [
        "",
        "crc32c",
        "sha256",
        "crc64nvme",
    ]
    with pytest.raises(S3Error):
        parse_algorithm("MD5")
