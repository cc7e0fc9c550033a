"""Objects through the native API."""

import asyncio
import hashlib
from typing import Any

import pytest
import xxhash

from aisle import telemetry
from aisle.errors import RequestAborted
from service.calling import Native


def patch(value: Any) -> dict[str, Any]:
    return {"action": "", "name": "", "value": value}


def test_what_is_put_is_read_back_with_its_checksum(native: Native) -> None:
    put = native.put("b/dir/name", b"hello")
    assert put.headers["ais-checksum-type"] == "xxhash2"
    assert put.headers["ais-checksum-value"] == xxhash.xxh64(b"hello").hexdigest() == "26c7827d889f6da3"
    assert put.headers["ais-version"] == "1"
    got = native("GET", "/v1/objects/b/dir/name?provider=ais")
    assert (got.status, got.body) == (200, b"hello")
    assert got.headers["content-type"] == "application/octet-stream"
    assert got.headers["etag"] == put.headers["etag"]
    assert got.headers["ais-checksum-value"] == put.headers["ais-checksum-value"]


@pytest.mark.parametrize("kind", ["md5", "sha256", "sha512", "xxhash", "xxhash2"])
def test_a_bucket_says_which_checksum_its_objects_carry(native: Native, kind: str) -> None:
    native.bucket("k", checksum={"type": kind})
    put = native.put("k/o", b"hello")
    name = "xxh64" if kind.startswith("xx") else kind
    expected = (
        xxhash.xxh64(b"hello").hexdigest() if name == "xxh64" else hashlib.new(name, b"hello").hexdigest()
    )
    assert (put.headers["ais-checksum-type"], put.headers["ais-checksum-value"]) == (kind, expected)


def test_a_bucket_without_checksums_shows_none(native: Native) -> None:
    native.bucket("k", checksum={"type": "none"}, versioning={"enabled": False})
    put = native.put("k/o", b"hello")
    assert "ais-checksum-type" not in put.headers
    assert "ais-version" not in put.headers


def test_an_empty_object_is_an_object(native: Native) -> None:
    native.put("b/empty", b"")
    assert native("GET", "/v1/objects/b/empty?provider=ais").body == b""
    head = native("HEAD", "/v1/objects/b/empty?provider=ais&props=name,size")
    assert (head.status, head.response.length) == (200, 0)


@pytest.mark.parametrize("kind", ["xxhash2", "md5", "sha256"])
def test_bytes_that_are_not_those_announced_change_nothing(native: Native, kind: str) -> None:
    native.put("b/o", b"old")
    announced = {"ais_checksum_type": kind, "ais_checksum_value": "0" * 32}
    answer = native("PUT", "/v1/objects/b/o?provider=ais", b"new", **announced)
    assert (answer.status, answer.error()["tcode"]) == (400, "ErrBadCksum")
    assert answer.error()["message"].startswith(f"BAD DATA CHECKSUM: {kind}({'0' * 32} != ")
    assert answer.error()["message"].endswith("(context: ais://b/o)")
    assert native("GET", "/v1/objects/b/o?provider=ais").body == b"old"


def test_a_checksum_of_another_kind_is_verified_too_and_the_buckets_own_is_kept(native: Native) -> None:
    md5 = hashlib.md5(b"new").hexdigest().upper()
    put = native.put("b/o", b"new", ais_checksum_type="md5", ais_checksum_value=md5)
    assert put.headers["ais-checksum-type"] == "xxhash2"


def test_a_checksum_of_an_unknown_kind_is_refused(native: Native) -> None:
    answer = native("PUT", "/v1/objects/b/o?provider=ais", b"x", ais_checksum_type="md6")
    assert answer.status == 400
    assert native("GET", "/v1/objects/b/o?provider=ais").status == 404


def test_a_body_that_arrives_in_pieces_is_put_together(native: Native) -> None:
    pieces: list[Any] = [b"he", b"l", b"lo"]
    native.put("b/o", pieces)  # type: ignore[arg-type]
    assert native("GET", "/v1/objects/b/o?provider=ais").body == b"hello"


def test_a_body_that_breaks_off_replaces_nothing(native: Native) -> None:
    native.put("b/o", b"old")
    pieces: list[Any] = [b"ne", RequestAborted("the peer is gone")]
    assert native("PUT", "/v1/objects/b/o?provider=ais", pieces).status == 400
    assert native("GET", "/v1/objects/b/o?provider=ais").body == b"old"


def test_a_writer_that_is_cancelled_replaces_nothing(native: Native) -> None:
    native.put("b/o", b"old")

    async def cancel() -> None:
        writing = asyncio.create_task(native.send("PUT", "/v1/objects/b/o?provider=ais", [b"a", b"b"]))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    native.runner.run(cancel())
    assert native("GET", "/v1/objects/b/o?provider=ais").body == b"old"


def test_versions_count_the_writes(native: Native) -> None:
    assert [native.put("b/o", body).headers["ais-version"] for body in (b"1", b"2", b"3")] == ["1", "2", "3"]
    assert native("GET", "/v1/objects/b/o?provider=ais").headers["ais-version"] == "3"


@pytest.mark.parametrize(
    ("asked", "shown", "body"),
    [
        ("bytes=1-3", "1-3", b"ell"),
        ("bytes=1-", "1-4", b"ello"),
        ("bytes=-2", "3-4", b"lo"),
        ("bytes=-99", "0-4", b"hello"),
        ("bytes=0-0", "0-0", b"h"),
        ("bytes=4-99999999999999999999999", "4-4", b"o"),
    ],
)
def test_a_range_is_cut_out(native: Native, asked: str, shown: str, body: bytes) -> None:
    native.put("b/o", b"hello")
    got = native("GET", "/v1/objects/b/o?provider=ais", range=asked)
    assert (got.status, got.body, got.headers["content-range"]) == (206, body, f"bytes {shown}/5")
    assert got.headers["accept-ranges"] == "bytes"
    # The checksum is that of the whole object.
    assert got.headers["ais-checksum-value"] == "26c7827d889f6da3"


@pytest.mark.parametrize(
    "asked", ["bytes=5-", "bytes=9-10", "bytes=-0", "bytes=3-2", "bytes=-", "bytes=x-", "5-6"]
)
def test_a_range_without_any_byte_is_not_satisfiable(native: Native, asked: str) -> None:
    native.put("b/o", b"hello")
    got = native("GET", "/v1/objects/b/o?provider=ais", range=asked)
    assert (got.status, got.error()["tcode"]) == (416, "ErrRangeNotSatisfiable")
    assert got.headers["content-range"] == "bytes */5"


def test_no_range_of_an_empty_object_is_satisfiable(native: Native) -> None:
    native.put("b/o", b"")
    got = native("GET", "/v1/objects/b/o?provider=ais", range="bytes=0-")
    assert (got.status, got.headers["content-range"]) == (416, "bytes */0")


def test_several_ranges_at_once_are_not_supported(native: Native) -> None:
    native.put("b/o", b"hello")
    got = native("GET", "/v1/objects/b/o?provider=ais", range="bytes=0-1,3-4")
    assert (got.status, got.error()["tcode"]) == (416, "ErrUnsupp")


def test_reads_obey_their_conditions(native: Native) -> None:
    put = native.put("b/o", b"hello")
    path, tag = "/v1/objects/b/o?provider=ais", put.headers["etag"]
    written = native("GET", path).headers["last-modified"]
    later, earlier = "Sat, 21 Nov 2026 00:00:00 GMT", "Fri, 20 Nov 2026 00:00:00 GMT"
    assert native("GET", path, if_none_match='"x"').status == 200
    unchanged = native("GET", path, if_none_match=f'"x", {tag}')
    assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, b"", tag)
    assert native("GET", path, if_none_match="*").status == 304
    assert native("GET", path, if_match=tag).status == 200
    assert native("GET", path, if_match='"x"').status == 412
    assert native("GET", path, if_modified_since=written).status == 304
    assert native("GET", path, if_modified_since=earlier).status == 200
    assert native("GET", path, if_modified_since="yesterday").status == 200
    assert native("GET", path, if_unmodified_since=earlier).status == 412
    assert native("GET", path, if_unmodified_since=later).status == 200
    assert native("HEAD", path, if_none_match=tag).status == 304
    assert native("HEAD", path, if_match='"x"').status == 412


def test_a_range_of_another_generation_is_not_mixed_with_the_old_one(native: Native) -> None:
    path = "/v1/objects/b/o?provider=ais"
    old = native.put("b/o", b"hello").headers["etag"]
    assert native("GET", path, range="bytes=1-", if_range=old).status == 206
    native.put("b/o", b"other")
    got = native("GET", path, range="bytes=1-", if_range=old)
    assert (got.status, got.body) == (200, b"other")
    date = got.headers["last-modified"]
    assert native("GET", path, range="bytes=1-", if_range=date).status == 206


def test_writes_obey_their_conditions(native: Native) -> None:
    path = "/v1/objects/b/o?provider=ais"
    assert native("PUT", path, b"1", if_match='"x"').status == 412
    first = native("PUT", path, b"1", if_none_match="*")
    assert first.status == 200
    assert native("PUT", path, b"2", if_none_match="*").status == 412
    assert native("PUT", path, b"2", if_match='"x"').status == 412
    assert native("PUT", path, b"2", if_match=first.headers["etag"]).status == 200
    assert native("PUT", path, b"3", if_match=first.headers["etag"]).status == 412
    assert native("GET", path).body == b"2"


def test_of_many_who_write_only_if_absent_one_wins(native: Native) -> None:
    async def race() -> list[int]:
        sends = [
            native.send("PUT", "/v1/objects/b/o?provider=ais", b"x", **{"if-none-match": "*"})
            for _ in range(8)
        ]
        return sorted(answer.status for answer in await asyncio.gather(*sends))

    assert native.runner.run(race()) == [200] + [412] * 7


def test_the_content_type_is_kept_except_what_the_sdk_says_of_every_body(native: Native) -> None:
    path = "/v1/objects/b/o?provider=ais"
    native.put("b/o", b"{}", content_type="text/x-special; charset=latin-1")
    assert native("GET", path).headers["content-type"] == "text/x-special; charset=latin-1"
    native.put("b/o", b"{}", content_type="application/json", user_agent="curl/8")
    assert native("GET", path).headers["content-type"] == "application/json"
    native.put("b/o", b"{}", content_type="application/json", user_agent="ais/python/2.0.0")
    assert native("GET", path).headers["content-type"] == "application/octet-stream"
    native.put("b/o", b"{}", content_type="image/png", user_agent="ais/python/2.0.0")
    assert native("GET", path).headers["content-type"] == "image/png"


def test_custom_metadata_is_added_to_and_replaced(native: Native) -> None:
    path = "/v1/objects/b/o?provider=ais"
    before = native.put("b/o", b"x", ais_custom_md="a=1, b=2, 3, c=x=y")
    assert before.headers["ais-custom-md"] == "a=1, b=2, 3, c=x=y"
    assert native("PATCH", path, patch({"a": "9", "d": "4"})).status == 200
    got = native("GET", path)
    assert got.headers["ais-custom-md"] == "a=9, b=2, 3, c=x=y, d=4"
    assert got.headers["etag"] == before.headers["etag"]
    assert native("PATCH", f"{path}&set-new-custom=true", patch({"k": "v"})).status == 200
    assert native("HEAD", f"{path}&props=custom").headers["ais-custom-md"] == "k=v"


def test_custom_metadata_of_other_alphabets_travels_as_utf8(native: Native) -> None:
    path = "/v1/objects/b/o?provider=ais"
    native.put("b/o", b"x", ais_custom_md="k=ü".encode().decode("latin-1"))
    native("PATCH", path, patch({"😀": "é"}))
    shown = native("GET", path).headers["ais-custom-md"].encode("latin-1").decode()
    assert shown == "k=ü, 😀=é"


@pytest.mark.parametrize(
    "value",
    [{"k": "x" * 2048}, {"": "v"}, {"k": "a\r\nSet-Cookie: x"}, {"k\x01": "v"}, {"k": 5}, ["k"], None, "k=v"],
)
def test_custom_metadata_that_cannot_be_is_refused(native: Native, value: Any) -> None:
    native.put("b/o", b"x")
    assert native("PATCH", "/v1/objects/b/o?provider=ais", patch(value)).status == 400
    assert "ais-custom-md" not in native("GET", "/v1/objects/b/o?provider=ais").headers


def test_metadata_of_what_is_not_there_is_not_found(native: Native) -> None:
    assert native("PATCH", "/v1/objects/b/none?provider=ais", patch({"k": "v"})).status == 404


def test_amendments_at_once_all_stay(native: Native) -> None:
    native.put("b/o", b"x")
    path = "/v1/objects/b/o?provider=ais"
    native.at_once(*[("PATCH", path, patch({f"k{n}": str(n)})) for n in range(10)])
    pairs = native("GET", path).headers["ais-custom-md"].split(", ")
    assert sorted(pairs) == sorted(f"k{n}={n}" for n in range(10))


def test_head_shows_what_was_asked_for_and_nothing_else(native: Native) -> None:
    native.put("b/o", b"hello", ais_custom_md="k=v")
    path = "/v1/objects/b/o?provider=ais"
    assert set(native("HEAD", f"{path}&props=name%2Csize").headers) == {"ais-present"}
    every = "checksum,atime,version,copies,custom,location,last-modified,etag,ec,chunked"
    shown = native("HEAD", f"{path}&props={every}")
    assert shown.response.length == 5
    assert set(shown.headers) == {
        *("ais-present", "ais-checksum-type", "ais-checksum-value", "ais-atime", "ais-version", "etag"),
        *("ais-mirror-copies", "ais-mirror-paths", "ais-custom-md", "ais-location", "last-modified"),
    }
    assert shown.headers["ais-location"] == "t[bRaSsqgO]:mp[/data/mp1, , ]"
    assert shown.headers["ais-mirror-paths"] == "/data/mp1"
    refused = native("HEAD", f"{path}&props=all")
    assert (refused.status, refused.error()["message"]) == (400, 'invalid property "all" in props list')


def test_head_without_a_wish_shows_all(native: Native) -> None:
    native.put("b/d/o", b"hello")
    shown = native("HEAD", "/v1/objects/b/d/o?provider=ais").headers
    assert (shown["ais-name"], shown["ais-bucket-name"], shown["ais-bucket-provider"]) == ("d/o", "b", "ais")
    assert (shown["ais-mirror-copies"], shown["ais-mirror-paths"]) == ("1", "[/data/mp1]")


def test_presence_changes_what_head_shows(native: Native) -> None:
    native.put("b/o", b"hello")
    path = "/v1/objects/b/o?provider=ais"
    assert native("HEAD", f"{path}&presence=2").status == 200
    bare = native("HEAD", f"{path}&presence=1")
    assert (bare.status, bare.headers) == (200, {})
    assert native("HEAD", f"{path}&presence=5").status == 400
    assert native("HEAD", "/v1/objects/b/none?provider=ais&presence=2").status == 404


def test_a_name_cannot_end_a_header(native: Native) -> None:
    native.put("b/a%0d%0aSet-Cookie:%20x", b"x")
    shown = native("HEAD", "/v1/objects/b/a%0d%0aSet-Cookie:%20x?provider=ais")
    assert shown.headers["ais-name"] == "a%0D%0ASet-Cookie: x"
    missing = native("HEAD", "/v1/objects/b/%0d%0a%c3%bc?provider=ais").headers["hdr-error"]
    assert missing.isascii()
    assert missing.isprintable()


def test_what_is_deleted_is_gone(native: Native) -> None:
    native.put("b/o", b"x")
    path = "/v1/objects/b/o?provider=ais"
    deleted = native("DELETE", path)
    assert (deleted.status, deleted.body) == (200, b"")
    assert native("GET", path).status == 404
    again = native("DELETE", path)
    assert (again.status, again.error()["message"]) == (404, "ais://b/o doesn't exist")
    assert "tcode" not in again.error()


def test_delete_does_not_take_another_action_for_itself(native: Native) -> None:
    native.put("b/o", b"x")
    path = "/v1/objects/b/o?provider=ais"
    evicted = native("DELETE", path, {"action": "evict-listrange"})
    assert (evicted.status, evicted.json()["tcode"]) == (400, "ErrNotRemoteBck")
    blob = {"action": "blob-download", "name": "o"}
    assert native("POST", "/v1/objects/b?provider=ais", blob).json()["tcode"] == "ErrNotRemoteBck"
    assert native("DELETE", f"{path}&uploadId=x", {"action": "mpt-abort"}).status == 404
    assert native("DELETE", path, {"action": "nonsense"}).status == 400
    assert native("GET", path).status == 200


def test_no_object_is_ever_locked(native: Native) -> None:
    native.put("b/o", b"x")
    for name in ("o", "none"):
        assert native("POST", f"/v1/objects/b/{name}?provider=ais", {"action": "check-lock"}).status == 200
    missing = native("POST", "/v1/objects/none/o?provider=ais", {"action": "check-lock"})
    assert (missing.status, missing.json()["tcode"]) == (404, "ErrBckNotFound")


AWKWARD = [
    "with space",
    "a%2Fb",
    "plus+plus",
    "d//e",
    "/lead",
    "//lead",
    "trail/",
    "dir",
    "ünï/😀",
    "q?x#y",
    "a&b=c",
    "%",
    "%25",
    "..",
    "../..",
    "./a",
    ".",
    "~/x",
    "a",
    "a/b",
    "a//b",
    "new\nline\r",
    "nul\0",
    "x" * 1024,
    "😀" * 256,
]


def test_names_are_kept_byte_by_byte_and_apart(native: Native) -> None:
    from urllib.parse import quote

    for name in AWKWARD:
        native.put(f"b/{quote(name)}", name.encode())
    for name in AWKWARD:
        got = native("GET", f"/v1/objects/b/{quote(name)}?provider=ais")
        assert (got.status, got.body) == (200, name.encode()), name
        # Escaping every byte, or none that need not be, names the same object.
        escaped = "".join(f"%{byte:02x}" for byte in name.encode())
        assert native("GET", f"/v1/objects/b/{escaped}?provider=ais").body == name.encode()
    assert native.names("b") == sorted(AWKWARD, key=str.encode)
    for name in AWKWARD:
        assert native("DELETE", f"/v1/objects/b/{quote(name)}?provider=ais").status == 200
    assert native.names("b") == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("b/" + "x" * 1025, "1025 bytes"),
        ("b/%ff", "UTF-8"),
        ("b/%zz", "escape"),
        ("b/a%2", "escape"),
        ("b/", "too short"),
        ("b", "too short"),
    ],
)
def test_names_that_no_object_can_have_are_refused(native: Native, path: str, text: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = native(method, f"/v1/objects/{path}?provider=ais")
        if path != "b":
            assert (answer.status, text in answer.error()["message"]) == (400, True), answer.body


def test_wishes_that_are_not_built_are_never_answered_with_the_plain_object(native: Native) -> None:
    native.put("b/o", b"x")
    for wish in ("etl_name=x", "etl_pipeline=x,y"):
        assert native("GET", f"/v1/objects/b/o?provider=ais&{wish}").status == 501, wish
    assert native("PUT", "/v1/objects/b/o?provider=ais&etl_name=x", b"y").status == 501
    # The SDK sends empty archive parameters, and everybody others that change nothing here.
    for wish in ("archpath=&archregx=", "latest-ver=true", "pid=x&utm=y", "skip_vc=true"):
        assert native("GET", f"/v1/objects/b/o?provider=ais&{wish}").body == b"x", wish


def test_a_missing_bucket_is_named(native: Native) -> None:
    for method in ("GET", "PUT", "DELETE", "HEAD", "PATCH"):
        answer = native(method, "/v1/objects/none/o?provider=ais", patch({}) if method == "PATCH" else b"")
        assert answer.status == 404
        assert answer.error()["tcode"] == "ErrBckNotFound"
        assert answer.error()["message"] == 'bucket "ais://none" does not exist'


def test_a_bucket_that_comes_and_goes_is_never_remembered_wrongly(native: Native) -> None:
    path = "/v1/objects/n/o?provider=ais"
    for round_ in range(3):
        assert native("GET", path).error()["tcode"] == "ErrBckNotFound"
        native.bucket("n")
        assert native("GET", path).error()["tcode"] == "ErrNotFound"
        native.put("n/o", str(round_).encode())
        assert native("GET", path).body == str(round_).encode()
        native("DELETE", "/v1/buckets/n?provider=ais", {"action": "destroy-bck"})


def test_the_verbs_are_counted(native: Native) -> None:
    native.put("b/o", b"hello")
    native("GET", "/v1/objects/b/o?provider=ais")
    native("GET", "/v1/objects/b/o?provider=ais", range="bytes=1-2")
    native("GET", "/v1/objects/b/none?provider=ais")
    native("HEAD", "/v1/objects/b/o?provider=ais")
    native("DELETE", "/v1/objects/b/o?provider=ais")
    native.page("b")
    slots = native.telemetry.slots
    assert (slots[telemetry.GET_COUNT], slots[telemetry.GET_BYTES], slots[telemetry.GET_ERRORS]) == (3, 7, 1)
    assert (slots[telemetry.PUT_COUNT], slots[telemetry.PUT_BYTES]) == (1, 5)
    assert (slots[telemetry.HEAD_COUNT], slots[telemetry.DELETE_COUNT], slots[telemetry.LIST_COUNT]) == (
        1,
        1,
        1,
    )
    assert slots[telemetry.GET_NS] > 0
    assert slots[telemetry.PUT_NS] > 0
