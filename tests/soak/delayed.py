"""Delayed writes under kills, with a source that comes and goes: what was acknowledged arrives.

Each client has names of its own, so that it is known what was acknowledged last. A request that got no answer
may have taken effect or not: then either is right, until the next answer.
"""

import random
import threading
import time
from pathlib import Path
from typing import NamedTuple

import requests

from support import processes
from support.node import RunningNode, running_node
from support.s3_source import S3Source

ACCOUNT = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "us-east-1"}
CLIENTS = 6
NAMES = 5
SIZES = (0, 10, 5_000, 40_000, 600_000)
WAIT_S = 120.0


class Report(NamedTuple):
    """What was done."""

    acknowledged: int
    unanswered: int
    kills: int

    def __str__(self) -> str:
        return f"{self.acknowledged} changes acknowledged, {self.unanswered} unanswered, {self.kills} kills"


class Client(threading.Thread):
    """Writes, reads and removes its own objects until it is told to stop."""

    def __init__(self, node: RunningNode, number: int, stop: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.acknowledged = 0
        self.unanswered = 0
        self.mistakes: list[str] = []
        self.allowed: dict[str, set[bytes | None]] = {f"c{number}/{n} é%": {None} for n in range(NAMES)}
        self._node = node
        self._stop_asked = stop
        self._random = random.Random(seed)

    def run(self) -> None:
        while not self._stop_asked.is_set():
            key = self._random.choice(list(self.allowed))
            wanted = None
            if self._random.random() < 0.8:
                wanted = self._random.randbytes(self._random.choice(SIZES))
            try:
                if self._random.random() < 0.3:
                    self._check(key)
                else:
                    self._change(key, wanted)
            except requests.RequestException:
                self.unanswered += 1
                time.sleep(0.05)  # the node is being restarted

    def _url(self, key: str) -> str:
        return f"{self._node.url}/v1/objects/data/{requests.utils.quote(key)}?provider=aws"

    def _change(self, key: str, wanted: bytes | None) -> None:
        self.allowed[key] = self.allowed[key] | {wanted}
        if wanted is None:
            answer = requests.delete(self._url(key), timeout=30)
        else:
            answer = requests.put(self._url(key), wanted, timeout=30)
        if answer.status_code == 200:
            self.allowed[key] = {wanted}
            self.acknowledged += 1
        elif answer.status_code not in (502, 503):
            self.mistakes.append(f"{answer.request.method} {key}: {answer.status_code} {answer.text}")

    def _check(self, key: str) -> None:
        answer = requests.get(self._url(key), timeout=30)
        if answer.status_code in (200, 404):
            found = answer.content if answer.status_code == 200 else None
            if found not in self.allowed[key]:
                self.mistakes.append(f"GET {key}: {answer.status_code}, {len(answer.content)} bytes")
        elif answer.status_code not in (502, 503):
            # Of what is not here the source has to be asked.
            self.mistakes.append(f"GET {key}: {answer.status_code} {answer.text}")


def delayed_rounds(rounds: int, *, seed: int, data: list[Path] | None = None) -> Report:
    """Change objects while node and source are killed in turn; what was found at the end is asserted."""
    source = S3Source()
    chance = random.Random(seed)
    with running_node(data, workers=2, env={"AWS_ENDPOINT_URL": source.url, **ACCOUNT}) as node:
        changes = {"action": "set-bprops", "value": {"write_policy": {"backend": "delayed"}}}
        bucket = f"{node.url}/v1/buckets/data?provider=aws"
        assert requests.head(bucket, timeout=30).status_code == 200
        assert requests.patch(bucket, json=changes, timeout=30).status_code == 200
        stop = threading.Event()
        clients = [Client(node, number, stop, seed + number) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        for _ in range(rounds):
            time.sleep(chance.uniform(0.3, 4.0))
            is_gone = chance.random() < 0.4
            if is_gone:
                source.leave()
                time.sleep(chance.uniform(0.1, 1.0))
            node.kill(chance.choice(["all", "all", "jobs", "worker", "committer"]))
            if not node.is_running():
                node.restart()
            if is_gone:
                source.come_back()
        stop.set()
        for client in clients:
            client.join(60)
        assert [mistake for client in clients for mistake in client.mistakes] == []
        _check_arrived(node, source, clients)
    source.leave()
    return Report(
        sum(client.acknowledged for client in clients),
        sum(client.unanswered for client in clients),
        rounds,
    )


def _check_arrived(node: RunningNode, source: S3Source, clients: list[Client]) -> None:
    def is_written() -> bool:
        asked = {"kind": "write-back"}
        told = requests.get(f"{node.url}/v1/cluster?what=qryxstats", json=asked, timeout=30).text
        return "pending:0 " in told

    assert processes.wait_until(is_written, timeout_s=WAIT_S, poll_s=0.1)
    for client in clients:
        for key, allowed in client.allowed.items():
            there = source.bucket.objects.get(key)
            here = requests.get(client._url(key), timeout=30)
            assert there in allowed, key
            assert (here.content if here.status_code == 200 else None) == there, key
