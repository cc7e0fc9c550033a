import json
from urllib.parse import parse_qs

import msgspec
import pytest

from support import fake_node
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, FakeObject


@pytest.fixture
def node() -> FakeNode:
    names = [b"README.md", b"dir/blob", b"dir/sub/a", b"x y"]
    return FakeNode({"abc": {name: FakeObject(b"hello world\n") for name in names}})


def test_objects_are_listed_in_byte_order_with_their_sizes(node: FakeNode) -> None:
    assert run_ais(node, "ls", "ais://abc").stdout.splitlines() == [
        "NAME       SIZE",
        "README.md  12B",
        "dir/blob   12B",
        "dir/sub/a  12B",
        "x y        12B",
    ]


@pytest.mark.parametrize("arguments", [["ais://abc/dir/"], ["abc", "--prefix", "dir/"]])
def test_a_prefix_is_given_behind_the_bucket_or_as_option(node: FakeNode, arguments: list[str]) -> None:
    assert run_ais(node, "ls", "-H", *arguments).stdout.splitlines() == ["dir/blob   12B", "dir/sub/a  12B"]


@pytest.mark.parametrize("flag", ["--no-recursion", "--non-recursive", "--nr"])
def test_without_recursion_folders_stand_for_what_is_in_them(node: FakeNode, flag: str) -> None:
    assert run_ais(node, "ls", "-H", "abc", flag).stdout.splitlines() == [
        "README.md  12B",
        "dir/",
        "x y        12B",
    ]


def test_what_stands_for_folders_can_be_left_out(node: FakeNode) -> None:
    flat = ["ls", "-H", "abc", "--no-recursion", "--no-dirs"]
    assert run_ais(node, *flat).stdout.splitlines() == ["README.md  12B", "x y        12B"]
    assert run_ais(node, *flat, "--limit", "2", "--name-only").stdout.splitlines() == ["README.md", "x y"]
    assert run_ais(node, *flat, "--count-only").stdout == "2\n"


def test_the_listing_can_be_cut(node: FakeNode) -> None:
    result = run_ais(node, "ls", "-H", "abc", "--start-after", "README.md", "--limit", "2", "--props", "name")
    assert result.stdout.splitlines() == ["dir/blob", "dir/sub/a"]


def test_names_are_counted(node: FakeNode) -> None:
    assert run_ais(node, "ls", "abc", "--count-only").stdout == "4\n"
    assert json.loads(run_ais(node, "ls", "abc/dir/", "--count-only", "--json").stdout) == {
        "bucket": "ais://abc",
        "prefix": "dir/",
        "count": 2,
    }


def test_properties_become_columns(node: FakeNode) -> None:
    lines = run_ais(node, "ls", "abc/README", "--props", "size,checksum,cached").stdout.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "CHECKSUM", "CACHED"]
    assert lines[1].split() == ["README.md", "12B", FakeObject(b"hello world\n").checksum, "yes"]


def test_an_unknown_property_is_answered_with_a_near_one(node: FakeNode) -> None:
    result = run_ais(node, "ls", "abc", "--props", "cheksum")
    assert result.exit_code == 2
    assert 'Did you mean "checksum"?' in result.stderr
    assert "There are: all, size, checksum" in run_ais(node, "ls", "abc", "--props", "qqqqq").stderr


def test_objects_as_json(node: FakeNode) -> None:
    told = json.loads(run_ais(node, "ls", "abc", "--nr", "--json").stdout)
    assert told == {
        "bucket": "ais://abc",
        "prefix": "",
        "objects": [
            {"name": "README.md", "size": 12},
            {"name": "dir/", "directory": True},
            {"name": "x y", "size": 12},
        ],
    }


def test_an_empty_listing_says_so_beside_the_output(node: FakeNode) -> None:
    result = run_ais(node, "ls", "abc/nothing")
    assert (result.exit_code, result.stdout) == (0, "")
    assert 'No objects in ais://abc that start with "nothing".' in result.stderr


def test_pages_are_asked_for_until_the_last(node: FakeNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_node, "PAGE_MAX", 2)
    node.buckets["abc"] |= {b"%03d" % number: FakeObject(b"") for number in range(7)}
    result = run_ais(node, "ls", "-H", "abc", "--props", "name")
    assert result.stdout.split("\n")[:-1] == sorted(name.decode() for name in node.buckets["abc"])
    # An AIStore gateway restarts a listing whose id is not echoed.
    assert {message["value"]["uuid"] for message in node.messages[1:]} == {"page-id"}


def test_a_node_that_repeats_a_page_does_not_hold_us_for_ever(node: FakeNode) -> None:
    page = {"UUID": "u", "ContinuationToken": "a", "Flags": 0, "Entries": [{"n": "a"}]}
    node.answers = [fake_node.FakeAnswer(200, msgspec.msgpack.encode(page)) for _ in range(3)]
    result = run_ais(node, "ls", "abc")
    assert result.exit_code == 1
    assert "same page again" in result.stderr


def test_two_prefixes_are_a_usage_error(node: FakeNode) -> None:
    assert run_ais(node, "ls", "abc/a", "--prefix", "b").exit_code == 2


def test_a_name_with_a_line_break_stays_on_its_line(node: FakeNode) -> None:
    node.buckets["abc"] = {b"a\nb": FakeObject(b"")}
    assert run_ais(node, "ls", "-H", "abc").stdout == "a\\nb  0B\n"
    assert json.loads(run_ais(node, "ls", "abc", "--json").stdout)["objects"] == [{"name": "a\nb", "size": 0}]


def test_spaces_around_names_are_kept(node: FakeNode) -> None:
    node.buckets["abc"] = {b" a ": FakeObject(b"")}
    assert run_ais(node, "ls", "-H", "abc", "--props", "name").stdout == " a \n"


def test_json_stays_json_where_the_terminal_has_no_utf8(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.cli.output._is_utf8", lambda: False)
    node.buckets["abc"] = {"😀".encode(): FakeObject(b"")}
    text = run_ais(node, "ls", "abc", "--json").stdout
    assert text.isascii()
    assert json.loads(text)["objects"] == [{"name": "😀", "size": 0}]


@pytest.mark.parametrize(
    ("what", "query"),
    [("s3:", {"provider": ["aws"]}), ("ais://@far", {"provider": ["ais"], "namespace": ["@far"]})],
)
def test_all_buckets_of_a_source_are_those_that_it_lists(what: str, query: dict[str, list[str]]) -> None:
    def listed(*names: str) -> FakeAnswer:
        entries = [{"name": name, "provider": "aws"} for name in names]
        return FakeAnswer(200, json.dumps(entries).encode())

    node = FakeNode(answers=[listed("a"), listed("a", "b")])
    lines = run_ais(node, "ls", what, "--all").stdout.splitlines()
    assert [line.split() for line in lines[1:3]] == [["s3://a", "yes"], ["s3://b", "no"]]
    asked = [parse_qs(call.target.partition("?")[2]) for call in node.calls]
    assert asked == [query | {"presence": ["2"]}, query | {"presence": ["0"]}]


def test_all_buckets_of_a_source_are_counted_with_those_that_are_known() -> None:
    def listed(*names: str) -> FakeAnswer:
        entries = [{"name": name, "provider": "ais", "namespace": {"uuid": "far"}} for name in names]
        return FakeAnswer(200, json.dumps(entries).encode())

    node = FakeNode(answers=[listed("a"), listed("a", "b")])
    last = run_ais(node, "ls", "ais://@far", "--all").stdout.splitlines()[-1]
    assert last == "Total: [Remote AIS buckets: 2 (1 present)] ========"


@pytest.mark.parametrize(
    ("option", "flag"), [("--cached", 1), ("--all", 2), ("--not-cached", 512), ("--diff", 4096)]
)
def test_presence_is_asked_for_by_flags(node: FakeNode, option: str, flag: int) -> None:
    assert run_ais(node, "ls", "abc", option).exit_code == 0
    assert int(node.messages[-1]["value"]["flags"]) & (1 | 2 | 512 | 4096) == flag


@pytest.mark.parametrize("pair", [("--cached", "--diff"), ("--not-cached", "--cached")])
def test_presences_that_exclude_each_other_are_refused(node: FakeNode, pair: tuple[str, str]) -> None:
    result = run_ais(node, "ls", "abc", *pair)
    assert (result.exit_code, node.calls) == (2, [])
    assert "exclude each other" in result.stderr


def test_what_differs_is_marked() -> None:
    flags = {"absent": 0, "changed": 64 | 1024, "gone": 64 | 2048, "same": 64}
    page = {"UUID": "u", "ContinuationToken": "", "Flags": 0}
    page["Entries"] = [{"n": name, "s": 1, "f": flag} for name, flag in flags.items()]
    node = FakeNode(answers=[FakeAnswer(200, msgspec.msgpack.encode(page))])
    lines = run_ais(node, "ls", "s3://abc", "--diff").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "SIZE", "CACHED", "STATUS"],
        ["absent", "1B", "no", "n/a"],
        ["changed", "1B", "yes", "version-changed"],
        ["gone", "1B", "yes", "deleted"],
        ["same", "1B", "yes", "ok"],
    ]
