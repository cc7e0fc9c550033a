"""Easy URLs mean the same as the long ones."""

import pytest

from aisle.backends.memory import MemoryProvider
from service.calling import Native
from service.credentials import ALICE, ROOT, Asking


@pytest.mark.parametrize("name", ["easy", "a/b/c", "dir/", "/lead", "a//b", "with%20space", "100%25"])
def test_objects_are_written_read_and_removed(native: Native, name: str) -> None:
    written = native("PUT", f"/ais/b/{name}", b"easy")
    assert (written.status, written.headers["ais-checksum-value"]) == (200, "094457ddb66b7e7b")
    assert native("GET", f"/v1/objects/b/{name}?provider=ais").body == b"easy"
    assert native("GET", f"/ais/b/{name}").body == b"easy"
    assert native("GET", f"/ais/b/{name}", range="bytes=1-2").body == b"as"
    head = native("HEAD", f"/ais/b/{name}?props=size")
    assert (head.status, head.response.length) == (200, 4)
    assert native("DELETE", f"/ais/b/{name}").status == 200
    assert native("GET", f"/ais/b/{name}").status == 404


@pytest.mark.parametrize("path", ["/ais/b", "/ais/b/"])
def test_a_bucket_is_listed_and_asked_about(native: Native, path: str) -> None:
    native.put("b/easy", b"easy")
    native.put("b/hello", b"hello")
    page = native("GET", path)
    assert page.headers["content-type"] == "application/json; charset=utf-8"
    assert page.json()["entries"] == [
        {"name": "easy", "size": "4", "flags": 64},
        {"name": "hello", "size": "5", "flags": 64},
    ]
    assert "ais-bucket-props" in native("HEAD", path).headers


@pytest.mark.parametrize("path", ["/ais", "/ais/"])
def test_buckets_are_listed(native: Native, path: str) -> None:
    assert [bucket["name"] for bucket in native("GET", path).json()] == ["b"]
    assert native("GET", path.replace("ais", "gs")).json() == []


def test_what_is_not_there_is_told_as_by_the_long_url(native: Native) -> None:
    for easy, path, message in (
        ("/ais/b/none", "/v1/objects/b/none", "t[bRaSsqgO]: ais://b/none does not exist"),
        ("/ais/none/x", "/v1/objects/none/x", 'bucket "ais://none" does not exist'),
    ):
        answer = native("GET", easy)
        told = answer.json()
        assert (answer.status, told["message"], told["url_path"]) == (404, message, path)
    elsewhere = native("GET", "/gs/b/none")
    assert (elsewhere.status, elsewhere.json()["url_path"]) == (501, "/v1/objects/b/none")


def test_other_verbs_are_not_among_them(native: Native) -> None:
    assert native("POST", "/ais/b/x", {"action": "mpt-upload"}).status == 405
    assert native("DELETE", "/ais/b", {"action": "destroy-bck"}).status == 405


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_signed_one_may_be_the_first_use_of_a_remote_bucket(method: str) -> None:
    asking = Asking(providers={"gcp": lambda _: MemoryProvider(["data"])})
    assert asking(ROOT, method, "/gs/data/k").status == (404 if method == "GET" else 200)
    assert asking(ALICE, method, "/gs/data/k").status == 403
    asking.close()
