"""Clusters attached to one another: real nodes, real sockets, the real `ais`."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support.ais import ais
from support.node import RunningNode, running_node


@pytest.fixture(scope="module")
def here() -> Iterator[RunningNode]:
    with running_node(workers=2) as node:
        yield node


@pytest.fixture(scope="module")
def there() -> Iterator[RunningNode]:
    with running_node(workers=1) as node:
        yield node


@contextmanager
def unused_url() -> Iterator[str]:
    """Where nobody listens, and nobody can within the block."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def nowhere() -> Iterator[str]:
    with unused_url() as url:
        yield url


def shown(node: RunningNode) -> dict[str, list[str]]:
    """The lines of `ais show remote-cluster`, by alias."""
    lines = ais(node.url, "show", "remote-cluster").lines
    if lines == ["No remote clusters are attached."]:
        return {}
    assert lines[0].split() == ["UUID", "URL", "Alias", "Primary", "Smap", "Targets", "Uptime", "Online"]
    rows = [line.split() for line in lines[1:]]
    return {row[0].strip("<>") if row[0].startswith("<") else row[2]: row for row in rows}


def test_clusters_are_attached_shown_and_detached(
    here: RunningNode, there: RunningNode, nowhere: str
) -> None:
    identity = ais(there.url, "show", "cluster", "--json").json["cluster"]
    attached = ais(here.url, "cluster", "remote-attach", f"alias111={there.url}", f"alias222={nowhere}")
    assert attached.lines == [
        f"Remote cluster (alias111={there.url}) successfully attached",
        f"Remote cluster (alias222={nowhere}) successfully attached",
    ]
    rows = shown(here)
    uuid, url, alias, primary, version, targets, _uptime, online = rows["alias111"]
    assert (uuid, url, alias, online) == (identity["id"], there.url, "alias111", "yes")
    assert (primary, version, targets) == (f"p[{identity['primary']}]", f"v{identity['map_version']}", "1")
    assert rows["alias222"] == ["<alias222>", f"<{nowhere}>", "n/a", "n/a", "n/a", "n/a", "no"]
    configured = ais(here.url, "config", "cluster", "backend", "--json").json
    assert configured["backend"]["ais"] == {"alias111": [there.url], "alias222": [nowhere]}
    told = ais(here.url, "show", "remote-cluster", "alias111", "--json").json["clusters"]
    assert [(each["uuid"], each["online"]) for each in told] == [(identity["id"], True)]
    # Each worker knows, and the answer names no alias that is gone.
    for name in (identity["id"], "alias222"):
        run = ais(here.url, "cluster", "remote-detach", name)
        assert run.lines == [f"Remote cluster {name} successfully detached"]
    assert shown(here) == {}
    assert ais(here.url, "cluster", "remote-detach", "alias111").code == 3
    assert ais(here.url, "show", "remote-cluster", "alias111").code == 3


def test_a_cluster_that_went_away_is_still_known(here: RunningNode) -> None:
    with running_node(workers=1) as brief:
        ais(here.url, "cluster", "remote-attach", f"brief={brief.url}")
        before = shown(here)["brief"]
        assert before[-1] == "yes"
    after = shown(here)["brief"]
    assert after == [*before[:-2], "n/a", "no"]
    ais(here.url, "cluster", "remote-detach", "brief")


def test_a_cluster_answers_at_any_of_its_urls(here: RunningNode, there: RunningNode, nowhere: str) -> None:
    ais(here.url, "cluster", "remote-attach", f"two={nowhere},{there.url}")
    assert shown(here)["two"][-1] == "yes"
    ais(here.url, "cluster", "remote-detach", "two")


def test_what_is_no_other_cluster_is_not_attached(here: RunningNode, there: RunningNode) -> None:
    ais(here.url, "cluster", "remote-attach", f"first={there.url}")
    for pair in (f"self={here.url}", f"again={there.url}", f"first={here.url}", "x=http://a", "bad=nothing"):
        assert ais(here.url, "cluster", "remote-attach", pair).code != 0
    assert set(shown(here)) == {"first"}
    assert shown(here)["first"][1] == there.url
    assert ais(here.url, "cluster", "remote-attach", "first").code == 2
    ais(here.url, "cluster", "remote-detach", "first")


def test_buckets_of_another_cluster_are_used_as_ones_own(here: RunningNode, there: RunningNode) -> None:
    ais(here.url, "cluster", "remote-attach", f"other={there.url}")
    uuid = shown(here)["other"][0]
    ais(there.url, "create", "data")
    ais(there.url, "put", "-", "data/a/first", stdin=b"from there")
    # Read, kept, and found under both names.
    assert ais(here.url, "cat", "ais://@other/data/a/first").stdout == b"from there"
    assert ais(here.url, "cat", f"ais://@{uuid}/data/a/first").stdout == b"from there"
    # Written through.
    assert ais(here.url, "put", "-", "ais://@other/data/b", stdin=b"from here").code == 0
    assert ais(there.url, "cat", "data/b").stdout == b"from here"
    listed = ais(here.url, "ls", "ais://@other/data").lines
    assert [line.split()[0] for line in listed[1:]] == ["a/first", "b"]
    ais(here.url, "rm", "ais://@other/data/b", "--yes")
    assert ais(there.url, "cat", "data/b").code == 3
    # Made and removed there.
    assert ais(here.url, "create", "ais://@other/made").code == 0
    assert "ais://made" in ais(there.url, "ls").text
    assert ais(here.url, "rmb", "ais://@other/made", "--yes").code == 0
    assert "ais://made" not in ais(there.url, "ls").text
    ais(here.url, "cluster", "remote-detach", "other")
    assert ais(here.url, "cat", "ais://@other/data/a/first").code == 3
    assert ais(here.url, "ls", "ais://@nosuch/b").code == 3


def set_backend(node: RunningNode, bucket: str, backend: str) -> None:
    ais(node.url, "create", bucket)
    assert ais(node.url, "bucket", "props", "set", bucket, f"backend_bck={backend}").code == 0


def test_a_chain_of_clusters_leads_to_where_the_bytes_are(here: RunningNode, there: RunningNode) -> None:
    with running_node(workers=1) as last:
        ais(last.url, "create", "deep")
        ais(last.url, "put", "-", "deep/k", stdin=b"from the end")
        ais(there.url, "cluster", "remote-attach", f"last={last.url}")
        ais(here.url, "cluster", "remote-attach", f"next={there.url}")
        # A bucket there whose backend is a bucket of the third cluster, and one here in front of it.
        set_backend(there, "ais://middle", "ais://@last/deep")
        set_backend(here, "ais://front", "ais://@next/middle")
        assert ais(here.url, "cat", "ais://front/k").stdout == b"from the end"
        assert ais(here.url, "cat", "ais://@next/middle/k").stdout == b"from the end"
        ais(here.url, "put", "-", "ais://front/new", stdin=b"all the way")
        assert ais(last.url, "cat", "deep/new").stdout == b"all the way"
    ais(there.url, "cluster", "remote-detach", "last")
    # What is kept here is served though the source is gone.
    assert ais(here.url, "cat", "ais://front/k").stdout == b"from the end"
    ais(here.url, "cluster", "remote-detach", "next")


def test_clusters_in_a_circle_answer_with_an_error(here: RunningNode, there: RunningNode) -> None:
    ais(here.url, "cluster", "remote-attach", f"fore={there.url}")
    ais(there.url, "cluster", "remote-attach", f"back={here.url}")
    ais(here.url, "create", "round")
    set_backend(there, "ais://round", "ais://@back/round")
    set_backend(here, "ais://round", "ais://@fore/round")
    for command in (("cat", "ais://round/k"), ("ls", "ais://round")):
        run = ais(here.url, *command)
        assert run.code != 0
        assert "in a circle" in run.stderr
    ais(here.url, "cluster", "remote-detach", "fore")
    ais(there.url, "cluster", "remote-detach", "back")


def test_a_cluster_attached_before_its_start_is_used_once_it_is_there(here: RunningNode) -> None:
    with running_node(start=False) as late:
        with unused_url() as url:
            late.args += ["--listen", url.removeprefix("http://")]
            ais(here.url, "cluster", "remote-attach", f"late={url}")
            assert shown(here)["late"][0] == "<late>"
            assert ais(here.url, "cat", "ais://@late/data/k").code != 0
        late.start()
        ais(url, "create", "data")
        ais(url, "put", "-", "data/k", stdin=b"late")
        assert ais(here.url, "cat", "ais://@late/data/k").stdout == b"late"
        uuid = shown(here)["late"][0]
        assert f"ais://@{uuid}/data" in ais(here.url, "ls", "--json").text
    ais(here.url, "cluster", "remote-detach", "late")


def test_a_clouds_bucket_is_reached_through_another_cluster(here: RunningNode) -> None:
    """As seed 3 has it: the cluster with the bucket in front has no credentials of the cloud's."""
    with running_node() as cloud:
        ais(cloud.url, "create", "data")
        ais(cloud.url, "put", "-", "data/aaa/bbb/ccc", stdin=b"from the cloud")
        account = {
            "AWS_ENDPOINT_URL": f"{cloud.url}/s3",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "y",
            "AWS_REGION": "us-east-1",
        }
        with running_node(env=account) as remais:
            ais(here.url, "cluster", "remote-attach", f"remais={remais.url}")
            ais(here.url, "create", "ais://nnn")
            run = ais(here.url, "bucket", "props", "set", "ais://nnn", "backend_bck=s3://@remais/data")
            assert '"backend_bck.name" set to: "data" (was: "")' in run.lines
            assert '"backend_bck.provider" set to: "aws" (was: "")' in run.lines
            assert ais(here.url, "cat", "ais://nnn/aaa/bbb/ccc").stdout == b"from the cloud"
            assert ais(here.url, "cat", "s3://@remais/data/aaa/bbb/ccc").stdout == b"from the cloud"
            ais(here.url, "put", "-", "ais://nnn/new", stdin=b"to the cloud")
            assert ais(cloud.url, "cat", "data/new").stdout == b"to the cloud"
            # Nobody removes a bucket of a cloud's through another cluster.
            assert ais(here.url, "rmb", "s3://@remais/data", "--yes").code != 0
            assert ais(cloud.url, "cat", "data/new").code == 0
    ais(here.url, "cluster", "remote-detach", "remais")


def test_a_guarded_cluster_wants_a_token(here: RunningNode) -> None:
    keys = ("root-access-key", "root-secret-key-of-some-length")
    env = {"AISLE_ROOT_ACCESS_KEY": keys[0], "AISLE_ROOT_SECRET_KEY": keys[1]}
    as_root = {"AIS_ACCESS_KEY": keys[0], "AIS_SECRET_KEY": keys[1]}
    with running_node(env=env) as guarded:
        ais(guarded.url, "auth", "user", "add", "cache", "--admin", **as_root)
        token = ais(guarded.url, "auth", "token", "add", "cache", "--json", **as_root).json["token"]
        ais(guarded.url, "create", "secret", **as_root)
        ais(guarded.url, "put", "-", "secret/k", stdin=b"guarded", **as_root)
        refused = ais(here.url, "cluster", "remote-attach", f"guarded={guarded.url}")
        assert (refused.code, "token" in refused.stderr) == (1, True)
        run = ais(here.url, "cluster", "remote-attach", f"guarded={guarded.url}", AIS_REMOTE_TOKEN=token)
        assert run.code == 0
        assert ais(here.url, "cat", "ais://@guarded/secret/k").stdout == b"guarded"
        assert token not in ais(here.url, "show", "remote-cluster", "--json").text
    ais(here.url, "cluster", "remote-detach", "guarded")


def test_an_own_bucket_outlives_the_cluster_behind_it(here: RunningNode) -> None:
    with running_node(workers=1) as gone:
        ais(here.url, "cluster", "remote-attach", f"gone={gone.url}")
        ais(gone.url, "create", "data")
        for name in ("kept", "other"):
            ais(gone.url, "put", "-", f"data/{name}", stdin=b"from there")
        set_backend(here, "ais://outlives", "ais://@gone/data")
        assert ais(here.url, "cat", "ais://outlives/kept").stdout == b"from there"
        ais(here.url, "cluster", "remote-detach", "gone")
    # What is missing is named, and it is not the bucket.
    for command in (("ls", "ais://outlives"), ("cat", "ais://outlives/other")):
        run = ais(here.url, *command)
        assert run.code == 1
        assert 'cluster "gone" is not attached' in run.stderr
    run = ais(here.url, "bucket", "props", "set", "ais://outlives", "backend_bck=ais://@gone/else")
    assert run.code == 3
    assert 'bucket "ais://@gone/else" does not exist: no cluster "gone" is attached' in run.stderr
    # What is here goes on.
    assert ais(here.url, "ls", "ais://outlives", "--cached", "--name-only").lines[1:] == ["kept"]
    assert ais(here.url, "cat", "ais://outlives/kept").stdout == b"from there"
    assert ais(here.url, "bucket", "props", "set", "ais://outlives", "versioning.enabled=true").code == 0
    assert ais(here.url, "bucket", "props", "set", "ais://outlives", "backend_bck=none").code == 0
    assert ais(here.url, "put", "-", "ais://outlives/new", stdin=b"mine").code == 0
    assert ais(here.url, "bucket", "props", "reset", "ais://outlives").code == 0
    assert ais(here.url, "ls", "ais://outlives", "--name-only").lines[1:] == ["kept", "new"]


def test_an_own_bucket_is_removed_though_its_cluster_is_gone(here: RunningNode, there: RunningNode) -> None:
    ais(here.url, "cluster", "remote-attach", f"gone={there.url}")
    ais(there.url, "create", "behind")
    ais(there.url, "put", "-", "behind/k", stdin=b"stays there")
    set_backend(here, "ais://removed", "ais://@gone/behind")
    ais(here.url, "cluster", "remote-detach", "gone")
    # It holds nothing here, so nobody is asked.
    assert ais(here.url, "rmb", "ais://removed").text == '"ais://removed" destroyed\n'
    assert "ais://removed" not in ais(here.url, "ls").text
    assert ais(there.url, "cat", "behind/k").stdout == b"stays there"


def test_a_bucket_that_is_gone_behind_an_own_one_is_named(here: RunningNode, there: RunningNode) -> None:
    ais(here.url, "cluster", "remote-attach", f"named={there.url}")
    ais(there.url, "create", "short-lived")
    set_backend(here, "ais://stays", "ais://@named/short-lived")
    ais(there.url, "rmb", "short-lived")
    run = ais(here.url, "ls", "ais://stays")
    assert run.code == 3
    assert '/short-lived" does not exist' in run.stderr
    assert 'bucket "ais://stays" does not exist' not in run.stderr
    assert ais(here.url, "rmb", "ais://stays").code == 0
    ais(here.url, "cluster", "remote-detach", "named")
