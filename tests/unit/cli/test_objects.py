"""Objects through standard input and output; files are tested against a real node."""

import json

import pytest

from aisle.errors import NodeUnreachable
from support.cli import run_ais
from support.fake_node import FakeAnswer, FakeNode, FakeObject, error


@pytest.fixture
def node() -> FakeNode:
    return FakeNode({"abc": {}})


@pytest.mark.parametrize(
    "name", ["a", "a/b", "a//b", "dir/", "/lead", "x y", "100%", "1+1", "%2F", "😀", "?q#f", "n" * 1024]
)
def test_names_reach_the_node_byte_for_byte(node: FakeNode, name: str) -> None:
    assert run_ais(node, "put", "-", f"ais://abc/{name}", stdin="hello").exit_code == 0
    assert list(node.buckets["abc"]) == [name.encode()]
    assert run_ais(node, "get", f"ais://abc/{name}", "-").stdout == "hello"
    assert run_ais(node, "rm", f"ais://abc/{name}").exit_code == 0
    assert node.buckets["abc"] == {}


def test_standard_input_is_streamed_and_its_checksum_told(node: FakeNode) -> None:
    result = run_ais(node, "put", "-", "abc/o", "--json", stdin="hello")
    assert json.loads(result.stdout) == {
        "bucket": "ais://abc",
        "objects": [
            {
                "source": "-",
                "name": "o",
                "size": 5,
                "checksum": {"type": "xxhash2", "value": "26c7827d889f6da3"},
            }
        ],
        "failed": [],
    }
    assert node.calls[-1].body.length is None


def test_damage_on_the_way_from_standard_input_is_told(node: FakeNode) -> None:
    node.answers = [FakeAnswer(headers={"Ais-Checksum-Type": "xxhash2", "Ais-Checksum-Value": "0" * 16})]
    result = run_ais(node, "put", "-", "abc/o", stdin="hello")
    assert result.exit_code == 1
    assert "BAD DATA CHECKSUM" in result.stderr


def test_content_type_is_guessed_from_the_name_or_given(node: FakeNode) -> None:
    for name, arguments in [("a.png", []), ("b.tar.gz", []), ("c", []), ("d.png", ["--content-type", "x/y"])]:
        run_ais(node, "put", "-", f"abc/{name}", *arguments, stdin="")
    kinds = {name.decode(): stored.content_type for name, stored in node.buckets["abc"].items()}
    assert kinds == {"a.png": "image/png", "b.tar.gz": "application/gzip", "c": "", "d.png": "x/y"}


def test_a_range_is_read(node: FakeNode) -> None:
    node.buckets["abc"][b"o"] = FakeObject(b"0123456789")
    assert run_ais(node, "get", "abc/o", "-", "--offset", "2", "--length", "3").stdout == "234"
    assert run_ais(node, "get", "abc/o", "-", "--offset", "7").stdout == "789"
    assert run_ais(node, "get", "abc/o", "-", "--length", "2").stdout == "01"


def test_damage_on_the_way_back_is_told(node: FakeNode) -> None:
    node.answers = [
        FakeAnswer(200, b"hello", {"Ais-Checksum-Type": "xxhash2", "Ais-Checksum-Value": "0" * 16})
    ]
    result = run_ais(node, "get", "abc/o", "-")
    assert result.exit_code == 1
    assert "BAD DATA CHECKSUM" in result.stderr


def test_a_checksum_that_we_cannot_compute_is_no_error(node: FakeNode) -> None:
    node.answers = [
        FakeAnswer(200, b"hello", {"Ais-Checksum-Type": "crc32c", "Ais-Checksum-Value": "9a71bb4c"})
    ]
    assert run_ais(node, "get", "abc/o", "-").stdout == "hello"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["put", "-", "abc"], "standard input is one object"),
        (["put", "-", "other", "abc/o"], "standard input is one object"),
        (["put", "a", "b", "abc", "--name", "x"], "--name takes one file"),
        (["get", "abc"], "is a bucket"),
        (["get", "abc/o", "-", "-r"], "into a folder"),
        (["get", "abc/o", "-", "--length", "0"], "at least 1"),
        (["get", "abc/o", "-", "--json"], "cannot both"),
        (["get", "abc/o", "--prefix", "p"], "given twice"),
        (["rm", "abc"], "ais rmb ais://abc"),
        (["rm", "abc", "def", "--prefix", "p"], "one bucket"),
        (["rm", "abc/" + "n" * 1025], "1025 bytes"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(node: FakeNode, arguments: list[str], says: str) -> None:
    result = run_ais(node, *arguments, stdin="")
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.split())
    assert not node.calls


def test_objects_are_removed_and_told(node: FakeNode) -> None:
    node.buckets["abc"] = {b"a": FakeObject(b""), b"b": FakeObject(b"")}
    result = run_ais(node, "object", "rm", "ais://abc/a", "--connections", "1", "abc/b")
    assert result.stdout.splitlines() == ['deleted "a" from ais://abc', 'deleted "b" from ais://abc']


def test_a_missing_object_is_told_and_the_others_go(node: FakeNode) -> None:
    node.buckets["abc"] = {b"b": FakeObject(b"")}
    result = run_ais(node, "rm", "abc/none", "abc/b", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {
        "removed": ["ais://abc/b"],
        "failed": [{"item": "ais://abc/none", "error": "ais://abc/none does not exist"}],
    }
    assert node.buckets["abc"] == {}


def test_all_below_a_prefix_go_after_a_yes(node: FakeNode) -> None:
    node.buckets["abc"] = {name: FakeObject(b"") for name in (b"d/1", b"d/2", b"e")}
    refused = run_ais(node, "rm", "-r", "abc/d/")
    assert refused.exit_code == 2
    assert "2 objects below ais://abc/d/" in " ".join(refused.stderr.split())
    assert run_ais(node, "rm", "-r", "abc/d/", "--yes").stdout == "deleted 2 objects\n"
    assert run_ais(node, "rm", "--prefix", "", "abc", "--yes").stdout == "deleted 1 object\n"
    assert node.buckets["abc"] == {}


def test_a_delete_that_had_to_be_repeated_may_find_nothing(node: FakeNode) -> None:
    answer = FakeAnswer(404, b"")
    answer.repeated = True
    node.answers = [answer]
    assert run_ais(node, "rm", "abc/o").exit_code == 0


def test_when_the_node_goes_away_the_command_ends(node: FakeNode) -> None:
    node.answers = [NodeUnreachable("http://fake", "gone")] * 8
    result = run_ais(node, "rm", *[f"abc/{number}" for number in range(100)])
    assert result.exit_code == 4
    assert result.stderr.count("Error:") == 1


def test_of_what_is_not_here_the_source_is_asked_only_when_told_so() -> None:
    missing = error(404, "t[id]: s3://abc/o does not exist", code="ErrNotFound")
    node = FakeNode(answers=[missing, FakeAnswer(200, b"12345")])
    result = run_ais(node, "show", "object", "s3://abc/o")
    assert result.exit_code == 3
    assert (
        "s3://abc/o is not here; to ask its source: ais show object s3://abc/o --not-cached" in result.stderr
    )
    assert run_ais(node, "show", "object", "s3://abc/o", "--not-cached", "--props", "size").exit_code == 0
    assert ["presence=2" in call.target for call in node.calls] == [True, False]
