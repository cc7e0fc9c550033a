"""A node and its set of mountpaths: growing, missing, emptied, and accepted as lost."""

import shutil
from pathlib import Path

import pytest

from soak.mountpaths import add_mountpaths
from support.content import payload
from support.native import NativeClient
from support.node import NodeDidNotStart, running_node


def test_objects_stay_readable_while_mountpaths_are_added(tmp_path: Path) -> None:
    spread = add_mountpaths(300, tmp_path, watched_s=0.5)
    assert spread.objects > 200


def test_a_missing_mountpath_is_an_error_that_names_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    names = [f"object-{number}" for number in range(60)]
    with running_node([one, two]) as node:
        client = NativeClient(node.host, node.port)
        assert client.create_bucket("b").status == 200
        for name in names:
            assert client.put("b", name, payload(name, 1, 20_000)).status == 200
        node.stop()

        with pytest.raises(NodeDidNotStart, match=str(two)) as caught:
            node.restart(data=[one])
        assert caught.value.code not in (None, 0)
        assert "--accept-missing" in caught.value.stderr

        two.rename(tmp_path / "away")
        two.mkdir()
        with pytest.raises(NodeDidNotStart, match=str(two)):
            node.restart(data=[one, two])

        assert {entry.name for entry in two.iterdir()} <= {".lock"}
        shutil.rmtree(two)
        (tmp_path / "away").rename(two)
        node.restart(data=[two, one])
        client = NativeClient(node.host, node.port)
        for name in names:
            assert client.get("b", name).body == payload(name, 1, 20_000)


def test_an_accepted_loss_takes_only_what_was_on_that_mountpath(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    names = [f"object-{number}" for number in range(60)]
    with running_node([one, two]) as node:
        client = NativeClient(node.host, node.port)
        assert client.create_bucket("b").status == 200
        for name in names:
            assert client.put("b", name, payload(name, 1, 20_000)).status == 200
        node.stop()
        shutil.rmtree(two)
        node.args.append("--accept-missing")
        node.restart(data=[one])
        client = NativeClient(node.host, node.port)
        listed = {entry.name for entry in client.list_all("b")}
        assert 10 < len(listed) < 50
        for name in names:
            answer = client.get("b", name)
            assert answer.status == (200 if name in listed else 404), answer
            if name in listed:
                assert answer.body == payload(name, 1, 20_000)
        node.args.remove("--accept-missing")
        node.restart()  # accepted once is accepted: the set was recorded anew
        assert {entry.name for entry in NativeClient(node.host, node.port).list_all("b")} == listed


def test_a_second_node_on_the_same_mountpath_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    with running_node([tmp_path / "one"]) as node:
        with pytest.raises(NodeDidNotStart, match=str(node.pid)), running_node([tmp_path / "one"]):
            pass
        assert NativeClient(node.host, node.port).request("GET", "/v1/health").status == 200
