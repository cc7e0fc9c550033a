"""The node fixture itself, tried with a stand-in program that has a node's processes."""

import os
import signal
import sys
from pathlib import Path

import pytest

from support import processes
from support.node import NodeDidNotStart, RunningNode, failure_logs, running_node

STANDIN = (sys.executable, str(Path(__file__).parents[1] / "support" / "standin.py"))


def test_it_reads_the_address_from_the_ready_line_and_passes_the_flags() -> None:
    with running_node(workers=3, command=STANDIN, args=["--extra"]) as node:
        assert (node.url, node.host, node.port) == ("http://127.0.0.1:4321", "127.0.0.1", 4321)
        assert f"--listen 127.0.0.1:0 --workers 3 --data {node.data[0]} --extra" in node.stderr_text()
        assert 0 < node.ready_s < 30


def test_children_are_found_by_role_and_killed_alone() -> None:
    with running_node(command=STANDIN) as node:
        assert [len(node.children(role)) for role in ("committer", "worker", "jobs", "")] == [1, 2, 1, 4]
        (killed,) = node.kill("worker", index=1)
        assert processes.wait_until(lambda: killed not in node.children(), timeout_s=30)
        assert len(node.children()) == 3
        assert node.is_running()


def test_orphans_are_still_found_and_waited_for() -> None:
    with running_node(command=STANDIN) as node:
        before = node.children()
        node.kill("committer", signal.SIGSTOP)
        assert processes.wait_until(lambda: processes.is_stopped(before[0]), timeout_s=30)
        node.kill("supervisor")
        with pytest.raises(AssertionError, match="--role committer"):
            node.wait_gone(timeout_s=0.5)
        node.kill("committer", signal.SIGCONT)
        node.restart()
        assert len(node.children()) == 4
        assert not set(before) & set(node.children())


def test_stop_lets_the_node_end_by_itself() -> None:
    with running_node(command=STANDIN) as node:
        assert node.stop() == 0
        assert node.processes() == []


def test_a_node_that_fails_to_start_is_an_error_that_shows_why() -> None:
    with (
        pytest.raises(NodeDidNotStart, match="cannot start") as caught,
        running_node(command=STANDIN, args=["--fail"]),
    ):
        pass
    assert caught.value.code == 1
    failure_logs.clear()


def test_a_node_that_says_nothing_is_ended() -> None:
    with running_node(command=STANDIN, args=["--mute"], start=False) as node:
        with pytest.raises(NodeDidNotStart, match="in time"):
            node.start(timeout_s=0.3)
        assert not node.is_running()


def test_whatever_happens_nothing_is_left_behind_and_the_log_is_kept() -> None:
    seen: list[RunningNode] = []

    def fail() -> None:
        with running_node(command=STANDIN) as node:
            seen.append(node)
            everything.extend(node.processes())
            raise LookupError

    everything: list[int] = []
    with pytest.raises(LookupError):
        fail()
    assert len(everything) == 5
    assert not any(processes.is_alive(pid) for pid in everything)
    assert not os.path.exists(seen[0].folder)
    (log,) = failure_logs
    assert "standin: arguments" in log[1]
    failure_logs.clear()
