"""Reads through a cache whose workers are killed, while objects are written, deleted and evicted through it.

The memory of what was written is the oracle's: no read may show what was overwritten or deleted before it
began, nor a mixture, and a range is one of an object that was possible.
"""

import random
import threading
import time
from collections import Counter
from typing import Self
from urllib.parse import quote

import requests

from soak.counts import count
from support import processes
from support.content import payload
from support.faulty_bucket import NAME, FaultyBucket, faulty_bucket
from support.node import RunningNode, running_node
from support.oracle import Oracle, Violation

WORKERS = 4
READERS = 12
SIZES = (100, 16 * 1024, 16 * 1024 + 1, 300_000, 3_000_000, 9_000_000)
NAMES = [f"dir/a {number} 100%é" for number in range(10)]
PIECE_PAUSE_S = 0.01
"""What the source waits between two pieces: fetches are to overlap with all the rest."""
TIMEOUT_S = 60.0


class Traffic:
    """Writers, one for each name, and readers of all names, until told to stop."""

    def __init__(self, node: RunningNode, oracle: Oracle, *, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.errors: list[BaseException] = []
        self._node, self._oracle, self._seed = node, oracle, seed
        self._over = threading.Event()
        works = [(self._write, name) for name in NAMES]
        works += [(self._read, f"reader {number}") for number in range(READERS)]
        self._threads = [threading.Thread(target=self._run, args=work) for work in works]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, act: object, who: str) -> None:
        dice = random.Random(f"{self._seed} {who}")
        try:
            while not self._over.is_set() and not self.errors:
                try:
                    act(who, dice)  # type: ignore[operator]
                except requests.RequestException:
                    self.counts["broken off"] += 1
        except BaseException as error:  # whatever it is, the test must end with it
            self.errors.append(error)

    def _ask(self, method: str, name: str, **how: object) -> requests.Response:
        return requests.request(method, url(self._node, name), timeout=TIMEOUT_S, **how)  # type: ignore[arg-type]

    def _write(self, name: str, dice: random.Random) -> None:
        time.sleep(dice.random() * 0.2)
        chance = dice.random()
        if chance < 0.3:
            self._ask("DELETE", name, json={"action": "evict-listrange"})
            self.counts["evictions"] += 1
            return
        size = dice.choice(SIZES) if chance < 0.75 else None
        operation = self._oracle.begin(name, size)
        if size is None:
            answer = self._ask("DELETE", name)
        else:
            answer = self._ask("PUT", name, data=payload(name, operation.sequence, size))
        if answer.status_code == 200:
            self._oracle.acknowledge(name, operation)
            self.counts["deletions" if size is None else "writes"] += 1

    def _read(self, _who: str, dice: random.Random) -> None:
        name, is_part = dice.choice(NAMES), dice.random() < 0.2
        moment = self._oracle.moment(name)
        headers = {"Range": "bytes=10-70000"} if is_part else {}
        answer = self._ask("GET", name, headers=headers)
        body = answer.content
        if answer.status_code == 404:
            self._oracle.check(name, None, moment)
        elif answer.status_code == 200:
            self._oracle.check(name, body, moment)
        elif answer.status_code == 206:
            known = (one for one in self._oracle.possible(name, moment) if one.size is not None)
            if not any(payload(name, one.sequence, one.size or 0)[10:70_001] == body for one in known):
                raise Violation(f"{name}: {len(body)} bytes of nothing that could be there")
        elif answer.status_code not in (502, 503):
            raise Violation(f"{name}: status {answer.status_code}: {answer.text}")
        self.counts[f"reads answered {answer.status_code}"] += 1


def url(node: RunningNode, name: str) -> str:
    """An object of the remote bucket."""
    return f"{node.url}/v1/objects/{NAME}/{quote(name)}?provider=aws"


def read_while_killed(kills: int, *, seed: int = 1) -> str:
    """Kill that many workers, one after the other; one line for the log. Violation tells what was wrong."""
    oracle, dice = Oracle(), random.Random(seed)
    with faulty_bucket() as bucket:
        bucket.pause_s = PIECE_PAUSE_S
        env = {"AWS_ENDPOINT_URL": bucket.url, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y"}
        with running_node(workers=WORKERS, env={**env, "AWS_REGION": "us-east-1"}) as node:
            with Traffic(node, oracle, seed=seed) as traffic:
                for _ in range(kills):
                    time.sleep(dice.uniform(0.2, 1.2))
                    if traffic.errors:
                        break
                    # One that dies often is replaced after a pause: the others are to go on meanwhile.
                    assert processes.wait_until(lambda: len(node.children("worker")) > 2, timeout_s=TIMEOUT_S)
                    processes.send([dice.choice(node.children("worker"))], 9)
                time.sleep(1.0)
            if traffic.errors:
                raise traffic.errors[0]
            _compare(node, bucket, oracle)
    told = ", ".join(f"{many} {what}" for what, many in sorted(traffic.counts.items()))
    return f"{kills} workers killed: {told}; the source was read {bucket.reads()} times"


def _compare(node: RunningNode, bucket: FaultyBucket, oracle: Oracle) -> None:
    """What is there at the end is what was written; what the source has, everybody gets who wants it now."""
    assert processes.wait_until(lambda: len(node.children("worker")) == WORKERS, timeout_s=TIMEOUT_S)
    for name in oracle.names():
        answer = requests.get(url(node, name) + "&latest-ver=true", timeout=TIMEOUT_S)
        body = answer.content if answer.status_code == 200 else None
        oracle.check(name, body)
        if body != bucket.objects.get(name):
            raise Violation(f"{name}: its source has something else")


def rounds() -> int:
    """How many workers are killed."""
    return count("rounds", 100)
