"""The real `ais` sums up buckets of a real node."""

import json
from collections.abc import Iterator

import pytest

from support.ais import ais
from support.node import RunningNode, running_node

SIZES = {"d/a": 1000, "d/b": 30_000, "c": 5}


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        for bucket in ("sums", "empty"):
            assert ais(running.url, "create", bucket).code == 0
        for name, size in SIZES.items():
            assert ais(running.url, "put", "-", f"ais://sums/{name}", stdin=b"x" * size).code == 0
        yield running


def test_a_bucket_is_summed_up(node: RunningNode) -> None:
    run = ais(node.url, "bucket", "summary", "ais://sums", "--json")
    assert json.loads(run.stdout) == {
        "buckets": [
            {
                "bucket": "ais://sums",
                "objects": 3,
                "bytes": 31_005,
                "remote_objects": 0,
                "remote_bytes": 0,
                "bytes_on_disk": 32_768 + 1005,
                "smallest": 5,
                "average": 10_335,
                "largest": 30_000,
                "percent_used": 0,
            }
        ]
    }
    table = ais(node.url, "bucket", "summary", "ais://sums").lines
    assert table[0].split()[:2] == ["NAME", "OBJECTS"]
    assert table[1].split() == (
        ["ais://sums", "3", "0", "5B", "10.09KiB", "29.30KiB", "30.28KiB", "0B", "0%"]
    )


@pytest.mark.parametrize("arguments", [("ais://sums/d/",), ("ais://sums", "--prefix", "d/")])
def test_a_prefix_selects(node: RunningNode, arguments: tuple[str, ...]) -> None:
    (found,) = json.loads(ais(node.url, "bucket", "summary", *arguments, "--json").stdout)["buckets"]
    assert (found["objects"], found["bytes"]) == (2, 31_000)


def test_a_listing_of_buckets_shows_their_totals(node: RunningNode) -> None:
    lines = ais(node.url, "ls", "--summary").lines
    assert lines[0].split()[:3] == ["NAME", "PRESENT", "OBJECTS"]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["ais://empty", "yes", "0"],
        ["ais://sums", "yes", "3"],
    ]
    one = ais(node.url, "ls", "ais://sums", "--summary").lines
    assert one[1].split() == ["ais://sums", "yes", "3", "0", "32.98KiB", "30.28KiB", "0B", "0%"]


def test_a_missing_bucket_is_told(node: RunningNode) -> None:
    run = ais(node.url, "bucket", "summary", "ais://none")
    assert run.code == 3
    assert run.stderr.startswith('Error: bucket "ais://none" does not exist\n')
