"""Histories of three processes at once: for each name there is an order that explains what all have seen.

An order respects time (what ended before another began comes first), and the memory engine, executing the
operations in that order, gives the same outcomes.
"""

import asyncio
import itertools
import json
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisle.config import StorageConfig
from aisle.errors import ConditionFailed
from aisle.model.names import ObjectName
from aisle.model.record import Attributes, Condition
from aisle.storage.memory import MemoryEngine
from contract.storage_contract import put, read
from support.storage import CommitterProcess, running_committer
from support.storage_worker import CONDITIONS

PROCESSES = 3
TASKS = 2
CONFIG = StorageConfig(unlink_delay_s=0.05)  # readers meet files that are going

Step = dict[str, Any]
_buckets = itertools.count(100)


class State(NamedTuple):
    """What a name holds, as far as outcomes tell: a value and the content type it was given later."""

    value: str
    note: str = ""


def outcome(state: State | None, step: Step) -> tuple[str, State | None]:
    """What an operation says on a state, and what it leaves."""
    act = step["act"]
    if act == "read":
        return (f"{state.value} {state.note}".strip() if state else "nothing"), state
    when = step["when"]
    holds = {
        "any": True,
        "absent": state is None,
        "present": state is not None,
    }.get(when, state is not None and when == f"is {state.value}")
    if not holds or (act == "amend" and state is None):
        return "refused", state
    if act == "remove":
        return ("done" if state else "nothing"), None
    if act == "amend":
        assert state is not None
        return "done", State(state.value, step["value"])
    return "done", State(step["value"])


def linearization(history: Sequence[Step]) -> list[Step] | None:
    """An order of one name's operations that explains all outcomes, or None if there is none.

    Depth first, never visiting the same (operations left, state) twice. An operation whose outcome is
    unknown may have happened at any time after it began, or not at all.
    """
    steps = sorted(history, key=lambda step: step["began"])
    ends = [float("inf") if step["outcome"] == "unknown" else step["ended"] for step in steps]
    visited: set[tuple[int, State | None]] = set()

    def search(done: int, state: State | None) -> list[Step] | None:
        left = [number for number in range(len(steps)) if not done >> number & 1]
        if all(steps[number]["outcome"] == "unknown" for number in left):
            return []
        if (done, state) in visited:
            return None
        visited.add((done, state))
        first_end = min(ends[number] for number in left)
        for number in left:
            step = steps[number]
            if step["began"] > first_end:
                break  # something that ended before this began is still to come
            said, after = outcome(state, step)
            if step["outcome"] not in (said, "unknown"):
                continue
            rest = search(done | 1 << number, after)
            if rest is not None:
                return [step, *rest]
        return None

    return search(0, None)


async def replay(order: Sequence[Step]) -> None:
    """The memory engine agrees with every outcome of an order."""
    engine = MemoryEngine(lambda: 0)
    await engine.open_bucket(1)
    name = ObjectName(1, b"x")
    generations: dict[str, bytes] = {}
    for step in order:
        if step["outcome"] == "unknown":
            continue
        when = step["when"] if step["act"] != "read" else "any"
        condition = CONDITIONS.get(when)
        if condition is None:
            condition = Condition(generation=generations.get(when.removeprefix("is "), b"?" * 16))
        try:
            match step["act"]:
                case "read":
                    held = engine.open(name)
                    note = held.record.attributes.content_type if held else ""
                    found = read(engine, name)
                    said = "nothing" if found is None else f"{found.decode()} {note}".strip()
                case "put" | "parts":
                    record = await put(engine, name, step["value"].encode(), condition=condition)
                    generations[step["value"]] = record.generation
                    said = "done"
                case "remove":
                    said = "done" if await engine.remove(name, condition=condition) else "nothing"
                case _:
                    attributes = Attributes(content_type=step["value"])
                    await engine.amend(name, attributes, condition=condition)
                    said = "done"
        except ConditionFailed:
            said = "refused"
        assert said == step["outcome"], (step, order)


acts = st.one_of(
    st.fixed_dictionaries({"act": st.just("read")}),
    st.fixed_dictionaries(
        {
            "act": st.sampled_from(["put", "put", "put", "parts"]),
            "size": st.sampled_from(["small", "pieces", "file"]),
            "when": st.sampled_from(["any", "any", "absent", "present", "seen"]),
        }
    ),
    st.fixed_dictionaries(
        {"act": st.just("remove"), "when": st.sampled_from(["any", "any", "present", "seen"])}
    ),
    st.fixed_dictionaries({"act": st.just("amend"), "when": st.sampled_from(["present", "seen"])}),
)
tasks = st.lists(st.tuples(acts, st.sampled_from(["a", "b"])), min_size=1, max_size=7)
plans = st.lists(st.lists(tasks, min_size=TASKS, max_size=TASKS), min_size=PROCESSES, max_size=PROCESSES)


class Workers:
    """Processes that execute plans."""

    def __init__(self, committer: CommitterProcess) -> None:
        self.committer = committer
        self.processes = [self._start() for _ in range(PROCESSES)]

    def _start(self) -> subprocess.Popen[str]:
        given = {
            "paths": [str(path) for path in self.committer.paths],
            "address": self.committer.address,
            "incarnation": self.committer.incarnations.new().hex(),
            "config": asdict(CONFIG),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "support.storage_worker", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )

    def run(self, plan: list[list[list[Step]]]) -> list[Step]:
        """Execute a plan, a list of tasks for each process; the history of all."""
        bucket = next(_buckets)
        for process, of_process in zip(self.processes, plan, strict=True):
            assert process.stdin is not None
            process.stdin.write(json.dumps({"bucket": bucket, "tasks": of_process}) + "\n")
            process.stdin.flush()
        history = []
        for process in self.processes:
            assert process.stdout is not None
            history += json.loads(process.stdout.readline())
        return history

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.communicate(timeout=30)


@pytest.fixture(scope="module", params=[1, 2], ids=["one mountpath", "two mountpaths"])
def workers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("histories")
    with running_committer(
        [folder / str(number) for number in range(request.param)], config=CONFIG
    ) as committer:
        found = Workers(committer)
        yield found
        found.close()


def numbered(plan: list[list[list[tuple[Step, str]]]]) -> list[list[list[Step]]]:
    """The plan with a value of its own for each operation that writes one."""
    values = map(str, itertools.count(1))
    return [
        [[{**act, "key": key, "value": f"v{next(values)}"} for act, key in task] for task in of_process]
        for of_process in plan
    ]


def explain(history: list[Step]) -> None:
    """Every name's history has an order, and the memory engine agrees with it."""
    for key in sorted({step["key"] for step in history}):
        of_key = [step for step in history if step["key"] == key]
        order = linearization(of_key)
        assert order is not None, json.dumps(sorted(of_key, key=lambda step: step["began"]), indent=1)
        asyncio.run(replay(order))


@contextmanager
def dying_committers(committer: CommitterProcess, seed: int) -> Iterator[None]:
    """Committers are killed again and again during the block."""
    dice = random.Random(seed)
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(dice.uniform(0.0, 0.08)):
            committer.kill()
            committer.start()
            committer.wait_ready()

    thread = threading.Thread(target=kill)
    committer.wait_ready()
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(plan=plans)
def test_an_order_explains_what_three_processes_see(
    workers: Workers, plan: list[list[list[tuple[Step, str]]]]
) -> None:
    explain(workers.run(numbered(plan)))


def test_an_order_explains_what_they_see_while_committers_die(workers: Workers) -> None:
    dice = random.Random(7)
    kinds = ["put", "put", "remove", "read", "read", "amend", "parts"]

    def act() -> tuple[Step, str]:
        step = {"act": dice.choice(kinds), "size": dice.choice(["small", "pieces", "file"])}
        step["when"] = dice.choice(["any", "any", "absent", "present", "seen"])
        return step, dice.choice("abcd")

    with dying_committers(workers.committer, seed=7):
        for _ in range(6):
            plan = [[[act() for _ in range(8)] for _ in range(TASKS)] for _ in range(PROCESSES)]
            explain(workers.run(numbered(plan)))


def test_the_checker_itself_finds_what_no_order_explains() -> None:
    def step(act: str, began: int, ended: int, said: str, **more: str) -> Step:
        return {"act": act, "began": began, "ended": ended, "outcome": said, "when": "any", **more}

    write = step("put", 0, 1, "done", value="v1")
    stale = [write, step("put", 2, 3, "done", value="v2"), step("read", 4, 5, "v1")]
    assert linearization(stale) is None
    overlapping = [write, step("put", 2, 6, "done", value="v2"), step("read", 4, 5, "v1")]
    assert linearization(overlapping) is not None
    twice = [write, step("remove", 2, 3, "done"), step("remove", 4, 5, "done")]
    assert linearization(twice) is None
    unknown = [write, step("put", 2, 3, "unknown", value="v2"), step("read", 9, 10, "v2")]
    assert linearization(unknown) is not None
