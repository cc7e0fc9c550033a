"""Power cuts: the node's disk as it is at one moment under load, mounted again elsewhere in time.

The mountpath is ext4 in a loop image. A cut halts every process of the node, copies the image
beneath the mounted file system, kills the node and goes on with the copy: its journal is replayed,
the node is started on it, and every write acknowledged before any cut must be there. The next cut
hits the disk that survived the last.

With a volatile disk the cut comes in the middle of a write, and of what was written since the last
flush only a random part is kept.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from support import processes, volumes
from support.fsck import assert_clean
from support.load import MixedLoad, Profile
from support.native import NativeClient
from support.node import NodeDidNotStart, RunningNode, running_node
from support.oracle import Oracle

BUCKET = "soak"
PROFILE = Profile(
    writers=4, readers=0, listers=0, names_per_writer=30, large_bytes_max=400_000, large_share=0.35
)
IMAGE_BYTES = 512 * 1024 * 1024
WORKERS = 2
# Files that were replaced go while the rounds last, before those of a fast disk fill it.
CONFIG = "[storage]\nunlink_delay_s = 1.0\n"
MOUNT_OPTIONS = ("", "data=writeback,commit=60", "noauto_da_alloc,commit=60")
UNSYNCED = Path(__file__).parents[1] / "support" / "unsynced"


class Cuts(NamedTuple):
    """What the cuts showed."""

    cuts: int
    volatile: bool
    acknowledged: int
    objects: int

    def describe(self) -> str:
        """One line for the log."""
        disk = "volatile" if self.volatile else "plain"
        return (
            f"power cut of a {disk} disk: {self.cuts} cuts, {self.acknowledged} writes acknowledged "
            f"before them, all there; {self.objects} objects at the end; fsck clean"
        )


def power_cuts(
    cuts: int, *, volatile: bool = False, unsynced: str = "", log: Path | None = None, seed: int = 1
) -> Cuts:
    """Cut the power that often; Violation or NodeDidNotStart tells what was lost.

    `unsynced` names the kind of sync that the node leaves out (`payload` or `index`); each omission
    adds a byte to the file `log`.
    """
    dice = random.Random(f"{seed} {unsynced}")
    oracle = Oracle()
    with volumes.disk_folder() as disks, tempfile.TemporaryDirectory(prefix="aisle-cut-") as name:
        root = Path(name) / "mountpath"
        image = volumes.new_image(disks / "disk-0", size_bytes=IMAGE_BYTES)
        with running_node(
            [root / "store"], WORKERS, env=_environment(unsynced, log), config=CONFIG, start=False
        ) as node:
            load = MixedLoad(
                oracle, BUCKET, lambda: (node.host, node.port), profile=PROFILE, seed=seed, paused=True
            )
            with load:
                for number in range(1, cuts + 1):
                    copy = disks / f"disk-{number}"
                    try:
                        _run_until_cut(node, load, image, copy, volatile=volatile, dice=dice)
                    except NodeDidNotStart as error:
                        if number == 1:  # nothing was cut yet: that is no loss
                            raise AssertionError(str(error)) from None
                        raise
                    image.unlink()
                    image = copy
            with volumes.mounted(image, root), ending(node):
                node.start()
                objects = load.verify()
                node.stop()
                assert_clean(node.data)
        assert volumes.check_file_system(image) == ""
    return Cuts(cuts, volatile, load.counts["acknowledged"], objects)


def _environment(unsynced: str, log: Path | None) -> Mapping[str, str]:
    if not unsynced:
        return {}
    paths = [str(UNSYNCED), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": ":".join(paths), "TEST_UNSYNCED": unsynced, "TEST_UNSYNCED_LOG": str(log)}


def _run_until_cut(
    node: RunningNode, load: MixedLoad, image: Path, copy: Path, *, volatile: bool, dice: random.Random
) -> None:
    root, options = node.data[0].parent, dice.choice(MOUNT_OPTIONS)
    try:
        if volatile:
            with volumes.volatile_mounted(image, root, options=options) as disk, ending(node):
                _load_for_a_while(node, load, dice)
                disk.cut(copy, after_writes=dice.randrange(300), seed=str(dice.random()))
                # Who waits for the disk cannot die; nobody may get an answer from it either.
                processes.send([node.pid, *node.processes()], signal.SIGKILL)
                disk.thaw()
        else:
            with volumes.mounted(image, root, options=options) as disk, ending(node):
                _load_for_a_while(node, load, dice)
                halt(node)
                disk.cut(copy)
    finally:
        load.pause()
    load.raise_violations()


@contextmanager
def ending(node: RunningNode) -> Iterator[None]:
    """End the node before its file system is unmounted."""
    try:
        yield
    finally:
        node.end()


def _load_for_a_while(node: RunningNode, load: MixedLoad, dice: random.Random) -> None:
    node.start()
    if load.oracle.names():
        load.verify()
    else:
        assert NativeClient(node.host, node.port).create_bucket(BUCKET).status == 200
    load.resume()
    time.sleep(dice.uniform(0.3, 1.5))


def halt(node: RunningNode) -> None:
    """Stop every process of the node where it is, the supervisor first: it would replace the others."""
    pids = [node.pid, *(pid for pid in node.processes() if pid != node.pid)]
    processes.send(pids, signal.SIGSTOP)
    halted = processes.wait_until(lambda: all(map(processes.is_stopped, pids)), timeout_s=10)
    assert halted, "the node does not halt"
