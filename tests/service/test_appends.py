"""Appending: what is gathered under a handle, and what readers see of it."""

from typing import Any

import pytest

from aisle.errors import RequestAborted
from aisle.model.bucket import BucketInfo
from aisle.target.appends import FORGOTTEN_NS, Handle, TargetAppends
from aisle.target.objects import TargetObjects
from service.calling import Chunks, Native

PATH = "/v1/objects/b/o?provider=ais"


def appends(native: Native, later_ns: int) -> TargetAppends:
    """Appending as another process would, at another time."""
    objects = TargetObjects(native.engine)
    return TargetAppends(native.engine, objects, clock=lambda: native.clock() + later_ns)


def bucket(native: Native) -> BucketInfo:
    return native.buckets.select(name="b")[0]


def append(native: Native, body: bytes, handle: str = "", path: str = PATH) -> str:
    answer = native("PUT", f"{path}&append_type=append&append_handle={handle}", body)
    assert answer.status == 200, answer.body
    return answer.headers["ais-append-handle"]


def flush(native: Native, handle: str, path: str = PATH) -> Any:
    return native("PUT", f"{path}&append_type=flush&append_handle={handle}")


def test_what_was_appended_is_the_object_when_it_is_flushed_and_not_before(native: Native) -> None:
    first = append(native, b"one")
    second = append(native, b"two", first)
    assert first != second
    assert native("GET", PATH).status == 404
    assert native.names("b") == []
    flushed = flush(native, second)
    assert (flushed.status, flushed.body) == (200, b"")
    assert "ais-append-handle" not in flushed.headers
    got = native("GET", PATH)
    assert got.body == b"onetwo"
    assert got.headers["ais-version"] == "1"


def test_appending_goes_on_behind_what_the_object_holds(native: Native) -> None:
    native.put("b/o", b"old ", content_type="text/plain", ais_custom_md="k=v")
    handle = append(native, b"new")
    assert native("GET", PATH).body == b"old "
    flush(native, handle)
    got = native("GET", PATH)
    assert (got.body, got.headers["content-type"], got.headers["ais-custom-md"]) == (
        b"old new",
        "text/plain",
        "k=v",
    )
    assert got.headers["ais-version"] == "2"


def test_the_checksum_is_that_of_all_bytes(native: Native) -> None:
    flush(native, append(native, b"two", append(native, b"one")))
    native.put("b/whole", b"onetwo")
    whole = native("GET", "/v1/objects/b/whole?provider=ais").headers
    assert native("GET", PATH).headers["ais-checksum-value"] == whole["ais-checksum-value"]


def test_a_repeated_append_replaces_its_piece(native: Native) -> None:
    first = append(native, b"one")
    assert append(native, b"twice", first) == append(native, b"two", first)
    flush(native, append(native, b"two", first))
    assert native("GET", PATH).body == b"onetwo"


def test_an_empty_append_changes_nothing(native: Native) -> None:
    first = append(native, b"one")
    assert append(native, b"", first) == first
    flush(native, first)
    assert native("GET", PATH).body == b"one"


def test_nothing_appended_makes_an_empty_object(native: Native) -> None:
    flush(native, append(native, b""))
    assert native("GET", PATH).body == b""


def test_an_append_that_breaks_off_leaves_the_handle_as_it_was(native: Native) -> None:
    first = append(native, b"one")

    async def broken() -> None:
        _, upload, pieces = first.split("|")
        source = Chunks([b"tw", RequestAborted("gone")])
        await appends(native, 0).append(bucket(native), b"o", source, Handle(upload, int(pieces)))

    with pytest.raises(RequestAborted):
        native.runner.run(broken())
    flush(native, append(native, b"two", first))
    assert native("GET", PATH).body == b"onetwo"


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("append_type=append&append_handle=nonsense", 400, "invalid APPEND handle"),
        ("append_type=append&append_handle=other|memory-000000009|1", 400, "invalid APPEND handle"),
        ("append_type=append&append_handle=bRaSsqgO|x|y", 400, "invalid APPEND handle"),
        ("append_type=append&append_handle=bRaSsqgO|memory-999999999|1", 404, "does not exist"),
        ("append_type=flush&append_handle=", 400, "invalid APPEND handle"),
        ("append_type=flush", 400, "invalid APPEND handle"),
        ("append_type=flush&append_handle=bRaSsqgO|memory-999999999|1", 404, "does not exist"),
        ("append_type=other&append_handle=", 400, "invalid append type"),
    ],
)
def test_wrong_appends_are_refused_and_change_nothing(
    native: Native, query: str, status: int, text: str
) -> None:
    native.put("b/o", b"x")
    answer = native("PUT", f"{PATH}&{query}", b"y")
    assert (answer.status, text in answer.json()["message"]) == (status, True), answer.body
    assert native("GET", PATH).body == b"x"


def test_a_handle_belongs_to_one_object_and_ends_when_it_is_flushed(native: Native) -> None:
    handle = append(native, b"one")
    other = "/v1/objects/b/other?provider=ais"
    assert flush(native, handle, other).status == 404
    assert native("PUT", f"{other}&append_type=append&append_handle={handle}", b"x").status == 404
    assert flush(native, handle).status == 200
    assert native("PUT", f"{PATH}&append_type=append&append_handle={handle}", b"x").status == 404


def test_what_lacks_a_piece_is_not_flushed(native: Native) -> None:
    """A check with repair may have dropped one that was damaged."""
    native.put("b/o", b"x")
    handle = append(native, b"two", append(native, b"one"))
    after_a_gap = append(native, b"four", handle.replace("|3", "|4"))
    for wrong in (after_a_gap, handle.replace("|3", "|9999")):
        answer = flush(native, wrong)
        assert (answer.status, "are left" in answer.json()["message"]) == (400, True), answer.body
    assert native("GET", PATH).body == b"x"
    assert flush(native, handle).status == 200
    assert native("GET", PATH).body == b"xonetwo"


def test_a_repeated_flush_is_as_good_until_the_object_is_another(native: Native) -> None:
    handle = append(native, b"two", append(native, b"one"))
    assert flush(native, handle).status == 200
    before = native.state()
    # Whoever did not get the answer asks again.
    assert flush(native, handle).status == 200
    assert native.state() == before
    shorter = handle.rpartition("|")[0] + "|1"
    assert flush(native, shorter).status == 404
    assert native.state() == before
    later = append(native, b"three")
    assert flush(native, later).status == 200
    assert flush(native, handle).status == 404
    assert native("GET", PATH).body == b"onetwothree"
    assert "append" not in str(native("HEAD", PATH).headers)
    assert "append" not in str(native("HEAD", "/s3/b/o").headers)


def test_appending_to_no_bucket_is_told_like_any_write(native: Native) -> None:
    answer = native("PUT", "/v1/objects/none/o?provider=ais&append_type=append&append_handle=", b"x")
    assert (answer.status, answer.json()["tcode"]) == (404, "ErrBckNotFound")


def test_what_is_appended_is_no_upload_of_clients(native: Native) -> None:
    handle = append(native, b"one")
    upload = handle.split("|")[1]
    answer = native("PUT", f"{PATH}&uploadId={upload}&partNumber=1", b"x")
    assert answer.status == 404
    assert native("GET", "/s3/b?uploads").body.count(b"<Upload>") == 0


def test_what_was_never_flushed_is_forgotten_after_a_day(native: Native) -> None:
    handle = append(native, b"one")
    younger = append(native, b"one", path="/v1/objects/b/younger?provider=ais")

    async def begin_another(later_ns: int) -> None:
        await appends(native, later_ns).append(bucket(native), b"another", Chunks(b"x"), None)

    native.runner.run(begin_another(FORGOTTEN_NS // 2))
    assert append(native, b"x", younger, "/v1/objects/b/younger?provider=ais") != younger
    native.runner.run(begin_another(FORGOTTEN_NS + 10**12))
    assert flush(native, handle).status == 404
