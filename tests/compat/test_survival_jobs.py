"""Bulk jobs of a node whose processes are killed while they work: they go on, and end as if nothing was."""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.native import CONNECTION_ERRORS, NativeClient
from support.node import RunningNode, running_node

# Job workers start at the lowest priority: slowly beside others.
pytestmark = pytest.mark.timeout(400)

SMALL, LARGE = 1_200, 12
NAMES = [f"s/{number:04}" for number in range(SMALL)] + [f"t/{number:02}" for number in range(LARGE)]
WAIT_S = 150.0


@pytest.fixture(scope="module")
def node() -> Iterator[RunningNode]:
    with running_node() as running:
        client = NativeClient(running.host, running.port)
        assert client.create_bucket("full").status == 200
        for name in NAMES:
            assert client.put("full", name, payload(name)).status == 200
        client.close()
        yield running


def payload(name: str) -> bytes:
    return random.Random(name).randbytes(2_000_000 if name.startswith("t/") else 2_000)


class Jobs:
    """Asks a node that may be dying: until it answers."""

    def __init__(self, node: RunningNode) -> None:
        self._node = node

    def action(self, method: str, path: str, action: str, value: object = None) -> bytes:
        body = json.dumps({"action": action, "value": value}).encode()
        return self._insist(method, path, body)

    def status(self, job_id: str) -> Any:
        return json.loads(self._insist("GET", "/v1/cluster?what=status", b'{"id":"%s"}' % job_id.encode()))

    def snapshot(self, job_id: str) -> Any:
        told = self._insist("GET", "/v1/cluster?what=qryxstats", b'{"id":"%s"}' % job_id.encode())
        [[snapshot]] = json.loads(told).values()
        return snapshot

    def ended(self, job_id: str) -> Any:
        deadline_s = time.monotonic() + WAIT_S
        while not (status := self.status(job_id))["end_time"]:
            assert time.monotonic() < deadline_s, status
            time.sleep(0.05)
        return status

    def _insist(self, method: str, path: str, body: bytes) -> bytes:
        deadline_s = time.monotonic() + WAIT_S
        while True:
            client = NativeClient(self._node.host, self._node.port)
            try:
                answer = client.request(method, path, body=body)
                if answer.status != 503:
                    assert answer.status == 200, answer
                    return answer.body
            except CONNECTION_ERRORS:
                pass
            finally:
                client.close()
            assert time.monotonic() < deadline_s, "the node does not answer"
            time.sleep(0.02)


def kill_now_and_then(node: RunningNode, victim: str) -> None:
    for _ in range(3):
        time.sleep(random.uniform(0.02, 0.3))
        node.kill(victim)
        if victim == "all":
            node.wait_gone()
            node.start()


@pytest.mark.parametrize("victim", ["all"])
def test_a_bucket_is_copied_once_and_whole_and_emptied(node: RunningNode, victim: str) -> None:
    jobs, name = Jobs(node), f"copy-{victim}"
    to = f"bck_to=ais%2F%40%23%2F{name}%2F"
    job_id = jobs.action("POST", f"/v1/buckets/full?{to}", "copy-bck", {"num-workers": -1}).decode()
    kill_now_and_then(node, victim)
    assert jobs.ended(job_id) | {"end_time": 0} == {
        "kind": "copy-bck",
        "uuid": job_id,
        "err": "",
        "end_time": 0,
        "aborted": False,
    }
    client = NativeClient(node.host, node.port)
    assert [entry.name for entry in client.list_all(name)] == NAMES
    for copied in random.sample(NAMES, 60) + NAMES[SMALL:]:
        assert client.get(name, copied).body == payload(copied), copied
    stats = jobs.snapshot(job_id)["stats"]
    assert (stats["loc-objs"], stats["loc-bytes"]) == (
        str(len(NAMES)),
        str(SMALL * 2_000 + LARGE * 2_000_000),
    )
    value = {"objnames": NAMES[:600], "num-workers": -1}
    job_id = jobs.action("DELETE", f"/v1/buckets/{name}", "delete-listrange", value).decode()
    kill_now_and_then(node, victim)
    assert (jobs.ended(job_id)["err"], jobs.snapshot(job_id)["stats"]["loc-objs"]) == ("", "600")
    client = NativeClient(node.host, node.port)
    assert [entry.name for entry in client.list_all(name)] == NAMES[600:]
    assert client.destroy_bucket(name).status == 200
    client.close()


@pytest.mark.parametrize("victim", ["jobs", "all"])
def test_a_renamed_bucket_is_never_gone(node: RunningNode, victim: str) -> None:
    jobs = Jobs(node)
    client = NativeClient(node.host, node.port)
    assert client.create_bucket("old").status == 200
    assert client.put("old", "x", b"kept").status == 200
    for old, new in (("old", "new"), ("new", "old")) * 3:
        job_id = jobs.action("POST", f"/v1/buckets/{old}?bck_to=ais%2F%40%23%2F{new}%2F", "move-bck").decode()
        time.sleep(random.uniform(0, 0.01))
        node.kill(victim)
        if victim == "all":
            node.wait_gone()
            node.start()
        assert jobs.ended(job_id)["err"] == ""
        client = NativeClient(node.host, node.port)
        assert client.get(new, "x").body == b"kept"
        assert client.buckets() >= {new}
        assert old not in client.buckets()
    assert client.destroy_bucket("old").status == 200
    client.close()
