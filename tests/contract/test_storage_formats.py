"""Data folders of every released format open and hold what was put in; others are refused.

`tests/formats/N.tar.xz` is a stopped data folder of format N. `python -m contract.test_storage_formats`
(with `tests` on the path) makes one of the present format, which is kept for ever once released.
"""

import asyncio
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

from aisle.errors import FormatUnsupported, UploadNotFound
from aisle.model.names import ObjectName
from aisle.model.record import Attributes
from aisle.storage.copies import compact
from aisle.storage.engine import BucketCounts
from aisle.storage.fsck import fsck
from aisle.storage.layout import FORMAT, describe
from aisle.storage.local import LocalEngine
from contract.storage_contract import keys, put, read, written
from support.storage import running_committer

ARCHIVES = Path(__file__).parents[1] / "formats"
BUCKET = 11
ATTRIBUTES = Attributes(
    checksum_type="md5",
    checksum_value="00" * 16,
    content_type="text/plain",
    custom={"source": "web"},
    user={"color": "blue"},
    digests={"md5": "00" * 16},
    version="3",
)
CONTENT = {
    b"empty": b"",
    b"small": b"s" * 100,
    b"pieces": b"p" * 12_345,
    b"folder/file": b"f" * 45_678,
    b"n" * 1_024: b"a long name",
    b"parts": b"1" * 20_000 + b"2" * 5,
}


async def fill(engine: LocalEngine) -> None:
    """Write one of everything."""
    await engine.open_bucket(BUCKET)
    for key, content in CONTENT.items():
        name = ObjectName(BUCKET, key)
        if key == b"parts":
            upload = await engine.begin_upload(name, Attributes())
            for number, part in ((1, content[:20_000]), (2, content[20_000:])):
                await engine.commit_part(upload, number, await written(engine, name, part), Attributes())
            await engine.complete_upload(upload, [1, 2], ATTRIBUTES)
        else:
            await put(engine, name, content, ATTRIBUTES)
    await put(engine, ObjectName(BUCKET, b"gone"), b"x" * 20_000)
    await engine.remove(ObjectName(BUCKET, b"gone"))
    upload = await engine.begin_upload(ObjectName(BUCKET, b"open"), ATTRIBUTES)
    draft = await written(engine, ObjectName(BUCKET, b"open"), b"o" * 17_000)
    await engine.commit_part(upload, 1, draft, Attributes())


async def look(engine: LocalEngine) -> None:
    """Find it all."""
    assert keys(engine, BUCKET) == sorted(CONTENT)
    for key, content in CONTENT.items():
        name = ObjectName(BUCKET, key)
        assert read(engine, name) == content
        held = engine.look_up(name)
        assert held is not None
        assert held.record.attributes == ATTRIBUTES
    assert engine.counts(BUCKET) == BucketCounts(len(CONTENT), sum(map(len, CONTENT.values())))
    [upload] = engine.uploads(BUCKET)
    assert [part.size for part in engine.parts(upload.id)] == [17_000]
    await engine.complete_upload(upload, [1], ATTRIBUTES)
    with pytest.raises(UploadNotFound):
        engine.parts(upload.id)
    assert read(engine, ObjectName(BUCKET, b"open")) == b"o" * 17_000


@pytest.mark.parametrize("archive", sorted(ARCHIVES.glob("*.tar.xz")), ids=lambda path: path.name)
def test_a_data_folder_of_a_released_format_opens(archive: Path, tmp_path: Path) -> None:
    with tarfile.open(archive) as found:
        # `filter=` came with 3.11.4 only.
        found.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
        found.extractall(tmp_path)
    path = tmp_path / "data"
    description = describe(path)
    assert description is not None
    assert str(description.format) == archive.name.partition(".")[0]
    assert fsck([path]).findings == []
    with running_committer([path]) as committer:

        async def main() -> None:
            engine = committer.engine()
            await look(engine)
            await engine.close()

        asyncio.run(main())


def test_the_present_format_has_its_folder() -> None:
    assert (ARCHIVES / f"{FORMAT}.tar.xz").exists()


@pytest.mark.parametrize(
    "change",
    [{"format": FORMAT + 1}, {"format": 0}, {"lmdb": 1}, {"features": ["packs"]}, {"format": "x"}],
    ids=str,
)
def test_a_folder_of_another_format_is_refused_and_not_touched(
    tmp_path: Path, change: dict[str, object]
) -> None:
    path = tmp_path / "data"
    with running_committer([path]):
        pass
    file = path / ".aisle.json"
    changed = json.dumps(json.loads(file.read_text()) | change)
    file.write_text(changed)
    before = sorted(str(found) for found in path.rglob("*"))
    with pytest.raises(FormatUnsupported), running_committer([path]):
        pass
    assert file.read_text() == changed
    assert sorted(str(found) for found in path.rglob("*")) == before


def make() -> None:
    """Make the archive of the present format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data"
        with running_committer([path]) as committer:

            async def main() -> None:
                engine = committer.engine()
                await fill(engine)
                await engine.close()

            asyncio.run(main())
        compact([path])
        for name in ("index/lock.mdb", "volatile/lock.mdb"):
            (path / name).unlink()
        with tarfile.open(ARCHIVES / f"{FORMAT}.tar.xz", "w:xz") as archive:
            archive.add(path, "data")
    print(ARCHIVES / f"{FORMAT}.tar.xz", file=sys.stderr)


if __name__ == "__main__":
    make()
