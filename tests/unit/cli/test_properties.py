"""`ais bucket props`, `ais show bucket` and `ais config`, as AIStore's manual shows them."""

import json

import pytest

from aisle.model.bucket import BucketProperties, changed
from aisle.model.configuration import configured
from support.cli import run_ais
from support.fake_node import FakeNode

UPDATED = 'Bucket props successfully updated\n"checksum.type" set to: "md5" (was: "xxhash2")\n'


@pytest.fixture
def node() -> FakeNode:
    return FakeNode({"abc": {}})


def cells(text: str) -> list[tuple[str, str]]:
    """A table's rows, whatever the widths of its columns."""
    rows = [line.split(None, 1) for line in text.splitlines() if line]
    return [(row[0], row[1] if len(row) > 1 else "") for row in rows]


@pytest.mark.parametrize("verb", [["set"], []])
def test_a_property_is_set_with_and_without_the_verb(node: FakeNode, verb: list[str]) -> None:
    result = run_ais(node, "bucket", "props", *verb, "ais://abc", "checksum.type=md5")
    assert (result.exit_code, result.stdout) == (0, UPDATED)
    assert node.properties["abc"].checksum.type == "md5"


def test_json_sets_too(node: FakeNode) -> None:
    text = '{"checksum": {"type": "md5"}, "lru": {"batch_size": 5}}'
    result = run_ais(node, "bucket", "props", "ais://abc", text, "--json")
    assert json.loads(result.stdout) == {
        "bucket": "ais://abc",
        "changed": {
            "checksum.type": {"from": "xxhash2", "to": "md5"},
            "lru.batch_size": {"from": 32768, "to": 5},
        },
    }


def test_what_holds_already_is_not_set_again(node: FakeNode) -> None:
    result = run_ais(
        node, "bucket", "props", "set", "ais://abc", "checksum.type=xxhash2", "lru.enabled=false"
    )
    assert result.stdout == (
        'Bucket "ais://abc": property "checksum.type=xxhash2 lru.enabled=false", nothing to do\n'
    )
    assert [call.method for call in node.calls] == ["HEAD"]


def test_rights_and_features_have_names(node: FakeNode) -> None:
    result = run_ais(
        node, "bucket", "props", "set", "abc", "access=GET,put", "features=Fsync-PUT,streaming-cold-get"
    )
    assert result.exit_code == 0, result.stderr
    assert (node.properties["abc"].access, node.properties["abc"].features) == ("5", str(16 + 4096))
    assert '"access" set to: "GET,PUT" (was: "GET,HEAD-OBJECT,' in result.stdout
    assert '"features" set to: "Fsync-PUT,Streaming-Cold-GET" (was: "none")' in result.stdout
    run_ais(node, "bucket", "props", "abc", "access=ro", "features=none")
    assert (node.properties["abc"].access, node.properties["abc"].features) == ("771", "0")
    run_ais(node, "bucket", "props", "abc", "access=su")
    assert node.properties["abc"].access == str(2**64 - 1)


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["checksum.type=md6"], 'invalid checksum type "md6" (expecting [crc32c md5'),
        (["nosuch=1"], 'invalid property name "nosuch"'),
        (["checksum=md5"], 'invalid property name "checksum"'),
        (["checksum.typ=md5"], 'Did you mean "checksum.type"?'),
        (["access=everything"], 'there is no access right "everything"'),
        (["features=Nosuch"], 'there is no feature "Nosuch"'),
        (["checksum.type=md5", "again"], '"again" is not a pair'),
        (["{"], "not JSON"),
    ],
)
def test_what_cannot_be_set_is_told_and_changes_nothing(node: FakeNode, pairs: list[str], says: str) -> None:
    result = run_ais(node, "bucket", "props", "set", "ais://abc", *pairs)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert node.properties == {}


def test_a_backend_is_detached_with_a_word(node: FakeNode) -> None:
    run_ais(node, "bucket", "props", "set", "ais://abc", "backend_bck=none")
    assert [call.method for call in node.calls] == ["HEAD"]  # it has none
    run_ais(node, "bucket", "props", "set", "ais://abc", "backend_bck=s3://@u#n/cloud")
    [asked] = [message for message in node.messages if message]
    assert asked["value"] == {
        "backend_bck": {"name": "cloud", "provider": "aws", "namespace": {"uuid": "u", "name": "n"}}
    }


def test_properties_are_reset(node: FakeNode) -> None:
    run_ais(node, "bucket", "props", "abc", "checksum.type=md5")
    result = run_ais(node, "bucket", "props", "reset", "ais://abc")
    assert result.stdout == "Bucket props successfully reset to cluster defaults\n"
    assert node.properties["abc"] == BucketProperties()
    assert json.loads(run_ais(node, "bucket", "props", "reset", "abc", "-j").stdout)["reset"] is True


@pytest.mark.parametrize("verb", [["show"], []])
def test_a_section_is_shown(node: FakeNode, verb: list[str]) -> None:
    result = run_ais(node, "bucket", "props", *verb, "ais://abc", "checksum")
    assert cells(result.stdout) == [
        ("PROPERTY", "VALUE"),
        ("checksum.enable_read_range", "false"),
        ("checksum.type", "xxhash2"),
        ("checksum.validate_cold_get", "false"),
        ("checksum.validate_obj_move", "false"),
        ("checksum.validate_warm_get", "false"),
    ]
    told = json.loads(run_ais(node, "bucket", "props", *verb, "abc", "checksum.type", "--json").stdout)
    assert told == {"checksum": {"type": "xxhash2"}}


def test_all_properties_are_shown_as_a_recorded_session_shows_them(node: FakeNode) -> None:
    shown = dict(cells(run_ais(node, "bucket", "props", "show", "abc", "-H").stdout))
    assert shown["access"].startswith("GET,HEAD-OBJECT,PUT,APPEND,DELETE-OBJECT,MOVE-OBJECT,PROMOTE,")
    assert shown["access"].endswith(",ADMIN")
    assert shown["chunks.objsize_limit"] == "0B (auto-chunking disabled)"
    assert shown["created"] == "1970-01-01T00:00:00Z"
    assert (shown["features"], shown["present"], shown["provider"]) == ("none", "yes", "ais")
    assert (shown["backend_bck.name"], shown["chunks.checkpoint_every"]) == ("", "0")
    assert not {"bid", "Renamed", "backend_bck.namespace.name"} & set(shown)
    assert list(shown) == sorted(shown)


def test_a_bucket_is_shown_in_brief(node: FakeNode) -> None:
    node.properties["abc"] = changed(
        BucketProperties(), {"checksum": {"type": "md5", "validate_cold_get": True}}
    )
    shown = dict(cells(run_ais(node, "show", "bucket", "ais://abc").stdout))
    assert shown["checksum"] == "Type: md5 | Validate: ColdGET"
    assert shown["versioning"] == "Enabled | Validate on WarmGET: no"
    assert (shown["mirror"], shown["ec"]) == ("Disabled", "Disabled")
    node.properties["abc"] = BucketProperties()
    text = run_ais(node, "bucket", "props", "show", "abc", "--compact").stdout
    assert dict(cells(text))["checksum"] == "Type: xxhash2 | Validate: Nothing"


def test_a_bucket_that_is_not_there_has_no_properties(node: FakeNode) -> None:
    for arguments in (["show", "ais://no"], ["set", "ais://no", "checksum.type=md5"], ["reset", "ais://no"]):
        assert run_ais(node, "bucket", "props", *arguments).exit_code == 3


# The cluster's configuration


def test_one_setting_is_shown(node: FakeNode) -> None:
    for name, value in (("net.http.use_https", "false"), ("checksum.type", "xxhash2")):
        result = run_ais(node, "config", "cluster", name)
        assert cells(result.stdout) == [("PROPERTY", "VALUE"), (name, value)]


def test_a_section_of_the_configuration_is_shown_in_its_order(node: FakeNode) -> None:
    names = [name for name, _ in cells(run_ais(node, "config", "cluster", "net.http", "-H").stdout)]
    assert names[:2] == ["net.http.server_crt", "net.http.server_key"]
    assert names[-3:] == ["net.http.use_https", "net.http.skip_verify", "net.http.chunked_transfer"]
    told = json.loads(run_ais(node, "config", "cluster", "versioning", "--json").stdout)
    assert told == {"versioning": {"enabled": True, "validate_warm_get": False, "synchronize": False}}
    assert len(cells(run_ais(node, "config", "cluster").stdout)) > 100


def test_a_setting_is_changed_and_told_as_json(node: FakeNode) -> None:
    result = run_ais(node, "config", "cluster", "checksum.type=md5")
    assert result.stdout == '{\n    "checksum.type": "md5"\n}\n'
    assert node.configuration == configured({"checksum": {"type": "md5"}})
    assert run_ais(node, "config", "reset").stdout == "Cluster config successfully reset to defaults\n"
    assert node.configuration == configured({})


def test_feature_flags_are_set_by_name(node: FakeNode) -> None:
    result = run_ais(node, "config", "cluster", "features", "S3-Presigned-Request")
    assert json.loads(result.stdout) == {"features": "S3-Presigned-Request"}
    assert node.configuration.features == str(1 << 9)
    result = run_ais(node, "config", "cluster", "features")
    lines = cells(result.stdout)
    assert lines[1] == ("features", "S3-Presigned-Request")
    assert lines[2][0] == "FEATURE"
    assert len(lines) == 3 + 28
    run_ais(node, "config", "cluster", "features", "fsync-put", "S3-API-via-Root")
    assert node.configuration.features == str(16 + 8)
    run_ais(node, "config", "cluster", "features", "none")
    assert node.configuration.features == "0"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch=1"], 'invalid property name "nosuch"'),
        (["nosuch"], 'invalid property name "nosuch"'),
        (["checksum.typ"], 'Did you mean "checksum.type"?'),
        (["checksum.type=md6"], 'invalid checksum type "md6"'),
        (["features", "Nosuch"], 'there is no feature "Nosuch"'),
        (["checksum", "lru"], "one property or section"),
    ],
)
def test_what_there_is_not_is_told(node: FakeNode, arguments: list[str], says: str) -> None:
    result = run_ais(node, "config", "cluster", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert says in result.stderr
    assert node.configuration == configured({})
