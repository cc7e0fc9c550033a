"""Deleted objects stay deleted: a power cut brings none of their files back behind the index's back."""

import tempfile
import time
from pathlib import Path

from soak.powercut import IMAGE_BYTES, ending, halt
from support import processes, volumes
from support.folders import files_below
from support.fsck import assert_clean
from support.native import NativeClient
from support.node import running_node

BUCKET = "deleted"
OBJECTS = 20
_CONFIG = "[storage]\nunlink_delay_s = 1.0\n"
_LARGE_BYTES = 50_000


def cut_after_unlinking() -> None:
    """Delete objects, let their files be unlinked, cut the power: no file may be there again.

    A journal that is rarely committed shows the difference: nothing but small objects is written.
    """
    with volumes.disk_folder() as disks, tempfile.TemporaryDirectory(prefix="aisle-cut-") as name:
        root, copy = Path(name) / "mountpath", disks / "copy"
        image = volumes.new_image(disks / "disk", size_bytes=IMAGE_BYTES)
        with running_node([root / "store"], config=_CONFIG, start=False) as node:
            with volumes.mounted(image, root, options="commit=300") as disk, ending(node):
                node.start()
                client = NativeClient(node.host, node.port)
                assert client.create_bucket(BUCKET).status == 200
                for number in range(OBJECTS):
                    assert client.put(BUCKET, f"large-{number}", bytes(_LARGE_BYTES)).status == 200
                for _ in range(50):  # the index grows now, not when that would sync the folders too
                    assert client.put(BUCKET, "small", b"small").status == 200
                for number in range(OBJECTS):
                    assert client.delete(BUCKET, f"large-{number}").status == 200
                unlinked = processes.wait_until(lambda: not _payload_files(node.data[0]), timeout_s=20)
                assert unlinked, "files of deleted objects stay"
                time.sleep(0.5)  # until the index has forgotten them
                for _ in range(3):
                    assert client.put(BUCKET, "small", b"small").status == 200
                halt(node)
                disk.cut(copy)
            with volumes.mounted(copy, root):
                assert not _payload_files(node.data[0]), "files of deleted objects are back"
                assert_clean(node.data)


def _payload_files(mountpath: Path) -> list[Path]:
    return list(files_below(mountpath / "data"))
