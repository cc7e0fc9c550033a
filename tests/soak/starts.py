"""Starts that do not end: killed, or cut from power, at any moment, on new and on used folders.

Whatever a broken start leaves behind, the next start succeeds by itself and everything is there.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from soak.powercut import IMAGE_BYTES, ending
from support import processes, volumes
from support.content import payload
from support.native import NativeClient
from support.node import NodeDidNotStart, RunningNode, running_node

BUCKET = "starts"
_START_S = 1.0  # about as long as a start takes, until the first one was measured
_NEW_EVERY = 3  # every so often the folders are new ones


class Starts(NamedTuple):
    """What was tried: broken starts, and how many of them were over before the blow."""

    broken: int
    ready_before: int
    objects: int

    def describe(self, how: str) -> str:
        """One line for the log."""
        return (
            f"start broken by {how}: {self.broken} times, {self.ready_before} of them just after it was "
            f"ready; the next start succeeded each time and found all {self.objects} objects"
        )


def killed_starts(rounds: int, folder: Path, *, seed: int = 1) -> Starts:
    """Kill every process at a random moment of the start; two mountpaths."""
    dice = random.Random(seed)
    with running_node([folder / "unused"], 2, start=False) as node:
        ready_before = objects = stored = 0
        for number in range(rounds):
            if number % _NEW_EVERY == 0:
                node.data, stored = [folder / f"{number}-{index}" for index in range(2)], 0
            ready_before += _start_for(node, dice.uniform(0, 1.3 * (node.ready_s or _START_S)))
            node.end()
            node.start()
            stored = _check_and_add(node, stored)
            node.end()
            objects += 1
    return Starts(rounds, ready_before, objects)


def cut_starts(cuts: int, *, seed: int = 1) -> Starts:
    """Cut the power of a volatile disk at a random moment of the start."""
    dice = random.Random(seed)
    with volumes.disk_folder() as disks, tempfile.TemporaryDirectory(prefix="aisle-cut-") as name:
        root = Path(name) / "mountpath"
        with running_node([root / "store"], 2, start=False) as node:
            ready_before = objects = stored = 0
            image = disks / "disk-0"
            for number in range(1, cuts + 1):
                if number % _NEW_EVERY == 1:
                    volumes.new_image(image, size_bytes=IMAGE_BYTES)
                    stored = 0
                copy = disks / f"disk-{number}"
                with volumes.volatile_mounted(image, root) as disk, ending(node):
                    ready_before += _start_for(node, dice.uniform(0, 1.3 * (node.ready_s or _START_S)))
                    disk.cut(copy, after_writes=dice.randrange(20), seed=str(dice.random()))
                    processes.send([node.pid, *node.processes()], 9)
                    disk.thaw()
                image.unlink()
                image = copy
                with volumes.mounted(image, root), ending(node):
                    node.start()
                    stored = _check_and_add(node, stored)
                    node.stop()
                objects += 1
    return Starts(cuts, ready_before, objects)


def _start_for(node: RunningNode, seconds: float) -> bool:
    """Start and look on for so long; whether the node was ready by then."""
    began = time.monotonic()
    try:
        node.start(timeout_s=seconds, end=False)
    except NodeDidNotStart as error:
        if error.code is not None:
            raise
        return False
    time.sleep(max(0.0, began + seconds - time.monotonic()))
    return True


def _check_and_add(node: RunningNode, stored: int) -> int:
    """Every object of earlier rounds is there; one more is stored."""
    client = NativeClient(node.host, node.port)
    if not stored:
        assert client.create_bucket(BUCKET).status == 200
    for number in range(stored):
        answer = client.get(BUCKET, f"object-{number}")
        assert answer.status == 200, answer
        assert answer.body == payload(f"object-{number}", 1, _size(number))
    assert len(list(client.list_all(BUCKET))) == stored
    assert client.put(BUCKET, f"object-{stored}", payload(f"object-{stored}", 1, _size(stored))).status == 200
    client.close()
    return stored + 1


def _size(number: int) -> int:
    return (100, 50_000)[number % 2]
