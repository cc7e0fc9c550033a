"""A job's manifest: exactly one line for each item that counts as done, however often it was interrupted."""

import asyncio
import dataclasses
import os

import pytest

from aisle.jobs.manifest import ManifestEntry
from aisle.model.job import PROGRESS_PREFIX, decode_progress
from aisle.model.names import parse_bucket
from support.downloads import Rig, with_rig
from support.faulty import Asked, Writer, reply, serve_file

BODIES = {f"/d/o{number:03d}": os.urandom(500 + number) for number in range(300)}


async def _some(asked: Asked, writer: Writer) -> None:
    body = BODIES.get(asked.path)
    await (reply(writer, 404) if body is None else serve_file(asked, writer, body))


def entries(rig: Rig, job_id: str) -> list[ManifestEntry]:
    manifest = rig.board.manifest(job_id)
    try:
        return list(manifest.entries())
    finally:
        manifest.close()


def template(rig: Rig, last: int = 299) -> str:
    rig.server.fallback = _some
    return f"{rig.server.url}/d/o{{000..{last:03d}}}"


@with_rig()
async def test_every_item_has_its_line(rig: Rig) -> None:
    job_id = await rig.submit(type="range", template=template(rig, 304))
    await rig.ended(job_id)
    found = sorted(entries(rig, job_id), key=lambda entry: entry.item)
    assert [entry.item for entry in found] == list(range(305))
    for entry, (path, body) in zip(found, BODIES.items(), strict=False):
        record = rig.record(entry.object)
        assert entry.object == path.rpartition("/")[2]
        assert entry.source == rig.server.url + path
        assert (entry.result, entry.size, entry.etag) == ("stored", len(body), "v1")
        assert entry.checksum == f"{record.attributes.checksum_type}:{record.attributes.checksum_value}"
    failed = found[300:]
    assert {entry.result for entry in failed} == {"failed"}
    assert "o300" in failed[0].error


@with_rig()
async def test_it_agrees_with_the_progress_at_every_moment_and_after_restarts(rig: Rig) -> None:
    job_id = await rig.submit(type="range", template=template(rig), limits={"connections": 3})
    for _ in range(15):
        await asyncio.sleep(0.02)
        await rig.stop()
        check(rig, job_id)
        # What a killed worker had written and not told of.
        path = rig.folder / "manifests" / job_id
        if path.exists():
            with path.open("ab") as file:
                file.write(b'{"item":0,"object":"torn')
        rig.start()
    await rig.ended(job_id)
    check(rig, job_id)
    assert sorted(entry.item for entry in entries(rig, job_id)) == list(range(300))


@with_rig()
async def test_what_was_stored_and_not_written_down_is_found_again_once(rig: Rig) -> None:
    """A killed worker: objects are there, progress and manifest are those of a moment before."""
    job_id = await rig.submit(type="range", template=template(rig))
    await rig.ended(job_id)
    await rig.stop()
    document = rig.store.load(PROGRESS_PREFIX + job_id)
    assert document is not None
    rig.store.swap(document.key, None, expected_version=document.version)
    rig.start()
    await rig.ended(job_id)
    assert sorted(entry.item for entry in entries(rig, job_id)) == list(range(300))
    assert len(rig.server.asked) == 300


def check(rig: Rig, job_id: str) -> None:
    document = rig.store.load(PROGRESS_PREFIX + job_id)
    done = decode_progress(document.value).done if document else ()
    numbers = [number for span in done for number in range(*span)]
    assert sorted(entry.item for entry in entries(rig, job_id)) == numbers


@with_rig()
async def test_it_goes_with_its_job(rig: Rig) -> None:
    job_id = await rig.submit(type="range", template=template(rig, 9))
    await rig.ended(job_id)
    assert (rig.folder / "manifests" / job_id).exists()
    await rig.board.remove(job_id)
    async with asyncio.timeout(60):
        while (rig.folder / "manifests" / job_id).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@with_rig()
async def test_a_job_that_ended_long_ago_is_forgotten_with_all_that_was_kept(rig: Rig) -> None:
    old = await rig.submit(type="range", template=template(rig, 9))
    await rig.ended(old)
    resting = await rig.submit(type="range", template=template(rig, 19))
    await rig.board.pause(resting)
    await rig.stop()
    rig.config = dataclasses.replace(rig.config, history_s=0.001)
    rig.start()
    async with asyncio.timeout(60):
        while (rig.folder / "manifests" / old).exists() or rig.store.list(f"{PROGRESS_PREFIX}{old}"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert [status.record.id for status in rig.board.all()] == [resting]
    assert len(stored(rig)) >= 10  # the objects stay


def stored(rig: Rig) -> list[str]:
    number = rig.buckets.find(parse_bucket("b")).number
    return [entry.key.decode() for entry in rig.engine.scan(number, prefix=b"", limit=1000).entries]


@with_rig()
async def test_a_job_ends_also_where_its_manifest_cannot_be_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisle.jobs.keeper._FLUSH_INTERVAL_S", 0.02)
    (rig.folder / "manifests").write_text("a file in the way")
    job_id = await rig.submit(type="range", template=template(rig, 29))
    status = await rig.ended(job_id)
    assert (status.progress.finished, status.progress.failed) == (30, 0)
    assert status.progress.manifest_missing == 30
    assert entries(rig, job_id) == []
    (rig.folder / "manifests").unlink()
    again = await rig.submit(type="range", template=template(rig, 29))
    await rig.ended(again)
    assert len(entries(rig, again)) == 30
