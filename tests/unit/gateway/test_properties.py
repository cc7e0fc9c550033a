"""Properties of buckets: laid over each other, member by member."""

import msgspec
import pytest

from aisle.errors import BadRequest, Unsupported
from aisle.model.bucket import (
    BucketDocument,
    BucketInfo,
    BucketProperties,
    BucketShape,
    changed,
    decode_document,
    encode_document,
    encode_properties,
)
from aisle.model.names import Bucket
from aisle.model.trees import leaf_names

DEFAULT = BucketProperties()


def test_no_changes_change_nothing() -> None:
    assert changed(DEFAULT, {}) == DEFAULT
    assert changed(DEFAULT, {"checksum": None, "force": True}) == DEFAULT


def test_a_change_leaves_its_neighbours_alone() -> None:
    result = changed(changed(DEFAULT, {"lru": {"enabled": True}}), {"lru": {"batch_size": 5}})
    assert (result.lru.enabled, result.lru.batch_size) == (True, 5)
    assert result.lru.dont_evict_time == DEFAULT.lru.dont_evict_time


def test_numbers_and_flags_may_be_strings() -> None:
    result = changed(DEFAULT, {"versioning": {"enabled": "false"}, "mirror": {"copies": "3"}})
    assert (result.versioning.enabled, result.mirror.copies) == (False, 3)


def test_rights_may_be_a_number_or_a_string() -> None:
    assert changed(DEFAULT, {"access": 771}).access == changed(DEFAULT, {"access": "771"}).access == "771"


@pytest.mark.parametrize(
    "changes",
    [
        *({"bid": "1"}, {"created": "1"}, {"provider": "aws"}, {"Renamed": "x"}),
        *({"checksum": 5}, {"checksum": {"type": "md6"}}, {"write_policy": {"data": "sometimes"}}),
        *({"mirror": {"copies": 33}}, {"versioning": {"enabled": "maybe"}}, {"extra": {"custom": "x" * 129}}),
    ],
)
def test_what_cannot_be_set_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        changed(DEFAULT, changes)


@pytest.mark.parametrize("section", ["mirror", "ec"])
def test_protection_that_is_not_built_is_not_promised(section: str) -> None:
    with pytest.raises(Unsupported):
        changed(DEFAULT, {section: {"enabled": True}})


def test_documents_come_back_as_they_were() -> None:
    document = BucketDocument(7, 123, changed(DEFAULT, {"extra": {"aws": {"endpoint": "http://x"}}}))
    assert decode_document(encode_document(document)) == document


def test_a_document_of_a_later_version_is_read() -> None:
    stored = encode_document(BucketDocument(7, 123, DEFAULT)).replace(b'{"number"', b'{"later":1,"number"')
    assert decode_document(stored).number == 7


@pytest.mark.parametrize(
    ("namespace", "uuid", "name"),
    [("", "", ""), ("#n", "", "n"), ("@u", "u", ""), ("@u#n", "u", "n")],
)
def test_namespaces_have_two_halves(namespace: str, uuid: str, name: str) -> None:
    shape = BucketShape.of(Bucket("b", "ais", namespace))
    assert (shape.namespace.uuid, shape.namespace.name) == (uuid, name)


@pytest.mark.parametrize(
    ("changes", "sync"),
    [
        ({}, ""),
        ({"write_policy": {"data": "delayed"}}, "delayed"),
        ({"write_policy": {"data": "never"}}, "never"),
        ({"write_policy": {"data": "never"}, "features": "16"}, "immediate"),
        ({"features": "4096"}, ""),
    ],
)
def test_a_buckets_policy_says_when_payloads_are_synced(changes: dict[str, object], sync: str) -> None:
    assert BucketInfo(Bucket("b"), 1, changed(DEFAULT, changes)).payload_sync == sync


def test_the_address_of_a_dataset_is_kept_and_shown_only_where_there_is_one() -> None:
    assert b'"http"' not in encode_properties(DEFAULT)
    address = {"extra": {"HTTP": {"Original_URL": "https://a/b/", "manifest": "index.json"}}}
    shown = msgspec.json.decode(encode_properties(changed(DEFAULT, address)))["extra"]["http"]
    assert shown == {"original_url": "https://a/b/", "manifest": "index.json"}
    named = changed(changed(DEFAULT, address), {"extra": {"http": {"manifest": ""}}})
    assert msgspec.json.decode(encode_properties(named))["extra"]["http"] == {"original_url": "https://a/b/"}
    assert {"extra.http.original_url", "extra.http.manifest"} < set(leaf_names(BucketProperties))


@pytest.mark.parametrize(
    "wrong",
    [
        {"original_url": "a/b"},
        {"original_url": "file:///etc/"},
        {"original_url": "https://"},
        {"original_url": "https://user:password@a/"},
        {"original_url": "https://a/?token=x"},
        {"manifest": "https://user@a/list"},
        {"unknown": "x"},
        "https://a/b/",
    ],
)
def test_what_is_no_address_of_a_dataset_is_refused(wrong: object) -> None:
    with pytest.raises(BadRequest):
        changed(DEFAULT, {"extra": {"http": wrong}})


@pytest.mark.parametrize(
    "aws",
    [
        {"cloud_region": "x.evil.example/?"},
        {"cloud_region": "US East"},
        {"endpoint": "http://user:secret@host"},
        {"endpoint": "ftp://host"},
        {"endpoint": "http://host/?x=1"},
    ],
)
def test_where_a_bucket_of_s3_is_cannot_be_said_in_other_words(aws: dict[str, str]) -> None:
    with pytest.raises(BadRequest, match=f"extra.aws.{next(iter(aws))}"):
        changed(DEFAULT, {"extra": {"aws": aws}})
    assert changed(
        DEFAULT, {"extra": {"aws": {"cloud_region": "eu-central-1", "endpoint": "http://[::1]:9/s3"}}}
    )
