"""Prefetching through real nodes: one is the S3 endpoint of the other. Whole, selected, aborted, killed."""

import json
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.ais import ais
from support.native import CONNECTION_ERRORS, NativeClient
from support.node import RunningNode, running_node

# Job workers start at the lowest priority: slowly beside others.
pytestmark = pytest.mark.timeout(400)

SMALL = 150
NAMES = [f"s/{number:04}" for number in range(SMALL)] + [f"t/{number}" for number in range(4)]
WAIT_S = 180.0


def payload(name: str) -> bytes:
    return random.Random(name).randbytes(3_000_000 if name.startswith("t/") else 10_000)


@pytest.fixture(scope="module")
def source() -> Iterator[RunningNode]:
    with running_node() as node:
        client = NativeClient(node.host, node.port)
        assert client.create_bucket("data").status == 200
        for name in NAMES:
            assert client.put("data", name, payload(name)).status == 200
        client.close()
        yield node


@pytest.fixture(scope="module")
def front(source: RunningNode) -> Iterator[RunningNode]:
    account = {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
        "AWS_REGION": "us-east-1",
        "S3_ENDPOINT": f"{source.url}/s3",
    }
    with running_node(env=account) as node:
        yield node


@pytest.fixture
def cache(front: RunningNode) -> RunningNode:
    """The node in front, with nothing of the bucket."""
    asked(front, "DELETE", "/v1/buckets/data?provider=aws", {"action": "evict-remote-bck"})
    return front


def asked(node: RunningNode, method: str, target: str, message: object) -> Any:
    """What a node answers, be it only after its restart."""
    deadline_s = time.monotonic() + WAIT_S
    while True:
        client = NativeClient(node.host, node.port)
        try:
            answer = client.request(method, target, body=json.dumps(message).encode())
            if answer.status != 503:
                assert answer.status == 200, answer
                return answer.body
        except CONNECTION_ERRORS:
            pass
        finally:
            client.close()
        assert time.monotonic() < deadline_s, "the node does not answer"
        time.sleep(0.02)


def begin(node: RunningNode, **value: object) -> str:
    message = {"action": "prefetch-listrange", "name": "", "value": value}
    return str(asked(node, "POST", "/v1/buckets/data?provider=aws", message).decode())


def snapshot(node: RunningNode, job_id: str) -> Any:
    [[told]] = json.loads(asked(node, "GET", "/v1/cluster?what=qryxstats", {"id": job_id})).values()
    return told


def ended(node: RunningNode, job_id: str) -> Any:
    deadline_s = time.monotonic() + WAIT_S
    while not json.loads(asked(node, "GET", "/v1/cluster?what=status", {"id": job_id}))["end_time"]:
        assert time.monotonic() < deadline_s, snapshot(node, job_id)
        time.sleep(0.05)
    return snapshot(node, job_id)


def cached(node: RunningNode) -> list[str]:
    message = {"action": "list", "value": {"props": "name", "flags": "1"}}
    told = json.loads(asked(node, "GET", "/v1/buckets/data?provider=aws", message))
    return [entry["name"] for entry in told["entries"] or ()]


def assert_whole(node: RunningNode) -> None:
    client = NativeClient(node.host, node.port)
    for name in random.sample(NAMES, 40) + NAMES[SMALL:]:
        answer = client.request("GET", f"/v1/objects/data/{name}?provider=aws")
        assert (answer.status, answer.body) == (200, payload(name)), name
    client.close()


def test_what_is_chosen_of_an_account_is_fetched(cache: RunningNode) -> None:
    run = ais(cache.url, "prefetch", "s3://data/t/", "--wait")
    begun, end = run.lines
    assert begun.endswith(': prefetch "t/" from s3://data ...'), run.stderr
    assert end == "Done."
    assert cached(cache) == NAMES[SMALL:]
    run = ais(cache.url, "start", "prefetch", "s3://data", "--list", "s/0001,never", "--wait")
    assert run.code == 1
    assert "never" in run.stderr
    assert cached(cache) == ["s/0001", *NAMES[SMALL:]]
    whole = ended(cache, begin(cache, template="", objnames=None))
    # What was there already is not counted.
    assert whole["stats"]["loc-objs"] == str(SMALL - 1)
    assert whole["stats"]["loc-bytes"] == str((SMALL - 1) * 10_000)
    assert (whole["aborted"], whole["err"]) == (False, "")
    assert cached(cache) == NAMES
    assert_whole(cache)


def test_after_a_kill_it_goes_on(cache: RunningNode) -> None:
    job_id = begin(cache, **{"num-workers": 2})
    deadline_s = time.monotonic() + WAIT_S
    while not cached(cache):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)  # job workers give way to those who ask
    cache.kill()
    cache.wait_gone()
    cache.start()
    told = ended(cache, job_id)
    assert (told["aborted"], told["err"]) == (False, "")
    assert cached(cache) == NAMES
    assert_whole(cache)


def test_a_job_whose_source_hangs_can_be_aborted(cache: RunningNode, source: RunningNode) -> None:
    ended(cache, begin(cache, objnames=NAMES[:1]))
    source.kill("worker", signal.SIGSTOP)
    try:
        job_id = begin(cache)
        named = begin(cache, objnames=NAMES)
        asked(cache, "PUT", "/v1/cluster", {"action": "stop", "value": {"id": job_id}})
        asked(cache, "PUT", "/v1/cluster", {"action": "stop", "value": {"id": named}})
        assert ended(cache, job_id)["aborted"]
        assert ended(cache, named)["aborted"]
    finally:
        source.kill("worker", signal.SIGCONT)
    assert cached(cache) == NAMES[:1]
