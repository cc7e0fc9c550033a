"""The cluster's configuration through the native API."""

import json
from typing import Any

import pytest

from aisle.gateway.configuration import Configuration
from aisle.model.configuration import ClusterConfiguration
from aisle.model.trees import flat
from service.calling import Answer, Native
from service.test_s3_rights import Tokens


def put(native: Native, value: Any, verb: str = "set-config", path: str = "/v1/cluster") -> Answer:
    return native("PUT", path, {"action": verb, "name": verb, "value": value})


def shown(native: Native) -> Any:
    return native("GET", "/v1/cluster?what=cluster_config").json()


def properties(native: Native, name: str) -> Any:
    return json.loads(native("HEAD", f"/v1/buckets/{name}?provider=ais").headers["ais-bucket-props"])


@pytest.mark.parametrize("path", ["/v1/cluster", "/v1/daemon", "/v1/reverse/daemon"])
def test_a_tree_changes_what_it_names(native: Native, path: str) -> None:
    before = flat(shown(native))
    answer = put(native, {"checksum": {"type": "md5"}, "lru": None}, path=path)
    assert (answer.status, answer.body) == (200, b"")
    after = flat(shown(native))
    assert {name for name in after if after[name] != before[name]} == {
        "checksum.type",
        "config_version",
        "lastupdate_time",
    }
    assert (after["checksum.type"], after["config_version"]) == ("md5", "2")


@pytest.mark.parametrize("path", ["/v1/cluster", "/v1/daemon", "/v1/reverse/daemon"])
def test_a_query_changes_what_it_names(native: Native, path: str) -> None:
    answer = native(
        "PUT", f"{path}/set-config?checksum.type=sha256&lru.batch_size=7&versioning.enabled=false"
    )
    assert (answer.status, answer.body) == (200, b"")
    after = shown(native)
    assert (after["checksum"]["type"], after["lru"]["batch_size"]) == ("sha256", 7)
    assert after["versioning"]["enabled"] is False


def test_changes_add_up_and_a_reset_takes_them_all_back(native: Native) -> None:
    put(native, {"checksum": {"type": "md5"}})
    put(native, {"checksum": {"validate_warm_get": True}, "periodic": {"stats_time": "20s"}})
    now = shown(native)
    assert (now["checksum"]["type"], now["checksum"]["validate_warm_get"]) == ("md5", True)
    assert now["periodic"]["stats_time"] == "20s"
    assert put(native, None, "reset-config").status == 200
    again = shown(native)
    assert again["checksum"] == {**now["checksum"], "type": "xxhash2", "validate_warm_get": False}
    # Clients compare versions: they never go back.
    assert again["config_version"] == "4"


def test_the_version_is_in_the_nodes_state_too(native: Native) -> None:
    put(native, {"checksum": {"type": "md5"}})
    assert native("GET", "/v1/daemon?what=node_status").json()["cluster"]["config"]["version"] == "2"
    assert native("GET", "/v1/daemon?what=config").json()["checksum"]["type"] == "md5"


def test_new_buckets_take_over_the_configuration_and_old_ones_keep_theirs(native: Native) -> None:
    put(
        native,
        {
            "checksum": {"type": "md5"},
            "versioning": {"enabled": False},
            "write_policy": {"data": "delayed"},
            "mirror": {"copies": 3},
            "lru": {"enabled": True, "batch_size": 9},
            "features": str((1 << 4) + (1 << 3)),  # one that buckets can have, one that they cannot
        },
    )
    native.bucket("new")
    new, old = properties(native, "new"), properties(native, "b")
    assert (new["checksum"]["type"], old["checksum"]["type"]) == ("md5", "xxhash2")
    assert (new["versioning"]["enabled"], old["versioning"]["enabled"]) == (False, True)
    assert (new["write_policy"]["data"], new["mirror"]["copies"]) == ("delayed", 3)
    assert new["features"] == "16"
    # Nothing may be evicted from a bucket that has no backend.
    assert (new["lru"]["enabled"], new["lru"]["batch_size"]) == (False, 9)
    native.bucket("own", checksum={"type": "sha512"})
    own = properties(native, "own")
    assert (own["checksum"]["type"], own["versioning"]["enabled"]) == ("sha512", False)
    native("PATCH", "/v1/buckets/b?provider=ais", {"action": "reset-bprops", "value": None})
    kept = {"bid": old["bid"], "created": old["created"]}
    assert properties(native, "b") == {**new, **kept}


@pytest.mark.parametrize(
    ("value", "status", "text"),
    [
        ({"nosuch": 1}, 400, "found unknown field: nosuch"),
        ({"net": {"http": {"nosuch": 1}}}, 400, "found unknown field: nosuch (in net.http)"),
        ({"checksum": {"type": "md6"}}, 400, 'invalid checksum type "md6"'),
        ({"periodic": {"stats_time": "500ms"}}, 400, "periodic.stats_time"),
        ({"periodic": {"retry_sync_time": "11s"}}, 400, "periodic.retry_sync_time"),
        ({"periodic": {"notif_time": "2m"}}, 400, "periodic.notif_time"),
        ({"log": {"max_size": "2GiB"}}, 400, "log.max_size"),
        ({"log": {"max_total": "100MiB"}}, 400, "log.max_total"),
        ({"space": {"lowwm": 95}}, 400, "space"),
        ({"space": {"cleanupwm": 0}}, 400, "space"),
        ({"space": {"out_of_space": 101}}, 400, "space.out_of_space"),
        ({"disk": {"disk_util_low_wm": 90}}, 400, "disk"),
        ({"keepalivetracker": {"proxy": {"interval": "1s"}}}, 400, "keepalivetracker.proxy.interval"),
        ({"client": {"list_timeout": "31m"}}, 400, "client.list_timeout"),
        ({"timeout": {"max_keepalive": "soon"}}, 400, "timeout.max_keepalive"),
        ({"memsys": {"min_free": "much"}}, 400, "memsys.min_free"),
        ({"features": str(1 << 40)}, 400, "features"),
        ({"features": str((1 << 13) + (1 << 27))}, 400, "exclude each other"),
        ({"uuid": "x"}, 400, "uuid"),
        ({"config_version": "9"}, 400, "config_version"),
        ({"proxy": {"primary_url": "http://evil"}}, 400, "proxy"),
        ({"mirror": {"enabled": True}}, 501, "mirror.enabled"),
        ({"ec": {"enabled": True}}, 501, "ec.enabled"),
        ({"rate_limit": {"frontend": {"enabled": True}}}, 501, "rate_limit.frontend.enabled"),
        ({"features": str(2**11)}, 501, "Disable-Cold-GET"),
        ({"net": {"http": {"use_https": True}}}, 501, "tls.certificate"),
        ({"auth": {"client_auth_required": False}}, 501, "auth.client_auth_required"),
        ({"backend": {"aws": {}}}, 400, "aws"),
        ({"backend": {"ais": {"x": ["http://y"]}}}, 501, "backend"),
        ("text", 400, "set-config"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    native: Native, value: Any, status: int, text: str
) -> None:
    before = shown(native)
    answer = put(native, value)
    assert (answer.status, text in answer.error()["message"]) == (status, True), answer.body
    assert shown(native) == before


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("x.y=1", 400, 'unknown property "x.y"'),
        ("checksum=md5", 400, 'unknown property "checksum"'),
        ("checksum.type=md6", 400, "invalid checksum type"),
        ("lru.enabled=maybe", 400, "lru.enabled"),
        ("checksum.type=md5&transient=true", 501, "transient"),
    ],
)
def test_a_query_that_cannot_be_is_refused(native: Native, query: str, status: int, text: str) -> None:
    before = shown(native)
    answer = native("PUT", f"/v1/cluster/set-config?{query}")
    assert (answer.status, text in answer.error()["message"]) == (status, True), answer.body
    assert shown(native) == before


def test_a_change_is_seen_by_every_process_at_once(native: Native) -> None:
    elsewhere = Configuration(native.store)
    assert elsewhere.get().values == ClusterConfiguration()
    put(native, {"checksum": {"type": "md5"}})
    assert elsewhere.get().values.checksum.type == "md5"


def test_of_changes_at_once_none_is_lost(native: Native) -> None:
    changes = [{"lru": {"batch_size": 5}}, {"mirror": {"copies": 4}}, {"checksum": {"type": "md5"}}]
    requests = [("PUT", "/v1/cluster", {"action": "set-config", "value": change}) for change in changes]
    assert [answer.status for answer in native.at_once(*requests)] == [200] * 3
    now = shown(native)
    assert (now["lru"]["batch_size"], now["mirror"]["copies"]) == (5, 4)
    assert (now["checksum"]["type"], now["config_version"]) == ("md5", "4")


def test_only_what_differs_from_the_defaults_is_kept(native: Native) -> None:
    put(native, {"checksum": {"type": "md5"}})
    document = native.store.load("config/cluster")
    assert document is not None
    assert json.loads(document.value)["changes"] == {"checksum": {"type": "md5"}}


def test_a_configuration_of_a_later_version_is_not_taken_for_the_defaults(native: Native) -> None:
    stored = b'{"changes":{"checksum":{"type":"blake9"}},"changed_ns":1}'
    native.store.swap("config/cluster", stored, expected_version=0)
    answer = native("POST", "/v1/buckets/new?provider=ais", {"action": "create-bck"})
    assert (answer.status, "blake9" in answer.error()["message"]) == (503, True)
    assert native("HEAD", "/v1/buckets/b?provider=ais").status == 200
    assert put(native, None, "reset-config").status == 200
    assert shown(native)["checksum"]["type"] == "xxhash2"


def test_actions_on_nodes_are_known_and_not_built(native: Native) -> None:
    answer = put(native, {"sid": "x"}, "start-maintenance")
    assert (answer.status, answer.error()["tcode"]) == (501, "ErrUnsupp")
    assert put(native, None, "nonsense").status == 400


def test_whether_credentials_are_needed_is_shown(native: Native) -> None:
    assert shown(native)["auth"] == {"client_auth_required": False}
    node = Native(keys=Tokens())
    try:
        fields = {"authorization": "Bearer root"}
        told = node("GET", "/v1/cluster?what=cluster_config", **fields).json()
        assert told["auth"] == {"client_auth_required": True}
        change = {"action": "set-config", "value": {"checksum": {"type": "md5"}}}
        assert node("PUT", "/v1/cluster", change, authorization="Bearer alice").status == 403
        assert node("PUT", "/v1/cluster", change, **fields).status == 200
    finally:
        node.close()
