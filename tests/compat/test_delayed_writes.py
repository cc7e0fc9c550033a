"""Delayed writes of a real node: its source gone for a while, and the node killed in the middle."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from support import processes
from support.ais import ais
from support.node import RunningNode, running_node
from support.s3_source import WAIT_S, S3Source

LARGE = os.urandom(6 * 1024 * 1024)
ACCOUNT = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def source() -> Iterator[S3Source]:
    running = S3Source()
    yield running
    running.leave()


@pytest.fixture(scope="module")
def node(source: S3Source) -> Iterator[RunningNode]:
    with running_node(workers=2, env={"AWS_ENDPOINT_URL": source.url, **ACCOUNT}) as running:
        told = ais(running.url, "bucket", "props", "set", "s3://data", "write_policy.backend=delayed")
        assert told.code == 0, str(told)
        yield running


@pytest.fixture(autouse=True)
def usual(source: S3Source) -> None:
    source.bucket.release()


def url(node: RunningNode, key: str) -> str:
    return f"{node.url}/v1/objects/data/{key}?provider=aws"


def put(node: RunningNode, key: str, content: bytes) -> None:
    assert requests.put(url(node, key), content, timeout=WAIT_S).status_code == 200


def read(node: RunningNode, key: str) -> bytes | None:
    answer = requests.get(url(node, key), timeout=WAIT_S)
    return answer.content if answer.status_code == 200 else None


def unwritten(node: RunningNode) -> int:
    """How many changes the metrics tell of."""
    lines = requests.get(f"{node.url}/metrics", timeout=WAIT_S).text.splitlines()
    (told,) = [line for line in lines if line.startswith("aisle_unwritten_changes")]
    return int(told.rpartition(" ")[2])


def wait_written(node: RunningNode, *keys: str) -> None:
    """Wait until the source has these objects, by what the node tells of them."""

    def is_written(key: str) -> bool:
        head = requests.head(url(node, key), timeout=WAIT_S)
        return head.status_code == 200 and "Ais-Unwritten" not in head.headers

    for key in keys:
        assert processes.wait_until(lambda key=key: is_written(key), timeout_s=WAIT_S, poll_s=0.05), key


def test_a_source_that_is_gone_gets_everything_when_it_is_back(node: RunningNode, source: S3Source) -> None:
    for key in ("gone", "old"):
        source.bucket.objects[key] = b"before"
        source.bucket.dates[key] = "Fri, 20 Nov 2020 16:13:27 GMT"
    written = {f"s/{number}": os.urandom(number * 5_000) for number in range(20)} | {"old": b"after"}
    source.leave()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda item: put(node, *item), written.items()))
    assert requests.delete(url(node, "gone"), timeout=WAIT_S).status_code == 200
    assert all(read(node, key) == content for key, content in written.items())
    assert read(node, "gone") is None
    assert requests.head(url(node, "old"), timeout=WAIT_S).headers["Ais-Unwritten"] == "true"
    assert processes.wait_until(lambda: unwritten(node) == 22, timeout_s=WAIT_S, poll_s=0.05)

    def shown() -> str:
        return ais(node.url, "show", "job", "write-back", "--json").text

    assert processes.wait_until(lambda: "pending:22" in shown(), timeout_s=WAIT_S, poll_s=0.1), shown()
    evicting = {"action": "evict-listrange"}
    refused = requests.delete(url(node, "old"), json=evicting, timeout=WAIT_S)
    assert (refused.status_code, "does not have all of that yet" in refused.text) == (409, True)
    source.come_back()
    wait_written(node, *written)
    assert processes.wait_until(lambda: "gone" not in source.bucket.objects, timeout_s=WAIT_S, poll_s=0.05)
    assert {key: source.bucket.objects.get(key) for key in written} == written
    assert requests.delete(url(node, "old"), json=evicting, timeout=WAIT_S).status_code == 200
    assert read(node, "old") == b"after"


def test_a_node_that_is_killed_in_the_middle_of_a_write_does_it_again(
    node: RunningNode, source: S3Source
) -> None:
    source.bucket.go_on.clear()
    put(node, "killed", LARGE)
    put(node, "small", b"small")
    assert source.bucket.half_received.wait(WAIT_S)
    node.kill()
    source.bucket.go_on.set()
    node.restart()
    assert read(node, "killed") == LARGE
    wait_written(node, "killed", "small")
    assert source.bucket.objects["killed"] == LARGE
    assert source.bucket.objects["small"] == b"small"


def test_a_node_that_is_killed_before_the_answer_knows_its_own_write(
    node: RunningNode, source: S3Source
) -> None:
    source.bucket.go_on_behind.clear()
    put(node, "answered", LARGE)
    assert source.bucket.stored.wait(WAIT_S)
    node.kill()
    source.bucket.go_on_behind.set()
    node.restart()
    wait_written(node, "answered")
    assert source.bucket.objects["answered"] == LARGE
    assert source.bucket.puts == ["answered"]


def test_only_the_job_worker_dies(node: RunningNode, source: S3Source) -> None:
    source.bucket.go_on.clear()
    put(node, "worker", LARGE)
    assert source.bucket.half_received.wait(WAIT_S)
    node.kill("jobs")
    put(node, "worker", b"and the next version")
    source.bucket.go_on.set()
    wait_written(node, "worker")
    assert source.bucket.objects["worker"] == b"and the next version"
