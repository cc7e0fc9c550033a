"""`ais storage` on the folders of a real node: running, stopped, damaged."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.ais import Run, ais
from support.folders import files_below
from support.node import NodeDidNotStart, RunningNode, running_node

NOWHERE = "http://127.0.0.1:9"  # none of these commands talks to a node
SMALL, LARGE = b"s" * 1000, os.urandom(50_000)


@pytest.fixture
def node() -> Iterator[RunningNode]:
    """A node with one small and one large object."""
    with running_node() as running:
        ais(running.url, "create", "b")
        for name, data in (("small", SMALL), ("large", LARGE)):
            assert ais(running.url, "put", "-", f"b/{name}", stdin=data).code == 0
        yield running


def storage(node: RunningNode, *arguments: str) -> Run:
    return ais(NOWHERE, "storage", *arguments, "--data", str(node.data[0]))


def payload_file(node: RunningNode) -> Path:
    (found,) = files_below(node.data[0] / "data")
    return found


def test_a_running_node_keeps_them_out(node: RunningNode, tmp_path: Path) -> None:
    for arguments in (["fsck"], ["compact"], ["backup", str(tmp_path)], ["restore", str(tmp_path)]):
        run = storage(node, *arguments)
        assert (run.code, run.stdout) == (1, b"")
        assert "is in use by process" in run.stderr
        assert "stopped node" in run.stderr


def test_a_healthy_folder_is_found_healthy(node: RunningNode) -> None:
    node.stop()
    run = storage(node, "fsck")
    assert (run.code, run.lines) == (0, ["2 objects (49.80KiB) checked: all is well"])
    told = storage(node, "fsck", "--json").json
    assert told == {"objects": 2, "bytes": 51_000, "clean": True, "findings": []}


def test_a_flipped_byte_is_found_named_and_put_right(node: RunningNode) -> None:
    node.stop()
    file = payload_file(node)
    data = bytearray(file.read_bytes())
    data[25_000] ^= 1
    file.write_bytes(data)
    run = storage(node, "fsck")
    assert run.code == 1
    assert "ais://b/large" in run.text
    assert "--repair" in run.stderr
    assert storage(node, "fsck", "--json").json["findings"][0]["object"] == "ais://b/large"
    run = storage(node, "fsck", "--repair")
    assert run.code == 0
    assert "1 put right" in run.lines[-1]
    assert storage(node, "fsck").code == 0
    node.start()
    assert ais(node.url, "get", "b/large", "-").code == 3
    assert ais(node.url, "get", "b/small", "-").stdout == SMALL


def test_an_index_is_backed_up_and_put_back(node: RunningNode, tmp_path: Path) -> None:
    node.stop()
    run = storage(node, "backup", str(tmp_path / "copy"), "--json")
    assert run.code == 0
    assert all(Path(path).is_dir() for path in run.json["copies"])
    shutil.rmtree(node.data[0] / "index")
    assert storage(node, "fsck").code == 1
    (node.data[0] / "index").mkdir()
    run = storage(node, "restore", str(tmp_path / "copy"))
    assert (run.code, run.lines) == (0, [f"restored {node.data[0]}"])
    assert storage(node, "fsck").code == 0
    node.start()
    assert ais(node.url, "get", "b/small", "-").stdout == SMALL
    assert ais(node.url, "get", "b/large", "-").stdout == LARGE


def garble(metadata: Path) -> None:
    (metadata / "data.mdb").write_bytes(os.urandom(100_000))


def empty(metadata: Path) -> None:
    (metadata / "data.mdb").write_bytes(b"")


@pytest.mark.parametrize("lose", [shutil.rmtree, garble, empty])
def test_a_node_whose_metadata_is_lost_starts_again_with_a_backup(
    node: RunningNode, tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    node.stop()
    assert storage(node, "backup", str(tmp_path / "copy")).code == 0
    lose(node.data[0] / "metadata")
    for _ in range(2):
        with pytest.raises(NodeDidNotStart, match="Restore it with `ais storage restore`"):
            node.start()
    assert storage(node, "restore", str(tmp_path / "copy")).code == 0
    node.start()
    assert ais(node.url, "get", "b/small", "-").stdout == SMALL
    assert ais(node.url, "get", "b/large", "-").stdout == LARGE


def test_restoring_keeps_the_metadata_that_is_there(node: RunningNode, tmp_path: Path) -> None:
    node.stop()
    assert storage(node, "backup", str(tmp_path / "copy")).code == 0
    node.start()
    ais(node.url, "create", "later")
    node.stop()
    assert storage(node, "restore", str(tmp_path / "copy")).code == 0
    node.start()
    assert "ais://later" in ais(node.url, "ls").text


def test_an_index_is_made_smaller(node: RunningNode) -> None:
    node.stop()
    (told,) = storage(node, "compact", "--json").json["mountpaths"]
    assert told["path"] == str(node.data[0])
    assert 0 < told["after"] <= told["before"]
    assert storage(node, "compact").lines[0].split() == ["MOUNTPATH", "BEFORE", "AFTER"]
    assert storage(node, "fsck").code == 0


def test_folders_that_are_none_are_told(tmp_path: Path) -> None:
    run = ais(NOWHERE, "storage", "fsck", "--data", str(tmp_path / "nowhere"))
    assert run.code == 2
    assert "does not exist" in run.stderr
    run = ais(NOWHERE, "storage", "fsck", cwd=tmp_path)
    assert run.code == 2
    (tmp_path / "empty").mkdir()
    run = ais(NOWHERE, "storage", "fsck", "--data", str(tmp_path / "empty"))
    assert run.code == 2
    assert "is no folder of a node" in run.stderr
    assert list((tmp_path / "empty").iterdir()) == []
