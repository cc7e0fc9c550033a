"""Power cuts where payload files are not synced (`data_sync` delayed or never): lost perhaps, never wrong.

Small objects are as durable as ever. A large one may be gone or damaged after a cut; then it is
answered with an error, or as missing, but never with bytes that are not its own.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from soak.powercut import BUCKET, IMAGE_BYTES, PROFILE, WORKERS, ending, halt
from support import volumes
from support.load import MixedLoad
from support.native import NativeClient
from support.node import NODE_COMMAND, RunningNode, running_node
from support.oracle import Oracle, Violation

_INLINE_BYTES_MAX = 16 * 1024
# A cut machine has booted anew: the node gets a mount namespace with a boot id of its own.
_REBOOTED = """
uuid=$(cat /proc/sys/kernel/random/uuid) && echo "$uuid" > "$0/boot_id" &&
mount --bind "$0/boot_id" /proc/sys/kernel/random/boot_id && exec "$@"
"""


class Losses(NamedTuple):
    """What cuts without syncs showed."""

    cuts: int
    acknowledged: int
    lost: int
    """Large objects that were answered with an error or as missing."""

    def describe(self, policy: str) -> str:
        """One line for the log."""
        return (
            f"power cut with data_sync={policy}: {self.cuts} cuts, {self.acknowledged} writes acknowledged, "
            f"{self.lost} large objects lost and said so, none wrong, no small one lost"
        )


def cuts_with_policy(policy: str, cuts: int, *, seed: int = 1) -> Losses:
    """Cut the power that often; Violation tells of wrong bytes or a lost small object."""
    dice, oracle, lost = random.Random(f"{seed} {policy}"), Oracle(), 0
    with volumes.disk_folder() as disks, tempfile.TemporaryDirectory(prefix="aisle-cut-") as name:
        root = Path(name) / "mountpath"
        image = volumes.new_image(disks / "disk-0", size_bytes=IMAGE_BYTES)
        command = ("unshare", "--mount", "sh", "-c", _REBOOTED, name, *NODE_COMMAND)
        config = f'[storage]\ndata_sync = "{policy}"\n'
        with running_node([root / "store"], WORKERS, config=config, command=command, start=False) as node:
            load = MixedLoad(
                oracle, BUCKET, lambda: (node.host, node.port), profile=PROFILE, seed=seed, paused=True
            )
            with load:
                for number in range(1, cuts + 1):
                    copy = disks / f"disk-{number}"
                    with volumes.mounted(image, root) as disk, ending(node):
                        node.start()
                        lost += _settle(node, oracle) if number > 1 else _create(node)
                        load.resume()
                        time.sleep(dice.uniform(0.3, 1.0))
                        halt(node)
                        disk.cut(copy)
                    load.pause()
                    load.raise_violations()
                    image.unlink()
                    image = copy
            with volumes.mounted(image, root), ending(node):
                node.start()
                lost += _settle(node, oracle)
    return Losses(cuts, load.counts["acknowledged"], lost)


def _create(node: RunningNode) -> int:
    assert NativeClient(node.host, node.port).create_bucket(BUCKET).status == 200
    return 0


def _settle(node: RunningNode, oracle: Oracle) -> int:
    """Check every name; objects that are lost are deleted and counted."""
    client, lost = NativeClient(node.host, node.port), 0
    for name in oracle.names():
        answer = client.get(BUCKET, name)
        if answer.status == 200:
            oracle.settle(name, answer.body)
            continue
        sizes = [operation.size for operation in oracle.possible(name)]
        if None in sizes and answer.status == 404:
            oracle.settle(name, None)
        elif all(size is None or size <= _INLINE_BYTES_MAX for size in sizes):
            raise Violation(f"{name!r} of {sizes} bytes is lost: {answer.status} {answer.body[:200]!r}")
        else:
            lost += 1
            operation = oracle.begin(name, None)
            assert client.delete(BUCKET, name).status in (200, 404)
            oracle.acknowledge(name, operation)
            oracle.settle(name, None)
    client.close()
    return lost
