"""How attached clusters are shown."""

from aisle.cli.remote_clusters import row
from aisle.client.cluster import ClusterMap, Node
from aisle.client.remote_clusters import RemoteCluster

MAP = ClusterMap(
    targets={f"t{number}": Node(f"t{number}", "target") for number in range(10)},
    primary=Node("80381p11080", "proxy"),
    version="27",
)
URL = "http://my.remote.ais:51080"


def test_one_that_is_online_tells_all() -> None:
    shown = row(RemoteCluster("alias111", URL, "eKyvPyHr", MAP, online=True, uptime_ns=5_590_800_000_000_000))
    assert shown == ("eKyvPyHr", URL, "alias111", "p[80381p11080]", "v27", "10", "64d17h", "yes")


def test_one_that_is_offline_tells_what_is_known_of_it() -> None:
    shown = row(RemoteCluster("alias111", URL, "eKyvPyHr", MAP, online=False))
    assert shown == ("eKyvPyHr", URL, "alias111", "p[80381p11080]", "v27", "10", "n/a", "no")


def test_one_that_was_never_seen_stands_in_brackets() -> None:
    shown = row(RemoteCluster("alias222", "other.remote.ais:51080", online=False))
    assert shown == ("<alias222>", "<other.remote.ais:51080>", "", "n/a", "n/a", "n/a", "n/a", "no")


def test_a_node_that_does_not_tell_shows_by_its_map_what_is_online() -> None:
    assert row(RemoteCluster("other", URL, "eKyvPyHr", MAP))[-1] == "yes"
    assert row(RemoteCluster("other", URL))[-1] == "no"
