"""A disk that fills up in the middle of a download job: the job ends, and shows nothing that is not whole."""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compat.test_download_node import Api
from support import volumes
from support.native import NativeClient
from support.nginx import RunningNginx, running_nginx
from support.node import RunningNode, running_node

pytestmark = [pytest.mark.root, pytest.mark.program("nginx")]

MIB = 1024 * 1024
DISK_BYTES = 64 * MIB
CONFIG = f"""
[storage]
reserve_bytes = {8 * MIB}
unlink_delay_s = 1.0
[download]
part_bytes = {4 * MIB}
retries_max = 1
"""
LARGE, LARGE_BYTES = 5, 20 * MIB
SMALL, SMALL_BYTES = 40, 10_000


@pytest.fixture
def source() -> Iterator[RunningNginx]:
    with tempfile.TemporaryDirectory(prefix="downloader-source-") as name:
        root = Path(name)
        root.chmod(0o755)
        for number in range(LARGE):
            (root / f"large{number}").write_bytes(os.urandom(1024) * (LARGE_BYTES // 1024))
        for number in range(SMALL):
            (root / f"small{number}").write_bytes(os.urandom(SMALL_BYTES))
        with running_nginx(root) as server:
            yield server


def stored(node: RunningNode, name: str) -> bytes | None:
    answer = NativeClient(node.host, node.port).request("GET", f"/v1/objects/b/{name}?provider=ais")
    assert answer.status in (200, 404)
    return answer.body if answer.status == 200 else None


def test_a_disk_that_fills_up_fails_items_and_not_the_job(source: RunningNginx, tmp_path: Path) -> None:
    names = [f"large{number}" for number in range(LARGE)] + [f"small{number}" for number in range(SMALL)]
    disk = tmp_path / "disk"
    with (
        volumes.tmpfs(disk, size_bytes=DISK_BYTES),
        running_node([disk / "store"], config=CONFIG) as node,
    ):
        api = Api(node)
        links = {name: f"{source.url}/{name}" for name in names}
        status = api.ended(api.start(type="multi", objects=links))
        errors = {error["name"]: error["error"] for error in status["download_errors"]}
        assert (status["finished_cnt"], status["error_cnt"]) == (len(names) - len(errors), len(errors))
        assert 3 <= len(errors) < len(names)  # two of the large ones are all that there is room for
        assert not status["aborted"]
        for name in names:
            expected = None if name in errors else (source.root / name).read_bytes()
            assert stored(node, name) == expected, name
        assert all("space" in error for error in errors.values()), errors
        # What the failed ones had stored is gone: with the large ones that came away, there is room again.
        for name in names[:LARGE]:
            if name not in errors:
                assert NativeClient(node.host, node.port).delete("b", name).status == 200
        end_s = time.monotonic() + 100
        while api.ended(api.start(type="single", link=links["large0"]))["error_cnt"]:
            assert time.monotonic() < end_s, "the space does not come back"
            time.sleep(0.5)
        assert stored(node, "large0") == (source.root / "large0").read_bytes()
