"""Uploads in parts by the native dialect: filled in any order, completed with all parts or not at all."""

from typing import Any

import pytest

from service.calling import Native

PATH = "/v1/objects/b/o?provider=ais"
WHOLE = {"ais-checksum-type": "xxhash2"}


def begin(native: Native) -> str:
    answer = native("POST", PATH, {"action": "mpt-upload"})
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    upload = answer.body.decode()
    assert upload.isprintable()
    assert "/" not in upload
    return upload


def part(native: Native, upload: str, number: int, body: bytes, **headers: str) -> Any:
    return native("PUT", f"{PATH}&uploadId={upload}&partNumber={number}", body, **headers)


def complete(native: Native, upload: str, *numbers: int) -> Any:
    value = [{"part-number": number, "etag": ""} for number in numbers]
    return native("POST", f"{PATH}&uploadId={upload}", {"action": "mpt-complete", "value": value})


def test_parts_in_any_order_make_the_object_in_the_order_of_their_numbers(native: Native) -> None:
    upload = begin(native)
    for number, body in ((3, b"three"), (1, b"one"), (2, b"two")):
        answer = part(native, upload, number, body)
        assert (answer.status, answer.body, "etag" in answer.headers) == (200, b"", False)
    assert native("GET", PATH).status == 404
    assert complete(native, upload, 2, 1, 3).status == 200
    got = native("GET", PATH)
    assert got.body == b"onetwothree"
    native.put("b/whole", b"onetwothree")
    whole = native("GET", "/v1/objects/b/whole?provider=ais").headers
    for name in ("ais-checksum-type", "ais-checksum-value", "ais-version"):
        assert got.headers[name] == whole[name]


def test_a_part_that_is_sent_again_replaces_the_first(native: Native) -> None:
    upload = begin(native)
    part(native, upload, 1, b"first")
    part(native, upload, 1, b"again")
    assert complete(native, upload, 1).status == 200
    assert native("GET", PATH).body == b"again"


def test_what_was_made_of_parts_is_told_as_chunked(native: Native) -> None:
    upload = begin(native)
    part(native, upload, 1, b"one")
    complete(native, upload, 1)
    native.put("b/plain")
    head = native("HEAD", f"{PATH}&props=chunked")
    assert head.headers["ais-chunks-count"] == "1"
    assert head.headers["ais-chunks-max-chunk-size"] == "3"
    plain = native("HEAD", "/v1/objects/b/plain?provider=ais&props=chunked")
    assert [name for name in plain.headers if name.startswith("ais-chunks")] == []
    flags = {entry["n"]: entry["f"] for entry in native.page("b", props="name,chunked")["Entries"]}
    assert flags == {"o": 64 | 8192, "plain": 64}


def test_a_copy_is_one_payload_of_its_own(native: Native) -> None:
    upload = begin(native)
    part(native, upload, 1, b"one")
    complete(native, upload, 1)
    assert native("PUT", f"{PATH}&object_to=ais/@%23/b/copy").status == 200
    copy = native("HEAD", "/v1/objects/b/copy?provider=ais&props=chunked,checksum")
    assert "ais-chunks-count" not in copy.headers
    assert copy.headers["ais-checksum-type"] == "xxhash2"


def test_the_metadata_of_the_beginning_is_that_of_the_object(native: Native) -> None:
    answer = native("POST", PATH, {"action": "mpt-upload"}, content_type="text/csv", ais_custom_md="k=v")
    upload = answer.body.decode()
    part(native, upload, 1, b"a,b")
    complete(native, upload, 1)
    got = native("GET", PATH).headers
    assert (got["content-type"], got["ais-custom-md"]) == ("text/csv", "k=v")


@pytest.mark.parametrize("kind", ["md5", "crc32c", "none"])
def test_the_object_gets_the_checksum_of_its_bucket(native: Native, kind: str) -> None:
    native.bucket("c", checksum={"type": kind})
    native.put("c/whole", b"onetwo")
    path = "/v1/objects/c/o?provider=ais"
    upload = native("POST", path, {"action": "mpt-upload"}).body.decode()
    for number, body in ((1, b"one"), (2, b"two")):
        assert native("PUT", f"{path}&uploadId={upload}&partNumber={number}", body).status == 200
    value = [{"part-number": 1}, {"part-number": 2}]
    done = native("POST", f"{path}&uploadId={upload}", {"action": "mpt-complete", "value": value})
    assert done.status == 200
    ours, whole = native("HEAD", path).headers, native("HEAD", "/v1/objects/c/whole?provider=ais").headers
    for name in ("ais-checksum-type", "ais-checksum-value"):
        assert ours.get(name) == whole.get(name)


@pytest.mark.parametrize(
    ("stored", "listed", "text"),
    [
        ((), (1,), "no chunks"),
        ((), (), "no chunks"),
        ((1, 2), (1,), "partial completion is not allowed: requested 1 parts, have 2"),
        ((1, 2), (), "partial completion is not allowed: requested 0 parts, have 2"),
        ((1, 2), (1, 2, 3), "partial completion is not allowed: requested 3 parts, have 2"),
        ((1, 2), (1, 1), "parts must be exactly 1..2: got 1 at position 1"),
        ((1, 2), (1, 3), "parts must be exactly 1..2: got 3 at position 1"),
        ((1, 3), (1, 2), "part 2 was not uploaded"),
    ],
)
def test_completing_needs_exactly_the_parts_that_are_there(
    native: Native, stored: tuple[int, ...], listed: tuple[int, ...], text: str
) -> None:
    native.put("b/o", b"before")
    upload = begin(native)
    for number in stored:
        part(native, upload, number, b"x")
    answer = complete(native, upload, *listed)
    assert (answer.status, text in answer.json()["message"]) == (400, True), answer.body
    assert native("GET", PATH).body == b"before"
    # The upload goes on.
    if stored == (1, 2):
        assert complete(native, upload, *stored).status == 200


def test_an_upload_ends_once(native: Native) -> None:
    upload = begin(native)
    part(native, upload, 1, b"x")
    assert complete(native, upload, 1).status == 200
    for answer in (
        complete(native, upload, 1),
        part(native, upload, 2, b"y"),
        native("DELETE", f"{PATH}&uploadId={upload}", {"action": "mpt-abort"}),
    ):
        assert answer.status == 404
        assert "does not exist" in answer.json()["message"]


def test_an_aborted_upload_leaves_nothing(native: Native) -> None:
    upload = begin(native)
    part(native, upload, 1, b"x")
    aborted = native("DELETE", f"{PATH}&uploadId={upload}", {"action": "mpt-abort"})
    assert (aborted.status, aborted.body) == (200, b"")
    assert complete(native, upload, 1).status == 404
    assert native("GET", PATH).status == 404


@pytest.mark.parametrize(
    ("number", "body", "headers", "text"),
    [
        ("1", b"", {}, "invalid size (0)"),
        ("0", b"x", {}, "invalid part number"),
        ("10001", b"x", {}, "invalid part number"),
        ("-1", b"x", {}, "invalid part number"),
        ("", b"x", {}, "invalid part number"),
        ("1", b"x", {"ais_checksum_type": "md5", "ais_checksum_value": "00"}, "BAD DATA CHECKSUM"),
        ("1", b"x", {"ais_checksum_type": "md6", "ais_checksum_value": "00"}, "invalid checksum type"),
    ],
)
def test_a_part_that_cannot_be_is_refused(
    native: Native, number: str, body: bytes, headers: dict[str, str], text: str
) -> None:
    upload = begin(native)
    answer = native("PUT", f"{PATH}&uploadId={upload}&partNumber={number}", body, **headers)
    assert (answer.status, text in answer.json()["message"]) == (400, True), answer.body
    assert "no chunks" in complete(native, upload, 1).json()["message"]


@pytest.mark.parametrize(
    ("method", "query", "action"),
    [
        ("POST", "", "mpt-complete"),
        ("DELETE", "", "mpt-abort"),
        ("POST", "&uploadId=", "mpt-complete"),
    ],
)
def test_an_upload_must_be_named(native: Native, method: str, query: str, action: str) -> None:
    assert native(method, PATH + query, {"action": action}).status == 400


def test_a_list_of_parts_must_be_one(native: Native) -> None:
    upload = begin(native)
    for value in ("x", [1], [{"etag": ""}], [{"part-number": "x"}]):
        body: dict[str, object] = {"action": "mpt-complete", "value": value}
        assert native("POST", f"{PATH}&uploadId={upload}", body).status == 400, value
