"""What moves to mountpaths that were added survives whatever happens meanwhile."""

import asyncio
from pathlib import Path

from aisle.model.names import ObjectName
from aisle.storage.fsck import fsck
from aisle.storage.local import LocalEngine
from contract.storage_contract import keys, put, read
from contract.test_storage_mountpaths import mounted, settled
from support.processes import wait_until

BUCKET = 5


def test_what_a_killed_committer_was_copying_is_copied_again_whole(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "ab"]
    names = [ObjectName(BUCKET, b"k%03d" % number) for number in range(200)]
    drafts = paths[1] / "drafts" / "00000000"

    async def write(engine: LocalEngine) -> None:
        await engine.open_bucket(BUCKET)
        await asyncio.gather(*(put(engine, name, name.key * 5_000) for name in names))

    async def check(engine: LocalEngine) -> None:
        await settled(engine)
        assert keys(engine, BUCKET) == [name.key for name in names]
        for name in names:
            assert read(engine, name) == name.key * 5_000

    with mounted(paths[:1]) as (_, run):
        run(write)
    with mounted(paths) as (committer, run):
        assert wait_until(lambda: len(list(drafts.glob("*"))) > 50, timeout_s=60, poll_s=0.002)
        committer.kill()
        # Sweeping then takes about as long as it does on a slow disk.
        for number in range(20_000):
            (drafts / f"{number:032x}").touch()
        committer.start()
        run(check)
    assert fsck(paths).findings == []
