"""Properties of buckets through the native API: set, reset, inherited."""

import json
from typing import Any

import pytest

from aisle.errors import StaleVersion
from aisle.model.bucket import BucketDocument, BucketProperties, decode_document, encode_document
from aisle.model.names import Bucket
from service.calling import Answer, Native

URL = "/v1/buckets/b?provider=ais"


def patch(native: Native, value: Any, verb: str = "set-bprops", url: str = URL) -> Answer:
    return native("PATCH", url, {"action": verb, "name": "", "value": value})


def shown(native: Native, name: str = "b") -> Any:
    answer = native("HEAD", f"/v1/buckets/{name}?provider=ais")
    assert answer.status == 200
    return json.loads(answer.headers["ais-bucket-props"])


def test_what_is_set_is_shown_and_the_rest_stays(native: Native) -> None:
    before = shown(native)
    answer = patch(native, {"mirror": {"copies": 3}, "versioning": {"enabled": False}})
    assert (answer.status, answer.body) == (200, b"")
    assert shown(native) == {
        **before,
        "mirror": {**before["mirror"], "copies": 3},
        "versioning": {**before["versioning"], "enabled": False},
    }


@pytest.mark.parametrize("value", [None, {}, {"force": True}, {"checksum": None, "lru": {}}])
def test_no_changes_are_no_error_and_write_nothing(native: Native, value: Any) -> None:
    before, revision = shown(native), native.buckets.revision()
    assert patch(native, value).status == 200
    assert (shown(native), native.buckets.revision()) == (before, revision)


def test_members_are_found_in_any_case_and_numbers_may_be_strings(native: Native) -> None:
    assert patch(native, {"Checksum": {"TYPE": "md5"}, "lru": {"batch_size": "7"}}).status == 200
    assert (shown(native)["checksum"]["type"], shown(native)["lru"]["batch_size"]) == ("md5", 7)


@pytest.mark.parametrize(
    ("value", "status", "text"),
    [
        ({"nosuch": {"x": 1}}, 400, "found unknown field: nosuch"),
        ({"checksum": {"nosuch": 1}}, 400, "found unknown field: nosuch (in checksum)"),
        (
            {"checksum": {"type": "md6"}},
            400,
            'invalid checksum type "md6" (expecting [crc32c md5 sha256 sha512 xxhash xxhash2 none])',
        ),
        (
            {"versioning": {"enabled": "maybe"}, "lru": {"batch_size": "many", "dont_evict_time": "zz"}},
            400,
            'versioning.enabled: expected bool, not "maybe"; lru.batch_size: expected int, not "many"; lru.',
        ),
        ({"provider": "aws"}, 400, "provider"),
        ({"renamed": "x"}, 400, "Renamed"),
        ({"bid": "5"}, 400, "bid"),
        ({"created": "5"}, 400, "created"),
        ({"write_policy": {"data": "sometimes"}}, 400, "write_policy.data"),
        ({"rate_limit": {"frontend": {"interval": "soon"}}}, 400, "rate_limit.frontend.interval"),
        ({"ec": {"data_slices": 33}}, 400, "ec.data_slices"),
        ({"ec": {"compression": "maybe"}}, 400, "ec.compression"),
        ({"chunks": {"chunk_size": "6GiB"}}, 400, "chunks.chunk_size"),
        ({"chunks": {"chunk_size": "large"}}, 400, "chunks.chunk_size"),
        ({"chunks": {"max_monolithic_size": "1MiB"}}, 400, "chunks.max_monolithic_size"),
        ({"mirror": {"copies": 0}}, 400, "mirror.copies"),
        ({"lru": {"dont_evict_time": "2 hours"}}, 400, "lru.dont_evict_time"),
        ({"access": "everything"}, 400, "access"),
        ({"access": str(2**64)}, 400, "access"),
        ({"features": "1"}, 400, "features"),
        ({"features": str(2**11 + 2**12)}, 400, "exclude each other"),
        ({"extra": {"aws": {"max_pagesize": 10_001}}}, 400, "max_pagesize"),
        ({"extra": {"aws": {"multipart_size": "1MiB"}}}, 400, "multipart_size"),
        ({"extra": {"custom": "x" * 129}}, 400, "extra.custom"),
        ({"versioning": {"enabled": False, "synchronize": True}}, 400, "versioning.synchronize"),
        ({"mirror": {"enabled": True}}, 501, "mirror.enabled"),
        ({"ec": {"enabled": True}}, 501, "ec.enabled"),
        ({"rate_limit": {"backend": {"enabled": True}}}, 501, "rate_limit.backend.enabled"),
        ({"rate_limit": {"frontend": {"enabled": True}}}, 501, "rate_limit.frontend.enabled"),
        ({"features": str(2**11)}, 501, "Disable-Cold-GET"),
        ({"backend_bck": {"name": "c", "provider": "aws"}}, 501, "backend_bck"),
        ({"backend_bck": {"name": "c", "provider": "zzz"}}, 400, "backend_bck"),
        ({"checksum": "md5"}, 400, "checksum"),
        ("text", 400, "value"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    native: Native, value: Any, status: int, text: str
) -> None:
    before = shown(native)
    answer = patch(native, value)
    assert (answer.status, text in answer.error()["message"]) == (status, True), answer.body
    assert shown(native) == before


@pytest.mark.parametrize("verb", ["set-bprops", "reset-bprops"])
def test_a_bucket_that_is_not_there_has_no_properties(native: Native, verb: str) -> None:
    answer = patch(native, None, verb, "/v1/buckets/none?provider=ais")
    assert (answer.status, answer.error()["tcode"]) == (404, "ErrBckNotFound")


def test_all_mistakes_are_told_at_once(native: Native) -> None:
    message = patch(native, {"checksum": {"type": "md6"}, "access": "x"}).error()["message"]
    assert "checksum" in message
    assert "access" in message


def test_rights_may_come_as_a_number(native: Native) -> None:
    assert patch(native, {"access": 771}).status == 200
    assert shown(native)["access"] == "771"


def test_a_backend_that_is_not_there_can_be_detached(native: Native) -> None:
    none = {"name": "", "provider": "", "namespace": {"uuid": "", "name": ""}}
    assert patch(native, {"backend_bck": none}).status == 200
    assert shown(native)["backend_bck"] == none


def test_a_reset_brings_back_the_defaults_and_keeps_who_the_bucket_is(native: Native) -> None:
    before = shown(native)
    patch(native, {"checksum": {"type": "sha256"}, "access": "771", "features": "16"})
    assert patch(native, None, "reset-bprops").status == 200
    assert shown(native) == before


def test_objects_keep_the_checksum_they_were_written_with(native: Native) -> None:
    native.put("b/old", b"hello")
    patch(native, {"checksum": {"type": "crc32c"}})
    native.put("b/new", b"hello")
    old, new = (native("HEAD", f"/v1/objects/b/{name}?provider=ais").headers for name in ("old", "new"))
    assert (old["ais-checksum-type"], new["ais-checksum-type"]) == ("xxhash2", "crc32c")
    assert new["ais-checksum-value"] == "9a71bb4c"


def test_of_two_changes_at_once_none_is_lost(native: Native) -> None:
    first = ("PATCH", URL, {"action": "set-bprops", "value": {"lru": {"batch_size": 5}}})
    second = ("PATCH", URL, {"action": "set-bprops", "value": {"mirror": {"copies": 4}}})
    assert [answer.status for answer in native.at_once(first, second)] == [200, 200]
    assert (shown(native)["lru"]["batch_size"], shown(native)["mirror"]["copies"]) == (5, 4)


def test_a_change_that_others_overtake_is_decided_again(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    swap, overtaken = native.store.swap, []

    def overtake(key: str, value: bytes | None, *, expected_version: int) -> object:
        if not overtaken:
            overtaken.append(key)
            present = native.store.load(key)
            assert present is not None
            swap(key, present.value, expected_version=expected_version)
            raise StaleVersion(key, expected=expected_version, found=expected_version + 1)
        return swap(key, value, expected_version=expected_version)

    monkeypatch.setattr(native.store, "swap", overtake)
    assert patch(native, {"lru": {"batch_size": 5}}).status == 200
    assert overtaken
    assert shown(native)["lru"]["batch_size"] == 5


def test_documents_from_before_buckets_had_owners_are_read() -> None:
    stored = encode_document(BucketDocument(7, 123, BucketProperties()))
    old = stored.replace(b',"owner":"","acl":"private"', b"")
    assert old != stored
    document = decode_document(old)
    assert (document.number, document.owner, document.acl) == (7, "", "private")


def test_a_bucket_knows_whose_it_is_and_keeps_it(native: Native) -> None:
    async def made() -> None:
        await native.buckets.create(Bucket("mine"), owner="u1", acl="public-read")

    native.runner.run(made())
    patch(native, {"checksum": {"type": "md5"}}, url="/v1/buckets/mine?provider=ais")
    patch(native, None, "reset-bprops", "/v1/buckets/mine?provider=ais")
    info = native.buckets.find(Bucket("mine"))
    assert (info.owner, info.acl) == ("u1", "public-read")
    native.runner.run(native.buckets.set_acl(Bucket("mine"), "private"))
    assert native.buckets.find(Bucket("mine")).acl == "private"
