"""`ais download` of lists, folders and archives, against a real node."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.ais import ais
from support.listings import Site, running_site
from support.node import RunningNode, running_node


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node(config="[download]\nretries_max = 0\n") as running:
        yield running


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as running:
        yield running


def names(node: RunningNode, bucket: str) -> list[str]:
    listed = ais(node.url, "ls", bucket, "--json")
    return [str(entry["name"]) for entry in listed.json["objects"]]


def test_a_list_in_columns(node: RunningNode, site: Site, tmp_path: Path) -> None:
    site.pages.update({"/a": b"aa", "/b": b"b"})
    digest = hashlib.sha256(b"aa").hexdigest()
    path = tmp_path / "links.csv"
    path.write_text(f"id,url,sha256,length\n1,{site.url}/a,{digest},2\n2,{site.url}/b,,\n")
    run = ais(
        *(node.url, "download", "ais://list/in/", "--list", str(path), "--wait", "--name-column", "id"),
        *("--checksum-column", "sha256", "--size-column", "length"),
    )
    assert (run.code, run.lines[-1]) == (0, "All 2 files successfully downloaded")
    assert names(node, "ais://list") == ["in/1", "in/2"]
    assert ais(node.url, "cat", "ais://list/in/1").stdout == b"aa"


def test_a_list_from_a_pipe_below_a_link(node: RunningNode, site: Site) -> None:
    site.pages.update({"/d/x%20y": b"x", "/d/s/z": b"z"})
    run = ais(
        *(node.url, "download", f"{site.url}/d", "ais://pipe", "--list", "-", "--format", "tsv", "--wait"),
        stdin=b"path\nx y\ns/z\n",
    )
    assert run.code == 0, run.stderr
    assert names(node, "ais://pipe") == ["s/z", "x y"]


def test_what_is_wrong_with_a_list_starts_nothing(node: RunningNode, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "links.txt"
    path.write_text("https://host/a\n# no\nhttps://host/\n")
    run = ais(node.url, "download", "ais://wrong", "--list", str(path))
    assert run.code != 0
    assert "links.txt, line 3: cannot derive a valid object name" in run.stderr
    path.write_text("https://host/a\nhttps://other/a\n")
    run = ais(node.url, "download", "ais://wrong", "--list", str(path))
    assert run.code != 0
    assert 'would both become object "a"' in run.stderr
    for options in (["--list", str(path), "-r", "https://host/"], ["--list", str(path), "--url-column", "x"]):
        assert ais(node.url, "download", *options, "ais://wrong").code != 0
    assert ais(node.url, "show", "job", "download", "--regex", "wrong", "--json").json["jobs"] == []


def test_a_folder(node: RunningNode, site: Site) -> None:
    site.pages.update(
        {
            "/d/": '<a href="../">..</a><a href="s/">s/</a><a href="a.txt">a</a><a href="b.bin">b</a>',
            "/d/s/": '<a href="c.txt">c</a><a href="old/">old</a>',
            "/d/a.txt": b"a",
            "/d/b.bin": b"b",
            "/d/s/c.txt": b"c",
        }
    )
    run = ais(
        *(node.url, "download", "-r", f"{site.url}/d/", "ais://folder/in", "--wait"),
        *("--include", "*.txt", "--exclude", "old/"),
    )
    assert (run.code, run.lines[-1]) == (0, "All 2 files successfully downloaded"), run.stderr
    assert names(node, "ais://folder") == ["in/a.txt", "in/s/c.txt"]
    run = ais(node.url, "download", "-r", f"{site.url}/nothing/", "ais://folder", "--wait")
    assert run.code != 0
    assert "status 404" in run.stderr + run.text


def test_archives(node: RunningNode, site: Site) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, body in (("one.txt", b"1"), ("two/three.bin", bytes(400_000))):
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    site.pages["/x.tar.gz"] = target.getvalue()
    run = ais(node.url, "download", f"{site.url}/x.tar.gz", "ais://archive/in/", "--extract", "--wait")
    assert run.code == 0, run.stderr
    assert names(node, "ais://archive") == ["in/one.txt", "in/two/three.bin"]
    assert ais(node.url, "cat", "ais://archive/in/two/three.bin").stdout == bytes(400_000)


def test_a_list_that_is_only_tried(node: RunningNode, site: Site, tmp_path: Path) -> None:
    path = tmp_path / "links.jsonl"
    path.write_text(
        "".join(json.dumps({"link": f"{site.url}/{number}", "size": 10}) + "\n" for number in range(3))
    )
    run = ais(node.url, "download", "ais://tried", "--list", str(path), "--dry-run", "--json")
    assert (run.code, run.json["total"], run.json["total_bytes"]) == (0, 3, 30)
    assert site.asked == []
