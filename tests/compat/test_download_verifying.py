"""Verifying and repairing downloads: what is bad is found and fetched again, and nothing else."""

import asyncio
import io
import os
import tarfile
from collections.abc import Iterable

import pytest

from aisle.errors import BadRequest, JobNotFound
from aisle.jobs.verifying import Checked, Finding, Verification, undone_items
from aisle.model.names import ObjectName, parse_bucket
from support.downloads import Rig, with_rig
from support.faulty import Asked, Writer, reply, serve_file

BODIES = {f"/d/o{number:02d}": os.urandom(2_000 + number) for number in range(20)}
LARGE = os.urandom(1_000_000)
HEADERS = {"Authorization": ["Bearer secret"]}


async def _some(asked: Asked, writer: Writer) -> None:
    body = BODIES.get(asked.path) or (LARGE if asked.path == "/d/o20" else None)
    await (reply(writer, 404) if body is None else serve_file(asked, writer, body))


async def downloaded(rig: Rig, last: int = 20, **more: object) -> str:
    rig.server.fallback = _some
    job_id = await rig.submit(type="range", template=f"{rig.server.url}/d/o{{00..{last:02d}}}", **more)
    await rig.ended(job_id)
    rig.server.asked.clear()
    return job_id


async def verified(rig: Rig, job_id: str) -> tuple[dict[str, str], Checked]:
    """Problems by object, and the result."""
    status = rig.board.find(job_id)
    record, undone = status.record, undone_items(status.progress)
    manifest = rig.board.manifest(job_id)
    found, result = {}, None
    try:
        bucket = rig.board.destination(record.download.bucket)
        plan = rig.board.plan(record)
        async for told in Verification(rig.engine, bucket, manifest, plan, undone=undone).run():
            if isinstance(told, Finding):
                found[told.object] = told.problem
            else:
                result = told
    finally:
        manifest.close()
    assert result is not None
    assert result.done
    assert result.bad == len(found)
    return found, result


async def overwrite(rig: Rig, key: str, payload: bytes) -> None:
    """Put other bytes under a name, with the attributes that were there: what damage looks like."""
    record = rig.record(key)
    number = rig.buckets.find(parse_bucket("b")).number
    await rig.engine.put_small(ObjectName(number, key.encode()), payload, record.attributes)


async def remove(rig: Rig, key: str) -> None:
    await rig.engine.remove(ObjectName(rig.buckets.find(parse_bucket("b")).number, key.encode()))


async def repaired(rig: Rig, job_id: str, items: Iterable[int]) -> str:
    repair_id = await rig.board.repair(job_id, items)
    await rig.ended(repair_id)
    return repair_id


@with_rig()
async def test_a_good_download_verifies(rig: Rig) -> None:
    job_id = await downloaded(rig)
    found, result = await verified(rig, job_id)
    assert found == {}
    assert (result.checked, result.bytes) == (21, sum(map(len, BODIES.values())) + len(LARGE))


@with_rig()
async def test_each_kind_of_damage_is_told_and_only_that_is_fetched_again(rig: Rig) -> None:
    job_id = await downloaded(rig, 21, headers=HEADERS)
    await remove(rig, "o03")
    await overwrite(rig, "o05", bytes(len(BODIES["/d/o05"])))
    await overwrite(rig, "o07", b"short")
    found, result = await verified(rig, job_id)
    assert found == {"o03": "missing", "o05": "checksum", "o07": "size", "o21": "failed"}
    assert result.checked == 22
    repair_id = await repaired(rig, job_id, [3, 5, 7])
    assert {asked.path for asked in rig.server.asked} == {"/d/o03", "/d/o05", "/d/o07"}
    assert all(asked.headers["authorization"] == "Bearer secret" for asked in rig.server.asked)
    status = rig.board.find(repair_id)
    assert (status.progress.finished, status.progress.failed) == (3, 0)
    assert status.record.download.description.startswith(f"repair of {job_id}: ")
    found, _ = await verified(rig, job_id)
    assert found == {"o21": "failed"}
    assert {key: rig.content(key) for key in ("o03", "o05", "o07")} == {
        path[3:]: BODIES[path] for path in ("/d/o03", "/d/o05", "/d/o07")
    }
    assert (await verified(rig, repair_id))[0] == {}


@with_rig()
async def test_a_source_that_has_changed_is_not_mixed_in(rig: Rig) -> None:
    job_id = await downloaded(rig, 2)
    await remove(rig, "o01")

    async def other(asked: Asked, writer: Writer) -> None:
        await serve_file(asked, writer, os.urandom(len(BODIES["/d/o01"])), {"ETag": '"v2"'})

    rig.server.on("/d/o01", other)
    status = rig.board.find(await repaired(rig, job_id, [1]))
    assert (status.progress.finished, status.progress.failed) == (0, 1)
    assert "checksum" in status.progress.errors[0].error.lower()


@with_rig()
async def test_what_never_came_is_fetched_by_a_repair(rig: Rig) -> None:
    job_id = await downloaded(rig, 21)
    rig.server.on("/d/o21", lambda asked, writer: serve_file(asked, writer, b"at last"))
    await repaired(rig, job_id, [21])
    assert rig.content("o21") == b"at last"


@with_rig()
async def test_what_a_job_had_not_come_to_when_it_was_stopped_is_fetched_by_a_repair(rig: Rig) -> None:
    is_open = asyncio.Event()

    async def held(asked: Asked, writer: Writer) -> None:
        if asked.path > "/d/o04":
            await is_open.wait()
        await _some(asked, writer)

    rig.server.fallback = held
    job_id = await rig.submit(
        type="range", template=f"{rig.server.url}/d/o{{00..19}}", limits={"connections": 2}
    )
    await rig.until(job_id, lambda status: status.progress.finished == 5)
    assert (await verified(rig, job_id))[0] == {}
    await rig.board.abort(job_id)
    await rig.until(job_id, lambda status: bool(status.progress.finished_ns))
    found, result = await verified(rig, job_id)
    assert found == {f"o{number:02d}": "failed" for number in range(5, 20)}
    assert (result.checked, result.bad) == (20, 15)
    is_open.set()
    rig.server.asked.clear()
    await repaired(rig, job_id, range(5, 20))
    assert {asked.path for asked in rig.server.asked} == {f"/d/o{number:02d}" for number in range(5, 20)}
    assert all(rig.content(path[3:]) == body for path, body in BODIES.items())


@with_rig()
async def test_items_that_a_job_has_not_are_refused(rig: Rig) -> None:
    job_id = await downloaded(rig, 2)
    for items in ([3], [-1], []):
        with pytest.raises(BadRequest):
            await rig.board.repair(job_id, items)
    with pytest.raises(JobNotFound):
        await rig.board.repair("dnl-none", [1])


@with_rig()
async def test_a_bucket_that_is_gone_has_no_objects(rig: Rig) -> None:
    job_id = await downloaded(rig, 2)
    await rig.buckets.destroy(parse_bucket("b"))
    found, _ = await verified(rig, job_id)
    assert found == dict.fromkeys(("o00", "o01", "o02"), "missing")


FILES = {"a.txt": b"a", "train/1.jpg": os.urandom(5_000), "train/2.bin": os.urandom(400_000), "empty": b""}


def packed() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as archive:
        for name, body in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return target.getvalue()


@with_rig()
async def test_the_files_of_an_archive_are_told_verified_and_repaired(rig: Rig) -> None:
    archive = packed()
    link = rig.server.on("/d/x.tgz", lambda asked, writer: serve_file(asked, writer, archive))
    job_id = await rig.submit(type="multi", objects={"in/x.tgz": link}, extract=True)
    await rig.ended(job_id)
    manifest = rig.board.manifest(job_id)
    first, *files = list(manifest.entries())
    manifest.close()
    assert (first.object, first.result, first.size) == ("in/x.tgz", "unpacked", len(archive))
    assert [(file.object, file.member, file.size) for file in files] == [
        (f"in/{name}", name, len(body)) for name, body in FILES.items()
    ]
    assert {(file.item, file.result, file.source) for file in files} == {(0, "stored", link)}
    assert (await verified(rig, job_id))[0] == {}
    await remove(rig, "in/train/1.jpg")
    await overwrite(rig, "in/a.txt", b"b")
    assert (await verified(rig, job_id))[0] == {"in/train/1.jpg": "missing", "in/a.txt": "checksum"}
    status = rig.board.find(await repaired(rig, job_id, [0]))
    assert (status.progress.finished, status.progress.errors) == (1, ())
    assert (await verified(rig, job_id))[0] == {}
    assert rig.content("in/train/1.jpg") == FILES["train/1.jpg"]
