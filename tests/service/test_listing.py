"""Listings through the native API: as clients page through them, in both encodings."""

from typing import Any

import pytest

from aisle.gateway import listing
from service.calling import Native


def pages(native: Native, bucket: str, **value: Any) -> list[list[str]]:
    """All pages of a listing, as a client fetches them."""
    got: list[list[str]] = []
    token, uuid = "", ""
    while True:
        page = native.page(bucket, continuation_token=token, uuid=uuid, **value)
        got.append([entry["n"] for entry in page["Entries"]])
        assert page["UUID"]
        assert uuid in ("", page["UUID"])
        token, uuid = page["ContinuationToken"], page["UUID"]
        if not token:
            return got
        value.pop("start_after", None)


def fill(native: Native, *names: str) -> None:
    for name in names:
        native.put(f"b/{name}", name.encode())


def test_a_page_has_exactly_the_keys_that_clients_require(native: Native) -> None:
    fill(native, "a")
    native.put("b/empty", b"")
    page = native.page("b", flags="0")
    assert set(page) == {"UUID", "ContinuationToken", "Entries", "Flags"}
    assert page["Entries"] == [{"n": "a", "s": 1, "f": 64}, {"n": "empty", "f": 64}]
    assert (page["Flags"], page["ContinuationToken"]) == (0, "")
    assert len(page["UUID"]) >= 9


def test_an_empty_bucket_has_one_empty_page(native: Native) -> None:
    assert native.page("b")["Entries"] == []
    answer = native("GET", "/v1/buckets/b?provider=ais", {"action": "list", "value": {}})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.json()["entries"] is None


def test_msgpack_is_announced_without_a_charset(native: Native) -> None:
    for accept in ("application/msgpack", "application/json, application/msgpack;q=0.9"):
        answer = native("GET", "/v1/buckets/b", {"action": "list", "value": {}}, accept=accept)
        assert answer.headers["content-type"] == "application/msgpack"


@pytest.mark.parametrize("size", [1, 2, 7, 17, 20, 24, 25, 26, 1000, 0, -1, 10_001])
def test_pages_of_any_size_hold_every_name_once_and_in_order(native: Native, size: int) -> None:
    names = [f"l/{number:03}" for number in range(25)]
    fill(native, *names)
    got = pages(native, "b", pagesize=size)
    assert [name for page in got for name in page] == names
    assert all(len(page) == size for page in got[:-1])


def test_a_page_longer_than_a_slice_is_whole(native: Native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SLICE_ENTRIES", 4)
    names = [f"{number:03}" for number in range(25)]
    fill(native, *names)
    assert pages(native, "b") == [names]
    assert pages(native, "b", pagesize=12) == [names[:12], names[12:24], names[24:]]
    fill(native, *(f"d{number}/x" for number in range(9)))
    folders = [f"d{number}/" for number in range(9)]
    assert pages(native, "b", pagesize=6, prefix="d", flags="2048") == [folders[:6], folders[6:]]


def test_prefixes_are_plain_beginnings(native: Native) -> None:
    fill(native, "d", "d-1", "d/x", "d/y/z", "e")
    assert native.names("b", prefix="d") == ["d", "d-1", "d/x", "d/y/z"]
    assert native.names("b", prefix="d/") == ["d/x", "d/y/z"]
    assert native.names("b", prefix="d/*") == ["d/x", "d/y/z"]
    assert native.names("b", prefix="none") == []
    assert native.names("b", prefix="ü") == []


def test_start_after_excludes_itself(native: Native) -> None:
    fill(native, "a", "b", "c")
    assert native.names("b", start_after="a") == ["b", "c"]
    assert native.names("b", start_after="aa") == ["b", "c"]
    assert native.names("b", start_after="c") == []
    assert pages(native, "b", start_after="a", pagesize=1) == [["b"], ["c"]]


def test_without_recursion_folders_stand_for_what_is_below_them(native: Native) -> None:
    fill(native, "a", "d/x", "d/y/z", "d-1", "e/f", "z")
    page = native.page("b", flags="2048")
    assert page["Entries"] == [
        {"n": "a", "s": 1, "f": 64},
        {"n": "d-1", "s": 3, "f": 64},
        {"n": "d/", "f": 256},
        {"n": "e/", "f": 256},
        {"n": "z", "s": 1, "f": 64},
    ]
    assert native.names("b", flags="2048", prefix="d/") == ["d/x", "d/y/"]
    assert native.names("b", flags="2048", prefix="d") == ["d-1", "d/"]
    assert pages(native, "b", flags="2048", pagesize=1) == [["a"], ["d-1"], ["d/"], ["e/"], ["z"]]
    # "No folders" leaves them in a listing without recursion, as AIStore does.
    assert native.names("b", flags=str(2048 | 8192)) == ["a", "d-1", "d/", "e/", "z"]
    assert native.page("b", flags=str(2048 | 16), prefix="d/")["Entries"] == [
        {"n": "d/x", "f": 64},
        {"n": "d/y/", "f": 256},
    ]


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        ({}, {"n", "s", "f"}),
        ({"flags": "16"}, {"n", "f"}),
        ({"flags": "17"}, {"n", "f"}),
        ({"flags": 32}, {"n", "s", "f"}),
        ({"flags": "1"}, {"n", "s", "cs", "a", "f"}),
        ({"props": "name"}, {"n", "f"}),
        ({"props": "name,size"}, {"n", "s", "f"}),
        ({"props": "name,size,cached"}, {"n", "s", "f"}),
        ({"props": "name,size,checksum"}, {"n", "s", "cs", "f"}),
        ({"props": "name,checksum"}, {"n", "cs", "f"}),
        ({"props": "name,nosuch"}, {"n", "f"}),
        (
            {"props": "name,size,checksum,atime,version,cached,status,copies,custom,location"},
            {"n", "s", "cs", "a", "v", "c", "m", "t", "f"},
        ),
    ],
)
def test_entries_show_what_was_asked_for(native: Native, asked: dict[str, Any], keys: set[str]) -> None:
    native.put("b/o", b"hello", ais_custom_md="k=v")
    (entry,) = native.page("b", **asked)["Entries"]
    assert set(entry) == keys
    full = {
        "n": "o",
        "s": 5,
        "cs": "26c7827d889f6da3",
        "a": "20 Nov 26 16:12 UTC",
        "v": "1",
        "c": 1,
        "m": "[k:v]",
        "t": "t[bRaSsqgO]:mp[/data/mp1, , ]",
        "f": 64,
    }
    assert entry == {key: full[key] for key in keys}


def test_json_shows_the_same_under_longer_names(native: Native) -> None:
    native.put("b/o", b"hello")
    native.put("b/d/empty", b"")
    props = "name,size,checksum,version,atime"
    answer = native("GET", "/v1/buckets/b", {"action": "list", "value": {"props": props, "pagesize": 10}})
    document = answer.json()
    assert list(document) == ["uuid", "continuation_token", "entries", "flags"]
    assert document["entries"][1] == {
        "name": "o",
        "checksum": "26c7827d889f6da3",
        "atime": "20 Nov 26 16:12 UTC",
        "version": "1",
        "size": "5",
        "flags": 64,
    }
    plain = native("GET", "/v1/buckets/b", {"action": "list", "value": {"flags": "2048"}}).json()
    assert plain["entries"] == [{"name": "d/", "flags": 256}, {"name": "o", "size": "5", "flags": 64}]


def test_a_request_without_a_body_lists_too(native: Native) -> None:
    fill(native, "a")
    assert native("GET", "/v1/buckets/b?provider=ais").json()["entries"][0]["name"] == "a"


@pytest.mark.parametrize("length", [1, 31, 32, 255, 256, 1023, 1024])
@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536])
def test_spliced_entries_are_those_that_an_encoder_makes(native: Native, length: int, size: int) -> None:
    name = "n" * length
    native.put(f"b/{name}", bytes(size))
    expected = {"n": name, "f": 64} | ({"s": size} if size else {})
    assert native.page("b")["Entries"] == [expected]
    assert native.page("b", flags="16")["Entries"] == [{"n": name, "f": 64}]


@pytest.mark.parametrize(("flags", "status"), [(512, 400), (4096, 400), (32_768, 501)])
def test_flags_for_remote_buckets_and_those_not_built_are_refused(
    native: Native, flags: int, status: int
) -> None:
    value = {"flags": str(flags)}
    assert native("GET", "/v1/buckets/b", {"action": "list", "value": value}).status == status


@pytest.mark.parametrize("value", [{"pagesize": "many"}, {"flags": "x"}, {"prefix": 5}, "text", [1]])
def test_list_messages_that_cannot_be_are_refused(native: Native, value: Any) -> None:
    assert native("GET", "/v1/buckets/b", {"action": "list", "value": value}).status == 400


def test_a_bucket_that_is_not_there_cannot_be_listed(native: Native) -> None:
    answer = native("GET", "/v1/buckets/none?provider=ais", {"action": "list", "value": {}})
    assert (answer.status, answer.error()["tcode"]) == (404, "ErrBckNotFound")


def test_a_listing_stays_in_order_while_names_come_and_go(native: Native) -> None:
    fill(native, *(f"{number:02}" for number in range(0, 40, 2)))
    first = native.page("b", pagesize=5)
    fill(native, "01", "09", "39")
    native("DELETE", "/v1/objects/b/10?provider=ais")
    rest = native.names("b", continuation_token=first["ContinuationToken"], uuid=first["UUID"])
    assert rest == ["09", *(f"{number:02}" for number in range(12, 40, 2)), "39"]


def test_a_listing_id_that_is_not_known_continues_anyway(native: Native) -> None:
    fill(native, "a", "b")
    page = native.page("b", uuid="N-KbgFDDiw", continuation_token="a")
    assert (page["UUID"], [entry["n"] for entry in page["Entries"]]) == ("N-KbgFDDiw", ["b"])
