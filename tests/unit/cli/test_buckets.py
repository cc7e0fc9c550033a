import json

import pytest

from support.cli import run_ais
from support.fake_node import FakeNode, FakeObject


def test_buckets_are_created_with_and_without_scheme() -> None:
    node = FakeNode()
    result = run_ais(node, "create", "ais://nnn", "mmm")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ['"ais://nnn" created', '"ais://mmm" created']
    assert set(node.buckets) == {"nnn", "mmm"}


def test_aistores_form_creates_too() -> None:
    node = FakeNode()
    assert run_ais(node, "bucket", "create", "ais://nnn").exit_code == 0
    assert set(node.buckets) == {"nnn"}


def test_a_bucket_that_exists_is_an_error() -> None:
    result = run_ais(FakeNode({"abc": {}}), "create", "ais://abc")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'Error: bucket "ais://abc" already exists\n'


def test_created_buckets_as_json() -> None:
    assert json.loads(run_ais(FakeNode(), "create", "a", "b", "--json").stdout) == {
        "created": ["ais://a", "ais://b"]
    }


@pytest.mark.parametrize("what", ["ais:", "ais://"])
def test_buckets_of_a_provider_are_counted_and_named(what: str) -> None:
    result = run_ais(FakeNode({"mmm": {}, "abc": {}}), "ls", what)
    assert result.stdout.splitlines() == ["AIS Buckets (2)", "  ais://abc", "  ais://mmm"]
    assert run_ais(FakeNode(), "ls", what).stdout == "AIS Buckets (0)\n"


def test_buckets_are_created_with_properties() -> None:
    node = FakeNode()
    result = run_ais(node, "create", "ais://bck", "--props=checksum.type=md5 versioning.enabled=false")
    assert result.stdout == '"ais://bck" created\n'
    assert node.messages[-1]["value"] == {"checksum": {"type": "md5"}, "versioning": {"enabled": "false"}}
    assert run_ais(node, "create", "b2", "--props", '{"checksum": {"type": "md5"}}').exit_code == 0
    assert node.properties["b2"].checksum.type == "md5"


def test_a_property_that_there_is_not_creates_no_bucket() -> None:
    node = FakeNode()
    result = run_ais(node, "create", "bck", "--props", "checksum.typ=md5")
    assert (result.exit_code, node.buckets) == (1, {})
    assert 'Did you mean "checksum.type"?' in result.stderr


def test_a_quote_that_does_not_end_creates_no_bucket() -> None:
    node = FakeNode()
    result = run_ais(node, "create", "bck", "--props", "checksum.type='md5")
    assert (result.exit_code, node.buckets) == (1, {})
    assert result.stderr == "Error: --props cannot be read: No closing quotation\n"


def test_buckets_are_listed_as_aistore_lists_them() -> None:
    result = run_ais(FakeNode({"mmm": {}, "abc": {}}), "ls")
    assert result.stdout.splitlines() == [
        "NAME       PRESENT",
        "ais://abc  yes",
        "ais://mmm  yes",
        "Total: [AIS buckets: 2] ========",
    ]


def test_without_buckets_the_first_step_is_told() -> None:
    result = run_ais(FakeNode(), "ls")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "ais create" in result.stderr


def test_buckets_as_json() -> None:
    told = json.loads(run_ais(FakeNode({"abc": {}}), "ls", "--json").stdout)
    assert told == {"buckets": [{"uri": "ais://abc", "name": "abc", "provider": "ais", "namespace": ""}]}


def test_an_empty_bucket_goes_without_a_question() -> None:
    node = FakeNode({"abc": {}})
    result = run_ais(node, "rmb", "ais://abc")
    assert result.stdout == '"ais://abc" destroyed\n'
    assert not node.buckets


def test_a_bucket_with_objects_needs_a_yes() -> None:
    node = FakeNode({"abc": {b"o": FakeObject(b"x")}})
    refused = run_ais(node, "rmb", "ais://abc")
    assert refused.exit_code == 2
    assert "--yes" in refused.stderr
    assert run_ais(node, "bucket", "rm", "ais://abc", "--yes").exit_code == 0
    assert not node.buckets


def test_a_missing_bucket_cannot_be_removed() -> None:
    assert run_ais(FakeNode(), "rmb", "nope").exit_code == 3


def test_a_folder_of_a_web_server_needs_its_address() -> None:
    for arguments, told in (
        (["ht://x"], "--url"),
        (["ais://x", "--url", "https://a/b/"], "ht://NAME"),
        (["ht://x", "ht://y", "--url", "https://a/b/"], "ht://NAME"),
        (["ht://x", "--url", "https://user:secret@a/b/"], "password"),
        ([], "BUCKET..."),
    ):
        result = run_ais(FakeNode(), "create", *arguments)
        assert result.exit_code != 0
        assert told in result.stderr
        assert "secret" not in result.stderr
