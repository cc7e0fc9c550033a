"""`ais storage fsck` finds what is broken, names it, and mends or reports it: on a real node's folders."""

import shutil
from pathlib import Path

import pytest

from soak.damage import BUCKET, CASES, SMALL, Case, fill, missing_after
from support.fsck import storage
from support.node import running_node


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("damage")
    mountpaths = [folder / "one", folder / "two"]
    with running_node(mountpaths) as node:
        fill(node)
        node.stop()
    return mountpaths


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_damage_is_found_named_and_mended(case: Case, stored: list[Path], tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns(".run")  # sockets
    mountpaths = [Path(shutil.copytree(path, tmp_path / path.name, ignore=ignored)) for path in stored]
    assert storage("fsck", mountpaths).code == 0

    damaged = case.damage(mountpaths)
    found = storage("fsck", mountpaths)
    assert found.code != 0, found.text
    assert f"{case.called}: {damaged.mountpath}" in found.text
    if damaged.name:
        assert f"ais://{BUCKET}/{damaged.name}" in found.text
    assert storage("fsck", mountpaths).text == found.text, "a check without --repair changes nothing"

    mended = storage("fsck", mountpaths, "--repair")
    assert mended.code == 0, mended.text
    assert storage("fsck", mountpaths).code == 0
    with running_node(mountpaths) as node:
        missing = missing_after(node)
    if case.called == "lost index":  # small payloads lived in it, large ones describe themselves
        assert missing
        assert missing <= set(SMALL)
    else:
        assert missing == ({damaged.name} if case.lost else set())
