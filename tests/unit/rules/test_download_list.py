import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisle.errors import BadRequest, InvalidName
from aisle.rules.download_list import (
    ITEMS_MAX,
    LINE_BYTES_MAX,
    KeyHashes,
    ListedItem,
    ListReader,
    literal_key,
    parse_checksum,
    wire_line,
)
from aisle.rules.download_names import base_name, normal_link, object_key

SHA = "a" * 64


def read(*lines: object, subdir: str = "") -> list[ListedItem]:
    reader = ListReader(subdir=subdir, first_line=2)
    body = b"".join(
        (line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n" for line in lines
    )
    return reader.feed(body) + reader.finish()


def test_an_item_is_called_after_its_link_unless_it_has_a_name() -> None:
    assert read(
        {"link": "http://h/a/x.jpg"},
        {"link": "http://h/a/x.jpg", "name": "d/y.jpg"},
        {"link": "http://h/a/b%20c.jpg?t=1"},
        {"link": "h/z"},
        {"link": "http://h/p q"},
    ) == [
        ListedItem(b"x.jpg", "http://h/a/x.jpg"),
        ListedItem(b"d/y.jpg", "http://h/a/x.jpg"),
        ListedItem(b"b c.jpg", "http://h/a/b%20c.jpg?t=1"),
        ListedItem(b"z", "http://h/../z".replace("/..", "")),
        ListedItem(b"p q", "http://h/p%20q"),
    ]


def test_names_are_taken_as_they_are_written() -> None:
    names = ["a%20b", "a?b#c", "ä/ö", "a b", "a//b", "{1..2}", ".hidden", "x=1/y"]
    found = read(*({"link": "http://h/x", "name": name} for name in names), subdir="/in/")
    assert [item.key.decode() for item in found] == [f"in/{name}" for name in names]


def test_what_may_be_absent_may_be_null_and_further_fields_are_ignored() -> None:
    found = read({"link": "http://h/x", "name": None, "checksum": None, "size": None, "caption": [1, {}]})
    assert found == [ListedItem(b"x", "http://h/x")]


def test_size_and_checksum_come_along() -> None:
    assert read({"link": "http://h/x", "checksum": f"SHA256:{SHA.upper()}", "size": 0}) == [
        ListedItem(b"x", "http://h/x", f"sha256:{SHA}", 0)
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "line 3: "),
        (b"[]", "line 3: "),
        (b'{"link": "http://h/x"} {"link": "http://h/y"}', "line 3: "),
        (b'{"link": "http://h/\xff"}', "line 3: "),
        ({}, "line 3: 'link' is missing"),
        ({"link": ""}, "line 3: 'link' is missing"),
        ({"link": 1}, "line 3: "),
        ({"link": "ftp://h/x"}, 'line 3: link "ftp://h/x"'),
        ({"link": "http://h/"}, "line 3: cannot derive"),
        ({"link": "http://h:99999/x"}, "line 3: "),
        ({"link": "http://h/x", "name": "a/../b"}, 'line 3: "a/../b"'),
        ({"link": "http://h/x", "name": "/a"}, 'line 3: "/a"'),
        ({"link": "http://h/x", "name": "a/"}, 'line 3: "a/"'),
        ({"link": "http://h/x", "name": "n" * 1025}, "line 3: object name has 1025 bytes"),
        ({"link": "http://h/x", "size": -2}, "line 3: 'size' cannot be -2"),
        ({"link": "http://h/x", "size": 2**63}, "line 3: 'size' cannot be 9223372036854775808"),
        ({"link": "http://h/x", "size": 1.5}, "line 3: "),
        ({"link": "http://h/x", "checksum": "sha256:ab"}, "line 3: checksum"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(line: object, reason: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read({"link": "http://h/ok"}, line)
    assert str(caught.value).startswith(reason)


def test_a_line_without_an_end_is_not_waited_for() -> None:
    reader = ListReader(first_line=2)
    reader.feed(b'{"link": "http://h/a"}\n{"link": "' + b"x" * (LINE_BYTES_MAX - 100))
    with pytest.raises(BadRequest, match="line 3: longer"):
        reader.feed(b"x" * 100)


def test_empty_lines_are_counted_but_are_no_items() -> None:
    reader = ListReader()
    assert len(reader.feed(b'\n{"link": "http://h/a"}\r\n\n')) == 1
    with pytest.raises(BadRequest, match="line 4"):
        reader.feed(b"{\n")


@given(st.integers(1, 40), st.lists(st.sampled_from(["http://h/a", "h/b?x", "http://h/\u00e9"]), max_size=9))
def test_it_does_not_matter_where_the_pieces_end(size: int, links: list[str]) -> None:
    body = b"\n".join(json.dumps({"link": link}).encode() for link in links)
    reader = ListReader()
    found = [item for at in range(0, len(body), size) for item in reader.feed(body[at : at + size])]
    found += reader.finish()
    assert found == [
        ListedItem(object_key(base_name(normal_link(link))), normal_link(link)) for link in links
    ]
    assert reader.count == len(links)


# The quick look at plain links and names must find what the whole rule finds.
@given(st.from_regex(r"https?://[a-z.:0-9@]{1,9}/[a-zA-Z0-9._~%!$&'()*+,;=:@/?#{} -]{0,20}", fullmatch=True))
def test_plain_links_follow_the_rule_for_all(link: str) -> None:
    try:
        normal = normal_link(link)
        expected = (literal_key(object_key(base_name(normal)).decode()), normal)
    except BadRequest:
        with pytest.raises(BadRequest):
            read({"link": link})
        return
    except UnicodeDecodeError:
        return
    assert [item[:2] for item in read({"link": link})] == [expected]


@pytest.mark.parametrize(
    "link",
    [
        "https://host/a.jpg",
        "http://127.0.0.1:40000/images/00000/picture-00000001.jpg",
        "http://host:80/a/b=c,d/(e)%20f/g~h/file_1.tar.gz",
    ],
)
def test_plain_links_need_one_look(link: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Which is what makes a list of a million a matter of seconds.
    monkeypatch.setattr("aisle.rules.download_list.normal_source", None)
    assert read({"link": link, "name": "a/b-1.jpg"}, {"link": link})[1].link == link


@given(st.text("abAZ09._=~/- %", min_size=1, max_size=12))
def test_plain_names_follow_the_rule_for_all(name: str) -> None:
    try:
        expected = literal_key(name)
    except InvalidName:
        with pytest.raises(BadRequest):
            read({"link": "http://h/x", "name": name})
        return
    assert read({"link": "http://h/x", "name": name})[0].key == expected


def test_a_list_has_a_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aisle.rules.download_list.ITEMS_MAX", 2)
    with pytest.raises(BadRequest, match="more than 2 items"):
        read(*({"link": f"http://h/{number}"} for number in range(3)))
    assert ITEMS_MAX >= 1_000_000


@pytest.mark.parametrize(
    "text",
    ["sha256", "sha256:", f"sha256:{'g' * 64}", "md4:" + "0" * 32, "md5:" + "0" * 31, ":", "crc32c:0x00000"],
)
def test_a_checksum_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="checksum"):
        parse_checksum(text)


def test_all_kinds_of_checksums() -> None:
    for kind, digits in {
        "md5": 32,
        "crc32c": 8,
        "sha1": 40,
        "sha256": 64,
        "sha512": 128,
        "gitblob": 40,
    }.items():
        assert parse_checksum(f"{kind}:{'0' * digits}") == f"{kind}:{'0' * digits}"
    assert parse_checksum("") == ""


def items_of(keys: list[bytes]) -> list[ListedItem]:
    return [ListedItem(key, f"http://h/{number}?token=secret") for number, key in enumerate(keys)]


@given(st.lists(st.binary(max_size=2), max_size=300))
def test_equal_keys_are_found(keys: list[bytes]) -> None:
    hashes = KeyHashes(seed=7)
    for item in items_of(keys):
        hashes.add([item])
    repeated = hashes.repeated()
    if len(set(keys)) == len(keys):
        hashes.refuse_equal(items_of(keys), repeated)
        assert not repeated
    else:
        with pytest.raises(BadRequest, match="would both become"):
            hashes.refuse_equal(items_of(keys), repeated)


def test_both_items_of_an_equal_name_are_told_without_their_secrets() -> None:
    items = items_of([b"a", b"b", b"c", b"b"])
    hashes = KeyHashes(seed=1)
    hashes.add(items)
    with pytest.raises(BadRequest) as caught:
        hashes.refuse_equal(items, hashes.repeated())
    assert str(caught.value) == (
        'items 2 ("http://h/1?token=...") and 4 ("http://h/3?token=...") would both become object "b"'
    )


def test_hashes_that_are_equal_by_chance_are_no_mistake() -> None:
    items = items_of([b"a", b"b"])
    hashes = KeyHashes(seed=1)
    hashes.add(items)
    hashes.add(items)  # as if two other keys had the same hashes
    hashes.refuse_equal(items, hashes.repeated())


def test_items_become_lines_and_come_back() -> None:
    items = [
        ListedItem(b"a", "http://h/a"),
        ListedItem("d/é".encode(), "http://h/b", f"sha256:{SHA}", 5),
        ListedItem(b"e", "http://h/e", "", 0),
    ]
    reader = ListReader()
    assert reader.feed(b"".join(map(wire_line, items))) == items


def test_addresses_of_the_hub_become_links() -> None:
    reader = ListReader(hub="http://hub")
    items = reader.feed(b'{"link": "hf://o/m@v1/a/b c"}\n{"link": "hf://o/m/x", "name": "y"}\n')
    assert [(item.key, item.link) for item in items] == [
        (b"b c", "http://hub/o/m/resolve/v1/a/b%20c"),
        (b"y", "http://hub/o/m/resolve/main/x"),
    ]
    with pytest.raises(BadRequest, match=r"line 3: .* names no file"):
        reader.feed(b'{"link": "hf://o/m"}\n')
