"""Buckets through the native API."""

import json
from typing import Any

import pytest

from aisle.errors import StaleVersion, Unavailable
from aisle.model.bucket import BucketState, decode_document
from aisle.model.names import Bucket
from service.calling import Native


def action(verb: str, value: Any = None, *, name: str = "") -> dict[str, Any]:
    return {"action": verb, "name": name, "value": value}


def test_a_bucket_is_created_listed_and_destroyed(native: Native) -> None:
    assert native("POST", "/v1/buckets/new?provider=ais", action("create-bck")).status == 200
    shape = {"name": "new", "provider": "ais", "namespace": {"uuid": "", "name": ""}}
    assert shape in native("GET", "/v1/buckets?provider=ais", action("list")).json()
    destroyed = native("DELETE", "/v1/buckets/new?provider=ais", action("destroy-bck"))
    assert (destroyed.status, destroyed.body) == (200, b"")
    assert native("HEAD", "/v1/buckets/new?provider=ais").status == 404
    assert shape not in native("GET", "/v1/buckets", action("list")).json()


def test_creating_a_bucket_that_exists_is_a_conflict(native: Native) -> None:
    answer = native("POST", "/v1/buckets/b?provider=ais", action("create-bck"))
    assert answer.status == 409
    assert answer.error()["tcode"] == "ErrBucketAlreadyExists"
    assert answer.error()["message"] == 'bucket "ais://b" already exists'


@pytest.mark.parametrize(
    "name", ["*", "%20", "a%20b", "%23x", "~x", "a%2Fb", "a..b", "x" * 65, "..", "%C3%BC"]
)
def test_names_that_no_bucket_can_have_are_refused(native: Native, name: str) -> None:
    answer = native("POST", f"/v1/buckets/{name}?provider=ais", action("create-bck"))
    assert answer.status == 400
    assert "bucket name" in answer.error()["message"]


@pytest.mark.parametrize("name", ["ais", "metrics", "health", "data--s3", "data--aws"])
def test_names_that_would_hide_our_own_paths_are_refused(native: Native, name: str) -> None:
    answer = native("POST", f"/v1/buckets/{name}?provider=ais", action("create-bck"))
    assert (answer.status, "reserved" in answer.error()["message"]) == (400, True)


def test_a_bucket_created_again_shows_nothing_of_the_old_one(native: Native) -> None:
    native.put("b/old")
    before = native.buckets.find(Bucket("b")).number
    native("DELETE", "/v1/buckets/b?provider=ais", action("destroy-bck"))
    native.bucket("b")
    assert native.buckets.find(Bucket("b")).number > before
    assert native.names("b") == []
    assert native("GET", "/v1/objects/b/old?provider=ais").status == 404


def test_properties_are_whole_and_take_what_creation_changes(native: Native) -> None:
    native.bucket("p", checksum={"type": "md5"}, versioning={"enabled": False}, mirror={"copies": 3})
    shown = json.loads(native("HEAD", "/v1/buckets/p?provider=ais").headers["ais-bucket-props"])
    assert shown["checksum"]["type"] == "md5"
    assert shown["versioning"] == {"enabled": False, "validate_warm_get": False, "synchronize": False}
    assert shown["mirror"] == {"copies": 3, "burst_buffer": 512, "enabled": False}
    assert int(shown["bid"]) > 2**63
    assert int(shown["created"]) > 0


@pytest.mark.parametrize(
    ("value", "status", "text"),
    [
        ({"nosuch": {"x": 1}}, 400, "found unknown field: nosuch"),
        ({"checksum": {"nosuch": 1}}, 400, "found unknown field: nosuch"),
        ({"checksum": {"type": "md6"}}, 400, 'invalid checksum type "md6"'),
        ({"bid": "5"}, 400, "bid"),
        ({"mirror": {"copies": 0}}, 400, "mirror.copies"),
        ({"mirror": {"enabled": True}}, 501, "mirror.enabled"),
        ({"ec": {"enabled": True}}, 501, "ec.enabled"),
        ("text", 400, "value"),
    ],
)
def test_properties_that_cannot_be_are_refused_before_the_bucket_exists(
    native: Native, value: Any, status: int, text: str
) -> None:
    answer = native("POST", "/v1/buckets/new?provider=ais", action("create-bck", value))
    assert (answer.status, text in answer.error()["message"]) == (status, True), answer.body
    assert native("HEAD", "/v1/buckets/new?provider=ais").status == 404


def test_a_cloud_without_a_backend_is_named(native: Native) -> None:
    answer = native("POST", "/v1/buckets/b?provider=s3", action("create-bck"))
    assert (answer.status, answer.error()["tcode"]) == (501, "ErrUnsupp")
    told = native("HEAD", "/v1/buckets/b?provider=aws").error()
    assert (told["tcode"], "s3://" in told["message"]) == ("ErrUnsupp", True)
    assert native("GET", "/v1/buckets?provider=gs", action("list")).json() == []
    assert (
        native("GET", "/v1/buckets?provider=zzz", action("list")).error()["tcode"]
        == "ErrInvalidBackendProvider"
    )


def test_namespaces_keep_buckets_of_one_name_apart(native: Native) -> None:
    assert native("POST", "/v1/buckets/b?provider=ais&namespace=%23mine", action("create-bck")).status == 200
    native.put("b/k", b"global")
    native("PUT", "/v1/objects/b/k?provider=ais&namespace=%23mine", b"mine")
    assert native("GET", "/v1/objects/b/k?provider=ais").body == b"global"
    assert native("GET", "/v1/objects/b/k?provider=ais&namespace=%23mine").body == b"mine"
    spaces = [each["namespace"]["name"] for each in native("GET", "/v1/buckets", action("list")).json()]
    assert spaces == ["", "mine"]
    assert native("HEAD", "/v1/buckets/b?provider=ais&namespace=..%2F..").status == 400


def test_buckets_are_listed_by_name_and_in_order(native: Native) -> None:
    for name in ("c", "a", "B"):
        native.bucket(name)
    listed = native("GET", "/v1/buckets?provider=ais", action("list")).json()
    assert [each["name"] for each in listed] == ["B", "a", "b", "c"]
    assert len(native("GET", "/v1/buckets", action("list", name="c")).json()) == 1
    assert native("GET", "/v1/buckets/c", action("list", name="c")).json()[0]["name"] == "c"
    assert native("GET", "/v1/buckets/c", action("list")).status == 400
    assert native("GET", "/v1/buckets", action("list", name="none")).json() == []
    assert len(native("GET", "/v1/buckets/").json()) == 4


def test_what_the_message_asks_for_is_read_in_any_case_and_nulls_are_absent(native: Native) -> None:
    body = b'{"Action":"create-bck","NAME":null,"Value":null,"unknown":1}'
    assert native("POST", "/v1/buckets/new?provider=ais", body).status == 200


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "failed to unmarshal"),
        (b"", "EOF"),
        (b"[]", "expected an object"),
        (b'{"action":"nonsense"}', 'invalid action "nonsense"'),
        (b'{"action":5}', "invalid value"),
        (b"[" * 5000, "failed to unmarshal"),
    ],
)
def test_messages_that_say_nothing_are_refused(native: Native, body: bytes, text: str) -> None:
    answer = native("POST", "/v1/buckets/new?provider=ais", body)
    assert (answer.status, text in answer.error()["message"]) == (400, True), answer.body


def test_a_known_action_that_is_not_built_says_so(native: Native) -> None:
    answer = native("POST", "/v1/buckets/b?provider=ais", action("etl-bck"))
    assert (answer.status, answer.error()["tcode"]) == (501, "ErrUnsupp")


def test_of_many_who_create_the_same_bucket_one_wins(native: Native) -> None:
    request = ("POST", "/v1/buckets/race?provider=ais", action("create-bck"))
    statuses = sorted(answer.status for answer in native.at_once(*[request] * 8))
    assert statuses == [200] + [409] * 7
    native.put("race/k")
    assert native.names("race") == ["k"]


def test_buckets_created_at_once_get_different_numbers(native: Native) -> None:
    requests = [("POST", f"/v1/buckets/n{n}?provider=ais", action("create-bck")) for n in range(10)]
    assert {answer.status for answer in native.at_once(*requests)} == {200}
    numbers = [info.number for info in native.buckets.select()]
    assert len(set(numbers)) == len(numbers) == 11


def test_a_destruction_that_a_crash_cut_short_is_ended(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.put("b/k")

    def crash(*_: object, **__: object) -> None:
        raise Unavailable("the committer is gone")

    with monkeypatch.context() as broken:
        broken.setattr(native.engine, "close_bucket", crash)
        assert native("DELETE", "/v1/buckets/b?provider=ais", action("destroy-bck")).status == 503
    document = native.store.load("bucket/ais/@#/b/")
    assert document is not None
    assert decode_document(document.value).state is BucketState.DESTROYING
    # It is gone for everybody already, and what is left of it does not stand in anybody's way.
    assert native("GET", "/v1/objects/b/k?provider=ais").status == 404
    assert native("GET", "/v1/buckets", action("list")).json() == []
    assert native.runner.run(native.buckets.repair()) == [Bucket("b")]
    assert native.store.list("bucket/") == []


def test_creating_ends_an_unfinished_destruction_first(
    native: Native, monkeypatch: pytest.MonkeyPatch
) -> None:
    native.put("b/k")
    swap = native.store.swap

    def crash(key: str, value: bytes | None, *, expected_version: int) -> object:
        if value is None:
            raise StaleVersion(key, expected=expected_version, found=0)
        return swap(key, value, expected_version=expected_version)

    with monkeypatch.context() as broken:
        broken.setattr(native.store, "swap", crash)
        assert native("DELETE", "/v1/buckets/b?provider=ais", action("destroy-bck")).status == 200
    assert native.store.list("bucket/") != []
    native.bucket("b")
    assert native.names("b") == []


def test_a_write_into_a_bucket_that_was_destroyed_meanwhile_finds_no_bucket(native: Native) -> None:
    number = native.buckets.find(Bucket("b")).number

    async def close() -> None:
        await native.engine.close_bucket(number, only_if_empty=False)

    native.runner.run(close())
    answer = native("PUT", "/v1/objects/b/k?provider=ais", b"x")
    assert (answer.status, answer.error()["tcode"]) == (404, "ErrBckNotFound")
