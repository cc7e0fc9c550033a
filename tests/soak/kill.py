"""Kill -9 of one part of a node, or all of it, under mixed load, round after round.

After each round every acknowledged write must be there with its bytes, nothing torn, every listing
right; what was killed must have been replaced, and nobody else may have noticed more than he must.
"""

import random
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from soak.buckets import Churn
from soak.downloads import NGINX_LIMIT, Downloads
from support import processes
from support.fsck import assert_clean
from support.load import Failure, MixedLoad, Profile
from support.native import NativeClient
from support.nginx import running_nginx
from support.node import RunningNode, running_node
from support.oracle import Oracle, Violation

VICTIMS = ("supervisor", "committer", "worker", "jobs", "all")
BUCKET = "soak"
WORKERS = 2
PROFILE = Profile(writers=4, readers=1, listers=1, names_per_writer=35, pause_s=0.001)
_SETTLE_S = 0.3  # for work of a dead process that is still on its way to the committer
_ORPHANS_GONE_S = 40.0
_FSCK_EVERY = 10
_ACKNOWLEDGED_MIN = 25  # before each kill: then there is something to lose


class Round(NamedTuple):
    """What one round showed: seconds without an acknowledged write, and broken requests."""

    outage_s: float
    broken: int
    objects: int


class _Loaded(NamedTuple):
    node: RunningNode
    load: MixedLoad
    downloads: Downloads
    churn: Churn
    source_log: Path


class Totals(NamedTuple):
    """All rounds of one victim."""

    rounds: list[Round]
    acknowledged: int
    reads: int
    unavailable: int
    streamed: int

    def describe(self, victim: str) -> str:
        """One line for the log."""
        outages = sorted(done.outage_s for done in self.rounds)
        return (
            f"kill {victim}: {len(self.rounds)} rounds, {self.acknowledged} acknowledged writes, "
            f"{self.reads} checked reads, {sum(done.broken for done in self.rounds)} broken requests, "
            f"{self.unavailable} answered 503, {self.streamed} downloads over several connections, "
            f"outage median {outages[len(outages) // 2]:.2f} s "
            f"max {outages[-1]:.2f} s, {self.rounds[-1].objects} objects at the end"
        )


def kill_rounds(victim: str, rounds: int, *, seed: int = 1) -> Totals:
    """Run the rounds on one node; AssertionError or Violation says what went wrong."""
    dice = random.Random(f"{victim} {seed}")
    with _loaded_node(seed) as loaded:
        node, load = loaded.node, loaded.load
        done = []
        for number in range(1, rounds + 1):
            done.append(_round(loaded, victim, dice))
            if number % _FSCK_EVERY == 0 or number == rounds:
                node.stop()
                assert_clean(node.data)
                node.start()
        assert load.verify() == done[-1].objects
        unavailable = load.counts["status 503"]
        streamed = loaded.downloads.assert_streamed(loaded.source_log)
        return Totals(done, load.counts["acknowledged"], load.counts["reads"], unavailable, streamed)


@contextmanager
def _loaded_node(seed: int) -> Iterator[_Loaded]:
    with tempfile.TemporaryDirectory(prefix="aisle-source-") as name, running_node(workers=WORKERS) as node:
        source, log = Path(name) / "files", Path(name) / "requests.log"
        source.mkdir()
        Path(name).chmod(0o755)

        def address() -> tuple[str, int]:
            return node.host, node.port

        with running_nginx(source, extra=f"{NGINX_LIMIT} access_log {log};") as nginx:
            assert NativeClient(*address()).create_bucket(BUCKET).status == 200
            oracle = Oracle()
            downloads = Downloads(oracle, BUCKET, address, source_url=nginx.url, root=source)
            churn = Churn(seed)
            load = MixedLoad(oracle, BUCKET, address, profile=PROFILE, seed=seed, others=[churn.step])
            with load:
                yield _Loaded(node, load, downloads, churn, log)


def _round(loaded: _Loaded, victim: str, dice: random.Random) -> Round:
    node, load, downloads, churn, _ = loaded
    load.resume()
    # Within the time in which its job is under way, over several connections if there is a large file.
    acknowledged = load.counts["acknowledged"]
    time.sleep(dice.uniform(1.2, 3.0) if downloads.start() else dice.uniform(0.2, 1.2))
    is_loaded = processes.wait_until(
        lambda: load.counts["acknowledged"] > acknowledged + _ACKNOWLEDGED_MIN, timeout_s=60
    )
    assert is_loaded, "hardly any write is acknowledged"
    failures_before = len(load.failures)
    killed_s = time.monotonic()
    may_fail = _kill(node, victim, dice)
    outage_s = load.wait_acknowledged(after_s=killed_s)
    time.sleep(dice.uniform(0.0, 0.3))
    load.pause()
    downloads.wait()
    time.sleep(_SETTLE_S)
    broken = load.failures[failures_before:]
    _assert_only(broken, may_fail, victim)
    _assert_complete(node)
    client = load.connect()
    churn.verify(client)
    client.close()
    return Round(outage_s, len(broken), load.verify())


def _kill(node: RunningNode, victim: str, dice: random.Random) -> set[int] | None:
    """Kill, restart what a user would restart; the client ports that may break, None for any."""
    if victim in ("supervisor", "all"):
        node.kill(victim)
        if not processes.wait_until(lambda: not node.processes(), timeout_s=_ORPHANS_GONE_S):
            left = [" ".join(processes.command_line(pid)) for pid in node.processes()]
            raise Violation(f"orphans live on {_ORPHANS_GONE_S} s after {victim} was killed: {left}")
        node.start()
        return None
    index = dice.randrange(len(node.children(victim)))
    # Halted first, so that its connections do not change between looking and killing.
    (pid,) = node.kill(victim, signal.SIGSTOP, index=index)
    assert processes.wait_until(lambda: processes.is_stopped(pid), timeout_s=30)
    ports = processes.peer_ports(pid) if victim == "worker" else set()
    processes.send([pid], signal.SIGKILL)
    if not processes.wait_until(lambda: pid not in node.children(), timeout_s=30):
        raise Violation(f"the {victim} survives SIGKILL")
    return ports


def _assert_only(broken: list[Failure], may_fail: set[int] | None, victim: str) -> None:
    """No connection broke but those of the process that was killed."""
    if may_fail is not None:
        others = [failure for failure in broken if failure.port not in may_fail]
        assert not others, f"kill of {victim}: connections to other processes broke: {others}"


def _assert_complete(node: RunningNode) -> None:
    """Every process has its successor."""
    expected = {"committer": 1, "worker": WORKERS, "jobs": 1}

    def complete() -> bool:
        return all(len(node.children(role)) == number for role, number in expected.items())

    present = {role: len(node.children(role)) for role in expected}
    assert processes.wait_until(complete, timeout_s=60), f"children {present}, expected {expected}"
